//! Where files stand in a payload, as an index tells it.

use fluvial_delta::structure::{Extent, Files};
use fluvial_delta::wire::{WireReader, WireWriter};

use super::{Columns, Index};
use crate::cutting::Cutting;
use crate::error::IndexError;
use crate::limits::{EXTENTS_MAX, FILE_EXTENTS_MAX, FILES_MAX};

/// The file is a program whose references are masked.
const PROGRAM: u8 = 1;
/// It has more than one extent.
const SCATTERED: u8 = 2;

/// Whether a file may be cut as one stream: its holes cost time and no bytes, so it has no more of them than of
/// bytes that stand somewhere, and begins with such.
pub fn is_one(file: &[Extent]) -> bool {
    let sum = |is_hole: bool| {
        let of_kind = file.iter().filter(|extent| extent.is_hole() == is_hole);
        of_kind.map(|extent| extent.len).fold(0, u64::saturating_add)
    };
    let begins = file.first().is_some_and(|first| !first.is_hole());
    begins && file.len() <= FILE_EXTENTS_MAX && sum(true) <= sum(false)
}

/// Looks whether files are in order of where they begin, can be cut as they are told, and stand in `len` bytes
/// without overlaps, with one another or with `packed` files. Answers the first that does not, of files or of
/// extents.
pub(crate) fn check(files: &Files, packed: &[Vec<Extent>], len: u64) -> Result<(), usize> {
    let is_empty = |file: &[Extent]| file.iter().any(|extent| extent.len == 0);
    if let Some(wrong) = files.iter().position(|file| !is_one(file) || is_empty(file)) {
        return Err(wrong);
    }
    if !files.iter().map(|file| file[0].offset).is_sorted() {
        return Err(0);
    }
    let mut taken: Vec<Extent> = files.stored().chain(packed.iter().flatten().copied()).collect();
    taken.sort_unstable();
    let mut end = 0;
    for (index, extent) in taken.iter().enumerate() {
        match extent.offset.checked_add(extent.len) {
            Some(behind) if extent.offset >= end && extent.len > 0 && behind <= len => end = behind,
            _ => return Err(index),
        }
    }
    Ok(())
}

impl Index {
    /// Writes where files stand, and which are programs: first extents column by column, then the others.
    pub(super) fn write_files(&self, writer: &mut WireWriter) {
        writer.number(self.files.len() as u64);
        let mut at = 0;
        for file in self.files.iter() {
            writer.number(file[0].offset - at);
            at = file[0].end();
        }
        self.files.iter().for_each(|file| writer.number(file[0].len));
        for (file, &is_program) in self.files.iter().zip(&self.programs) {
            let scattered = if file.len() > 1 { SCATTERED } else { 0 };
            writer.raw(&[scattered | if is_program { PROGRAM } else { 0 }]);
        }
        for file in self.files.iter().filter(|file| file.len() > 1) {
            writer.number(file.len() as u64 - 1);
            let mut at = file[0].end();
            for extent in &file[1..] {
                writer.number(extent.len << 1 | u64::from(extent.is_hole()));
                if !extent.is_hole() {
                    writer.signed(extent.offset.cast_signed() - at.cast_signed());
                    at = extent.end();
                }
            }
        }
    }

    /// Reads them. Whether they overlap, or stand outside the payload, is looked at when it is known what stands
    /// behind it: until then no offset or length is above `bytes_max`.
    pub(super) fn read_files(
        columns: &mut Columns<'_>,
        cutting: Cutting,
        bytes_max: u64,
    ) -> Result<(Files, Vec<bool>), IndexError> {
        let count = columns.reader.count("files", FILES_MAX)?;
        if count > 0 && cutting != Cutting::Files {
            return Err(IndexError::Invalid("it is cut to blocks and has files"));
        }
        let distances = columns.column("a file's distance", count, bytes_max)?;
        let lens = columns.column("a file's length", count, bytes_max)?;
        let flags = columns.reader.raw(count)?;
        let (mut files, mut at, mut further) = (Files::new(), 0_u64, 0);
        let mut extents = Vec::new();
        for ((distance, len), flag) in distances.into_iter().zip(lens).zip(flags) {
            // None of them is above the limit: the sum fits.
            let first = Extent { offset: at + distance, len };
            at = first.end();
            if at > bytes_max {
                return Err(IndexError::Invalid("a file is outside the payload"));
            }
            extents.clear();
            extents.push(first);
            if flag & SCATTERED != 0 {
                further += read_further(&mut columns.reader, &mut extents, bytes_max)?;
                if further > EXTENTS_MAX {
                    return Err(IndexError::Invalid("its files have too many extents"));
                }
            }
            files.push(extents.iter().copied());
        }
        let programs = flags.iter().map(|flag| flag & PROGRAM != 0).collect();
        Ok((files, programs))
    }
}

