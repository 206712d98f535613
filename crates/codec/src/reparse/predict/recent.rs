//! The two last distances, as the parsers of libzstd up to btlazy2 keep them.

use super::Block;
use crate::reparse::block::{BLOCK_PLAIN_MAX, Sequence};
use crate::reparse::history::View;

/// Where a parser stands in a block, and the distances that it tries first.
#[derive(Debug)]
pub struct Recent {
    /// The two last distances; 0 where there is none to try.
    pub distances: [u32; 2],
    /// Those of before the block, should the block come out uncompressed.
    before: [u32; 2],
    /// Distances that were too far at the start of the block.
    saved: [u32; 2],
    /// The largest distance.
    pub window: u32,
    /// The first position that may be referred to.
    pub low: u32,
    /// The block.
    pub block: Block,
    /// The end of the last sequence.
    pub anchor: u32,
    /// Where to search next.
    pub at: u32,
    /// Whether a match ends at `anchor`, so that the second last distance is tried first.
    pub behind_match: bool,
}

impl Recent {
    /// Begins without history.
    pub fn new(window: u32) -> Self {
        Self {
            distances: [1, 4],
            before: [1, 4],
            saved: [0; 2],
            window,
            low: 0,
            block: Block::default(),
            anchor: 0,
            at: 0,
            behind_match: false,
        }
    }

    /// Begins a frame (`start` is 0) or a job, which may refer to what is from `prefix` on.
    pub fn restart(&mut self, prefix: u32, start: u32) {
        self.low = prefix;
        self.distances = if start == 0 { [1, 4] } else { [0, 0] };
    }

    /// Begins a block.
    pub fn begin(&mut self, block: Block) {
        self.low = self.low.max(block.start.saturating_sub(self.window));
        self.before = self.distances;
        self.block = block;
        self.anchor = block.start;
        self.at = block.start + u32::from(block.start == self.low);
        let reach = self.at - self.low.max(self.at.saturating_sub(self.window));
        self.saved = [0; 2];
        for (distance, saved) in self.distances.iter_mut().zip(&mut self.saved) {
            if *distance > reach {
                *saved = *distance;
                *distance = 0;
            }
        }
        self.behind_match = false;
    }

    /// Whether a ring buffer of window and block holds the block apart from some of its window: the
    /// match finders of libzstd then are those for two segments.
    pub fn is_split(&self) -> bool {
        let ring = u64::from(self.window) + (BLOCK_PLAIN_MAX as u64).min(u64::from(self.window));
        let turn = u64::from(self.block.start) / ring * ring;
        turn > 0 && turn > u64::from(self.block.end.saturating_sub(self.window))
    }

    /// Ends a block; one that came out uncompressed leaves no distances behind.
    pub fn end(&mut self, compressed: bool) {
        if !compressed {
            self.distances = self.before;
            return;
        }
        if self.saved[0] != 0 && self.distances[0] != 0 {
            self.saved[1] = self.saved[0];
        }
        for (distance, saved) in self.distances.iter_mut().zip(self.saved) {
            if *distance == 0 {
                *distance = saved;
            }
        }
    }

    /// Takes a sequence into account.
    pub fn accept(&mut self, sequence: Sequence, distance: u32) {
        if sequence.repeat().is_none_or(|index| index > 0) {
            self.distances[1] = self.distances[0];
        }
        self.distances[0] = distance;
        self.anchor += sequence.literals + sequence.length;
        self.at = self.anchor;
        self.behind_match = true;
    }

    /// Whether the four bytes at `at` stand `distance` before as well.
    #[expect(clippy::unused_self, reason = "called like its siblings, which read the state")]
    pub fn repeats(&self, view: View<'_>, at: u32, distance: u32) -> bool {
        distance > 0 && distance <= at - view.start() && view.u32(at) == view.u32(at - distance)
    }

    /// Length of the match at `at`, the first four bytes of which are known to be the same.
    pub fn length(&self, view: View<'_>, at: u32, distance: u32) -> u32 {
        4 + view.common(at + 4 - distance, at + 4, self.block.end)
    }

    /// The match of the second last distance right behind a match, if there is one.
    pub fn at_once(&mut self, view: View<'_>, limit: u32) -> Option<Sequence> {
        if self.behind_match && self.at <= limit && self.repeats(view, self.at, self.distances[1]) {
            let length = self.length(view, self.at, self.distances[1]);
            return Some(Sequence { literals: 0, length, offset: 1 });
        }
        self.behind_match = false;
        None
    }

    /// How many bytes a match at `at` grows to the front; nothing before `low` is referred to.
    pub fn grow_back(&self, view: View<'_>, at: u32, distance: u32, low: u32) -> u32 {
        let mut start = at;
        while start > self.anchor
            && start - distance > low
            && view.byte(start - 1) == view.byte(start - 1 - distance)
        {
            start -= 1;
        }
        at - start
    }

    /// The sequence of a match that begins at `start`.
    pub fn sequence(&self, start: u32, length: u32, offset: u32) -> Sequence {
        Sequence { literals: start - self.anchor, length, offset }
    }
}
