//! Frames: runs of operations that are decoded without any other frame.
//!
//! A frame makes a run of flattened bytes, of literals and covers in turn. A **cover** is a run of
//! bytes that resembles a run at an old address; it is the old bytes plus a residual, byte for byte,
//! modulo 256 (as bsdiff does: C. Percival, *Naive Differences of Executable Code*, 2003). Residuals
//! are mostly zero: runs of zeros and the bytes between them are streams of their own, and so is
//! each kind of number, because equal kinds pack best together.

use std::io::{self, Read};

use crate::limits::{CORRECTIONS_BYTES_MAX, FRAME_COVERS_MAX, FRAME_PACKED_BYTES_MAX};
use crate::stream::{Effort, decode_memory_bytes, read_stream, write_stream};
use crate::wire::{WireError, WireReader, WireWriter};

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
}

/// Zeros inside a residual that are too few to end a run of bytes that differ.
const ZERO_RUN_MIN: u64 = 2;

/// Collects the operations of one frame.
#[derive(Debug, Default)]
pub struct FrameBuilder {
    old_len: u64,
    literal_lens: WireWriter,
    cover_lens: WireWriter,
    addresses: WireWriter,
    runs: WireWriter,
    differences: Vec<u8>,
    literals: Vec<u8>,
    corrections: Vec<u8>,
    covers: usize,
    /// The last cover, which the next one may continue: its address and length.
    open: Option<(u64, u64)>,
    /// Literal bytes before it.
    open_gap: u64,
    literal_len: u64,
    zeros: u64,
    nonzeros: u64,
    expected: ExpectedAddress,
}

/// Where the next cover is expected, in the old space and in the flattened target.
#[derive(Debug, Default, Clone, Copy)]
struct ExpectedAddress {
    ends: [u64; 2],
}

impl ExpectedAddress {
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

    fn start(old_len: u64) -> Self {
        Self { ends: [0, old_len] }
    }
}

impl FrameBuilder {
    /// An empty frame for an old space of `old_len` bytes.
    pub fn new(old_len: u64) -> Self {
        Self { old_len, expected: ExpectedAddress::start(old_len), ..Self::default() }
    }

    /// Appends bytes that resemble nothing.
    pub fn literal(&mut self, bytes: &[u8]) {
        self.literals.extend_from_slice(bytes);
        self.literal_len += bytes.len() as u64;
    }

    /// Appends a cover; its residual follows by [`FrameBuilder::residual`]. A cover that goes on where
    /// the last one ended is joined with it.
    pub fn cover(&mut self, address: u64, len: u64) {
        match &mut self.open {
            Some((start, open_len)) if self.literal_len == 0 && *start + *open_len == address && address != self.old_len =>
            {
                *open_len += len;
            }
            _ => {
                self.close_cover();
                self.open = Some((address, len));
                self.open_gap = std::mem::take(&mut self.literal_len);
            }
        }
    }

    /// Writes the cover that may still have grown.
    fn close_cover(&mut self) {
        let Some((address, len)) = self.open.take() else { return };
        self.literal_lens.number(self.open_gap);
        self.cover_lens.number(len);
        let code = self.expected.encode(self.old_len, len, self.open_gap, address);
        self.addresses.number(code);
        self.covers += 1;
    }

    /// Appends a residual of zeros: cover bytes that are what is expected.
    pub fn same(&mut self, len: u64) {
        self.zeros += len;
    }

    /// How many covers it has.
    pub fn covers(&self) -> usize {
        self.covers
    }

    /// Appends the difference of so many cover bytes from what is expected there.
    pub fn residual(&mut self, expected: &[u8], actual: &[u8]) {
        if expected == actual {
            self.zeros += actual.len() as u64;
            return;
        }
        for (expected, actual) in expected.iter().zip(actual) {
            let difference = actual.wrapping_sub(*expected);
            if difference == 0 {
                self.zeros += 1;
                continue;
            }
            if self.zeros >= ZERO_RUN_MIN || self.nonzeros == 0 {
                self.end_run();
            } else {
                let inner = self.zeros as usize;
                self.differences.resize(self.differences.len() + inner, 0);
                self.nonzeros += self.zeros;
                self.zeros = 0;
            }
            self.differences.push(difference);
            self.nonzeros += 1;
        }
    }

    /// Writes the run of differing bytes that came before the pending zeros, and the zeros.
    fn end_run(&mut self) {
        if self.nonzeros > 0 {
            self.runs.number(self.nonzeros);
        }
        self.runs.number(self.zeros);
        self.nonzeros = 0;
        self.zeros = 0;
    }

    /// Appends the corrections of a packed content that starts here.
    pub fn corrections(&mut self, bytes: &[u8]) {
        self.corrections.extend_from_slice(bytes);
    }

