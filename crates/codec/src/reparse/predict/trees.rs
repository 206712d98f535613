//! libzstd's binary trees of positions, sorted late (`ZSTD_DUBT_findBestMatch`): btlazy2's finder.
//!
//! Positions are entered as unsorted chains and sorted into the tree of their hash when that tree
//! is searched. A job's prefix is sorted at once (`ZSTD_updateTree`).

use super::finder::Found;
use super::hash::hash;
use crate::reparse::history::View;

/// Indices are positions plus this: 0 ends a chain, 1 marks an unsorted position.
const INDEX_OFFSET: u32 = 2;
/// The mark of an unsorted position.
const UNSORTED: u32 = 1;
/// `ilog2` of the offset that libzstd begins a search with (999,999,999).
const NO_OFFSET_LOG: i32 = 29;

/// The longest series of positions that the optimal parser looks at (`ZSTD_OPT_NUM`).
pub const SERIES_MAX: u32 = 1 << 12;

/// A match, its offset as the format has it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Match {
    /// 1 to 3 repeat a distance, else distance + 3.
    pub offset: u32,
    /// Bytes that are the same.
    pub length: u32,
}

/// The finder.
#[derive(Debug)]
pub struct Trees {
    heads: Vec<u32>,
    /// For each index: the next smaller and the next larger one.
    nodes: Vec<u32>,
    bits: u32,
    hash_len: u32,
    compares: u32,
    window: u32,
    /// The first position of the segment.
    low: u32,
    /// The next position to enter.
    pub next: u32,
}

/// A way down a tree: where the next smaller and the next larger index will be noted.
struct Descent {
    smaller: Option<usize>,
    larger: Option<usize>,
    common_smaller: u32,
    common_larger: u32,
    index: u32,
}

impl Trees {
    /// Makes empty trees.
    pub fn new(hash_log: u32, chain_log: u32, search_log: u32, hash_len: u32, window: u32) -> Self {
        Self {
            heads: vec![0; 1 << hash_log],
            nodes: vec![0; 1 << chain_log],
            bits: hash_log,
            hash_len,
            compares: 1 << search_log,
            window,
            low: 0,
            next: 0,
        }
    }

    fn mask(&self) -> u32 {
        (self.nodes.len() as u32 >> 1) - 1
    }

    fn node(&self, index: u32) -> usize {
        2 * (index & self.mask()) as usize
    }

    fn slot(&self, view: View<'_>, at: u32) -> usize {
        hash(view, at, self.hash_len, self.bits) as usize
    }

    /// Forgets everything and enters what is from `prefix` to `start`.
    pub fn restart(&mut self, view: View<'_>, prefix: u32, start: u32) {
        self.heads.fill(0);
        self.nodes.fill(0);
        self.low = prefix;
        let target = start.saturating_sub(8);
        let mut at = prefix;
        while at < target {
            at += self.enter_sorted(view, at, target, start);
        }
        self.next = start;
    }

    /// Tells that nothing before `low` is of use.
    pub fn set_low(&mut self, low: u32) {
        self.low = low;
    }

    fn descent(&self, index: u32, first: u32) -> Descent {
        let node = self.node(index);
        Descent {
            smaller: Some(node),
            larger: Some(node + 1),
            common_smaller: 0,
            common_larger: 0,
            index: first,
        }
    }

    /// One step down: how much `at` has in common with the node; `None` at the end of the content,
    /// where it cannot be told which is larger.
    #[expect(clippy::unused_self, reason = "called like its siblings, which read the state")]
    fn common(&self, view: View<'_>, way: &Descent, at: u32, end: u32) -> u32 {
        let known = way.common_smaller.min(way.common_larger);
        known + view.common(way.index - INDEX_OFFSET + known, at + known, end)
    }

    /// Goes on below the node; answers whether there may be more.
    fn go_on(&mut self, view: View<'_>, way: &mut Descent, at: u32, length: u32, tree_low: u32) -> bool {
        let node = self.node(way.index);
        let candidate = way.index - INDEX_OFFSET;
        let smaller = view.byte(candidate + length) < view.byte(at + length);
        let (slot, common, next) = if smaller {
            (&mut way.smaller, &mut way.common_smaller, node + 1)
        } else {
            (&mut way.larger, &mut way.common_larger, node)
        };
        if let Some(slot) = *slot {
            self.nodes[slot] = way.index;
        }
        *common = length;
        if way.index <= tree_low {
            *slot = None;
            return false;
        }
        *slot = Some(next);
        way.index = self.nodes[next];
        true
    }

    fn close(&mut self, way: &Descent) {
        for slot in [way.smaller, way.larger].into_iter().flatten() {
            self.nodes[slot] = 0;
        }
    }

    /// Enters a position of a prefix that ends at `end`; answers how many positions to go on.
    fn enter_sorted(&mut self, view: View<'_>, at: u32, target: u32, end: u32) -> u32 {
        let slot = self.slot(view, at);
        let index = at + INDEX_OFFSET;
        let tree_low = index.saturating_sub(self.mask());
        let low = self.low.max(target.saturating_sub(self.window)) + INDEX_OFFSET;
        let mut way = self.descent(index, self.heads[slot]);
        self.heads[slot] = index;
        let mut match_end = index + 9;
        let mut best = 8;
        for _ in 0..self.compares {
            if way.index < low || way.index >= index {
                break;
            }
            let length = self.common(view, &way, at, end);
            if length > best {
                best = length;
                match_end = match_end.max(way.index + length);
            }
            if at + length == end || !self.go_on(view, &mut way, at, length, tree_low) {
                break;
            }
        }
        self.close(&way);
        let skipped = if best > 384 { 192.min(best - 384) } else { 0 };
        skipped.max(match_end - (index + 8))
    }

