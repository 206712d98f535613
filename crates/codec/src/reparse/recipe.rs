//! What it takes to pack a stream again, besides its content and the corrections.

use std::fmt;

use super::choices::Dialect;
use super::history::History;
use super::predict::Search;
use super::traits::Traits;

/// Version of [`Reparse::to_bytes`] and of everything that corrections depend on.
const VERSION: u8 = 1;
/// The largest job of a multi-threaded encoder: libzstd's limit.
const JOB_BYTES_MAX: u32 = 1 << 30;
/// Blocks, tables and models: what packing takes besides window and predictor.
const FIXED_MEMORY: u64 = 3 << 20;

/// How an encoder's parse is predicted. Corrections hold for exactly one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reparse {
    /// The search.
    pub search: Search,
    /// Content of each job of a multi-threaded encoder; 0 for a single one.
    pub job_bytes: u32,
    /// Content before a job that it sees.
    pub overlap_bytes: u32,
}

impl Reparse {
    /// Length of [`Reparse::to_bytes`].
    pub const BYTES: usize = 19;

    /// Bytes for the patch; see [`Reparse::from_bytes`].
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let search = &self.search;
        let mut bytes = [0; Self::BYTES];
        bytes[0] = VERSION;
        bytes[1] = search.strategy;
        bytes[2] = search.window_log;
        bytes[3] = search.chain_log;
        bytes[4] = search.hash_log;
        bytes[5] = search.search_log;
        bytes[6] = search.min_match;
        bytes[7..9].copy_from_slice(&search.target_length.to_le_bytes());
        bytes[9..11].copy_from_slice(&search.traits.bits().to_le_bytes());
        bytes[11..15].copy_from_slice(&self.job_bytes.to_le_bytes());
        bytes[15..19].copy_from_slice(&self.overlap_bytes.to_le_bytes());
        bytes
    }

    /// Reads and checks what [`Reparse::to_bytes`] wrote. `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::BYTES] = bytes.try_into().ok()?;
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let search = Search {
            strategy: bytes[1],
            window_log: bytes[2],
            chain_log: bytes[3],
            hash_log: bytes[4],
            search_log: bytes[5],
            min_match: bytes[6],
            target_length: u16::from_le_bytes([bytes[7], bytes[8]]),
            traits: Traits::from_bits(u16::from_le_bytes([bytes[9], bytes[10]]))?,
        };
        let recipe = Self { search, job_bytes: word(11), overlap_bytes: word(15) };
        (bytes[0] == VERSION && recipe.is_valid()).then_some(recipe)
    }

    /// Whether the numbers make sense together.
    pub fn is_valid(&self) -> bool {
        self.search.is_valid()
            && self.job_bytes <= JOB_BYTES_MAX
            && self.overlap_bytes as usize <= self.window()
    }

    /// The furthest that a match may reach back.
    pub fn window(&self) -> usize {
        1 << self.search.window_log
    }

    /// Content of each job, if there are several.
    pub fn job_bytes(&self) -> Option<u32> {
        (self.job_bytes > 0).then_some(self.job_bytes)
    }

    /// Content before a job that it sees.
    pub fn overlap_bytes(&self) -> u32 {
        self.overlap_bytes
    }

    /// Whether blocks may be parts of what was parsed as a whole (strategies from btopt on).
    pub fn splits_blocks(&self) -> bool {
        self.search.strategy >= 7
    }

    /// How blocks are coded.
    pub fn dialect(&self) -> Dialect {
        Dialect { strategy: self.search.strategy.max(1), traits: self.search.traits }
    }

    /// Upper bound of the heap that packing takes, for content of `plain_len` bytes, without the
    /// corrections.
    pub fn pack_memory_bytes(&self, plain_len: u64) -> u64 {
        let window = self.window();
        let history = (window + History::slack(window)) as u64;
        // A content shorter than the window is held whole, in a buffer that grows by doubling.
        history.min(plain_len.saturating_mul(2)) + self.search.memory() + FIXED_MEMORY
    }
}

impl fmt::Display for Reparse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 10] =
            ["none", "fast", "dfast", "greedy", "lazy", "lazy2", "btlazy2", "btopt", "btultra", "btultra2"];
        let search = &self.search;
        let name = NAMES.get(usize::from(search.strategy)).copied().unwrap_or("none");
        write!(
            f,
            "zstd parse predicted by {name} (window {}, chain {}, hash {}, search {}, match {}, target {}; {})",
            search.window_log,
            search.chain_log,
            search.hash_log,
            search.search_log,
            search.min_match,
            search.target_length,
            search.traits,
        )?;
        if self.job_bytes > 0 {
            write!(f, ", jobs of {} after {}", self.job_bytes, self.overlap_bytes)?;
        }
        Ok(())
    }
}
