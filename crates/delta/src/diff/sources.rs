//! Leaves out the sources that a patch never reads: a root file system has thousands of files, and
//! each that the header names costs its digest and has to be hashed by every device.

use super::encode::Piece;
use crate::map::SourceBlock;
use crate::structure::{Extent, ReadAt};

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
    use fluvial_codec::Format;

    use super::*;
    use crate::frame::Cover;

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
