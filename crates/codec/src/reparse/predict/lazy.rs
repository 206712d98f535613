//! libzstd's greedy, lazy and lazy2 parsers (`ZSTD_compressBlock_lazy_generic`), one sequence at a
//! time and always from where the real parser stood.

use super::rows::{Found, Rows};
use super::Block;
use crate::reparse::block::Sequence;
use crate::reparse::history::View;

/// Literals without a match after which steps grow by one.
const STEP_LOG: u32 = 8;
/// Steps beyond this make 1.5.5 and later enter only the positions that they search.
const SKIPPING_STEP: u32 = 8;
/// Positions at a block's end that are not searched: 8 to read, 8 of the hash cache.
const TAIL: u32 = 16;

/// The parser.
#[derive(Debug)]
pub struct Lazy {
    rows: Rows,
    /// How many positions ahead a better match is looked for: 0 to 2.
    depth: u32,
    /// The largest distance.
    window: u32,
    skip_entering: bool,
    /// The two last distances as the encoder knows them; 0 where it has none.
    repeats: [u32; 2],
    /// Those of before the block, should the block come out uncompressed.
    before: [u32; 2],
    /// Distances that were too far at the start of the block.
    saved: [u32; 2],
    /// The first position that may be referred to.
    low: u32,
    block: Block,
    /// The end of the last sequence.
    anchor: u32,
    /// Where to search next.
    at: u32,
    /// Whether a match ends at `anchor`, so that the second last distance is tried first.
    behind_match: bool,
}

impl Lazy {
    /// Makes the parser for a search by rows.
    pub fn new(rows: Rows, depth: u32, window: u32, skip_entering: bool) -> Self {
        Self {
            rows,
            depth,
            window,
            skip_entering,
            repeats: [1, 4],
            before: [1, 4],
            saved: [0; 2],
            low: 0,
            block: Block::default(),
            anchor: 0,
            at: 0,
            behind_match: false,
        }
    }

    /// Begins a frame or a job at `start`, with the content from `prefix` on known.
    pub fn restart(&mut self, view: View<'_>, prefix: u32, start: u32) {
        self.rows.clear();
        if start > prefix + 8 {
            self.rows.enter_all(view, prefix, start - 8);
        }
        self.rows.next = start;
        self.low = prefix;
        self.repeats = if start == 0 { [1, 4] } else { [0, 0] };
    }

    /// Begins a block.
    pub fn begin(&mut self, block: Block) {
        self.low = self.low.max(block.start.saturating_sub(self.window));
        self.rows.next = self.rows.next.max(self.low);
        if block.start > self.rows.next + 384 {
            self.rows.next = block.start - 192.min(block.start - self.rows.next - 384);
        }
        self.before = self.repeats;
        self.block = block;
        self.anchor = block.start;
        self.at = block.start + u32::from(block.start == self.low);
        let reach = self.at - self.low.max(self.at.saturating_sub(self.window));
        self.saved = [0; 2];
        for (repeat, saved) in self.repeats.iter_mut().zip(&mut self.saved) {
            if *repeat > reach {
                *saved = *repeat;
                *repeat = 0;
            }
        }
        self.behind_match = false;
    }

    /// Ends a block; one that came out uncompressed leaves no distances behind.
    pub fn end(&mut self, compressed: bool) {
        if !compressed {
            self.repeats = self.before;
            return;
        }
        if self.saved[0] != 0 && self.repeats[0] != 0 {
            self.saved[1] = self.saved[0];
        }
        for (repeat, saved) in self.repeats.iter_mut().zip(self.saved) {
            if *repeat == 0 {
                *repeat = saved;
            }
        }
    }

    /// Takes the sequence that really comes next into account.
    pub fn accept(&mut self, sequence: Sequence, distance: u32) {
        if sequence.repeat().is_none_or(|index| index > 0) {
            self.repeats[1] = self.repeats[0];
        }
        self.repeats[0] = distance;
        self.anchor += sequence.literals + sequence.length;
        self.at = self.anchor;
        self.behind_match = true;
    }

    fn repeats_at(&self, view: View<'_>, at: u32, distance: u32) -> bool {
        distance > 0 && at.wrapping_sub(distance) >= view.start() && distance <= at && view.u32(at) == view.u32(at - distance)
    }

    fn repeat_length(&self, view: View<'_>, at: u32, distance: u32) -> u32 {
        4 + view.common(at + 4 - distance, at + 4, self.block.end)
    }

    fn search(&mut self, view: View<'_>, at: u32, skipping: bool) -> Found {
        let low = self.low.max(at.saturating_sub(self.window)).max(view.start());
        self.rows.find(view, at, low, self.block.end, skipping)
    }

    /// The sequence that the parser would put out next; `None` for literals to the block's end.
    pub fn predict(&mut self, view: View<'_>) -> Option<Sequence> {
        let limit = self.block.end.saturating_sub(TAIL);
        if self.block.end - self.block.start < TAIL {
            return None;
        }
        if self.behind_match && self.at <= limit && self.repeats_at(view, self.at, self.repeats[1]) {
            let length = self.repeat_length(view, self.at, self.repeats[1]);
            return Some(Sequence { literals: 0, length, offset: 1 });
        }
        self.behind_match = false;
        let repeat = self.repeats[0];
        let mut skipping = false;
        while self.at < limit {
            let at = self.at;
            // A match of the last distance one byte ahead is the first to beat.
            let mut best = Candidate { start: at + 1, length: 0, offset: 1 };
            if self.repeats_at(view, at + 1, repeat) {
                best.length = self.repeat_length(view, at + 1, repeat);
                if self.depth == 0 {
                    return Some(self.sequence(best));
                }
            }
            let found = self.search(view, at, skipping);
            if found.length > best.length && found.distance > 0 {
                best = Candidate { start: at, length: found.length, offset: found.distance + 3 };
            }
            if best.length < 4 {
                let step = ((at - self.anchor) >> STEP_LOG) + 1;
                self.at += step;
                skipping = self.skip_entering && step > SKIPPING_STEP;
                continue;
            }
            if self.depth > 0 {
                self.look_ahead(view, &mut best, limit, skipping);
            }
            self.catch_up(view, &mut best);
            return Some(self.sequence(best));
        }
        None
    }

    fn look_ahead(&mut self, view: View<'_>, best: &mut Candidate, limit: u32, skipping: bool) {
        let mut at = self.at;
        'better: while at < limit {
            for (ahead, repeat_weight, bonus) in [(1, 3, 4), (2, 4, 7)] {
                if ahead > self.depth || (ahead == 2 && at >= limit) {
                    return;
                }
                at += 1;
                if self.repeats_at(view, at, self.repeats[0]) {
                    let length = self.repeat_length(view, at, self.repeats[0]);
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

    /// Lengthens a match to the front.
    fn catch_up(&self, view: View<'_>, best: &mut Candidate) {
        if best.offset <= 3 {
            return;
        }
        let distance = best.offset - 3;
        let low = self.low.max(view.start());
        while best.start > self.anchor
            && best.start - distance > low
            && view.byte(best.start - 1) == view.byte(best.start - 1 - distance)
        {
            best.start -= 1;
            best.length += 1;
        }
    }

    fn sequence(&self, best: Candidate) -> Sequence {
        Sequence { literals: best.start - self.anchor, length: best.length, offset: best.offset }
    }
}

/// A match that is being considered.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    start: u32,
    length: u32,
    offset: u32,
}
