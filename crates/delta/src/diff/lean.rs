//! The old space without what the patch does not read.

use std::collections::BTreeMap;

use super::FILE_KEPT_BYTES_MAX;
use super::encode::Piece;
use super::old::OldFiles;
use crate::map::SourceBlock;
use crate::scratch::ScratchStore;
use crate::space::Space;
use crate::structure::{Extent, ReadAt};

/// A space with only the blocks that covers use, directly or through other blocks; covers are moved
/// to its addresses.
pub(super) fn keep_used_blocks<'a>(
    space: &Space<'a>,
    sources: &'a [&'a dyn ReadAt],
    scratch: &'a dyn ScratchStore,
    files: &OldFiles,
    pieces: &mut [Piece],
) -> (Space<'a>, Vec<SourceBlock>, Vec<Extent>) {
    let mut used = vec![false; space.blocks().len()];
    let mark = |extent: Extent, used: &mut Vec<bool>| {
        let mut address = extent.offset;
        while address < extent.end() {
            match space.block_at(address) {
                Some(index) => {
                    used[index] = true;
                    address = space.block_extent(index).end();
                }
                None => address = extent.end().min(space.sources_len()).max(address + 1),
            }
        }
    };
    for piece in pieces.iter().filter(|piece| piece.cover.address < space.len()) {
        mark(Extent { offset: piece.cover.address, len: piece.cover.len }, &mut used);
    }
    // Files are kept whole: their heads tell how to read the rest.
    for part in &files.parts {
        if let [extent] = part.extents[..]
            && extent.len <= FILE_KEPT_BYTES_MAX
            && let (Some(first), Some(last)) =
                (space.block_at(extent.offset), space.block_at(extent.end().saturating_sub(1)))
            && used[first..=last].contains(&true)
        {
            used[first..=last].fill(true);
        }
    }
    for index in (0..used.len()).rev() {
        if used[index] {
            mark(space.blocks()[index].packed, &mut used);
        }
    }
    let mut lean = Space::new(sources, scratch);
    // Where each used block's addresses move, down by so much.
    let mut moved: BTreeMap<u64, u64> = BTreeMap::new();
    let new_address = |address: u64, moved: &BTreeMap<u64, u64>| {
        moved.range(..=address).next_back().map_or(address, |(_, shift)| address - shift)
    };
    for (index, block) in space.blocks().iter().enumerate().filter(|(index, _)| used[*index]) {
        let offset = new_address(block.packed.offset, &moved);
        let block = SourceBlock { packed: Extent { offset, ..block.packed }, ..*block };
        let start = lean.push(block);
        lean.share(lean.blocks().len() - 1, space, index);
        let old_start = space.block_extent(index).offset;
        moved.insert(old_start, old_start - start);
    }
    moved.insert(space.len(), space.len() - lean.len());
    for piece in pieces {
        piece.cover.address = new_address(piece.cover.address, &moved);
    }
    let kept = |extent: &Extent| match space.block_at(extent.offset) {
        Some(first) => space
            .block_at(extent.end().saturating_sub(1))
            .is_some_and(|last| last >= first && used[first..=last].iter().all(|&used| used)),
        None => extent.end() <= space.sources_len(),
    };
    let old_files = files
        .in_one_run()
        .into_iter()
        .filter(kept)
        .map(|extent| Extent { offset: new_address(extent.offset, &moved), len: extent.len })
        .collect();
    let blocks = lean.blocks().to_vec();
    (lean, blocks, old_files)
}
