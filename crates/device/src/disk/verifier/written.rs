//! How much of a result is written, on the disk, and hashed.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;

use super::Kind;

/// What is written is counted by blocks of so many bytes at least, and a power of two, ...
const BLOCK_BYTES_MIN: u64 = 64 << 10;
/// ... and by so many blocks at most, for which memory is taken.
const BLOCKS_MAX: u64 = 1 << 14;

/// What is written so far.
#[derive(Debug)]
pub struct Written {
    pub block_bytes: u64,
    pub len: u64,
    /// How many bytes of each block are not written.
    pub missing: Vec<u32>,
    /// Which blocks are on the disk.
    is_synced: Vec<bool>,
    /// Whole blocks that are not synced.
    pub fresh: Vec<u32>,
    /// Bytes since the last sync began, and those that are being synced.
    pub unsynced_bytes: u64,
    /// Everything before this offset is on the disk.
    pub synced_end: u64,
    /// Blocks that are on the disk and not hashed; none with SHA-256, which takes them in order.
    pub ready: BTreeSet<u32>,
    /// So many bytes are hashed, or are about to be.
    pub hashed_bytes: u64,
    /// Some byte was written twice, or was not written by this run.
    pub is_unknown: bool,
    /// Nothing more will come.
    pub is_closed: bool,
    /// Nothing more will be synced.
    pub is_over: bool,
    /// Why syncing failed.
    pub fault: Option<io::Error>,
}

impl Written {
    /// Nothing of `len` bytes is written; with `is_unknown`, some may be.
    pub fn new(len: u64, is_unknown: bool) -> Self {
        let block_bytes = len.div_ceil(BLOCKS_MAX).next_power_of_two().max(BLOCK_BYTES_MIN);
        let starts = (0..len).step_by(block_bytes as usize);
        let missing: Vec<u32> = starts.map(|start| (len - start).min(block_bytes) as u32).collect();
        Self {
            block_bytes,
            len,
            is_synced: vec![false; missing.len()],
            missing,
            fresh: Vec::new(),
            unsynced_bytes: 0,
            synced_end: 0,
            ready: BTreeSet::new(),
            hashed_bytes: 0,
            is_unknown,
            is_closed: false,
            is_over: false,
            fault: None,
        }
    }

    /// Notes that the bytes from `start` to `end` are there.
    pub fn add(&mut self, start: u64, end: u64) {
        self.unsynced_bytes += end - start;
        let mut at = start;
        while at < end && !self.is_unknown {
            let block = (at / self.block_bytes) as usize;
            let block_end = (block as u64 + 1) * self.block_bytes;
            let len = (end.min(block_end) - at) as u32;
            match self.missing.get_mut(block) {
                Some(missing) if *missing >= len => {
                    *missing -= len;
                    if *missing == 0 {
                        self.fresh.push(block as u32);
                    }
                }
                // Twice, or behind the end.
                _ => self.is_unknown = true,
            }
            at = block_end;
        }
    }

    /// So many bytes are on the disk and not hashed.
    pub fn ready_bytes(&self) -> u64 {
        self.ready.len() as u64 * self.block_bytes
    }

    /// Notes that these blocks are on the disk.
    pub fn synced(&mut self, blocks: &[u32], kind: Kind) {
        for &block in blocks {
            self.is_synced[block as usize] = true;
            if kind == Kind::Blake3 {
                self.ready.insert(block);
            }
        }
        let next = (self.synced_end / self.block_bytes) as usize;
        let more = self.is_synced.iter().skip(next).take_while(|is_synced| **is_synced).count();
        self.synced_end = ((next + more) as u64 * self.block_bytes).min(self.len);
    }

    /// Takes blocks in a row to be hashed, so many bytes at most, but one.
    pub fn take_ready(&mut self, bytes_max: u64) -> Range<u64> {
        let Some(first) = self.ready.pop_first() else { return 0..0 };
        let mut end = first + 1;
        while u64::from(end - first) * self.block_bytes < bytes_max && self.ready.remove(&end) {
            end += 1;
        }
        let bytes = u64::from(first) * self.block_bytes..(u64::from(end) * self.block_bytes).min(self.len);
        self.hashed_bytes += bytes.end - bytes.start;
        bytes
    }
}
