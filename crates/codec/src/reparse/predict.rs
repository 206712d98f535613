//! What an encoder would do next, given what it really did so far.

mod hash;
mod lazy;
mod rows;

use super::block::Sequence;
use super::history::View;
use lazy::Lazy;
use rows::Rows;

/// Where a block stands.
#[derive(Debug, Clone, Copy, Default)]
pub struct Block {
    /// Position of the first byte.
    pub start: u32,
    /// Position behind the last byte.
    pub end: u32,
}

/// Parameters of a search, as libzstd's `ZSTD_compressionParameters` has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Search {
    /// 1 (fast) to 9 (btultra2); 0 predicts nothing.
    pub strategy: u8,
    /// Binary logarithm of the largest distance.
    pub window_log: u8,
    /// Binary logarithm of the chain table's length.
    pub chain_log: u8,
    /// Binary logarithm of the hash table's length.
    pub hash_log: u8,
    /// Binary logarithm of the number of attempts.
    pub search_log: u8,
    /// The shortest match looked for.
    pub min_match: u8,
    /// A length that is good enough, or a step for the fast strategies.
    pub target_length: u16,
    /// libzstd 1.5.5 and later: rows lack a slot and searches in noise enter fewer positions.
    pub since_1_5_5: bool,
}

/// The largest table that a search may ask for.
const TABLE_LOG_MAX: u8 = 26;

impl Search {
    /// Whether the numbers are such that a predictor can be made.
    pub fn is_valid(&self) -> bool {
        self.strategy <= 9
            && (10..=27).contains(&self.window_log)
            && (6..=TABLE_LOG_MAX).contains(&self.chain_log)
            && (6..=TABLE_LOG_MAX).contains(&self.hash_log)
            && (1..=TABLE_LOG_MAX).contains(&self.search_log)
            && (3..=7).contains(&self.min_match)
    }

    /// Bytes of memory of the predictor.
    pub fn memory(&self) -> u64 {
        match self.strategy {
            3..=5 => Rows::memory(u32::from(self.hash_log)),
            _ => 0,
        }
    }
}

/// Predicts sequences. One enum rather than a trait object: the calls are the inner loop.
#[derive(Debug)]
pub enum Predictor {
    /// Predicts that blocks are literals.
    Nothing,
    /// greedy, lazy, lazy2.
    Lazy(Box<Lazy>),
}

impl Predictor {
    /// Makes the predictor of a valid search.
    pub fn new(search: &Search) -> Self {
        let window = 1 << search.window_log;
        match search.strategy {
            3..=5 => {
                let rows = Rows::new(
                    u32::from(search.hash_log),
                    u32::from(search.search_log),
                    u32::from(search.min_match.clamp(4, 6)),
                    search.since_1_5_5,
                );
                Self::Lazy(Box::new(Lazy::new(rows, u32::from(search.strategy) - 3, window, search.since_1_5_5)))
            }
            _ => Self::Nothing,
        }
    }

    /// Begins a frame (`start` 0) or a job of its own at `start`, which sees what is from `prefix` on.
    pub fn restart(&mut self, view: View<'_>, prefix: u32, start: u32) {
        match self {
            Self::Nothing => {}
            Self::Lazy(lazy) => lazy.restart(view, prefix, start),
        }
    }

    /// Begins a block.
    pub fn begin(&mut self, block: Block) {
        match self {
            Self::Nothing => {}
            Self::Lazy(lazy) => lazy.begin(block),
        }
    }

    /// The next sequence of the block, or `None` for literals to its end.
    pub fn predict(&mut self, view: View<'_>) -> Option<Sequence> {
        match self {
            Self::Nothing => None,
            Self::Lazy(lazy) => lazy.predict(view),
        }
    }

    /// The sequence that really came next, and its distance.
    pub fn accept(&mut self, sequence: Sequence, distance: u32) {
        match self {
            Self::Nothing => {}
            Self::Lazy(lazy) => lazy.accept(sequence, distance),
        }
    }

    /// Ends a block.
    pub fn end(&mut self, compressed: bool) {
        match self {
            Self::Nothing => {}
            Self::Lazy(lazy) => lazy.end(compressed),
        }
    }
}
