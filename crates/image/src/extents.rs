//! Where files stand in an image of a file system or a disk, without their names.

use fluvial_delta::structure::{Content, Dissector as _, Extent, Gathered, ReadAt, Structure};

use crate::Anatomist;

/// A disk has partitions, and a partition has no disk in it.
const DEPTH_MAX: u8 = 1;

/// The extents of all files of an image, in order and without overlaps: packed ones as they are packed. None where
/// nothing is recognised.
///
/// Memory: as [`Anatomist`], and 16 bytes for each extent.
pub fn file_extents(image: &dyn ReadAt) -> Vec<Extent> {
    let mut extents = Vec::new();
    gather(image, 0, DEPTH_MAX, &mut extents);
    extents.sort_unstable();
    separate(extents, image.len())
}

fn gather(image: &dyn ReadAt, start: u64, depth: u8, extents: &mut Vec<Extent>) {
    let Some(structure) = Anatomist.dissect(image, "") else { return };
    let is_disk = is_disk(&structure);
    for part in structure.parts {
        match part.content {
            Content::Plain(partition) if is_disk => {
                if let ([whole], true) = (partition.as_slice(), depth > 0) {
                    gather(&Gathered::new(image, &partition), start + whole.offset, depth - 1, extents);
                }
            }
            Content::Plain(list) => extents.extend(list.iter().map(|extent| shifted(*extent, start))),
            Content::Blocks(blocks) => {
                let mut last: Option<Extent> = None;
                for block in blocks {
                    match &mut last {
                        Some(last) if last.end() == block.extent.offset => last.len += block.extent.len,
                        _ => extents.extend(last.replace(block.extent).map(|extent| shifted(extent, start))),
                    }
                }
                extents.extend(last.map(|extent| shifted(extent, start)));
            }
        }
    }
}

fn is_disk(structure: &Structure) -> bool {
    ["gpt", "mbr"].contains(&structure.kind)
}

fn shifted(extent: Extent, start: u64) -> Extent {
    Extent { offset: start + extent.offset, ..extent }
}

/// Leaves out what overlaps.
fn separate(mut extents: Vec<Extent>, image_len: u64) -> Vec<Extent> {
    let mut end = 0;
    extents.retain(|extent| {
        let is_apart = extent.len > 0 && extent.offset >= end && extent.end() <= image_len;
        if is_apart {
            end = extent.end();
        }
        is_apart
    });
    extents
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(offset: u64, len: u64) -> Extent {
        Extent { offset, len }
    }

    #[test]
    fn files_do_not_overlap() {
        let list =
            vec![extent(0, 5000), extent(4096, 10), extent(8192, 1), extent(8300, 4), extent(90_000, 9)];
        let expected = [extent(0, 5000), extent(8192, 1), extent(8300, 4)];
        assert_eq!(separate(list, 50_000), expected);
        assert_eq!(separate(vec![extent(4096, 10)], 4106), [extent(4096, 10)]);
    }

    #[test]
    fn what_is_not_recognised_has_no_files() {
        assert_eq!(file_extents(&vec![1; 10_000]), []);
    }
}
