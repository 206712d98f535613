//! What an encoder would do next, given what it really did so far.

mod chains;
mod double;
mod fast;
mod finder;
mod hash;
mod lazy;
mod optimal;
mod prices;
mod recent;
mod rows;
mod series;
mod short;
mod trees;

use super::block::Sequence;
use super::history::View;
use super::traits::Traits;
use chains::Chains;
use double::Double;
use fast::Fast;
use finder::Finder;
use lazy::Lazy;
use optimal::Optimal;
use rows::Rows;
use trees::Trees;

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
    /// What the version does otherwise.
    pub traits: Traits,
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
        let (hash, chain) = (4u64 << self.hash_log, 4u64 << self.chain_log);
        match self.strategy {
            1 => hash,
            3..=5 if self.traits.has(Traits::ROWS) => Rows::memory(u32::from(self.hash_log)),
            2..=6 => hash + chain,
            7..=9 => hash + chain + (4 << 17) + (1 << 18),
            _ => 0,
        }
    }
}

/// Predicts sequences. One enum rather than a trait object: the calls are the inner loop.
#[derive(Debug)]
pub enum Predictor {
    /// Predicts that blocks are literals.
    Nothing,
    /// fast.
    Fast(Box<Fast>),
    /// dfast.
    Double(Box<Double>),
    /// greedy, lazy, lazy2, btlazy2.
    Lazy(Box<Lazy>),
    /// btopt, btultra, btultra2.
    Optimal(Box<Optimal>),
}

impl Predictor {
    /// Makes the predictor of a valid search.
    pub fn new(search: &Search) -> Self {
        let window = 1 << search.window_log;
        let (hash_log, chain_log) = (u32::from(search.hash_log), u32::from(search.chain_log));
        let search_log = u32::from(search.search_log);
        let hash_len = u32::from(search.min_match.clamp(4, 6));
        let since_1_5_5 = search.traits.has(Traits::SINCE_1_5_5);
        match search.strategy {
            1 => Self::Fast(Box::new(Fast::new(search))),
            2 => Self::Double(Box::new(Double::new(search))),
            3..=6 => {
                let finder = if search.strategy == 6 {
                    Finder::Trees(Trees::new(hash_log, chain_log, search_log, hash_len, window))
                } else if search.traits.has(Traits::ROWS) {
                    Finder::Rows(Rows::new(hash_log, search_log, hash_len, search.traits))
                } else {
                    Finder::Chains(Chains::new(hash_log, chain_log, search_log, hash_len))
                };
                let depth = (u32::from(search.strategy) - 3).min(2);
                Self::Lazy(Box::new(Lazy::new(finder, depth, window, since_1_5_5)))
            }
            7..=9 => Self::Optimal(Box::new(Optimal::new(search))),
            _ => Self::Nothing,
        }
    }

    /// Begins a frame (`start` 0) or a job of its own at `start`, which sees what is from `prefix` on.
    pub fn restart(&mut self, view: View<'_>, prefix: u32, start: u32) {
        match self {
            Self::Nothing => {}
            Self::Fast(fast) => fast.restart(view, prefix, start),
            Self::Double(double) => double.restart(view, prefix, start),
            Self::Lazy(lazy) => lazy.restart(view, prefix, start),
            Self::Optimal(optimal) => optimal.restart(view, prefix, start),
        }
    }

    /// Begins a block; the optimal parsers are given all that libzstd parses at once, and again for
    /// each part of it that became a block.
    pub fn begin(&mut self, view: View<'_>, block: Block) {
        match self {
            Self::Nothing => {}
            Self::Fast(fast) => fast.begin(block),
            Self::Double(double) => double.begin(block),
            Self::Lazy(lazy) => lazy.begin(block),
            Self::Optimal(optimal) => optimal.begin(view, block),
        }
    }

    /// The next sequence of the block, or `None` for literals to its end.
    pub fn predict(&mut self, view: View<'_>) -> Option<Sequence> {
        match self {
            Self::Nothing => None,
            Self::Fast(fast) => fast.predict(view),
            Self::Double(double) => double.predict(view),
            Self::Lazy(lazy) => lazy.predict(view),
            Self::Optimal(optimal) => optimal.predict(view),
        }
    }

    /// The sequence that really came next, and its distance.
    pub fn accept(&mut self, view: View<'_>, sequence: Sequence, distance: u32) {
        match self {
            Self::Nothing => {}
            Self::Fast(fast) => fast.accept(view, sequence, distance),
            Self::Double(double) => double.accept(view, sequence, distance),
            Self::Lazy(lazy) => lazy.accept(sequence, distance),
            Self::Optimal(optimal) => optimal.accept(view, sequence, distance),
        }
    }

    /// Ends a block.
    pub fn end(&mut self, compressed: bool) {
        match self {
            Self::Nothing => {}
            Self::Fast(fast) => fast.end(compressed),
            Self::Double(double) => double.end(compressed),
            Self::Lazy(lazy) => lazy.end(compressed),
            Self::Optimal(optimal) => optimal.end(compressed),
        }
    }
}
