//! Leaves out the sources that a patch never reads: a root file system has thousands of files, and
//! each that the header names costs its digest and has to be hashed by every device. So do packed blocks of
//! them that would be unpacked for a few bytes.

use fluvial_codec::Format;

use super::encode::Piece;
use crate::map::SourceBlock;
use crate::space::Space;
use crate::structure::{Extent, ReadAt};

/// What a cover costs, in bytes, roughly: its length, its address and what it differs by.
const COVER_BYTES: u64 = 6;
/// A byte that packs as a literal costs a third of a byte, roughly.
const LITERAL_SHARE: u64 = 3;
/// What naming a source costs, in bytes, roughly.
const SOURCE_BYTES: u64 = 12;
/// What naming a packed block costs, in bytes, roughly.
const BLOCK_BYTES: u64 = 9;
/// Every device unpacks a block that is read: one byte of the patch for so many bytes unpacked.
const UNPACK_BYTES: u64 = 256;
/// Every device reads a source to check it: one byte of the patch for so many bytes read.
const READ_BYTES: u64 = 32 << 10;

/// Takes out the covers of sources that save less than naming and reading them costs: in a root file
/// system there is always some file that holds the same few bytes.
pub(super) fn drop_weak(space: &Space<'_>, sources: &[&dyn ReadAt], pieces: &mut Vec<Piece>) {
    let mut starts = Vec::with_capacity(sources.len());
    let mut end = 0;
    for source in sources {
        starts.push(end);
        end += source.len();
    }
    let source_of = |mut address: u64| {
        // What is unpacked of a block stands in the source that the block stands in.
        while let Some(block) = space.block_at(address) {
            if space.blocks()[block].is_zeros() {
                return None;
            }
            address = space.blocks()[block].packed.offset;
        }
        (address < end).then(|| starts.partition_point(|&start| start <= address) - 1)
    };
    let mut saved = vec![0_u64; sources.len()];
    for piece in pieces.iter() {
        if let Some(source) = source_of(piece.cover.address) {
            saved[source] += (piece.cover.len / LITERAL_SHARE).saturating_sub(COVER_BYTES);
        }
    }
    let is_worth_it = |source: usize| saved[source] >= SOURCE_BYTES + sources[source].len() / READ_BYTES;
    pieces.retain(|piece| source_of(piece.cover.address).is_none_or(is_worth_it));
}

/// Takes out the covers of packed blocks that save less than unpacking them costs: a page of a manual shares
/// phrases with hundreds of others.
pub(super) fn drop_weak_blocks(space: &Space<'_>, pieces: &mut Vec<Piece>) {
    let block_of = |address: u64| {
        space.block_at(address).filter(|&block| space.blocks()[block].format != Format::Stored)
    };
    let mut saved = vec![0_u64; space.blocks().len()];
    for piece in pieces.iter() {
        if let Some(block) = block_of(piece.cover.address) {
            saved[block] += (piece.cover.len / LITERAL_SHARE).saturating_sub(COVER_BYTES);
        }
    }
    let is_worth_it =
        |block: usize| saved[block] >= BLOCK_BYTES + space.blocks()[block].plain_len / UNPACK_BYTES;
    pieces.retain(|piece| block_of(piece.cover.address).is_none_or(is_worth_it));
}

/// Where the sources that are kept move to.
pub(super) struct Kept {
    /// For each old source, by its number: whether it is read.
    pub(super) used: Vec<bool>,
    /// Where each source starts, before; the length of all of them at the end.
    starts: Vec<u64>,
    /// How far down the addresses of each source move; at the end, those behind all sources.
    shifts: Vec<u64>,
}

impl Kept {
    /// Finds out what covers and source blocks read. All addresses are those of a space of these
    /// sources.
    pub(super) fn new(sources: &[&dyn ReadAt], blocks: &[SourceBlock], pieces: &[Piece]) -> Self {
        let mut starts = vec![0];
        let mut end = 0;
        for source in sources {
            end += source.len();
            starts.push(end);
        }
        let mut used = vec![false; sources.len()];
        let packed = blocks.iter().map(|block| block.packed);
        let covers = pieces.iter().map(|piece| Extent { offset: piece.cover.address, len: piece.cover.len });
        for extent in packed.chain(covers).filter(|extent| extent.len > 0) {
            let first = starts.partition_point(|&start| start <= extent.offset) - 1;
            for index in first..sources.len() {
                if starts[index] >= extent.end() {
                    break;
                }
                used[index] = true;
            }
        }
        let mut shift = 0;
        let mut shifts = Vec::with_capacity(starts.len());
        for (source, used) in sources.iter().zip(&used) {
            shifts.push(shift);
            shift += if *used { 0 } else { source.len() };
        }
        shifts.push(shift);
        Self { used, starts, shifts }
    }

