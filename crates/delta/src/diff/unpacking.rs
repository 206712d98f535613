//! What decoders take while a patch is applied.

use fluvial_codec::Format;

use super::DiffError;
use super::old::decode_memory_bytes;
use crate::layout::Node;
use crate::map::PatchMap;
use crate::space::Space;
use crate::structure::{Extent, Gathered, ReadAt};

/// The memory of decoders while a patch is applied.
#[derive(Debug, Default)]
pub(super) struct Unpacking {
    /// What unpacking large source blocks takes before the first frame, in bytes.
    pub(super) spooling_bytes: u64,
    /// What unpacking small blocks takes whenever they are read, in bytes, beyond what is counted for the
    /// program as such.
    pub(super) reading_bytes: u64,
}

impl Unpacking {
    /// Decoders of small blocks take this, in bytes, unless their streams ask for much larger windows
    /// than they have content: it is part of what was measured for the program.
    const USUAL_BYTES: u64 = 2 << 20;

    /// What the decoders of a map take: those of the old space's blocks, and of the new streams' pieces.
    pub(super) fn of(map: &PatchMap, space: &Space<'_>, new: &[&dyn ReadAt]) -> Result<Self, DiffError> {
        let mut unpacking = Self::default();
        // Of all blocks, and of those that a second thread unpacks meanwhile.
        let (mut spooling_bytes, mut beside_bytes) = (0, 0);
        for block in map.blocks.iter().filter(|block| block.format != Format::Stored) {
            let bytes = decode_memory_bytes(space, block.packed, block.format).map_err(DiffError::ReadOld)?;
            if block.is_spooled() {
                let whole = if block.fits_in_memory() { block.packed.len + block.plain_len } else { 0 };
                spooling_bytes = bytes.saturating_add(whole).max(spooling_bytes);
                if block.is_deflate() {
                    beside_bytes = bytes.saturating_add(whole).max(beside_bytes);
                }
            } else {
                unpacking.read(block.format, bytes);
            }
        }
        unpacking.spooling_bytes = spooling_bytes.saturating_add(beside_bytes);
        // Blocks of the targets that later parts copy from.
        for root in &map.roots {
            let Node::Packed(packed) = &root.node else { continue };
            let target = Gathered::new(new[root.target as usize], &root.extents);
            let mut offset = 0;
            for piece in packed.pieces.iter().filter(|_| packed.is_readable()) {
                let extent = Extent { offset, len: piece.packed_len };
                let format = map.packings[piece.recipe as usize].format;
                let bytes = decode_memory_bytes(&target, extent, format);
                unpacking.read(format, bytes.map_err(DiffError::ReadNew)?);
                offset = extent.end();
            }
        }
        Ok(unpacking)
    }

    fn read(&mut self, format: Format, bytes: u64) {
        // A legacy LZ4 frame has no header that asks for more than its content takes.
        if format == Format::Lz4Legacy {
            return;
        }
        self.reading_bytes = self.reading_bytes.max(bytes.saturating_sub(Self::USUAL_BYTES));
    }
}
