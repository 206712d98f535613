//! Where files stand in an image of a file system or a disk, without their names.

use fluvial_delta::structure::{Content, Dissector as _, Extent, Files, Gathered, ReadAt, Structure};

use crate::Anatomist;

/// A disk has partitions, and a partition has no disk in it.
const DEPTH_MAX: u8 = 1;

/// The files of an image, in the order in which they begin and without overlaps, with their holes but those at their
/// ends. Packed ones are told as they are packed, and where such a file is scattered each of its extents is a file.
/// None where nothing is recognised.
///
/// Memory: as [`Anatomist`], and 60 bytes for each extent.
pub fn image_files(image: &dyn ReadAt) -> Files {
    let structure = Anatomist.dissect(image, "");
    structure.map_or_else(Files::new, |structure| files_of(image, &structure))
}

/// The same of an image that was taken apart.
pub(crate) fn files_of(image: &dyn ReadAt, structure: &Structure) -> Files {
    let mut files = Files::new();
    gather((image, structure), 0, DEPTH_MAX, &mut files);
    separate(&files, image.len())
}

/// Where the files of an image stand, in order: what of a file stands in a row is one extent, whatever holes are
/// between.
///
/// Memory: as [`image_files`].
pub fn file_extents(image: &dyn ReadAt) -> Vec<Extent> {
    let mut extents: Vec<Extent> = Vec::new();
    for file in image_files(image).iter() {
        let first = extents.len();
        for extent in file.iter().filter(|extent| !extent.is_hole()) {
            match extents[first..].last_mut() {
                Some(last) if last.end() == extent.offset => last.len += extent.len,
                _ => extents.push(*extent),
            }
        }
    }
    extents.sort_unstable();
    extents
}

fn gather((image, structure): (&dyn ReadAt, &Structure), start: u64, depth: u8, files: &mut Files) {
    let is_disk = is_disk(structure);
    for part in &structure.parts {
        match &part.content {
            Content::Plain(partition) if is_disk => {
                if let ([whole], true) = (partition.as_slice(), depth > 0) {
                    let image = Gathered::new(image, partition);
                    if let Some(structure) = Anatomist.dissect(&image, "") {
                        gather((&image, &structure), start + whole.offset, depth - 1, files);
                    }
                }
            }
            Content::Plain(list) if part.holes.is_empty() => {
                files.push(list.iter().map(|extent| extent.moved_by(start)));
            }
            Content::Plain(list) => {
                files.push(part.with_holes(list).iter().map(|extent| extent.moved_by(start)));
            }
            Content::Blocks(blocks) => {
                let mut rows: Vec<Extent> = Vec::new();
                for block in blocks {
                    match rows.last_mut() {
                        Some(last) if last.end() == block.extent.offset => last.len += block.extent.len,
                        _ => rows.push(block.extent),
                    }
                }
                for row in rows {
                    files.push([row.moved_by(start)]);
                }
            }
        }
    }
}

fn is_disk(structure: &Structure) -> bool {
    ["gpt", "mbr"].contains(&structure.kind)
}

/// Puts files in order, and leaves out those that overlap.
fn separate(files: &Files, image_len: u64) -> Files {
    let files: Vec<&[Extent]> = files.iter().collect();
    let mut is_apart: Vec<bool> = files.iter().map(|file| !file.is_empty()).collect();
    let extents =
        files.iter().enumerate().flat_map(|(number, file)| file.iter().map(move |one| (*one, number)));
    let mut stored: Vec<(Extent, usize)> = extents.filter(|(extent, _)| !extent.is_hole()).collect();
    stored.sort_unstable();
    let mut end = 0;
    for (extent, number) in stored {
        if extent.len > 0 && extent.offset >= end && extent.end() <= image_len {
            end = extent.end();
        } else {
            is_apart[number] = false;
        }
    }
    let mut apart: Vec<&[Extent]> =
        files.into_iter().zip(is_apart).filter_map(|(file, is_apart)| is_apart.then_some(file)).collect();
    apart.sort_by_key(|file| file[0]);
    apart.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(offset: u64, len: u64) -> Extent {
        Extent { offset, len }
    }

    #[test]
    fn files_do_not_overlap() {
        let separated = |lists: &[&[Extent]], len| -> Vec<Vec<Extent>> {
            let files: Files = lists.iter().copied().collect();
            separate(&files, len).iter().map(<[Extent]>::to_vec).collect()
        };
        let ones = [extent(8300, 4), extent(0, 5000), extent(4096, 10), extent(8192, 1), extent(90_000, 9)];
        let ones: Vec<&[Extent]> = ones.iter().map(std::slice::from_ref).collect();
        let expected = [[extent(0, 5000)], [extent(8192, 1)], [extent(8300, 4)]];
        assert_eq!(separated(&ones, 50_000), expected);
        assert_eq!(separated(&[&[extent(4096, 10)]], 4106), [[extent(4096, 10)]]);
        let scattered = [extent(7000, 100), Extent::hole(50), extent(6000, 100)];
        assert_eq!(
            separated(&[&scattered, &[extent(6500, 10)]], 8000),
            [vec![extent(6500, 10)], scattered.into()]
        );
        // One that is within another one is left out as a whole.
        assert_eq!(separated(&[&scattered, &[extent(5000, 1001)]], 8000), [[extent(5000, 1001)]]);
        assert_eq!(separated(&[&scattered], 7099), [[]; 0]);
    }

    #[test]
    fn what_is_not_recognised_has_no_files() {
        assert!(image_files(&vec![1; 10_000]).is_empty());
        assert_eq!(file_extents(&vec![1; 10_000]), []);
    }
}
