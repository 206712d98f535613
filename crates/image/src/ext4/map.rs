//! Where the blocks of a file stand: trees of extents, and the block maps of ext2 and ext3.

use fluvial_delta::structure::Extent;

use super::inode::Inode;
use crate::catalogue::{Full, PIECES_MAX};
use crate::field::{u16_at, u32_at};
use crate::pages::Pages;

/// First number of every node of an extent tree.
const EXTENT_MAGIC: u16 = 0xf30a;
/// Levels of an extent tree at most.
const EXTENT_DEPTH_MAX: u16 = 5;
/// Bytes of an extent, of an index entry, and of a node's header.
const EXTENT_BYTES: usize = 12;
/// Longer extents are allocated, but never written: they read as zeros.
const WRITTEN_BLOCKS_MAX: u16 = 32_768;
/// Numbers of single blocks at the start of a block map; indirect blocks follow.
const DIRECT_BLOCKS: usize = 12;
/// Bytes of tree nodes and indirect blocks that are read for one image at most.
const MAP_BYTES_MAX: u64 = 4 << 30;

/// Finds the extents of files.
pub(super) struct Mapper {
    block_bytes: u64,
    /// Bytes of nodes that may yet be read. In a sound image no node is read twice, so all of them
    /// together are no longer than the image.
    bytes_left: u64,
}

/// The extents of one file, in the making.
struct Run {
    extents: Vec<Extent>,
    holes: Vec<Extent>,
    /// Blocks before this one are mapped; what goes back there is damage.
    next_block: u64,
    len: u64,
    block_bytes: u64,
}

impl Mapper {
    pub(super) fn new(block_bytes: u64, stream_len: u64) -> Self {
        Self { block_bytes, bytes_left: stream_len.min(MAP_BYTES_MAX) }
    }

    /// The extents of a file, in order, up to its length, and its holes as offsets in the file. A damaged
    /// branch of the map is a hole.
    pub(super) fn extents(
        &mut self,
        pages: &mut Pages<'_>,
        inode: &Inode,
    ) -> Result<(Vec<Extent>, Vec<Extent>), Full> {
        let mut run = Run {
            extents: Vec::new(),
            holes: Vec::new(),
            next_block: 0,
            len: inode.len,
            block_bytes: self.block_bytes,
        };
        if inode.has_extents() {
            self.tree(pages, &inode.map, EXTENT_DEPTH_MAX, &mut run)?;
        } else {
            self.block_map(pages, &inode.map, &mut run)?;
        }
        Ok((run.extents, run.holes))
    }

    /// Adds what a node of an extent tree, and those below it, map. `level` only ever goes down.
    fn tree(&mut self, pages: &mut Pages<'_>, node: &[u8], level: u16, run: &mut Run) -> Result<(), Full> {
        let (Some(EXTENT_MAGIC), Some(entries), Some(depth)) =
            (u16_at(node, 0), u16_at(node, 2), u16_at(node, 6))
        else {
            return Ok(());
        };
        if depth > level {
            return Ok(());
        }
        for entry in node.chunks_exact(EXTENT_BYTES).skip(1).take(usize::from(entries)) {
            let block_number = |high, low| {
                u64::from(u16_at(entry, high).unwrap_or(0)) << 32 | u64::from(u32_at(entry, low).unwrap_or(0))
            };
            if depth == 0 {
                let (Some(first), Some(len)) = (u32_at(entry, 0), u16_at(entry, 4)) else { continue };
                if len <= WRITTEN_BLOCKS_MAX {
                    run.add(u64::from(first), block_number(6, 8), u64::from(len))?;
                }
            } else if let Some(child) = self.node(pages, block_number(8, 4))? {
                self.tree(pages, &child, depth - 1, run)?;
            }
        }
        Ok(())
    }

    /// Adds what a block map maps: twelve blocks, then blocks of numbers, of numbers of such, and
    /// so on.
    fn block_map(&mut self, pages: &mut Pages<'_>, map: &[u8], run: &mut Run) -> Result<(), Full> {
        let mut first = 0;
        for (slot, number) in map.chunks_exact(4).filter_map(|number| u32_at(number, 0)).enumerate() {
            let level = slot.saturating_sub(DIRECT_BLOCKS - 1) as u32;
            self.branch(pages, u64::from(number), level, first, run)?;
            first += (self.block_bytes / 4).pow(level);
        }
        Ok(())
    }

    /// Adds a block (level 0), or the blocks whose numbers it holds. Number 0 is a hole.
    fn branch(
        &mut self,
        pages: &mut Pages<'_>,
        number: u64,
        level: u32,
        first: u64,
        run: &mut Run,
    ) -> Result<(), Full> {
        if number == 0 || first.saturating_mul(self.block_bytes) >= run.len {
            return Ok(());
        }
        if level == 0 {
            return run.add(first, number, 1);
        }
        let Some(block) = self.node(pages, number)? else { return Ok(()) };
        let step = (self.block_bytes / 4).pow(level - 1);
        for (slot, number) in block.chunks_exact(4).filter_map(|number| u32_at(number, 0)).enumerate() {
            self.branch(pages, u64::from(number), level - 1, first + slot as u64 * step, run)?;
        }
        Ok(())
    }

    /// Reads a block of the map.
    fn node(&mut self, pages: &mut Pages<'_>, number: u64) -> Result<Option<Vec<u8>>, Full> {
        self.bytes_left = self.bytes_left.checked_sub(self.block_bytes).ok_or(Full)?;
        Ok(number.checked_mul(self.block_bytes).and_then(|offset| pages.vec(offset, self.block_bytes)))
    }
}

impl Run {
    /// Adds `blocks` blocks of the image from `start` as blocks of the file from `first`, as far
    /// as the file reaches.
    fn add(&mut self, first: u64, start: u64, blocks: u64) -> Result<(), Full> {
        if first < self.next_block {
            return Ok(());
        }
        let hole_offset = self.next_block.saturating_mul(self.block_bytes);
        self.next_block = first + blocks;
        let file_offset = first.saturating_mul(self.block_bytes);
        let len = (blocks * self.block_bytes).min(self.len.saturating_sub(file_offset));
        let Some(offset) = start.checked_mul(self.block_bytes).filter(|_| len > 0) else { return Ok(()) };
        if hole_offset < file_offset {
            self.holes.push(Extent { offset: hole_offset, len: file_offset - hole_offset });
        }
        if let Some(last) = self.extents.last_mut().filter(|last| last.end() == offset) {
            last.len += len;
            return Ok(());
        }
        if self.extents.len() + self.holes.len() >= PIECES_MAX {
            return Err(Full);
        }
        self.extents.push(Extent { offset, len });
        Ok(())
    }
}