    /// The frame's bytes, packed.
    pub fn finish(mut self, effort: Effort) -> Vec<u8> {
        self.close_cover();
        if self.nonzeros > 0 {
            self.runs.number(self.nonzeros);
        }
        let mut writer = WireWriter::default();
        writer.number(self.covers as u64);
        let streams = [
            &self.literal_lens.bytes,
            &self.cover_lens.bytes,
            &self.addresses.bytes,
            &self.runs.bytes,
            &self.differences,
            &self.literals,
            &self.corrections,
        ];
        for plain in streams {
            write_stream(plain, effort, &mut writer);
        }
        writer.bytes
    }

    /// A rough guess of the packed size so far, in bytes.
    pub fn weight(&self) -> u64 {
        (self.literals.len() as u64) / 3
            + (self.differences.len() as u64) / 2
            + (self.runs.bytes.len() as u64) / 2
            + 4 * self.covers as u64
            + self.corrections.len() as u64
    }

    /// How much memory decoding takes, in bytes, beside the packed frame.
    pub fn decode_memory_bytes(&self) -> u64 {
        let streamed = [&self.runs.bytes, &self.differences, &self.literals, &self.corrections];
        let dictionaries: u64 = streamed.iter().map(|plain| decode_memory_bytes(plain.len() as u64)).sum();
        dictionaries + (self.covers * size_of::<Cover>()) as u64
    }
}

/// Decodes one frame, front to back.
pub struct FrameReader {
    covers: std::vec::IntoIter<Cover>,
    /// The cover that is being made, its made part cut off.
    current: Option<Cover>,
    flat: u64,
    flat_end: u64,
    literals: Box<dyn Read + Send>,
    residual: Residual,
    corrections: Box<dyn Read + Send>,
}

