//! Frames: runs of operations that are decoded without any other frame.
//!
//! A frame makes a run of flattened bytes, of literals and covers in turn. A **cover** is a run of
//! bytes that resembles a run at an old address; it is the bytes expected there plus a residual, byte
//! for byte, modulo 256 (as bsdiff does: C. Percival, *Naive Differences of Executable Code*, 2003).
//! What is expected are the old bytes; in programs, the old bytes with their references re-aimed
//! ([`crate::predict`]). Residuals are mostly zero: runs of zeros and the bytes between them are
//! streams of their own, and so is each kind of number, because equal kinds pack best together.

use crate::limits::FRAME_COVERS_MAX;
use crate::predict;
use crate::structure::Extent;
use crate::wire::{WireError, WireReader, WireWriter};

mod builder;
mod reader;
mod residual;

pub use builder::{FrameBuilder, PackedFrame};
pub use reader::{FrameError, FrameMemory, FrameReader};

/// A run of flattened bytes that resembles a run of bytes at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cover {
    /// Where it starts in the flattened target.
    pub flat: u64,
    /// The address of the bytes it resembles: below the length of the old space an old address,
    /// from there on flattened bytes that were made earlier.
    pub address: u64,
    /// Its length in bytes; never zero.
    pub len: u64,
}

impl Cover {
    /// The first flattened byte behind the cover.
    pub fn flat_end(&self) -> u64 {
        self.flat + self.len
    }

    /// Whether all its bytes are there when it begins: bytes of the old space, which has `old_len` of
    /// them, or flattened bytes that are made before.
    pub fn can_be_read(&self, old_len: u64) -> bool {
        self.address
            .checked_add(self.len)
            .is_some_and(|end| end <= old_len || (self.address >= old_len && end - old_len <= self.flat))
    }
}

/// The programs of a frame, whose references are predicted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Programs {
    /// Where old programs stand in the old space; in order, without overlaps.
    pub old: Vec<Extent>,
    /// Where new programs stand in the flattened target; in order, without overlaps. The first may
    /// start before the frame, and the last may end behind it.
    pub new: Vec<Extent>,
}

impl Programs {
    /// The new program that holds a flattened byte.
    pub fn new_at(&self, flat: u64) -> Option<Extent> {
        let index = self.new.partition_point(|extent| extent.end() <= flat);
        self.new.get(index).copied().filter(|extent| extent.offset <= flat)
    }

    fn write(&self) -> Vec<u8> {
        let mut writer = WireWriter::default();
        for extents in [&self.old, &self.new] {
            writer.number(extents.len() as u64);
            let mut end = 0;
            for extent in extents {
                writer.number(extent.offset - end);
                writer.number(extent.len);
                end = extent.end();
            }
        }
        writer.bytes
    }

    fn read(bytes: &[u8], old_len: u64) -> Result<Self, WireError> {
        let mut reader = WireReader::new(bytes);
        let mut lists = [(Vec::new(), old_len), (Vec::new(), u64::MAX)];
        for (extents, limit) in &mut lists {
            let mut end = 0_u64;
            for _ in 0..reader.count("the number of programs", FRAME_COVERS_MAX)? {
                let offset = end.checked_add(reader.number()?);
                let len = reader.number()?;
                let stop = offset.and_then(|offset| offset.checked_add(len)).filter(|end| end <= limit);
                end = stop.ok_or(WireError::Invalid("a program stands outside of its space"))?;
                extents.push(Extent { offset: end - len, len });
            }
        }
        reader.finish()?;
        let [(old, _), (new, _)] = lists;
        Ok(Self { old, new })
    }
}

/// The covers that are predicted: those in programs that come from old bytes. For each, its index
/// among all covers.
fn predicted_covers(
    covers: &[Cover],
    programs: &Programs,
    old_len: u64,
) -> (Vec<predict::Cover>, Vec<usize>) {
    covers
        .iter()
        .enumerate()
        .filter(|(_, cover)| cover.address < old_len && programs.new_at(cover.flat).is_some())
        .map(|(index, cover)| (predict::Cover { old: cover.address, new: cover.flat, len: cover.len }, index))
        .unzip()
}

/// Where the next cover is expected, in the old space and in the flattened target.
#[derive(Debug, Default, Clone, Copy)]
struct ExpectedAddress {
    ends: [u64; 2],
}

impl ExpectedAddress {
    fn start(old_len: u64) -> Self {
        Self { ends: [0, old_len] }
    }

    /// A cover's address as a number: the distance from the expected one, and the space in bit 0.
    fn encode(&mut self, old_len: u64, cover_len: u64, gap: u64, address: u64) -> u64 {
        let space = usize::from(address >= old_len);
        let distance = address.wrapping_sub(self.ends[space].wrapping_add(gap)) as i64;
        self.ends[space] = address.wrapping_add(cover_len);
        let zigzag = ((distance << 1) ^ (distance >> 63)) as u64;
        (zigzag << 1) | space as u64
    }

    fn decode(&mut self, cover_len: u64, gap: u64, code: u64) -> u64 {
        let space = (code & 1) as usize;
        let zigzag = code >> 1;
        let distance = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
        let address = self.ends[space].wrapping_add(gap).wrapping_add(distance as u64);
        self.ends[space] = address.wrapping_add(cover_len);
        address
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Effort;

    #[test]
    fn a_cover_that_seems_to_cost_nothing_is_compared_still() {
        let (old, new) = (vec![7_u8; 1000], [vec![7_u8; 500], vec![9], vec![7; 499]].concat());
        let mut builder = FrameBuilder::new(1000, 0);
        builder.cover(0, 1000, 0);
        let frame =
            builder.finish(&old, &new, &Programs::default(), Effort::Smallest, u64::MAX).expect("read");
        let frame = frame.expect("memory is allowed");
        let mut reader = FrameReader::new(frame.bytes, false, 0, 1000, &old, &old).expect("a frame");
        let mut made = vec![0; 1000];
        assert_eq!(reader.read(&old, &mut made).expect("read"), 1000);
        assert!(made == new, "the byte that differs is told");
    }
}
