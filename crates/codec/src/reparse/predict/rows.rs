//! libzstd's row-based hash table: short rows of recent positions, told apart by a tag byte.

use super::finder::Found;
use super::hash::hash;
use crate::prefetch::prefetch;
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
            for at in prefix..start - 8 {
                let hash = hash(view, at, self.hash_len, self.hash_bits);
                self.enter(hash, at);
            }
        }
        self.next = start;
    }

    #[inline]
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

    #[inline]
    fn enter(&mut self, hash: u32, at: u32) {
        let slot = self.advance((hash >> TAG_BITS) as usize);
        self.tags[slot] = hash as u8;
        self.slots[slot / LINE_SLOTS].0[slot % LINE_SLOTS] = at + 1;
    }

    /// Enters all positions from `from` to `to`.
    fn enter_all<const ROW: usize, const LEN: u32>(&mut self, view: View<'_>, from: u32, to: u32) {
        for at in from..to {
            let hash = self.hash::<ROW, LEN>(view, at);
            self.enter(hash, at);
        }
    }

    /// The hash of what stands at `at`. Positions are mostly asked for one after another: the rows of
    /// the next ones are asked for.
    #[inline]
    fn hash<const ROW: usize, const LEN: u32>(&mut self, view: View<'_>, at: u32) -> u32 {
        // What mostly happens: one more position comes in sight.
        let is_next = at + AHEAD == self.hashed && at >= self.hashed_from;
        if is_next && self.hashed + HASHED_BYTES <= view.end() {
            self.look_at_next::<ROW, LEN>(view);
        } else if !self.look_ahead::<ROW, LEN>(view, at) {
            return hash(view, at, LEN, self.hash_bits);
        }
        self.hashes[(at % HASHES_KEPT) as usize]
    }

    /// Sees to it that the hash of what stands at `at` is kept; answers whether it is.
    #[inline(never)]
    fn look_ahead<const ROW: usize, const LEN: u32>(&mut self, view: View<'_>, at: u32) -> bool {
        if at < self.hashed_from || at + HASHES_KEPT < self.hashed {
            return false;
        }
        let mut ahead = AHEAD;
        if at > self.hashed {
            // Behind a gap it is not known yet whether the next positions will be asked for.
            (self.hashed_from, self.hashed) = (at, at);
            ahead = 0;
        }
        let end = (at + 1 + ahead).min(view.end().saturating_sub(HASHED_BYTES)).max(at + 1);
        while self.hashed < end {
            self.look_at_next::<ROW, LEN>(view);
        }
        true
    }

    /// Hashes the next position, and asks for its row.
    #[inline]
    fn look_at_next<const ROW: usize, const LEN: u32>(&mut self, view: View<'_>) {
        let hash = hash(view, self.hashed, LEN, self.hash_bits);
        self.hashes[(self.hashed % HASHES_KEPT) as usize] = hash;
        self.hashed += 1;
        let start = (hash >> TAG_BITS) as usize * ROW;
        prefetch(&self.tags, start);
        for line in 0..ROW / LINE_SLOTS {
            prefetch(&self.slots, start / LINE_SLOTS + line);
        }
    }

    /// Enters what was not yet entered before `at`.
    #[inline]
    fn update<const ROW: usize, const LEN: u32>(&mut self, view: View<'_>, at: u32) {
        let mut from = self.next;
        if !self.all && at.saturating_sub(from) > SKIP_FROM {
            self.enter_all::<ROW, LEN>(view, from, from + SKIP_HEAD);
            from = at - SKIP_TAIL;
        }
        self.enter_all::<ROW, LEN>(view, from, at);
        self.next = self.next.max(at);
    }

    /// The longest match of what stands at `at`, nothing before `low`, not beyond `end`; enters
    /// `at`. With `skipping` nothing else is entered.
    pub fn find(&mut self, view: View<'_>, at: u32, low: u32, end: u32, skipping: bool) -> Found {
        match self.row_log {
            4 => self.find_in_rows::<16>(view, at, low, end, skipping),
            5 => self.find_in_rows::<32>(view, at, low, end, skipping),
            _ => self.find_in_rows::<64>(view, at, low, end, skipping),
        }
    }

    /// [`Rows::find`] for rows of `ROW` slots.
    fn find_in_rows<const ROW: usize>(
        &mut self,
        view: View<'_>,
        at: u32,
        low: u32,
        end: u32,
        skipping: bool,
    ) -> Found {
        match self.hash_len {
            5 => self.find_in::<ROW, 5>(view, at, low, end, skipping),
            6 => self.find_in::<ROW, 6>(view, at, low, end, skipping),
            _ => self.find_in::<ROW, 4>(view, at, low, end, skipping),
        }
    }

    /// [`Rows::find`] for rows of `ROW` slots and hashes of `LEN` bytes.
    fn find_in<const ROW: usize, const LEN: u32>(
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
            self.update::<ROW, LEN>(view, at);
        }
        let hash = self.hash::<ROW, LEN>(view, at);
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
#[inline]
fn same_tags<const ROW: usize>(tags: &[u8], tag: u8, head: u32) -> u64 {
    let mut mask = 0u64;
    for (index, run) in tags.as_chunks::<16>().0.iter().enumerate() {
        mask |= u64::from(equal_bytes(*run, tag)) << (16 * index);
    }
    // Rotate within the row.
    if head == 0 {
        return mask;
    }
    let all = u64::MAX >> (64 - ROW);
    ((mask >> head) | (mask << (ROW as u32 - head))) & all
}

