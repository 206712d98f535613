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
pub(crate) use reader::covers_of;
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

/// How the literals of a frame's programs stand in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Literals {
    /// As they are.
    Plain,
    /// With references rewritten as addresses ([`predict::Predictor::encode_literal`]).
    Rewritten,
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

    fn write(&self, literals: Literals) -> Vec<u8> {
        let mut writer = WireWriter::default();
        writer.number(u64::from(literals == Literals::Rewritten));
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

    fn read(bytes: &[u8], old_len: u64) -> Result<(Self, Literals), WireError> {
        let mut reader = WireReader::new(bytes);
        let is_rewritten = reader.limited("how literals stand", 1)? == 1;
        let literals = if is_rewritten { Literals::Rewritten } else { Literals::Plain };
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
        Ok((Self { old, new }, literals))
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

    /// A program of x86-64 that calls the same few functions from everywhere (`calls`), or does so by the
    /// same distances.
    fn program(calls: bool) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[16] = 2;
        bytes[18] = 62;
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        let len = 4096_u64 + 20_000;
        bytes[64] = 1;
        bytes[68] = 5;
        bytes[64 + 32..64 + 40].copy_from_slice(&len.to_le_bytes());
        bytes[64 + 40..64 + 48].copy_from_slice(&len.to_le_bytes());
        for index in 0..4000_u32 {
            let end = bytes.len() as u32 + 5;
            let target = 0x100 * (index % 7);
            let distance = if calls { target.wrapping_sub(end) } else { target };
            bytes.push(0xe8);
            bytes.extend_from_slice(&distance.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn literals_of_programs_come_back_as_they_pack_best() {
        for (calls, best) in [(true, Literals::Rewritten), (false, Literals::Plain)] {
            let (old, new) = (vec![0_u8; 100], program(calls));
            let len = new.len() as u64;
            let programs = Programs { old: Vec::new(), new: vec![Extent { offset: 0, len }] };
            let mut builder = FrameBuilder::new(100, 0);
            builder.literal(&new);
            let frame = builder.finish(&old, &new, &programs, Effort::Smallest, u64::MAX).expect("read");
            let bytes = frame.expect("memory is allowed").bytes;
            let mut streams = WireReader::new(&bytes);
            streams.number().expect("a count");
            let lists = [(); 4].map(|()| crate::stream::read_stream(&mut streams).expect("a stream"));
            let (_, found) = Programs::read(&lists[3].read_all(1000).expect("a list"), 100).expect("a list");
            assert_eq!(found, best);
            let mut reader = FrameReader::new(bytes, false, 0, len, &old, &old).expect("a frame");
            let mut made = vec![0; new.len()];
            let mut done = 0;
            while done < made.len() {
                done += reader.read(&old, &mut made[done..]).expect("read");
            }
            assert!(made == new, "calls: {calls}");
        }
    }
}