/// A frame cannot be decoded, though its bytes are those that were written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A field has no meaning.
    #[error("a field of the frame")]
    Field(#[from] WireError),
    /// A stream inside cannot be unpacked.
    #[error("a stream of the frame cannot be unpacked")]
    Stream(#[source] io::Error),
    /// A cover cannot be read.
    #[error("{len} bytes at address {address} cannot be read")]
    Cover {
        /// Where the bytes should stand.
        address: u64,
        /// How many.
        len: u64,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl FrameReader {
    /// Opens a frame that makes the flattened bytes from `flat` to `flat + flat_len`, for an old space
    /// of `old_len` bytes. Takes memory for the covers and the dictionaries.
    ///
    /// # Errors
    /// [`FrameError`].
    pub fn new(bytes: &[u8], flat: u64, flat_len: u64, old_len: u64) -> Result<Self, FrameError> {
        let mut reader = WireReader::new(bytes);
        let count = reader.limited("the number of covers", FRAME_COVERS_MAX as u64)? as usize;
        let mut numbers = Vec::with_capacity(3);
        for _ in 0..3 {
            let stream = read_stream(&mut reader)?;
            numbers.push(stream.read_all(10 * FRAME_COVERS_MAX).map_err(FrameError::Stream)?);
        }
        let covers = read_covers(&numbers, count, flat, flat_len, old_len)?;
        let mut open =
            || -> Result<_, FrameError> { read_stream(&mut reader)?.reader().map_err(FrameError::Stream) };
        let residual = Residual::new(open()?, open()?);
        let (literals, corrections) = (open()?, open()?);
        reader.finish()?;
        Ok(Self {
            covers: covers.into_iter(),
            current: None,
            flat,
            flat_end: flat + flat_len,
            literals,
            residual,
            corrections,
        })
    }

    /// How many flattened bytes are left to make.
    pub fn left(&self) -> u64 {
        self.flat_end - self.flat
    }

    /// Makes the next bytes, at most `buf.len()`, reading covers from `space`; answers how many.
    ///
    /// # Errors
    /// [`FrameError`].
    pub fn read(&mut self, space: &dyn crate::structure::ReadAt, buf: &mut [u8]) -> Result<usize, FrameError> {
        if self.current.is_none() {
            self.current = self.covers.next();
        }
        let literal_end = self.current.map_or(self.flat_end, |cover| cover.flat);
        if self.flat < literal_end {
            let len = (literal_end - self.flat).min(buf.len() as u64) as usize;
            self.literals.read_exact(&mut buf[..len]).map_err(FrameError::Stream)?;
            self.flat += len as u64;
            return Ok(len);
        }
        let Some(cover) = self.current.as_mut() else { return Ok(0) };
        let len = cover.len.min(buf.len() as u64) as usize;
        let buf = &mut buf[..len];
        let address = cover.address;
        space.read_at(address, buf).map_err(|source| FrameError::Cover { address, len: len as u64, source })?;
        self.residual.add(buf).map_err(FrameError::Stream)?;
        self.flat += len as u64;
        *cover = Cover { flat: self.flat, address: address + len as u64, len: cover.len - len as u64 };
        if cover.len == 0 {
            self.current = None;
        }
        Ok(len)
    }

    /// Takes the corrections of a packed content that starts here.
    ///
    /// # Errors
    /// [`FrameError`].
    pub fn take_corrections(&mut self, len: u64) -> Result<Vec<u8>, FrameError> {
        let mut bytes = Vec::new();
        let len = len.min(CORRECTIONS_BYTES_MAX as u64);
        (&mut self.corrections).take(len).read_to_end(&mut bytes).map_err(FrameError::Stream)?;
        if bytes.len() as u64 != len {
            return Err(FrameError::Stream(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(bytes)
    }
}

fn read_covers(
    numbers: &[Vec<u8>],
    count: usize,
    flat: u64,
    flat_len: u64,
    old_len: u64,
) -> Result<Vec<Cover>, WireError> {
    let [literal_lens, cover_lens, addresses] = numbers else { return Err(WireError::Truncated) };
    let [mut literal_lens, mut cover_lens, mut addresses] =
        [literal_lens, cover_lens, addresses].map(|bytes| WireReader::new(bytes));
    let mut expected = ExpectedAddress::start(old_len);
    let mut covers = Vec::with_capacity(count);
    let (mut at, end) = (flat, flat + flat_len);
    for _ in 0..count {
        let gap = literal_lens.limited("a literal", end - at)?;
        at += gap;
        let len = cover_lens.limited("a cover", end - at)?;
        if len == 0 {
            return Err(WireError::Invalid("a cover is empty"));
        }
        let address = expected.decode(len, gap, addresses.number()?);
        // Old bytes or flattened bytes made before; a cover may run into the bytes that it makes
        // only as far as they are written, which the reader of the target checks.
        if address.checked_add(len).is_none_or(|end| end > old_len && (address < old_len || end > old_len + at)) {
            return Err(WireError::Invalid("a cover stands outside of the sources"));
        }
        covers.push(Cover { flat: at, address, len });
        at += len;
    }
    literal_lens.finish()?;
    cover_lens.finish()?;
    addresses.finish()?;
    Ok(covers)
}

/// The differences of covers from old bytes, as runs of zeros and runs of bytes.
struct Residual {
    runs: io::BufReader<Box<dyn Read + Send>>,
    differences: io::BufReader<Box<dyn Read + Send>>,
    zeros: u64,
    nonzeros: u64,
    ended: bool,
}

impl Residual {
    fn new(runs: Box<dyn Read + Send>, differences: Box<dyn Read + Send>) -> Self {
        Self {
            runs: io::BufReader::new(runs),
            differences: io::BufReader::new(differences),
            zeros: 0,
            nonzeros: 0,
            ended: false,
        }
    }

    /// Adds the next differences to `bytes`.
    fn add(&mut self, mut bytes: &mut [u8]) -> io::Result<()> {
        let mut differences = [0; 512];
        while !bytes.is_empty() {
            if self.zeros == 0 && self.nonzeros == 0 && !self.ended {
                self.next_run()?;
            }
            if self.ended && self.nonzeros == 0 {
                return Ok(());
            }
            if self.zeros > 0 {
                let len = self.zeros.min(bytes.len() as u64);
                bytes = &mut bytes[len as usize..];
                self.zeros -= len;
                continue;
            }
            let len = self.nonzeros.min(bytes.len() as u64).min(differences.len() as u64) as usize;
            self.differences.read_exact(&mut differences[..len])?;
            for (byte, difference) in bytes.iter_mut().zip(&differences[..len]) {
                *byte = byte.wrapping_add(*difference);
            }
            bytes = &mut bytes[len..];
            self.nonzeros -= len as u64;
        }
        Ok(())
    }

    fn next_run(&mut self) -> io::Result<()> {
        match self.number()? {
            None => self.ended = true,
            Some(zeros) => {
                self.zeros = zeros;
                self.nonzeros = self.number()?.ok_or(io::ErrorKind::UnexpectedEof)?;
            }
        }
        Ok(())
    }

    fn number(&mut self) -> io::Result<Option<u64>> {
        let (mut value, mut shift) = (0_u64, 0);
        let mut byte = [0];
        loop {
            if self.runs.read(&mut byte)? == 0 {
                return if shift == 0 { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            if shift > 56 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a run is too long"));
            }
            value |= u64::from(byte[0] & 0x7f) << shift;
            shift += 7;
            if byte[0] < 0x80 {
                return Ok(Some(value));
            }
        }
    }
}

/// Whether a packed frame keeps its limit.
pub fn fits(packed: &[u8]) -> bool {
    packed.len() <= FRAME_PACKED_BYTES_MAX
}
