//! Which packed blocks of the sources are read so often that they are kept unpacked.
//!
//! Content that changed a little is found in many places: a change log copies from a dozen others.
//! Applying would unpack them again and again, its cache being small.

use std::collections::VecDeque;

use fluvial_codec::Format;

use super::encode::Piece;
use crate::map::SourceBlock;
use crate::space::{CACHE_BYTES, Space};
use crate::structure::{Extent, ReadAt};

/// A block that would be unpacked so often is kept in temporary storage instead.
const UNPACKED_OFTEN: u32 = 3;

/// Marks the blocks of `space` that applying would otherwise unpack often. `pieces` are in flattened
/// order.
pub(super) fn mark(space: &Space<'_>, pieces: &[Piece], blocks: &mut [SourceBlock]) {
    let mut cache = Cache { space, kept: VecDeque::new(), kept_bytes: 0, unpacked: vec![0; blocks.len()] };
    for piece in pieces.iter().filter(|piece| piece.cover.address < space.len()) {
        cache.read(Extent { offset: piece.cover.address, len: piece.cover.len });
    }
    for (block, unpacked) in blocks.iter_mut().zip(cache.unpacked) {
        block.often = block.format != Format::Stored && unpacked >= UNPACKED_OFTEN;
    }
}

/// What [`crate::space::BlockCache`] does, with lengths alone.
struct Cache<'a> {
    space: &'a Space<'a>,
    /// Blocks that are kept, the most recently used last.
    kept: VecDeque<usize>,
    kept_bytes: u64,
    /// How often each block was unpacked.
    unpacked: Vec<u32>,
}

impl Cache<'_> {
    fn read(&mut self, extent: Extent) {
        let mut address = extent.offset;
        while address < extent.end() {
            let Some(index) = self.space.block_at(address) else {
                // Sources stand in front of all blocks.
                address = self.space.sources_len();
                continue;
            };
            let (place, block) = (self.space.block_extent(index), self.space.blocks()[index]);
            let end = place.end().min(extent.end());
            if block.is_zeros() {
                // Nothing is read.
            } else if block.format == Format::Stored {
                let offset = block.packed.offset + (address - place.offset);
                self.read(Extent { offset, len: end - address });
            } else if !block.is_spooled() {
                self.unpack(index, block);
            }
            address = end;
        }
    }

    fn unpack(&mut self, index: usize, block: SourceBlock) {
        if let Some(at) = self.kept.iter().rposition(|&kept| kept == index) {
            self.kept.remove(at);
            self.kept.push_back(index);
            return;
        }
        self.unpacked[index] += 1;
        // Blocks stand behind what they are packed in: this ends.
        self.read(block.packed);
        self.kept.push_back(index);
        self.kept_bytes += block.plain_len;
        while self.kept_bytes > CACHE_BYTES as u64 && self.kept.len() > 1 {
            let dropped = self.kept.pop_front().map_or(0, |index| self.space.blocks()[index].plain_len);
            self.kept_bytes -= dropped;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Cover;
    use crate::scratch::MemoryScratch;

    const BLOCK_BYTES: u64 = 1 << 20;

    #[test]
    fn blocks_that_the_cache_cannot_hold_are_marked_when_they_are_read_in_turn() {
        let source = vec![0; 100];
        let sources: [&dyn ReadAt; 1] = [&source];
        let mut space = Space::new(&sources, &MemoryScratch);
        let count = CACHE_BYTES as u64 / BLOCK_BYTES + 1;
        let mut blocks: Vec<SourceBlock> = (0..count)
            .map(|index| SourceBlock {
                packed: Extent { offset: index, len: 1 },
                plain_len: BLOCK_BYTES,
                format: Format::Gzip,
                often: false,
            })
            .collect();
        let starts: Vec<u64> = blocks.iter().map(|&block| space.push(block)).collect();
        // An alias of the last block.
        let alias = Extent { offset: starts[count as usize - 1], len: BLOCK_BYTES };
        let alias =
            SourceBlock { packed: alias, plain_len: BLOCK_BYTES, format: Format::Stored, often: false };
        blocks.push(alias);
        let alias = space.push(alias);
        let reads = |addresses: &[u64], rounds: usize| -> Vec<Piece> {
            let cover = |&address: &u64| Cover { flat: 0, address, len: 10 };
            let piece = |address| Piece { cover: cover(address), exact: true };
            addresses.iter().map(piece).cycle().take(rounds * addresses.len()).collect()
        };
        let mut marked = |pieces: &[Piece]| -> Vec<bool> {
            mark(&space, pieces, &mut blocks);
            blocks.iter().map(|block| block.often).collect()
        };
        let mut all = starts[..count as usize - 1].to_vec();
        assert!(!marked(&reads(&all, 9)).contains(&true), "the cache holds them");
        all.push(alias);
        assert!(!marked(&reads(&all, 2)).contains(&true), "unpacked twice");
        let found = marked(&reads(&all, 3));
        assert!(found[..count as usize].iter().all(|&often| often), "unpacked three times");
        assert!(!found[count as usize], "an alias is not unpacked");
    }
}
