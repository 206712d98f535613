//! The prediction of references: encoder and decoder agree over any old and new bytes and any covers.
//!
//! Input: count of covers, one byte; for each its gap to the one before (one byte), old offset and
//! length (two bytes each); where the second new file begins, and the length of the old bytes (two
//! bytes each); the old bytes; the new bytes.

use fluvial_delta::predict::{Cover, Predictor, labels};
use fluvial_delta::structure::Extent;

/// Covers are taken as they come, cut to fit. What is encoded comes back when it is decoded.
///
/// # Panics
/// Where that does not hold.
pub fn run(bytes: &[u8]) {
    let Some(case) = Case::read(bytes) else { return };
    let (old_len, new_len) = (case.old.len() as u64, case.new.len() as u64);
    let old_files = [Extent { offset: 0, len: old_len }];
    let split = case.split.min(new_len);
    let halves = [Extent { offset: 0, len: split }, Extent { offset: split, len: new_len - split }];
    let mut differences = case.new.to_vec();
    case.go_through(&mut differences, &old_files, &halves, true);
    case.go_through(&mut differences, &old_files, &halves, false);
    assert!(differences == case.new, "the decoder gives back something else");

    assert_eq!(labels(case.new).len(), case.new.len());
}

struct Case<'a> {
    covers: Vec<Cover>,
    split: u64,
    old: &'a [u8],
    new: &'a [u8],
}

impl<'a> Case<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let number = |bytes: &[u8], at: usize| u64::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
        let (&count, rest) = bytes.split_first()?;
        let (stated, rest) = rest.split_at_checked(5 * usize::from(count))?;
        let (numbers, rest) = rest.split_at_checked(4)?;
        let (old, new) = rest.split_at_checked(number(numbers, 2) as usize)?;
        let mut covers = Vec::new();
        let mut at = 0;
        for cover in stated.chunks_exact(5) {
            let (start, from) = (at + u64::from(cover[0]), number(cover, 1));
            let room = (old.len() as u64).saturating_sub(from).min((new.len() as u64).saturating_sub(start));
            let len = number(cover, 3).min(room);
            if len > 0 {
                covers.push(Cover { old: from, new: start, len });
                at = start + len;
            }
        }
        Some(Self { covers, split: number(numbers, 0), old, new })
    }

    /// Encodes or decodes all of `bytes` in place.
    fn go_through(&self, bytes: &mut [u8], old_files: &[Extent], new_files: &[Extent], encode: bool) {
        let mut predictor =
            Predictor::new(&self.covers[..], &self.old, old_files, new_files).expect("the covers fit");
        predictor.recode(bytes, encode).expect("the old bytes can be read");
        for index in 0..new_files.len() {
            let labelled = predictor.labels(0, index).expect("the old bytes can be read");
            assert_eq!(labelled.len(), self.old.len());
        }
    }
}
