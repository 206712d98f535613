//! Files in chunks: uncompressed, deduplicated against each other.

use fluvial_delta::structure::Extent;

use super::Image;
use super::inode::Inode;
use crate::catalogue::{Full, PIECES_MAX};
use crate::field::{u16_at, u32_at};

/// Low bits of the format: the chunk's size as a power of two of blocks.
const SIZE_MASK: u32 = 0x1f;
/// Eight bytes per chunk with a device number instead of four.
const INDEXED: u32 = 0x20;
/// The chunk is a hole.
const HOLE: u32 = u32::MAX;

/// The extents of a file in chunks. `None` where the index is damaged, or names another device.
pub(super) fn extents(image: &mut Image<'_>, inode: &Inode) -> Result<Option<Vec<Extent>>, Full> {
    let format = inode.start & 0xffff;
    let chunk_log = u32::from(image.superblock.block_log) + (format & SIZE_MASK);
    let entry_bytes = if format & INDEXED == 0 { 4 } else { 8 };
    let chunk_bytes = 1_u64 << chunk_log;
    let chunks = inode.len.div_ceil(chunk_bytes);
    image.charge_index(chunks.saturating_mul(entry_bytes))?;
    if chunks > PIECES_MAX as u64 {
        return Err(Full);
    }
    let Some(index) = inode
        .end_offset
        .checked_next_multiple_of(entry_bytes)
        .and_then(|offset| image.pages.vec(offset, chunks * entry_bytes))
    else {
        return Ok(None);
    };
    let mut extents = Vec::new();
    for (number, entry) in index.chunks_exact(entry_bytes as usize).enumerate() {
        let (device, block) = match (u16_at(entry, 2), u32_at(entry, entry.len() - 4)) {
            (Some(device), Some(block)) if entry_bytes == 8 => (device, block),
            (_, Some(block)) => (0, block),
            _ => return Ok(None),
        };
        if device != 0 {
            return Ok(None);
        }
        if block != HOLE {
            let len = chunk_bytes.min(inode.len - number as u64 * chunk_bytes);
            extents.push(Extent { offset: image.superblock.block_offset(block), len });
        }
    }
    Ok(Some(extents))
}
