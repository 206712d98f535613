//! Collects the operations of a frame and packs them.

use std::io;

use super::residual::ResidualWriter;
use super::{Cover, ExpectedAddress, Literals, Programs, predicted_covers};
use crate::predict::{HEAD_BYTES, Predictor};
use crate::stream::{Effort, decode_memory_bytes, write_stream};
use crate::structure::ReadAt;
use crate::wire::WireWriter;

const STEP_BYTES: usize = 64 << 10;

/// Collects the operations of one frame.
#[derive(Debug, Default)]
pub struct FrameBuilder {
    old_len: u64,
    start: u64,
    at: u64,
    covers: Vec<Cover>,
    /// For each cover its parts in order: length, and whether they are known to be equal.
    parts: Vec<Vec<(u64, bool)>>,
    /// The next cover must not be joined with the last one.
    cut: bool,
    literals: Vec<u8>,
    corrections: Vec<u8>,
    weight: u64,
}

/// A frame, packed.
#[derive(Debug)]
pub struct PackedFrame {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// How much memory decoding takes, in bytes, the packed ones included.
    pub memory_bytes: u64,
}

impl FrameBuilder {
    /// An empty frame that starts at flattened byte `start`, for an old space of `old_len` bytes.
    pub fn new(old_len: u64, start: u64) -> Self {
        Self { old_len, start, at: start, ..Self::default() }
    }

    /// Appends bytes that resemble nothing.
    pub fn literal(&mut self, bytes: &[u8]) {
        self.literals.extend_from_slice(bytes);
        self.at += bytes.len() as u64;
        self.weight += bytes.len() as u64 / 3;
    }

    /// Appends a cover; about `told` bytes of its residual are not zero, which only weighs. One that
    /// goes on where the last one ended is joined with it.
    pub fn cover(&mut self, address: u64, len: u64, told: u64) {
        self.append(address, len, false);
        self.weight += told / 2;
    }

    /// Appends a cover that is known to be equal byte for byte: it is not compared again.
    pub fn equal_cover(&mut self, address: u64, len: u64) {
        self.append(address, len, true);
    }

    fn append(&mut self, address: u64, len: u64, equal: bool) {
        let part = (len, equal);
        match (self.covers.last_mut(), self.parts.last_mut()) {
            (Some(last), Some(parts))
                if !self.cut
                    && last.flat_end() == self.at
                    && last.address + last.len == address
                    // Neither over the end of the old space nor into what it writes itself.
                    && (address + len <= self.old_len
                        || last.address >= self.old_len && address + len - self.old_len <= last.flat) =>
            {
                last.len += len;
                parts.push(part);
            }
            _ => {
                self.covers.push(Cover { flat: self.at, address, len });
                self.parts.push(vec![part]);
                self.weight += 4;
            }
        }
        self.cut = false;
        self.at += len;
    }

    /// Keeps the next cover apart from the last one: a program starts or ends here.
    pub fn cut(&mut self) {
        self.cut = true;
    }

    /// Appends the corrections of a packed content that starts here.
    pub fn corrections(&mut self, bytes: &[u8]) {
        self.corrections.extend_from_slice(bytes);
        self.weight += bytes.len() as u64;
    }

    /// How many covers it has.
    pub fn covers(&self) -> &[Cover] {
        &self.covers
    }

    /// The next flattened byte.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// A rough guess of the packed size so far, in bytes.
    pub fn weight(&self) -> u64 {
        self.weight
    }

    /// Bytes that it will hold before they are packed, at least.
    pub fn raw_len(&self) -> usize {
        self.literals.len() + self.corrections.len() + 4 * self.covers.len() + 2 * self.weight as usize
    }

    /// Works out the residual and packs everything. `space` is the old space, `flat` the flattened
    /// target; references are predicted in the covers of `programs`. Answers `None` where decoding would
    /// take more than `memory_bytes_max`: most often that is known before anything is packed.
    ///
    /// # Errors
    /// What cannot be read of the two.
    pub fn finish(
        &self,
        space: &dyn ReadAt,
        flat: &dyn ReadAt,
        programs: &Programs,
        effort: Effort,
        memory_bytes_max: u64,
    ) -> io::Result<Option<PackedFrame>> {
        let ([skips, runs, differences], rewritten) = self.encoded(space, flat, programs)?;
        let (literals, packed_literals) = self.pack_literals(&rewritten, programs, effort);
        let (mut gaps, mut lens, mut addresses) =
            (WireWriter::default(), WireWriter::default(), WireWriter::default());
        let mut expected = ExpectedAddress::start(self.old_len);
        let mut at = self.start;
        for cover in &self.covers {
            let gap = cover.flat - at;
            gaps.number(gap);
            lens.number(cover.len);
            addresses.number(expected.encode(self.old_len, cover.len, gap, cover.address));
            at = cover.flat_end();
        }
        let programs_bytes = if programs.new.is_empty() { Vec::new() } else { programs.write(literals) };
        let whole = [&gaps.bytes, &lens.bytes, &addresses.bytes, &programs_bytes];
        let streamed = [&skips, &runs, &differences, &rewritten, &self.corrections];
        let dictionaries: u64 =
            streamed.iter().map(|plain| decode_memory_bytes(plain.len() as u64, effort)).sum();
        let numbers: usize = whole.iter().map(|plain| plain.len()).sum();
        let predictor = if programs.new.is_empty() { 0 } else { Predictor::memory_bytes(self.covers.len()) };
        let covers = super::reader::covers_memory_bytes(self.covers.len() as u64);
        let beside = dictionaries + numbers as u64 + predictor + covers;
        if beside > memory_bytes_max {
            return Ok(None);
        }
        let mut writer = WireWriter::default();
        writer.number(self.covers.len() as u64);
        for plain in whole.into_iter().chain([&skips, &runs, &differences]) {
            write_stream(plain, effort, &mut writer);
        }
        writer.bytes.extend_from_slice(&packed_literals);
        write_stream(&self.corrections, effort, &mut writer);
        let memory_bytes = beside + writer.bytes.len() as u64;
        Ok((memory_bytes <= memory_bytes_max).then_some(PackedFrame { bytes: writer.bytes, memory_bytes }))
    }

