//! libzstd's optimal parser (`ZSTD_compressBlock_opt_generic`): btopt, btultra and btultra2.
//!
//! It works in series: all matches of some positions are priced, and the cheapest way through them
//! becomes the next few sequences. When the real parser took another way, the series is given up,
//! and the next one begins where the real sequence ended, with the real statistics.

use std::collections::VecDeque;

use super::prices::Prices;
use super::short::Short;
use super::trees::{Match, SERIES_MAX, Trees};
use super::{Block, Search};
use crate::reparse::block::{Repeats, Sequence};
use crate::reparse::history::View;
use crate::reparse::traits::Traits;

/// The price of what cannot be.
const NEVER: i32 = 1 << 30;
/// Positions at a block's end at which no match begins.
const TAIL: u32 = 8;

/// The cheapest way to a position.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Node {
    pub price: i32,
    pub offset: u32,
    /// Length of the match; 0 when the way ends with literals.
    pub length: u32,
    pub literals: u32,
    pub repeats: [u32; 3],
}

/// The parser.
#[derive(Debug)]
pub struct Optimal {
    trees: Trees,
    short: Option<Short>,
    pub(super) prices: Prices,
    /// 0 for btopt, 2 for the others.
    pub(super) exact: bool,
    /// Statistics of the first block are collected in a pass of their own (btultra2).
    twice: bool,
    /// Ways are kept as libzstd does since 1.5.6.
    stretches: bool,
    sufficient: u32,
    pub(super) min_length: u32,
    pub(super) nodes: Vec<Node>,
    pub(super) matches: Vec<Match>,
    pub(super) repeats: [u32; 3],
    before: [u32; 3],
    window: u32,
    low: u32,
    pub(super) unit: Block,
    pub(super) anchor: u32,
    pub(super) at: u32,
    /// Sequences of the current series that were not yet taken.
    queue: VecDeque<Sequence>,
    /// Where to go on once all of them are taken.
    queue_end: u32,
}

/// How a series ended.
pub(super) enum Series {
    /// With a last step from a position, to another one.
    Found { from: u32, last: Node },
    /// Only literals, to this position.
    Literals(u32),
}

impl Optimal {
    /// Makes the parser.
    pub fn new(search: &Search) -> Self {
        let exact = search.strategy >= 8;
        let window = 1 << search.window_log;
        let hash_len = u32::from(search.min_match);
        let three = search.min_match == 3;
        Self {
            trees: Trees::new(
                u32::from(search.hash_log),
                u32::from(search.chain_log),
                u32::from(search.search_log),
                hash_len.clamp(3, 6),
                window,
            ),
            short: three.then(|| Short::new(u32::from(search.window_log).min(17))),
            prices: Prices::new(exact),
            exact,
            twice: search.strategy == 9,
            stretches: search.traits.has(Traits::STRETCHES),
            sufficient: u32::from(search.target_length).min(SERIES_MAX - 1),
            min_length: if three { 3 } else { 4 },
            nodes: vec![Node::default(); SERIES_MAX as usize + 3],
            matches: Vec::new(),
            repeats: [1, 4, 8],
            before: [1, 4, 8],
            window,
            low: 0,
            unit: Block::default(),
            anchor: 0,
            at: 0,
            queue: VecDeque::new(),
            queue_end: 0,
        }
    }

    /// Begins a frame or a job at `start`, with the content from `prefix` on known.
    pub fn restart(&mut self, view: View<'_>, prefix: u32, start: u32) {
        self.trees.restart(view, prefix, start);
        if let Some(short) = &mut self.short {
            short.clear();
        }
        self.prices.clear();
        self.low = prefix;
        self.repeats = if start == 0 { [1, 4, 8] } else { [0; 3] };
        self.unit = Block { start, end: start };
        self.queue.clear();
    }

    /// Begins a block, or a part of one that is parsed as a whole.
    pub fn begin(&mut self, view: View<'_>, unit: Block) {
        if unit.start < self.unit.end {
            return;
        }
        self.low = self.low.max(unit.start.saturating_sub(self.window));
        self.trees.set_low(self.low);
        let next = &mut self.trees.next;
        *next = (*next).max(self.low);
        if unit.start > *next + 384 {
            *next = unit.start - 192.min(unit.start - *next - 384);
        }
        if self.twice && self.prices.is_fresh() && unit.start == self.low && unit.end - unit.start > 8 {
            self.first_pass(view, unit);
        }
        self.enter(view, unit);
        self.before = self.repeats;
    }

    fn enter(&mut self, view: View<'_>, unit: Block) {
        self.unit = unit;
        self.anchor = unit.start;
        self.at = unit.start + u32::from(unit.start == self.low);
        self.queue.clear();
        self.queue_end = self.at;
        if let Some(short) = &mut self.short {
            short.next = self.trees.next;
        }
        self.prices.begin(view.range(unit.start, unit.end), !self.stretches);
    }

    /// Goes through the first block once for its statistics alone.
    fn first_pass(&mut self, view: View<'_>, unit: Block) {
        let repeats = self.repeats;
        self.enter(view, unit);
        while let Some(sequence) = self.predict(view) {
            let distance = Repeats(self.repeats).distance(sequence);
            self.accept(view, sequence, distance);
        }
        self.repeats = repeats;
        self.trees.forget(unit.start);
        if let Some(short) = &mut self.short {
            short.clear();
        }
    }

