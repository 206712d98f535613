//! Writes without reading: pages that hold nothing yet are written as a whole.
//!
//! What writes a part of a page of a block device makes the system read the rest of it first. Where the rest is
//! nothing that anybody needs, because it will be written too, zeros in its place save that: an update writes the ends
//! of tens of thousands of files, and waits for the disk at each.

use std::io;
use std::sync::{Mutex, PoisonError};

use fluvial_delta::apply::Target as _;

use super::medium::Medium;

/// The size of pages, as most systems have it. Where they are larger, more is read.
const PAGE_BYTES: u64 = 4096;

/// Which pages of a medium hold something.
///
/// Memory: one bit for each page.
#[derive(Debug)]
pub struct Pages {
    len: u64,
    held: Mutex<Vec<u64>>,
}

impl Pages {
    /// All pages of a medium of `len` bytes, which hold nothing.
    pub fn new(len: u64) -> Self {
        let words = len.div_ceil(PAGE_BYTES).div_ceil(64) as usize;
        Self { len, held: Mutex::new(vec![0; words]) }
    }

    /// The bytes from `start` to `end` stay.
    pub fn keep(&self, start: u64, end: u64) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        for page in start / PAGE_BYTES..end.min(self.len).div_ceil(PAGE_BYTES) {
            hold(&mut held, page);
        }
    }

    /// Writes `bytes` at `offset` of the medium.
    ///
    /// # Errors
    /// What the medium reports.
    pub fn write_at(&self, medium: &Medium, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        if bytes.is_empty() || end > self.len {
            return medium.write_at(offset, bytes);
        }
        let (first, last) = (offset / PAGE_BYTES, (end - 1) / PAGE_BYTES);
        let (mut from, mut to) = (offset, end);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        // Others may write the rest of these pages: nobody does before they are there.
        for page in [first, last] {
            let start = page * PAGE_BYTES;
            let page_end = (start + PAGE_BYTES).min(self.len);
            let is_part = offset > start || end < page_end;
            if !hold(&mut held, page) && is_part {
                let (part_from, part_to) = (offset.max(start), end.min(page_end));
                let mut whole = [0; PAGE_BYTES as usize];
                whole[(part_from - start) as usize..(part_to - start) as usize]
                    .copy_from_slice(&bytes[(part_from - offset) as usize..(part_to - offset) as usize]);
                medium.write_at(start, &whole[..(page_end - start) as usize])?;
                if page == first {
                    from = part_to;
                } else {
                    to = part_from;
                }
            }
        }
        for page in first + 1..last {
            hold(&mut held, page);
        }
        drop(held);
        if from < to {
            medium.write_at(from, &bytes[(from - offset) as usize..(to - offset) as usize])?;
        }
        Ok(())
    }
}

/// Notes that a page holds something; answers whether it did before.
fn hold(held: &mut [u64], page: u64) -> bool {
    let bit = 1 << (page % 64);
    let Some(word) = held.get_mut((page / 64) as usize) else { return true };
    let did = *word & bit != 0;
    *word |= bit;
    did
}

#[cfg(test)]
mod tests {
    use fluvial_delta::structure::ReadAt as _;
    use proptest::prelude::*;

    use super::*;

    fn medium(len: u64) -> Medium {
        let file = tempfile::tempfile().unwrap();
        file.set_len(len).unwrap();
        let medium = Medium::new(file).unwrap();
        medium.write_at(0, &vec![0xee; len as usize]).unwrap();
        medium
    }

    fn read(medium: &Medium) -> Vec<u8> {
        let mut bytes = vec![0; medium.len() as usize];
        medium.read_at(0, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_rest_of_a_page_that_holds_nothing_becomes_zeros_and_no_other_byte_is_touched() {
        let medium = medium(20_000);
        let pages = Pages::new(20_000);
        pages.keep(8000, 8100);
        pages.write_at(&medium, 100, &[1; 50]).unwrap();
        pages.write_at(&medium, 7000, &[2; 100]).unwrap();
        pages.write_at(&medium, 12_000, &[3; 8000]).unwrap();
        pages.write_at(&medium, 200, &[4; 10]).unwrap();
        let mut expected = vec![0xee; 20_000];
        expected[..4096].fill(0);
        expected[100..150].fill(1);
        expected[200..210].fill(4);
        // Its page holds what is kept.
        expected[7000..7100].fill(2);
        expected[12_000..].fill(3);
        expected[8192..12_000].fill(0);
        assert_eq!(read(&medium), expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_written_once_stands_there_in_any_order(
            cuts in proptest::collection::btree_set(1_u64..30_000, 0..40),
            order in proptest::collection::vec(any::<u32>(), 41),
        ) {
            let len = 30_000;
            let content: Vec<u8> = (0..len).map(|at| (at / 3) as u8 | 1).collect();
            let mut cuts: Vec<u64> = cuts.into_iter().chain([0, len]).collect();
            cuts.sort_unstable();
            let mut parts: Vec<(u32, u64, u64)> =
                cuts.windows(2).zip(order).map(|(cut, key)| (key, cut[0], cut[1])).collect();
            parts.sort_unstable();
            let medium = medium(len);
            let pages = Pages::new(len);
            // One part stands there already.
            let kept = parts.pop().unwrap();
            medium.write_at(kept.1, &content[kept.1 as usize..kept.2 as usize]).unwrap();
            pages.keep(kept.1, kept.2);
            std::thread::scope(|scope| {
                let (ours, theirs) = parts.split_at(parts.len() / 2);
                let write = |parts: &[(u32, u64, u64)]| {
                    for (_, start, end) in parts {
                        pages.write_at(&medium, *start, &content[*start as usize..*end as usize]).unwrap();
                    }
                };
                scope.spawn(move || write(theirs));
                write(ours);
            });
            prop_assert!(read(&medium) == content);
        }
    }
}
