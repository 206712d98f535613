//! libzstd's row-based hash table: short rows of recent positions, told apart by a tag byte.

use super::finder::Found;
use super::hash::hash;
use crate::reparse::history::View;
use crate::reparse::traits::Traits;

/// Bits of a hash that become the tag.
const TAG_BITS: u32 = 8;
/// The longest row.
const ROW_MAX: usize = 64;
/// Behind a match longer than this not every position is entered ...
const SKIP_FROM: u32 = 384;
/// ... but these many at its start ...
const SKIP_HEAD: u32 = 96;
/// ... and at its end.
const SKIP_TAIL: u32 = 32;

/// The table.
#[derive(Debug)]
pub struct Rows {
    /// Positions plus one; 0 for none.
    slots: Vec<u32>,
    tags: Vec<u8>,
    /// Where in its row the latest position stands.
    heads: Vec<u8>,
    row_log: u32,
    hash_bits: u32,
    hash_len: u32,
    attempts: u32,
    /// The first slot of each row is not used (libzstd from 1.5.5 on).
    short: bool,
    /// Every position of a long match is entered (libzstd 1.5.0).
    all: bool,
    /// The next position to enter.
    pub next: u32,
}

impl Rows {
    /// Bytes of memory of a table.
    pub const fn memory(hash_log: u32) -> u64 {
        (1 << hash_log) * 5 + (1 << hash_log) / 16
    }

    /// Makes an empty table; `hash_log` is at most 26, `search_log` counts as 4 to 6 (4 to 5 in
    /// libzstd 1.5.0) for the rows.
    pub fn new(hash_log: u32, search_log: u32, hash_len: u32, traits: Traits) -> Self {
        let all = traits.has(Traits::CLASSIC);
        let row_log = search_log.clamp(4, if all { 5 } else { 6 });
        let size = 1usize << hash_log.max(row_log + 1);
        Self {
            slots: vec![0; size],
            tags: vec![0; size],
            heads: vec![0; size >> row_log],
            row_log,
            hash_bits: hash_log.max(row_log + 1) - row_log + TAG_BITS,
            hash_len,
            attempts: 1 << search_log.min(row_log),
            short: traits.has(Traits::SINCE_1_5_5),
            all,
            next: 0,
        }
    }

    /// Forgets everything and enters what is from `prefix` to `start`.
    pub fn restart(&mut self, view: View<'_>, prefix: u32, start: u32) {
        self.slots.fill(0);
        self.tags.fill(0);
        self.heads.fill(0);
        if start > prefix + 8 {
            self.enter_all(view, prefix, start - 8);
        }
        self.next = start;
    }

    fn advance(&mut self, row: usize) -> usize {
        let mask = (1u8 << self.row_log) - 1;
        let head = &mut self.heads[row];
        let mut slot = head.wrapping_sub(1) & mask;
        if self.short && slot == 0 {
            slot = mask;
        }
        *head = slot;
        (row << self.row_log) + usize::from(slot)
    }

    fn enter(&mut self, hash: u32, at: u32) {
        let slot = self.advance((hash >> TAG_BITS) as usize);
        self.tags[slot] = hash as u8;
        self.slots[slot] = at + 1;
    }

    /// Enters all positions from `from` to `to`.
    fn enter_all(&mut self, view: View<'_>, from: u32, to: u32) {
        for at in from..to {
            let hash = hash(view, at, self.hash_len, self.hash_bits);
            self.enter(hash, at);
        }
    }

    /// Enters what was not yet entered before `at`.
    fn update(&mut self, view: View<'_>, at: u32) {
        let mut from = self.next;
        if !self.all && at.saturating_sub(from) > SKIP_FROM {
            self.enter_all(view, from, from + SKIP_HEAD);
            from = at - SKIP_TAIL;
        }
        self.enter_all(view, from, at);
        self.next = self.next.max(at);
    }

    /// The longest match of what stands at `at`, nothing before `low`, not beyond `end`; enters
    /// `at`. With `skipping` nothing else is entered.
    pub fn find(&mut self, view: View<'_>, at: u32, low: u32, end: u32, skipping: bool) -> Found {
        if skipping {
            self.next = self.next.max(at);
        } else {
            self.update(view, at);
        }
        let hash = hash(view, at, self.hash_len, self.hash_bits);
        let row = (hash >> TAG_BITS) as usize;
        let start = row << self.row_log;
        let mut candidates = [0u32; ROW_MAX];
        let mut count = 0;
        let head = u32::from(self.heads[row]);
        let mut same = self.same_tags(start, hash as u8, head);
        let mut attempts = self.attempts;
        while same != 0 && attempts > 0 {
            let slot = (head + same.trailing_zeros()) & ((1 << self.row_log) - 1);
            same &= same - 1;
            if self.short && slot == 0 {
                continue;
            }
            let entry = self.slots[start + slot as usize];
            if entry <= low {
                break;
            }
            candidates[count] = entry - 1;
            count += 1;
            attempts -= 1;
        }
        if self.next == at {
            self.enter(hash, at);
            self.next += 1;
        }
        let mut best = Found { length: 3, distance: 0 };
        for &candidate in &candidates[..count] {
            if candidate >= at {
                continue;
            }
            // The last four bytes of what a longer match must have.
            if view.u32(candidate + best.length - 3) != view.u32(at + best.length - 3) {
                continue;
            }
            let length = view.common(candidate, at, end);
            if length > best.length {
                best = Found { length, distance: at - candidate };
                if at + length == end {
                    break;
                }
            }
        }
        best
    }

    /// One bit for each slot with this tag, from `head` on.
    fn same_tags(&self, start: usize, tag: u8, head: u32) -> u64 {
        let bits = 1u32 << self.row_log;
        let mut mask = 0u64;
        for (index, run) in self.tags[start..start + bits as usize].chunks_exact(8).enumerate() {
            let word = u64::from_le_bytes(run.try_into().unwrap_or_default());
            mask |= u64::from(equal_bytes(word, tag)) << (8 * index);
        }
        // Rotate within the row.
        if head == 0 {
            return mask;
        }
        let all = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
        ((mask >> head) | (mask << (bits - head))) & all
    }
}

/// One bit for each byte of `word` that is `byte`, the lowest first.
fn equal_bytes(word: u64, byte: u8) -> u8 {
    const LOW: u64 = 0x7F7F_7F7F_7F7F_7F7F;
    let differs = word ^ (u64::from(byte) * 0x0101_0101_0101_0101);
    let zero = !(((differs & LOW) + LOW) | differs | LOW);
    ((zero >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::equal_bytes;

    proptest! {
        #[test]
        fn equal_bytes_are_found(word: [u8; 8], byte: u8, at in 0usize..8) {
            let mut word = word;
            word[at] = byte;
            let expected = (0..8).filter(|&i| word[i] == byte).map(|i| 1u8 << i).sum::<u8>();
            prop_assert_eq!(equal_bytes(u64::from_le_bytes(word), byte), expected);
        }
    }
}