/// One bit for each of `bytes` that is `byte`, the first one lowest.
#[cfg(target_arch = "x86_64")]
#[inline]
fn equal_bytes(bytes: [u8; 16], byte: u8) -> u16 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8};
    let word = i128::from_le_bytes(bytes);
    // SAFETY: SSE2, which has these instructions, is part of every x86-64 processor; none of them takes a
    // pointer.
    #[expect(unsafe_code, reason = "the compiler asks for it where a target feature is not written down")]
    unsafe {
        let words = _mm_set_epi64x((word >> 64) as i64, word as i64);
        _mm_movemask_epi8(_mm_cmpeq_epi8(words, _mm_set1_epi8(byte as i8))) as u16
    }
}

/// One bit for each of `bytes` that is `byte`, the first one lowest.
#[cfg(not(target_arch = "x86_64"))]
fn equal_bytes(bytes: [u8; 16], byte: u8) -> u16 {
    let word = u128::from_le_bytes(bytes);
    u16::from(equal_in_word(word as u64, byte)) | u16::from(equal_in_word((word >> 64) as u64, byte)) << 8
}

/// One bit for each byte of `word` that is `byte`, the lowest first.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn equal_in_word(word: u64, byte: u8) -> u8 {
    const LOW: u64 = 0x7F7F_7F7F_7F7F_7F7F;
    let differs = word ^ (u64::from(byte) * 0x0101_0101_0101_0101);
    let zero = !(((differs & LOW) + LOW) | differs | LOW);
    ((zero >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Rows, equal_bytes, equal_in_word};
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
                    prop_assert_eq!(rows.hash::<16, 5>(view, at), super::hash(view, at, 5, rows.hash_bits), "at {}", at);
                }
            }
        }

        #[test]
        fn equal_bytes_are_found(bytes: [u8; 16], byte: u8, at in 0usize..16) {
            let mut bytes = bytes;
            bytes[at] = byte;
            let expected = (0..16).filter(|&i| bytes[i] == byte).map(|i| 1u16 << i).sum::<u16>();
            prop_assert_eq!(equal_bytes(bytes, byte), expected);
            let word = u64::from_le_bytes(bytes[..8].try_into().unwrap());
            prop_assert_eq!(u16::from(equal_in_word(word, byte)), expected & 0xFF);
        }
    }
}