    /// Whether nothing moves.
    pub(super) fn is_all(&self) -> bool {
        self.used.iter().all(|used| *used)
    }

    /// Where an address moves to; `None` if its source is left out.
    pub(super) fn address(&self, address: u64) -> Option<u64> {
        let index = self.starts.partition_point(|&start| start <= address) - 1;
        // The last start is the end of all sources: what lies behind always stays.
        self.used.get(index).is_none_or(|used| *used).then(|| address - self.shifts[index])
    }

    /// Those of a list, one for each source, that are kept.
    pub(super) fn of<T>(&self, list: Vec<T>) -> Vec<T> {
        list.into_iter().zip(&self.used).filter(|(_, used)| **used).map(|(item, _)| item).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Cover;

    #[test]
    fn sources_that_save_little_are_not_read() {
        let bytes = [vec![0_u8; 1000], vec![0; 5000], vec![0; 100]];
        let sources: Vec<&dyn ReadAt> = bytes.iter().map(|bytes| bytes as &dyn ReadAt).collect();
        let scratch = crate::scratch::MemoryScratch;
        let mut space = Space::new(&sources, &scratch);
        let packed = Extent { offset: 6000, len: 100 };
        let block = SourceBlock { packed, plain_len: 900, format: Format::Gzip, often: false };
        let unpacked = space.push(block);
        let cover = |address, len| Piece { cover: Cover { flat: 0, address, len }, exact: true };
        let mut pieces = vec![
            cover(10, 30),
            cover(200, 40),
            cover(1000, 400),
            cover(2000, 8),
            cover(unpacked, 500),
            cover(space.len() + 7, 5),
        ];
        drop_weak(&space, &sources, &mut pieces);
        let left: Vec<u64> = pieces.iter().map(|piece| piece.cover.address).collect();
        assert_eq!(left, [1000, 2000, unpacked, space.len() + 7], "the first source saves a few bytes only");
    }

    #[test]
    fn blocks_that_save_little_are_not_unpacked() {
        let bytes = vec![0_u8; 1000];
        let sources: [&dyn ReadAt; 1] = [&bytes];
        let scratch = crate::scratch::MemoryScratch;
        let mut space = Space::new(&sources, &scratch);
        let block = |offset, format| {
            let packed = Extent { offset, len: if format == Format::Stored { 9000 } else { 100 } };
            SourceBlock { packed, plain_len: 9000, format, often: false }
        };
        let [weak, strong] = [0, 100].map(|offset| space.push(block(offset, Format::Gzip)));
        let alias = space.push(block(200, Format::Stored));
        let cover = |address, len| Piece { cover: Cover { flat: 0, address, len }, exact: true };
        let mut pieces =
            vec![cover(5, 20), cover(weak, 40), cover(weak + 50, 60), cover(strong, 400), cover(alias, 20)];
        drop_weak_blocks(&space, &mut pieces);
        let left: Vec<u64> = pieces.iter().map(|piece| piece.cover.address).collect();
        assert_eq!(left, [5, strong, alias], "what is not unpacked costs nothing");
    }

    #[test]
    fn addresses_move_down_by_what_is_left_out() {
        let bytes = [vec![0_u8; 10], vec![0; 20], Vec::new(), vec![0; 30], vec![0; 40]];
        let sources: Vec<&dyn ReadAt> = bytes.iter().map(|bytes| bytes as &dyn ReadAt).collect();
        let block = SourceBlock {
            packed: Extent { offset: 65, len: 4 },
            plain_len: 9,
            format: Format::Gzip,
            often: false,
        };
        let cover = |address, len| Piece { cover: Cover { flat: 0, address, len }, exact: true };
        let kept = Kept::new(&sources, &[block], &[cover(25, 5), cover(103, 3)]);
        assert_eq!(kept.used, [false, true, false, false, true]);
        assert!(!kept.is_all());
        assert_eq!(kept.address(3), None);
        assert_eq!(kept.address(10), Some(0));
        assert_eq!(kept.address(29), Some(19));
        assert_eq!(kept.address(30), None);
        assert_eq!(kept.address(65), Some(25));
        assert_eq!(kept.address(100), Some(60));
        assert_eq!(kept.address(500), Some(460));
        assert_eq!(kept.of(vec!["a", "b", "c", "d", "e"]), ["b", "e"]);
        let crossing = Kept::new(&sources, &[], &[cover(9, 22)]);
        assert_eq!(crossing.used, [true, true, true, true, false]);
    }
}