    /// Enters, sorted, what was not yet entered before `at`.
    pub fn update_sorted(&mut self, view: View<'_>, at: u32, end: u32) {
        let mut from = self.next;
        while from < at {
            from += self.enter_sorted(view, from, at, end);
        }
        self.next = self.next.max(at);
    }

    /// Forgets everything, as if the content began at `start`.
    pub fn forget(&mut self, start: u32) {
        self.heads.fill(0);
        self.nodes.fill(0);
        self.next = start;
    }

    /// Enters `at` and appends ever longer matches of it, each longer than `best`
    /// (`ZSTD_insertBtAndGetAllMatches`, the tree's part).
    pub fn all_matches(
        &mut self,
        view: View<'_>,
        at: u32,
        end: u32,
        mut best: u32,
        matches: &mut Vec<Match>,
    ) {
        let slot = self.slot(view, at);
        let index = at + INDEX_OFFSET;
        let tree_low = index.saturating_sub(self.mask());
        let low = self.low.max(at.saturating_sub(self.window)).max(view.start()) + INDEX_OFFSET;
        let mut way = self.descent(index, self.heads[slot]);
        self.heads[slot] = index;
        let mut match_end = index + 9;
        for _ in 0..self.compares {
            if way.index < low || way.index >= index {
                break;
            }
            let length = self.common(view, &way, at, end);
            if length > best {
                match_end = match_end.max(way.index + length);
                best = length;
                matches.push(Match { offset: index - way.index + 3, length });
                if length > SERIES_MAX || at + length == end {
                    break;
                }
            }
            if at + length == end || !self.go_on(view, &mut way, at, length, tree_low) {
                break;
            }
        }
        self.close(&way);
        self.next = match_end - 8 - INDEX_OFFSET;
    }

    fn update(&mut self, view: View<'_>, at: u32) {
        for position in self.next..at {
            let slot = self.slot(view, position);
            let index = position + INDEX_OFFSET;
            let node = self.node(index);
            self.nodes[node] = self.heads[slot];
            self.nodes[node + 1] = UNSORTED;
            self.heads[slot] = index;
        }
        self.next = at;
    }

    /// Sorts one position that was entered before (`ZSTD_insertDUBT1`).
    fn sort(&mut self, view: View<'_>, index: u32, compares: u32, tree_low: u32, end: u32) {
        let at = index - INDEX_OFFSET;
        let first = self.nodes[self.node(index)];
        let mut way = self.descent(index, first);
        let low = self.low.max(at.saturating_sub(self.window)).max(view.start()) + INDEX_OFFSET;
        for _ in 0..compares {
            if way.index <= low || way.index >= index {
                break;
            }
            let length = self.common(view, &way, at, end);
            if at + length == end || !self.go_on(view, &mut way, at, length, tree_low) {
                break;
            }
        }
        self.close(&way);
    }

    /// The best match of what stands at `at`, nothing before `low`, not beyond `end`.
    pub fn find(&mut self, view: View<'_>, at: u32, low: u32, end: u32) -> Found {
        let mut best = Found { length: 0, distance: 0 };
        if at < self.next {
            return best;
        }
        self.update(view, at);
        let slot = self.slot(view, at);
        let index = at + INDEX_OFFSET;
        let tree_low = index.saturating_sub(self.mask());
        let low = low + INDEX_OFFSET;
        let unsorted_low = tree_low.max(low);
        self.sort_candidates(view, slot, unsorted_low, end);
        let mut way = self.descent(index, self.heads[slot]);
        self.heads[slot] = index;
        let mut match_end = index + 9;
        let mut best_log = NO_OFFSET_LOG;
        for _ in 0..self.compares {
            if way.index <= low || way.index >= index {
                break;
            }
            let length = self.common(view, &way, at, end);
            if length > best.length {
                match_end = match_end.max(way.index + length);
                let distance = index - way.index;
                if 4 * (length - best.length) as i32 > (distance + 1).ilog2() as i32 - best_log {
                    best = Found { length, distance };
                    best_log = (distance + 3).ilog2() as i32;
                }
                if at + length == end {
                    break;
                }
            }
            if !self.go_on(view, &mut way, at, length, tree_low) {
                break;
            }
        }
        self.close(&way);
        self.next = match_end - 8 - INDEX_OFFSET;
        best
    }

    /// Sorts the positions of a hash that were entered since it was last searched.
    fn sort_candidates(&mut self, view: View<'_>, slot: usize, low: u32, end: u32) {
        let mut candidates = self.compares;
        let mut index = self.heads[slot];
        let mut previous = 0;
        let mut node = self.node(index);
        // The marks become a chain backwards, the oldest of the unsorted to be sorted first.
        while index > low && self.nodes[node + 1] == UNSORTED && candidates > 1 {
            self.nodes[node + 1] = previous;
            previous = index;
            index = self.nodes[node];
            node = self.node(index);
            candidates -= 1;
        }
        if index > low && self.nodes[node + 1] == UNSORTED {
            self.nodes[node] = 0;
            self.nodes[node + 1] = 0;
        }
        index = previous;
        while index != 0 {
            let next = self.nodes[self.node(index) + 1];
            self.sort(view, index, candidates, low, end);
            index = next;
            candidates += 1;
        }
    }
}
