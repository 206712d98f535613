//! libzstd's hash chains: the lazy parsers' match finder before 1.5, and for small windows since.

use super::finder::Found;
use super::hash::hash;
use crate::reparse::history::View;

/// The finder.
#[derive(Debug)]
pub struct Chains {
    /// The latest position of each hash plus one; 0 for none.
    heads: Vec<u32>,
    /// The position before, by position.
    before: Vec<u32>,
    bits: u32,
    hash_len: u32,
    attempts: u32,
    /// The next position to enter.
    pub next: u32,
}

impl Chains {
    /// Makes empty chains.
    pub fn new(hash_log: u32, chain_log: u32, search_log: u32, hash_len: u32) -> Self {
        Self {
            heads: vec![0; 1 << hash_log],
            before: vec![0; 1 << chain_log],
            bits: hash_log,
            hash_len,
            attempts: 1 << search_log,
            next: 0,
        }
    }

    /// Forgets everything and enters what is from `prefix` to `start`.
    pub fn restart(&mut self, view: View<'_>, prefix: u32, start: u32) {
        self.heads.fill(0);
        self.before.fill(0);
        for at in prefix..start.saturating_sub(8).max(prefix) {
            self.enter(view, at);
        }
        self.next = start;
    }

    fn enter(&mut self, view: View<'_>, at: u32) {
        let mask = self.before.len() - 1;
        let head = &mut self.heads[hash(view, at, self.hash_len, self.bits) as usize];
        self.before[at as usize & mask] = *head;
        *head = at + 1;
    }

    /// The longest match of what stands at `at`, nothing before `low`, not beyond `end`.
    pub fn find(&mut self, view: View<'_>, at: u32, low: u32, end: u32, skipping: bool) -> Found {
        let last = if skipping { at.min(self.next + 1) } else { at };
        for position in self.next..last {
            self.enter(view, position);
        }
        self.next = self.next.max(at);
        let (size, mask) = (self.before.len() as u32, self.before.len() - 1);
        let mut entry = self.heads[hash(view, at, self.hash_len, self.bits) as usize];
        let mut best = Found { length: 3, distance: 0 };
        for _ in 0..self.attempts {
            if entry <= low {
                break;
            }
            let candidate = entry - 1;
            if candidate < at && view.u32(candidate + best.length - 3) == view.u32(at + best.length - 3) {
                let length = view.common(candidate, at, end);
                if length > best.length {
                    best = Found { length, distance: at - candidate };
                    if at + length == end {
                        break;
                    }
                }
            }
            if candidate + size <= at {
                break;
            }
            entry = self.before[candidate as usize & mask];
        }
        best
    }
}
