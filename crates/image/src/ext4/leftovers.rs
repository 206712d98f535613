//! What deleted files have left in blocks that nobody uses.

use fluvial_delta::structure::{Extent, ReadAt};

use super::superblock::Superblock;
use crate::anatomist::HEAD_BYTES;
use crate::pages::Pages;

/// A group whose bitmap of blocks was never written: nothing of it was ever used.
const BLOCKS_UNINITIALIZED: u16 = 0x2;
/// Bytes that are looked at together; a block has 64 KiB at most.
const STEP_BYTES: u64 = 256 << 10;

/// How many bytes of the free blocks of an ext2, ext3 or ext4 image are in blocks that are not zero: files that were
/// deleted leave them. 0 for other images, those whose blocks are handed out in clusters, and what cannot be read. Takes
/// the time of reading free space, and little memory.
pub fn leftover_bytes(image: &dyn ReadAt) -> u64 {
    let mut pages = Pages::new(image);
    let head = pages.vec(0, image.len().min(HEAD_BYTES)).unwrap_or_default();
    let Some(superblock) = Superblock::parse(&head).filter(|superblock| !superblock.has_clusters) else {
        return 0;
    };
    let mut sum = 0;
    for group in 0..superblock.groups(image.len()) {
        // A group that is damaged, or one behind the image's end, is passed over.
        sum += of_group(image, &superblock, &mut pages, group).unwrap_or(0);
    }
    sum
}

fn of_group(image: &dyn ReadAt, superblock: &Superblock, pages: &mut Pages<'_>, group: u32) -> Option<u64> {
    let descriptor = superblock.descriptor_offset(group)?;
    if u16::from_le_bytes(pages.array(descriptor.checked_add(18)?)?) & BLOCKS_UNINITIALIZED != 0 {
        return Some(0);
    }
    let bitmap = superblock.bitmap_offset(pages, descriptor)?;
    let bitmap = pages.vec(bitmap, superblock.block_bytes)?;
    let blocks = superblock.blocks_of(group, image.len());
    let is_free =
        |index: u64| bitmap.get((index / 8) as usize).is_some_and(|byte| byte >> (index % 8) & 1 == 0);
    let (mut sum, mut index) = (0, 0);
    let mut bytes = Vec::new();
    while index < blocks.end - blocks.start {
        let at_once = STEP_BYTES / superblock.block_bytes;
        let count =
            (index..blocks.end - blocks.start).take(at_once as usize).take_while(|&at| is_free(at)).count();
        let extent = Extent {
            offset: (blocks.start + index) * superblock.block_bytes,
            len: count as u64 * superblock.block_bytes,
        };
        bytes.resize(extent.len as usize, 0);
        image.read_at(extent.offset, &mut bytes).ok()?;
        let is_left = |block: &&[u8]| block.iter().any(|&byte| byte != 0);
        sum += bytes.chunks(superblock.block_bytes as usize).filter(is_left).count() as u64;
        // One that is used ends the row.
        index += (count as u64).max(1);
    }
    Some(sum * superblock.block_bytes)
}
