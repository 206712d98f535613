//! Inodes, and files that stand in the image as they are.

use fluvial_delta::structure::Extent;

use super::superblock::Superblock;
use crate::field::{u16_at, u32_at, u64_at};
use crate::pages::Pages;
use crate::tree::Kind;

/// Bytes of an inode in its short and in its long form.
const INODE_BYTES: [u64; 2] = [32, 64];

/// How a file's content is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Blocks in a row.
    Flat,
    /// Compressed, eight bytes of index for each logical cluster.
    FullIndex,
    /// Blocks in a row, and the rest behind the inode.
    Inline,
    /// Compressed, two or four bytes of index for each logical cluster.
    CompactIndex,
    /// Chunks, each anywhere.
    Chunks,
    /// From the future.
    Unknown,
}

/// An inode, as far as it matters here.
pub(super) struct Inode {
    pub kind: Kind,
    pub layout: Layout,
    /// The file's length in bytes.
    pub len: u64,
    /// The first block, or the format of chunks.
    pub start: u32,
    /// Offset of the first byte behind the inode and its extended attributes.
    pub end_offset: u64,
}

impl Inode {
    /// Reads the inode at an offset.
    pub(super) fn read(pages: &mut Pages<'_>, offset: u64) -> Option<Self> {
        let short: [u8; INODE_BYTES[0] as usize] = pages.array(offset)?;
        let format = u16_at(&short, 0)?;
        let long = format & 1 != 0;
        let layout = match format >> 1 & 7 {
            0 => Layout::Flat,
            1 => Layout::FullIndex,
            2 => Layout::Inline,
            3 => Layout::CompactIndex,
            4 => Layout::Chunks,
            _ => Layout::Unknown,
        };
        let kind = match u16_at(&short, 4)? & 0xf000 {
            0x8000 => Kind::File,
            0x4000 => Kind::Folder,
            _ => Kind::Other,
        };
        // The long form has eight bytes of length; the block number stands at 16 in both.
        let len = if long { u64_at(&short, 8)? } else { u64::from(u32_at(&short, 8)?) };
        // A header of twelve bytes, then four per further unit.
        let xattrs_bytes = match u64::from(u16_at(&short, 2)?) {
            0 => 0,
            count => 12 + (count - 1) * 4,
        };
        let end_offset = offset.checked_add(INODE_BYTES[usize::from(long)])?.checked_add(xattrs_bytes)?;
        Some(Self { kind, layout, len, start: u32_at(&short, 16)?, end_offset })
    }

    /// The extents of a file that is laid out flat; none for other layouts.
    pub(super) fn flat_extents(&self, superblock: &Superblock) -> Vec<Extent> {
        let inline_len = match self.layout {
            Layout::Flat => 0,
            // The last block, whole or not, stands behind the inode.
            Layout::Inline => {
                self.len - self.len.saturating_sub(1) / superblock.block_bytes() * superblock.block_bytes()
            }
            _ => return Vec::new(),
        };
        let blocks = Extent { offset: superblock.block_offset(self.start), len: self.len - inline_len };
        let mut extents = vec![blocks, Extent { offset: self.end_offset, len: inline_len }];
        // Where there is no block, its number is no number.
        extents.retain(|extent| extent.len > 0);
        extents
    }
}
