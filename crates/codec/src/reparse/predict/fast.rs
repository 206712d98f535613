//! libzstd's fastest parser since 1.5.1 (`ZSTD_compressBlock_fast_noDict_generic`): one table, pairs
//! of positions, the first match is taken.

use super::hash::hash;
use super::recent::Recent;
use super::{Block, Search};
use crate::reparse::block::Sequence;
use crate::reparse::history::View;
use crate::reparse::traits::Traits;

/// Positions at a block's end that are not searched.
const TAIL: u32 = 8;
/// Positions without a match after which the step grows.
const STEP_GROWTH: u32 = 128;
/// Every so many positions of a prefix are entered.
const FILL_STEP: u32 = 3;

/// The parser.
#[derive(Debug)]
pub struct Fast {
    /// Positions plus one; 0 for none.
    slots: Vec<u32>,
    bits: u32,
    hash_len: u32,
    step: u32,
    /// One pair of positions at a time, as before 1.5.1.
    classic: bool,
    recent: Recent,
    /// What was predicted last, and the position at which it was found.
    predicted: Option<(Sequence, u32)>,
}

impl Fast {
    /// Makes the parser.
    pub fn new(search: &Search) -> Self {
        let target = u32::from(search.target_length);
        Self {
            slots: vec![0; 1 << search.hash_log],
            bits: u32::from(search.hash_log),
            hash_len: u32::from(search.min_match),
            step: target.max(1) + 1,
            classic: search.traits.has(Traits::CLASSIC),
            recent: Recent::new(1 << search.window_log),
            predicted: None,
        }
    }

    fn hash(&self, view: View<'_>, at: u32) -> usize {
        hash(view, at, self.hash_len, self.bits) as usize
    }

    fn enter(&mut self, view: View<'_>, at: u32) {
        let slot = self.hash(view, at);
        self.slots[slot] = at + 1;
    }

    /// Begins a frame or a job at `start`, with the content from `prefix` on known.
    pub fn restart(&mut self, view: View<'_>, prefix: u32, start: u32) {
        self.recent.restart(prefix, start);
        self.slots.fill(0);
        let mut at = prefix;
        while at + FILL_STEP + TAIL < start + 2 {
            self.enter(view, at);
            at += FILL_STEP;
        }
    }

    /// Begins a block.
    pub fn begin(&mut self, block: Block) {
        self.recent.begin(block);
    }

    /// Ends a block.
    pub fn end(&mut self, compressed: bool) {
        self.recent.end(compressed);
    }

    /// Takes the sequence that really comes next into account.
    pub fn accept(&mut self, view: View<'_>, sequence: Sequence, distance: u32) {
        let start = self.recent.anchor + sequence.literals;
        let at_once = self.recent.behind_match && sequence.literals == 0 && sequence.offset == 1;
        self.recent.accept(sequence, distance);
        if at_once {
            // The original enters the start before it looks how far the match goes.
            self.enter(view, start);
            return;
        }
        let end = self.recent.anchor;
        if end + TAIL > self.recent.block.end {
            return;
        }
        let found = match self.predicted.take() {
            Some((predicted, found)) if predicted == sequence => found,
            _ => start,
        };
        self.enter(view, (found + 2).min(end));
        self.enter(view, end - 2);
    }

    /// The sequence that the parser would put out next; `None` for literals to the block's end.
    pub fn predict(&mut self, view: View<'_>) -> Option<Sequence> {
        let block = self.recent.block;
        if block.end - block.start < TAIL {
            return None;
        }
        let limit = block.end - TAIL;
        if let Some(sequence) = self.recent.at_once(view, limit) {
            return Some(sequence);
        }
        let (sequence, found) =
            if self.classic { self.search_simply(view, limit)? } else { self.search(view, limit)? };
        self.predicted = Some((sequence, found));
        Some(sequence)
    }