/// Reads the extents of a file behind its first; answers how many these are.
fn read_further(
    reader: &mut WireReader<'_>,
    extents: &mut Vec<Extent>,
    bytes_max: u64,
) -> Result<usize, IndexError> {
    let count = reader.count("extents of a file", FILE_EXTENTS_MAX - 1)?;
    let mut at = extents[0].end();
    for _ in 0..count {
        let len = reader.limited("an extent's length", bytes_max << 1)?;
        let (len, is_hole) = (len >> 1, len & 1 != 0);
        if is_hole {
            extents.push(Extent::hole(len));
            continue;
        }
        let offset = at.checked_add_signed(reader.signed()?).filter(|&offset| offset <= bytes_max);
        let extent =
            Extent { offset: offset.ok_or(IndexError::Invalid("a file is outside the payload"))?, len };
        at = extent.end();
        extents.push(extent);
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEN: u64 = 1 << 20;

    fn extent(offset: u64, len: u64) -> Extent {
        Extent { offset, len }
    }

    fn of(lists: &[&[Extent]]) -> Files {
        lists.iter().copied().collect()
    }

    #[test]
    fn files_that_cannot_be_are_refused() {
        let right = of(&[&[extent(10, 5), extent(40, 10), Extent::hole(15)], &[extent(20, 20)]]);
        assert_eq!(check(&right, &[], LEN), Ok(()));
        assert_eq!(check(&right, &[vec![extent(0, 10)]], LEN), Ok(()));
        assert_eq!(check(&right, &[vec![extent(45, 10)]], LEN), Err(3));
        let wrong: [&[&[Extent]]; 9] = [
            // Overlaps: with another file, with itself.
            &[&[extent(10, 5), extent(30, 10)], &[extent(20, 20)]],
            &[&[extent(10, 5), extent(12, 3)]],
            // Out of order, outside, empty.
            &[&[extent(20, 20)], &[extent(10, 5)]],
            &[&[extent(10, 5), extent(LEN, 1)]],
            &[&[extent(10, 0)]],
            &[&[extent(10, 5), extent(20, 0)]],
            &[&[]],
            // Holes where none may be, and more of them than bytes.
            &[&[Extent::hole(1), extent(10, 5)]],
            &[&[extent(10, 5), Extent::hole(6)]],
        ];
        for files in wrong {
            assert!(check(&of(files), &[], LEN).is_err(), "{files:?}");
        }
        let many: Vec<Extent> = (0..=FILE_EXTENTS_MAX as u64).map(|at| extent(2 * at, 1)).collect();
        assert_eq!(check(&of(&[&many]), &[], LEN), Err(0));
        assert_eq!(check(&of(&[&many[1..]]), &[], LEN), Ok(()));
    }

    fn index(files: Files) -> Index {
        Index { programs: vec![true; files.len()], files, ..super::super::tests::blocks_sample() }
    }

    fn read(bytes: &[u8]) -> Result<(Files, Vec<bool>), IndexError> {
        let mut columns = Columns { reader: WireReader::new(bytes) };
        let read = Index::read_files(&mut columns, Cutting::Files, LEN)?;
        columns.reader.finish()?;
        Ok(read)
    }

    #[test]
    fn a_file_of_one_extent_takes_no_more_than_that() {
        let mut writer = WireWriter::default();
        index(of(&[&[extent(10, 5)], &[extent(20, 20)]])).write_files(&mut writer);
        assert_eq!(writer.bytes, [2, 10, 5, 5, 20, 1, 1]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            lens in proptest::collection::vec((1_u64..1000, 0_u64..1000, 0_u8..4), 1..60),
            seed: u64,
        ) {
            // Extents that stand apart, dealt out to files.
            let (mut at, mut lists, mut state) = (0, Vec::<Vec<Extent>>::new(), seed);
            for (len, distance, kind) in lens {
                let extent = extent(at + distance, len);
                at = extent.end();
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let count = lists.len();
                match lists.get_mut((state >> 33) as usize % count.max(1)) {
                    Some(list) if kind > 0 => {
                        list.push(extent);
                        if kind == 1 {
                            list.push(Extent::hole(len));
                        }
                        // In any order behind the first.
                        let last = list.len() - 1;
                        list.swap(1, last);
                    }
                    _ => lists.push(vec![extent]),
                }
            }
            let files: Files = lists.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(check(&files, &[], LEN), Ok(()));
            let mut writer = WireWriter::default();
            let index = index(files);
            index.write_files(&mut writer);
            prop_assert_eq!(read(&writer.bytes).unwrap(), (index.files, index.programs));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            if let Ok((files, programs)) = read(&bytes) {
                prop_assert_eq!(files.len(), programs.len());
                let _ = check(&files, &[], LEN);
            }
        }
    }
}
