//! libzstd's parser with two tables since 1.5.1 (`ZSTD_compressBlock_doubleFast_noDict_generic`):
//! matches of eight bytes are preferred to those of a few.

use super::hash::hash;
use super::recent::Recent;
use super::{Block, Search};
use crate::reparse::block::Sequence;
use crate::reparse::history::View;
use crate::reparse::traits::Traits;

/// Positions at a block's end that are not searched.
const TAIL: u32 = 8;
/// Positions without a match after which the step grows.
const STEP_GROWTH: u32 = 256;
/// Every so many positions of a prefix are entered.
const FILL_STEP: u32 = 3;

/// The parser.
#[derive(Debug)]
pub struct Double {
    /// Positions plus one by the hash of eight bytes; 0 for none.
    long: Vec<u32>,
    /// The same by the hash of a few bytes.
    short: Vec<u32>,
    long_bits: u32,
    short_bits: u32,
    hash_len: u32,
    traits: Traits,
    /// Whether this block is searched position by position, without the pipeline of 1.5.1.
    classic: bool,
    recent: Recent,
    /// What was predicted last, and the position at which it was found.
    predicted: Option<(Sequence, u32)>,
}

impl Double {
    /// Makes the parser.
    pub fn new(search: &Search) -> Self {
        Self {
            long: vec![0; 1 << search.hash_log],
            short: vec![0; 1 << search.chain_log],
            long_bits: u32::from(search.hash_log),
            short_bits: u32::from(search.chain_log),
            hash_len: u32::from(search.min_match),
            traits: search.traits,
            classic: false,
            recent: Recent::new(1 << search.window_log),
            predicted: None,
        }
    }

    fn long_slot(&self, view: View<'_>, at: u32) -> usize {
        hash(view, at, 8, self.long_bits) as usize
    }

    fn short_slot(&self, view: View<'_>, at: u32) -> usize {
        hash(view, at, self.hash_len, self.short_bits) as usize
    }

    fn enter_long(&mut self, view: View<'_>, at: u32) {
        let slot = self.long_slot(view, at);
        self.long[slot] = at + 1;
    }

    fn enter_short(&mut self, view: View<'_>, at: u32) {
        let slot = self.short_slot(view, at);
        self.short[slot] = at + 1;
    }

    /// Begins a frame or a job at `start`, with the content from `prefix` on known.
    pub fn restart(&mut self, view: View<'_>, prefix: u32, start: u32) {
        self.recent.restart(prefix, start);
        self.long.fill(0);
        self.short.fill(0);
        let mut at = prefix;
        while at + FILL_STEP - 1 + TAIL <= start {
            self.enter_long(view, at);
            self.enter_short(view, at);
            at += FILL_STEP;
        }
    }

    /// Begins a block.
    pub fn begin(&mut self, block: Block) {
        self.recent.begin(block);
        self.classic =
            self.traits.has(Traits::CLASSIC) || (self.traits.has(Traits::RING) && self.recent.is_split());
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
        let end = self.recent.anchor;
        if at_once {
            // The original enters the start before it looks how far the match goes.
            self.enter_short(view, start);
            self.enter_long(view, start);
            return;
        }
        if end + TAIL > self.recent.block.end {
            return;
        }
        let found = match self.predicted.take() {
            Some((predicted, found)) if predicted == sequence => found,
            _ => start,
        };
        let found = (found + 2).min(end);
        self.enter_long(view, found);
        self.enter_long(view, end - 2);
        self.enter_short(view, found);
        self.enter_short(view, end - 1);
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

    fn search(&mut self, view: View<'_>, limit: u32) -> Option<(Sequence, u32)> {
        let low =
            self.recent.low.max(self.recent.block.end.saturating_sub(self.recent.window)).max(view.start());
        let repeat = self.recent.distances[0];
        let usable = |entry: u32, at: u32| entry > low + 1 && entry <= at;
        let mut step = 1;
        let mut at = self.recent.at;
        let mut next_growth = at + STEP_GROWTH;
        let mut ahead = at + step;
        if ahead > limit {
            return None;
        }
        let mut long_slot = self.long_slot(view, at);
        let mut long_entry = self.long[long_slot];
        loop {
            let short_slot = self.short_slot(view, at);
            let short_entry = self.short[short_slot];
            self.long[long_slot] = at + 1;
            self.short[short_slot] = at + 1;
            if self.recent.repeats(view, at + 1, repeat) {
                let length = self.recent.length(view, at + 1, repeat);
                return Some((self.recent.sequence(at + 1, length, 1), at));
            }
            let ahead_slot = self.long_slot(view, ahead);
            if usable(long_entry, at) && view.u64(long_entry - 1) == view.u64(at) {
                if step < 4 {
                    self.long[ahead_slot] = ahead + 1;
                }
                return Some((self.found(view, at, long_entry - 1, low), at));
            }
            let ahead_entry = self.long[ahead_slot];
            if usable(short_entry, at) && view.u32(short_entry - 1) == view.u32(at) {
                let mut best = (at, short_entry - 1);
                if usable(ahead_entry, ahead) && view.u64(ahead_entry - 1) == view.u64(ahead) {
                    let length = |at: u32, candidate: u32| self.recent.length(view, at, at - candidate);
                    if !self.traits.has(Traits::LONGER_ONLY)
                        || length(ahead, ahead_entry - 1) > length(at, short_entry - 1)
                    {
                        best = (ahead, ahead_entry - 1);
                    }
                }
                if step < 4 {
                    self.long[ahead_slot] = ahead + 1;
                }
                return Some((self.found(view, best.0, best.1, low), at));
            }
            if ahead >= next_growth {
                step += 1;
                next_growth += STEP_GROWTH;
            }
            at = ahead;
            ahead += step;
            long_slot = ahead_slot;
            long_entry = ahead_entry;
            if ahead > limit {
                return None;
            }
        }
    }

    fn search_simply(&mut self, view: View<'_>, limit: u32) -> Option<(Sequence, u32)> {
        let low =
            self.recent.low.max(self.recent.block.end.saturating_sub(self.recent.window)).max(view.start());
        let repeat = self.recent.distances[0];
        let usable = |entry: u32, at: u32| entry > low + 1 && entry <= at;
        while self.recent.at < limit {
            let at = self.recent.at;
            let (long_slot, short_slot) = (self.long_slot(view, at), self.short_slot(view, at));
            let (long_entry, short_entry) = (self.long[long_slot], self.short[short_slot]);
            self.long[long_slot] = at + 1;
            self.short[short_slot] = at + 1;
            if self.recent.repeats(view, at + 1, repeat) {
                let length = self.recent.length(view, at + 1, repeat);
                return Some((self.recent.sequence(at + 1, length, 1), at));
            }
            if usable(long_entry, at) && view.u64(long_entry - 1) == view.u64(at) {
                return Some((self.found(view, at, long_entry - 1, low), at));
            }
            if usable(short_entry, at) && view.u32(short_entry - 1) == view.u32(at) {
                let ahead_slot = self.long_slot(view, at + 1);
                let ahead_entry = self.long[ahead_slot];
                self.long[ahead_slot] = at + 2;
                if usable(ahead_entry, at + 1) && view.u64(ahead_entry - 1) == view.u64(at + 1) {
                    return Some((self.found(view, at + 1, ahead_entry - 1, low), at));
                }
                return Some((self.found(view, at, short_entry - 1, low), at));
            }
            self.recent.at += ((at - self.recent.anchor) >> 8) + 1;
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
