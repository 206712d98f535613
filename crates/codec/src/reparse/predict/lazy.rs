//! libzstd's greedy, lazy and lazy2 parsers (`ZSTD_compressBlock_lazy_generic`), one sequence at a
//! time and always from where the real parser stood.

use super::Block;
use super::finder::{Finder, Found};
use super::recent::Recent;
use crate::reparse::block::Sequence;
use crate::reparse::history::View;

/// Literals without a match after which steps grow by one.
const STEP_LOG: u32 = 8;
/// Steps beyond this make 1.5.5 and later enter only the positions that they search.
const SKIPPING_STEP: u32 = 8;

/// The parser.
#[derive(Debug)]
pub struct Lazy {
    finder: Finder,
    /// How many positions ahead a better match is looked for: 0 to 2.
    depth: u32,
    skip_entering: bool,
    recent: Recent,
}

/// A match that is being considered.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    start: u32,
    length: u32,
    offset: u32,
}

impl Lazy {
    /// Makes the parser.
    pub fn new(finder: Finder, depth: u32, window: u32, skip_entering: bool) -> Self {
        Self { finder, depth, skip_entering, recent: Recent::new(window) }
    }

    /// Begins a frame or a job at `start`, with the content from `prefix` on known.
    pub fn restart(&mut self, view: View<'_>, prefix: u32, start: u32) {
        self.recent.restart(prefix, start);
        self.finder.restart(view, prefix, start);
    }

    /// Begins a block.
    pub fn begin(&mut self, block: Block) {
        self.recent.begin(block);
        self.finder.begin(self.recent.low, block.start);
    }

    /// Ends a block.
    pub fn end(&mut self, compressed: bool) {
        self.recent.end(compressed);
    }

    /// Takes the sequence that really comes next into account.
    pub fn accept(&mut self, sequence: Sequence, distance: u32) {
        self.recent.accept(sequence, distance);
    }

    fn search(&mut self, view: View<'_>, at: u32, skipping: bool) -> Found {
        let low = self.recent.low.max(at.saturating_sub(self.recent.window)).max(view.start());
        self.finder.find(view, at, low, self.recent.block.end, skipping)
    }

    /// The sequence that the parser would put out next; `None` for literals to the block's end.
    pub fn predict(&mut self, view: View<'_>) -> Option<Sequence> {
        let tail = self.finder.tail();
        let block = self.recent.block;
        if block.end - block.start < tail {
            return None;
        }
        let limit = block.end - tail;
        if let Some(sequence) = self.recent.at_once(view, limit) {
            return Some(sequence);
        }
        let repeat = self.recent.distances[0];
        let mut skipping = false;
        while self.recent.at < limit {
            let at = self.recent.at;
            // A match of the last distance one byte ahead is the first to beat.
            let mut best = Candidate { start: at + 1, length: 0, offset: 1 };
            if self.recent.repeats(view, at + 1, repeat) {
                best.length = self.recent.length(view, at + 1, repeat);
                if self.depth == 0 {
                    return Some(self.recent.sequence(best.start, best.length, best.offset));
                }
            }
            let found = self.search(view, at, skipping);
            if found.length > best.length && found.distance > 0 {
                best = Candidate { start: at, length: found.length, offset: found.distance + 3 };
            }
            if best.length < 4 {
                let step = ((at - self.recent.anchor) >> STEP_LOG) + 1;
                self.recent.at += step;
                skipping = self.skip_entering && step > SKIPPING_STEP;
                continue;
            }
            if self.depth > 0 {
                self.look_ahead(view, &mut best, limit, skipping);
            }
            if best.offset > 3 {
                let low = self.recent.low.max(view.start());
                let growth = self.recent.grow_back(view, best.start, best.offset - 3, low);
                best.start -= growth;
                best.length += growth;
            }
            return Some(self.recent.sequence(best.start, best.length, best.offset));
        }
        None
    }

    fn look_ahead(&mut self, view: View<'_>, best: &mut Candidate, limit: u32, skipping: bool) {
        let repeat = self.recent.distances[0];
        let mut at = self.recent.at;
        'better: while at < limit {
            for (ahead, repeat_weight, bonus) in [(1, 3, 4), (2, 4, 7)] {
                if ahead > self.depth || (ahead == 2 && at >= limit) {
                    return;
                }
                at += 1;
                if self.recent.repeats(view, at, repeat) {
                    let length = self.recent.length(view, at, repeat);
                    let gain = (length * repeat_weight) as i32;
                    let old = (best.length * repeat_weight) as i32 - best.offset.ilog2() as i32 + 1;
                    if gain > old {
                        *best = Candidate { start: at, length, offset: 1 };
                    }
                }
                let found = self.search(view, at, skipping);
                if found.length >= 4 && found.distance > 0 {
                    let gain = (found.length * 4) as i32 - (found.distance + 3).ilog2() as i32;
                    let old = (best.length * 4) as i32 - best.offset.ilog2() as i32 + bonus;
                    if gain > old {
                        *best = Candidate { start: at, length: found.length, offset: found.distance + 3 };
                        continue 'better;
                    }
                }
            }
            return;
        }
    }
}
