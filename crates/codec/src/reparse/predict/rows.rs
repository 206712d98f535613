//! libzstd's row-based hash table: short rows of recent positions, told apart by a tag byte.

use super::finder::Found;
use super::hash::hash;
use super::prefetch::prefetch;
use crate::reparse::history::View;
use crate::reparse::traits::Traits;

/// Bits of a hash that become the tag.
const TAG_BITS: u32 = 8;
/// Slots in a cache line.
const LINE_SLOTS: usize = 16;
/// Positions whose rows are asked for before they are needed.
const AHEAD: u32 = 8;
/// Positions whose hashes are kept, a power of two: those ahead and as many behind.
const HASHES_KEPT: u32 = 2 * AHEAD;
/// Bytes from a position on that a hash may look at.
const HASHED_BYTES: u32 = 8;
/// Behind a match longer than this not every position is entered ...
const SKIP_FROM: u32 = 384;
/// ... but these many at its start ...
const SKIP_HEAD: u32 = 96;
/// ... and at its end.
const SKIP_TAIL: u32 = 32;

/// Slots that stand in one cache line: a row of 16 slots is one, longer rows are several.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line([u32; LINE_SLOTS]);

/// The table.
#[derive(Debug)]
pub struct Rows {
    /// Positions plus one; 0 for none.
    slots: Vec<Line>,
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
    /// Hashes of the last positions before `hashed`, from `hashed_from` on, by position.
    hashes: [u32; HASHES_KEPT as usize],
    hashed_from: u32,
    hashed: u32,
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
            slots: vec![Line([0; LINE_SLOTS]); size / LINE_SLOTS],
            tags: vec![0; size],
            heads: vec![0; size >> row_log],
            row_log,
            hash_bits: hash_log.max(row_log + 1) - row_log + TAG_BITS,
            hash_len,
            attempts: 1 << search_log.min(row_log),
            short: traits.has(Traits::SINCE_1_5_5),
            all,
            next: 0,
            hashes: [0; HASHES_KEPT as usize],
            hashed_from: 0,
            hashed: 0,
        }
    }

    /// Forgets everything and enters what is from `prefix` to `start`.
    pub fn restart(&mut self, view: View<'_>, prefix: u32, start: u32) {
        self.slots.fill(Line([0; LINE_SLOTS]));
        self.tags.fill(0);
        self.heads.fill(0);
        (self.hashed_from, self.hashed) = (0, 0);
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
        self.slots[slot / LINE_SLOTS].0[slot % LINE_SLOTS] = at + 1;
    }

    /// Enters all positions from `from` to `to`.
    fn enter_all(&mut self, view: View<'_>, from: u32, to: u32) {
        for at in from..to {
            let hash = self.hash(view, at);
            self.enter(hash, at);
        }
    }

    /// The hash of what stands at `at`. Positions are mostly asked for one after another: the rows of
    /// the next ones are asked for.
    fn hash(&mut self, view: View<'_>, at: u32) -> u32 {
        if at >= self.hashed {
            // Behind a gap it is not known yet whether the next positions will be asked for.
            let ahead = if at == self.hashed { AHEAD } else { 0 };
            if at > self.hashed {
                self.hashed_from = at;
            }
            let end = (at + 1 + ahead).min(view.end().saturating_sub(HASHED_BYTES)).max(at + 1);
            for next in at..end {
                let hash = hash(view, next, self.hash_len, self.hash_bits);
                self.hashes[(next % HASHES_KEPT) as usize] = hash;
                let start = (hash as usize >> TAG_BITS) << self.row_log;
                prefetch(&self.tags, start);
                for line in 0..1 << self.row_log >> LINE_SLOTS.trailing_zeros() {
                    prefetch(&self.slots, start / LINE_SLOTS + line);
                }
            }
            self.hashed = end;
        } else if at < self.hashed_from || self.hashed - at > HASHES_KEPT {
            return hash(view, at, self.hash_len, self.hash_bits);
        }
        self.hashes[(at % HASHES_KEPT) as usize]
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
        match self.row_log {
            4 => self.find_in::<16>(view, at, low, end, skipping),
            5 => self.find_in::<32>(view, at, low, end, skipping),
            _ => self.find_in::<64>(view, at, low, end, skipping),
        }
    }

    /// [`Rows::find`] for rows of `ROW` slots.
    fn find_in<const ROW: usize>(
        &mut self,
        view: View<'_>,
        at: u32,
        low: u32,
        end: u32,
        skipping: bool,
    ) -> Found {
        if skipping {
            self.next = self.next.max(at);
        } else {
            self.update(view, at);
        }
        let hash = self.hash(view, at);
        let start = (hash >> TAG_BITS) as usize * ROW;
        let mut candidates = [0u32; ROW];
        let mut count = 0;
        let head = u32::from(self.heads[start / ROW]);
        let mut same = same_tags::<ROW>(&self.tags[start..start + ROW], hash as u8, head);
        let lines = &self.slots[start / LINE_SLOTS..][..ROW / LINE_SLOTS];
        let mut attempts = self.attempts;
        while same != 0 && attempts > 0 {
            let slot = (head + same.trailing_zeros()) as usize % ROW;
            same &= same - 1;
            if self.short && slot == 0 {
                continue;
            }
            let entry = lines[slot / LINE_SLOTS].0[slot % LINE_SLOTS];
            if entry <= low {
                break;
            }
            view.prefetch(entry - 1);
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
}

/// One bit for each slot of a row with this tag, from `head` on.
fn same_tags<const ROW: usize>(tags: &[u8], tag: u8, head: u32) -> u64 {
    let mut mask = 0u64;
    for (index, run) in tags.chunks_exact(8).enumerate() {
        let word = u64::from_le_bytes(run.try_into().unwrap_or_default());
        mask |= u64::from(equal_bytes(word, tag)) << (8 * index);
    }
    // Rotate within the row.
    if head == 0 {
        return mask;
    }
    let all = u64::MAX >> (64 - ROW);
    ((mask >> head) | (mask << (ROW as u32 - head))) & all
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

    use super::{Rows, equal_bytes};
    use crate::reparse::history::History;
    use crate::reparse::traits::Traits;

    proptest! {
        #[test]
        fn hashes_are_those_of_their_positions(
            steps in proptest::collection::vec(prop_oneof![4 => 0u32..3, 1 => 0u32..60], 1..200),
            back in proptest::collection::vec(0u32..40, 200),
        ) {
            let plain: Vec<u8> = (0..12_100u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 20) as u8).collect();
            let mut history = History::default();
            history.restart(0, 1 << 14);
            history.push(&plain, 0).unwrap();
            let view = history.view();
            let mut rows = Rows::new(10, 4, 5, Traits::NONE);
            let mut at = 0;
            for (step, back) in steps.iter().zip(back) {
                at += step;
                for at in [at, at.saturating_sub(back)] {
                    prop_assert_eq!(rows.hash(view, at), super::hash(view, at, 5, rows.hash_bits), "at {}", at);
                }
            }
        }

        #[test]
        fn equal_bytes_are_found(word: [u8; 8], byte: u8, at in 0usize..8) {
            let mut word = word;
            word[at] = byte;
            let expected = (0..8).filter(|&i| word[i] == byte).map(|i| 1u8 << i).sum::<u8>();
            prop_assert_eq!(equal_bytes(u64::from_le_bytes(word), byte), expected);
        }
    }
}