    /// Packs the literals, rewritten or as they are: what gains in much new code, loses in little of it.
    fn pack_literals(&self, rewritten: &[u8], programs: &Programs, effort: Effort) -> (Literals, Vec<u8>) {
        let pack = |literals: &[u8]| {
            let mut writer = WireWriter::default();
            write_stream(literals, effort, &mut writer);
            writer.bytes
        };
        if programs.new.is_empty() || rewritten == self.literals {
            return (Literals::Plain, pack(&self.literals));
        }
        let (plain, rewritten) = rayon::join(|| pack(&self.literals), || pack(rewritten));
        if rewritten.len() < plain.len() {
            (Literals::Rewritten, rewritten)
        } else {
            (Literals::Plain, plain)
        }
    }

    /// The residual, and the literals with references rewritten.
    fn encoded(
        &self,
        space: &dyn ReadAt,
        flat: &dyn ReadAt,
        programs: &Programs,
    ) -> io::Result<([Vec<u8>; 3], Vec<u8>)> {
        let (predicted, indices) = predicted_covers(&self.covers, programs, self.old_len);
        let mut predictor = Predictor::new(predicted, space, programs.old.as_slice(), &programs.new)
            .map_err(io::Error::other)?;
        let mut indices = indices.into_iter().enumerate().peekable();
        let mut residual = ResidualWriter::default();
        let (mut old, mut new) = (vec![0; STEP_BYTES], vec![0; STEP_BYTES]);
        let mut literals = self.literals.clone();
        let mut rest = literals.as_mut_slice();
        let mut encode_literals = |predictor: &mut Predictor<'_>, mut at: u64, len: u64| {
            let (mut literals, behind) = std::mem::take(&mut rest).split_at_mut(len as usize);
            rest = behind;
            while !literals.is_empty() {
                let len = predictor.literal_step_len(at, literals.len() as u64);
                let (step, behind) = literals.split_at_mut(len as usize);
                predictor.encode_literal(at, step);
                literals = behind;
                at += len;
            }
        };
        let mut at = self.start;
        if let Some(first) = programs.new_at(at)
            && first.offset < at
        {
            predictor.literal(first.offset, &head_of(flat, first.offset, at)?);
        }
        for (index, (cover, parts)) in self.covers.iter().zip(&self.parts).enumerate() {
            encode_literals(&mut predictor, at, cover.flat - at);
            at = cover.flat_end();
            if let Some((predicted, _)) = indices.next_if(|(_, cover)| *cover == index) {
                let mut done = 0;
                while done < cover.len {
                    let len = predictor.step_len(predicted, done) as usize;
                    let bytes = &mut new[..len];
                    flat.read_at(cover.flat + done, bytes)?;
                    predictor.encode(predicted, done, bytes).map_err(io::Error::other)?;
                    residual.differences(bytes);
                    done += len as u64;
                }
                continue;
            }
            let mut done = 0;
            for &(len, equal) in parts {
                let end = done + len;
                if equal {
                    residual.same(len);
                    done = end;
                }
                while done < end {
                    let len = (end - done).min(STEP_BYTES as u64) as usize;
                    let (old, new) = (&mut old[..len], &mut new[..len]);
                    read_either(space, flat, cover.address + done, old)?;
                    flat.read_at(cover.flat + done, new)?;
                    new.iter_mut().zip(&*old).for_each(|(new, old)| *new = new.wrapping_sub(*old));
                    residual.differences(new);
                    done += len as u64;
                }
            }
        }
        encode_literals(&mut predictor, at, self.at - at);
        Ok((residual.finish(), literals))
    }
}

/// The bytes of a program before a frame, as far as prediction needs them.
fn head_of(flat: &dyn ReadAt, start: u64, frame_start: u64) -> io::Result<Vec<u8>> {
    let mut head = vec![0; (frame_start - start).min(HEAD_BYTES) as usize];
    flat.read_at(start, &mut head)?;
    Ok(head)
}

/// Reads old bytes, or flattened ones behind them.
fn read_either(space: &dyn ReadAt, flat: &dyn ReadAt, address: u64, buf: &mut [u8]) -> io::Result<()> {
    match address.checked_sub(space.len()) {
        Some(offset) => flat.read_at(offset, buf),
        None => space.read_at(address, buf),
    }
}
