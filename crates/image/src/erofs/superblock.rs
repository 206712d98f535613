//! The superblock.

use crate::field::{u8_at, u16_at, u32_at, u64_at};

/// Where the superblock starts.
const OFFSET: usize = 1024;
/// Its first number.
const MAGIC: u32 = 0xe0f5_e1e2;
/// Block sizes that the format allows, as powers of two: 512 bytes to 64 KiB.
const BLOCK_LOGS: std::ops::RangeInclusive<u8> = 9..=16;
/// Packed data stands at the end of its cluster, behind zeros.
const ZERO_PADDING: u32 = 0x1;
/// Tails of files stand in the packed inode (one bit with deduplication).
const FRAGMENTS: u32 = 0x20;
/// All features known here; others change the meaning of what is read.
const KNOWN: u32 = 0x7f;

/// The superblock, as far as it matters here.
pub(super) struct Superblock {
    pub block_log: u8,
    pub zero_padding: bool,
    pub root_inode: u64,
    pub packed_inode: Option<u64>,
    meta_block: u32,
}

impl Superblock {
    /// `None` where there is no EROFS, or one with features from the future.
    pub(super) fn parse(head: &[u8]) -> Option<Self> {
        let bytes = head.get(OFFSET..OFFSET + 128)?;
        let block_log = u8_at(bytes, 12)?;
        let features = u32_at(bytes, 80)?;
        if u32_at(bytes, 0)? != MAGIC || !BLOCK_LOGS.contains(&block_log) || features & !KNOWN != 0 {
            return None;
        }
        let packed_inode = u64_at(bytes, 96)?;
        Some(Self {
            block_log,
            zero_padding: features & ZERO_PADDING != 0,
            root_inode: u64::from(u16_at(bytes, 14)?),
            packed_inode: (features & FRAGMENTS != 0 && packed_inode != 0).then_some(packed_inode),
            meta_block: u32_at(bytes, 40)?,
        })
    }

    pub(super) fn block_bytes(&self) -> u64 {
        1 << self.block_log
    }

    /// Offset of a block; below 2^48.
    pub(super) fn block_offset(&self, block: u32) -> u64 {
        u64::from(block) << self.block_log
    }

    /// Offset of an inode: they are numbered in steps of 32 bytes.
    pub(super) fn inode_offset(&self, number: u64) -> Option<u64> {
        number.checked_mul(32)?.checked_add(self.block_offset(self.meta_block))
    }
}