    /// A usable entry for `at`, and whether its four bytes are the same.
    fn is_match(view: View<'_>, entry: u32, low: u32, at: u32) -> bool {
        entry > low && entry <= at && view.u32(entry - 1) == view.u32(at)
    }

    fn search(&mut self, view: View<'_>, limit: u32) -> Option<(Sequence, u32)> {
        let block = self.recent.block;
        let low = self.recent.low.max(block.end.saturating_sub(self.recent.window)).max(view.start());
        let repeat = self.recent.distances[0];
        let mut step = self.step;
        // The positions of the original's pipeline: two that are hashed, two ahead.
        let mut at = [self.recent.at, self.recent.at + 1, self.recent.at + step, self.recent.at + step + 1];
        let mut next_growth = at[0] + STEP_GROWTH;
        if at[3] >= limit {
            return None;
        }
        let mut slots = [self.hash(view, at[0]), self.hash(view, at[1])];
        let mut entry = self.slots[slots[0]];
        loop {
            self.slots[slots[0]] = at[0] + 1;
            if self.recent.repeats(view, at[2], repeat) {
                self.slots[slots[1]] = at[1] + 1;
                let start = at[2];
                let back = u32::from(
                    start > view.start() + repeat && view.byte(start - 1) == view.byte(start - 1 - repeat),
                );
                let length = self.recent.length(view, start, repeat) + back;
                return Some((self.recent.sequence(start - back, length, 1), at[0]));
            }
            if Self::is_match(view, entry, low, at[0]) {
                self.slots[slots[1]] = at[1] + 1;
                return Some((self.found(view, at[0], entry - 1, low), at[0]));
            }
            entry = self.slots[slots[1]];
            slots = [slots[1], self.hash(view, at[2])];
            at = [at[1], at[2], at[3], at[3]];
            self.slots[slots[0]] = at[0] + 1;
            if Self::is_match(view, entry, low, at[0]) {
                if step <= 4 {
                    self.slots[slots[1]] = at[1] + 1;
                }
                return Some((self.found(view, at[0], entry - 1, low), at[0]));
            }
            entry = self.slots[slots[1]];
            slots = [slots[1], self.hash(view, at[2])];
            at = [at[1], at[2], at[1] + step, at[2] + step];
            if at[2] >= next_growth {
                step += 1;
                next_growth += STEP_GROWTH;
            }
            if at[3] >= limit {
                return None;
            }
        }
    }

    fn search_simply(&mut self, view: View<'_>, limit: u32) -> Option<(Sequence, u32)> {
        let block = self.recent.block;
        let low = self.recent.low.max(block.end.saturating_sub(self.recent.window)).max(view.start());
        let repeat = self.recent.distances[0];
        while self.recent.at + 1 < limit {
            let at = self.recent.at;
            let slots = [self.hash(view, at), self.hash(view, at + 1)];
            let entries = slots.map(|slot| self.slots[slot]);
            self.slots[slots[0]] = at + 1;
            self.slots[slots[1]] = at + 2;
            if self.recent.repeats(view, at + 2, repeat) {
                let start = at + 2;
                let back = u32::from(
                    start > view.start() + repeat && view.byte(start - 1) == view.byte(start - 1 - repeat),
                );
                let length = self.recent.length(view, start, repeat) + back;
                return Some((self.recent.sequence(start - back, length, 1), at));
            }
            for (ahead, entry) in (0..).zip(entries) {
                if Self::is_match(view, entry, low + 1, at + ahead) {
                    return Some((self.found(view, at + ahead, entry - 1, low), at));
                }
            }
            self.recent.at += ((at - self.recent.anchor) >> 7) + self.step;
        }
        None
    }

    fn found(&self, view: View<'_>, at: u32, candidate: u32, low: u32) -> Sequence {
        let distance = at - candidate;
        let length = self.recent.length(view, at, distance);
        let growth = self.recent.grow_back(view, at, distance, low);
        self.recent.sequence(at - growth, length + growth, distance + 3)
    }
}