    /// Ends a block.
    pub fn end(&mut self, compressed: bool) {
        if !compressed {
            self.repeats = self.before;
        }
    }

    /// Takes the sequence that really comes next into account.
    pub fn accept(&mut self, view: View<'_>, sequence: Sequence, distance: u32) {
        let start = self.anchor + sequence.literals;
        if let Some(literals) = (start <= self.unit.end).then(|| view.range(self.anchor, start)) {
            self.prices.count(literals, sequence);
        }
        let mut repeats = Repeats(self.repeats);
        repeats.push(sequence, distance);
        self.repeats = repeats.0;
        self.anchor = start + sequence.length;
        if self.queue.pop_front() == Some(sequence) {
            self.at = if self.queue.is_empty() { self.queue_end } else { self.anchor };
        } else {
            self.queue.clear();
            self.at = self.anchor;
        }
    }

    /// The sequence that the parser would put out next; `None` for literals to the block's end.
    pub fn predict(&mut self, view: View<'_>) -> Option<Sequence> {
        if let Some(&sequence) = self.queue.front() {
            return Some(sequence);
        }
        if self.unit.end - self.unit.start < TAIL {
            return None;
        }
        let limit = self.unit.end - TAIL;
        self.prices.update();
        while self.at < limit {
            let series =
                if self.stretches { self.by_stretches(view, limit) } else { self.by_sequences(view, limit) };
            match series {
                None => self.at += 1,
                Some(Series::Literals(to)) => self.at = to,
                Some(Series::Found { from, last }) => {
                    if self.stretches {
                        self.queue_stretches(from, last);
                    } else {
                        self.queue_sequences(from, last);
                    }
                    if let Some(&sequence) = self.queue.front() {
                        return Some(sequence);
                    }
                    // A way of literals only.
                    self.at = self.queue_end.max(self.at + 1);
                }
            }
        }
        None
    }

    /// Notes a sequence of the series.
    pub(super) fn enqueue(&mut self, literals: u32, node: &Node) {
        self.queue.push_back(Sequence { literals, length: node.length, offset: node.offset });
    }

    /// Notes where the series ends.
    pub(super) fn enqueue_end(&mut self, end: u32) {
        self.queue_end = end;
    }

    pub(super) fn sufficient(&self) -> u32 {
        self.sufficient
    }

    /// All matches at `at`, ever longer; `no_literals` tells that a match ends there.
    pub(super) fn find(&mut self, view: View<'_>, at: u32, repeats: [u32; 3], no_literals: bool) {
        self.matches.clear();
        if at < self.trees.next {
            return;
        }
        let end = self.unit.end;
        self.trees.update_sorted(view, at, end);
        let low = self.low.max(at.saturating_sub(self.window)).max(view.start());
        let mut best = self.min_length - 1;
        for code in u32::from(no_literals)..3 + u32::from(no_literals) {
            let distance = if code == 3 { repeats[0].wrapping_sub(1) } else { repeats[code as usize] };
            if distance == 0 || distance > at - low {
                continue;
            }
            let length = view.common(at - distance, at, end);
            if length >= self.min_length && length > best {
                best = length;
                self.matches.push(Match { offset: code - u32::from(no_literals) + 1, length });
                if length > self.sufficient || at + length == end {
                    return;
                }
            }
        }
        if best < 3
            && let Some(short) = &mut self.short
            && let Some(candidate) = short.find(view, at, low)
        {
            let length = view.common(candidate, at, end);
            if length >= 3 {
                best = length;
                self.matches.push(Match { offset: at - candidate + 3, length });
                if length > self.sufficient || at + length == end {
                    self.trees.next = at + 1;
                    return;
                }
            }
        }
        let mut matches = std::mem::take(&mut self.matches);
        self.trees.all_matches(view, at, end, best, &mut matches);
        self.matches = matches;
    }

    /// Begins a series at the current position; `None` when nothing matches there.
    pub(super) fn start(&mut self, view: View<'_>) -> Option<(u32, Match)> {
        let literals = self.at - self.anchor;
        self.find(view, self.at, self.repeats, literals == 0);
        let longest = *self.matches.last()?;
        self.nodes[0] = Node {
            price: self.prices.literal_length(literals),
            offset: 0,
            length: 0,
            literals,
            repeats: self.repeats,
        };
        Some((literals, longest))
    }

    /// The distances behind a match of `offset` that follows `node`.
    pub(super) fn repeats_behind(node: &Node, offset: u32, no_literals: bool) -> [u32; 3] {
        let sequence = Sequence { literals: u32::from(!no_literals), length: 3, offset };
        let mut repeats = Repeats(node.repeats);
        let distance = if sequence.repeat() == Some(3) {
            node.repeats[0].wrapping_sub(1)
        } else {
            repeats.distance(sequence)
        };
        repeats.push(sequence, distance);
        repeats.0
    }

    pub(super) const NEVER: i32 = NEVER;
}
