//! The headers of old files that are kept, the least recently used forgotten first.

use crate::structure::{Extent, ReadAt};

use super::elf::Image;

/// Files whose headers are kept at a time ...
const KEPT_MAX: usize = 1024;
/// ... and bytes that they may take together, beside those of the file in use.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// The most that one file's headers take, in bytes: regions, three lists of 2^17 offsets, and what it
/// takes to make the lists of Go programs.
const IMAGE_BYTES_MAX: usize = (2 << 20) + (704 << 10);

/// Bytes that headers take, at most.
pub(super) const IMAGES_BYTES: u64 = (KEPT_BYTES_MAX + IMAGE_BYTES_MAX) as u64;

/// Headers by the index of their file; the file in use stands first.
#[derive(Debug, Default)]
pub(super) struct Images {
    kept: Vec<(usize, Option<Box<Image>>)>,
    /// How often headers were read.
    reads: usize,
}

impl Images {
    /// Puts the headers of file `index` first; reads them when they are not kept and at most
    /// `reads_max` were read before. Answers them, unless the file is no program.
    pub fn open(
        &mut self,
        index: usize,
        old: &dyn ReadAt,
        extent: Extent,
        reads_max: usize,
    ) -> Option<&mut Image> {
        match self.kept.iter().position(|(kept, _)| *kept == index) {
            Some(at) => self.kept[..=at].rotate_right(1),
            None if self.reads >= reads_max => return None,
            None => {
                self.reads += 1;
                self.make_room();
                self.kept.insert(0, (index, Image::read(old, extent).map(Box::new)));
            }
        }
        self.kept[0].1.as_deref_mut()
    }

    /// Headers that are kept.
    pub fn get(&self, index: usize) -> Option<&Image> {
        self.kept.iter().find(|(kept, _)| *kept == index)?.1.as_deref()
    }

    fn make_room(&mut self) {
        let mut bytes = 0;
        let mut fits = |(_, image): &(usize, Option<Box<Image>>)| {
            bytes += image.as_ref().map_or(0, |image| image.memory_bytes());
            bytes <= KEPT_BYTES_MAX
        };
        let count = self.kept.iter().take(KEPT_MAX - 1).take_while(|entry| fits(entry)).count();
        self.kept.truncate(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program for one address: one segment, no sections.
    fn program() -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[16] = 2;
        bytes[18] = 62;
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64] = 1;
        bytes[64 + 32..64 + 34].copy_from_slice(&[0, 16]);
        bytes[64 + 40..64 + 42].copy_from_slice(&[0, 16]);
        bytes
    }

    #[test]
    fn headers_are_read_once_while_they_are_kept_and_not_more_often_than_allowed() {
        let bytes = [program(), vec![0; 4096]].concat();
        let extents = [Extent { offset: 0, len: 4096 }, Extent { offset: 4096, len: 4096 }];
        let mut images = Images::default();
        for _ in 0..3 {
            assert!(images.open(0, &bytes, extents[0], 2).is_some());
            assert!(images.open(1, &bytes, extents[1], 2).is_none());
        }
        assert_eq!(images.reads, 2);
        assert!(images.get(0).is_some());
        assert!(images.get(1).is_none());
        assert!(images.open(2, &bytes, extents[0], 2).is_none());
        assert!(images.open(2, &bytes, extents[0], 3).is_some());
    }

    #[test]
    fn the_least_recently_used_are_forgotten() {
        let bytes = program();
        let mut images = Images::default();
        for index in 0..2 * KEPT_MAX {
            images.open(0, &bytes, Extent { offset: 0, len: 4096 }, usize::MAX);
            images.open(index, &bytes, Extent { offset: 0, len: 4096 }, usize::MAX);
        }
        assert_eq!(images.kept.len(), KEPT_MAX);
        assert!(images.get(0).is_some());
        assert!(images.get(1).is_none());
        assert!(images.get(2 * KEPT_MAX - 1).is_some());
        let bytes: usize = images.kept.iter().flat_map(|(_, image)| image).map(|i| i.memory_bytes()).sum();
        assert!(bytes as u64 <= IMAGES_BYTES);
    }
}
