//! Packed streams of numbers and bytes inside a frame.
//!
//! Each stream stands alone: a method, its lengths, its bytes. LZMA2 (as in The .xz File Format,
//! without the container) for what has to be small, Zstandard (RFC 8878) for what has to be fast,
//! none where neither helps.

mod ahead;

use std::io::{self, Read, Write as _};
use std::sync::Arc;

use liblzma::stream::{Filters, LzmaOptions, Stream};

pub(crate) use self::ahead::AHEAD_MEMORY_BYTES;
use self::ahead::{AHEAD_FROM_BYTES, Ahead};
use crate::limits::{STREAM_BYTES_MAX, STREAM_DICTIONARY_BYTES_MAX};
use crate::wire::{WireError, WireReader, WireWriter};

/// How hard to pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Zstandard at this level.
    Zstd(i32),
    /// The smallest of LZMA2 with several settings.
    Smallest,
}

const METHOD_RAW: u8 = 0;
const METHOD_ZSTD: u8 = 1;
/// From here on: LZMA2 with `lc`, `lp` and `pb` in the number: 8 + lc + 5 * (lp + 5 * pb).
const METHOD_LZMA2: u8 = 8;
/// Streams below this length, in bytes, are not worth an LZMA2 encoder's several settings.
const TINY_BYTES: usize = 64;

/// `lc`, `lp` and `pb` to try: for text-like bytes, for bytes with a phase of four, for bytes without
/// context.
const LZMA_SETTINGS: [(u32, u32, u32); 4] = [(3, 0, 0), (0, 2, 2), (1, 0, 0), (0, 0, 0)];

/// A stream that was read from a frame, still packed.
#[derive(Debug, Clone, Copy)]
pub struct PackedStream<'a> {
    method: u8,
    /// Its unpacked length in bytes.
    pub len: u64,
    bytes: &'a [u8],
}

/// A part of bytes that several streams share.
#[derive(Clone)]
struct SharedBytes {
    all: Arc<Vec<u8>>,
    range: std::ops::Range<usize>,
}

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.all[self.range.clone()]
    }
}

/// Appends `plain` to a frame, packed.
pub fn write_stream(plain: &[u8], effort: Effort, writer: &mut WireWriter) {
    let (method, packed) = pack(plain, effort);
    let bytes = if method == METHOD_RAW { plain } else { &packed };
    writer.bytes.push(method);
    writer.number(plain.len() as u64);
    writer.string(bytes);
}

/// Takes a stream off a frame.
///
/// # Errors
/// [`WireError`].
pub fn read_stream<'a>(reader: &mut WireReader<'a>) -> Result<PackedStream<'a>, WireError> {
    let method = reader.raw(1)?[0];
    let len = reader.limited("a stream's length", STREAM_BYTES_MAX)?;
    let bytes = reader.string("a stream's packed length", u32::MAX as usize)?;
    if method == METHOD_RAW && bytes.len() as u64 != len {
        return Err(WireError::Invalid("a raw stream's lengths differ"));
    }
    Ok(PackedStream { method, len, bytes })
}

impl PackedStream<'_> {
    /// How much memory reading it takes beside its bytes, in bytes, at most.
    pub fn decode_memory_bytes(&self) -> u64 {
        match self.method {
            METHOD_RAW => 0,
            METHOD_ZSTD => decode_memory_bytes(self.len, Effort::Zstd(0)),
            _ => decode_memory_bytes(self.len, Effort::Smallest),
        }
    }

    /// What unpacking it ahead takes more, in bytes; zero where that is of no use.
    pub fn ahead_memory_bytes(&self) -> u64 {
        if self.method == METHOD_RAW || self.len < AHEAD_FROM_BYTES { 0 } else { AHEAD_MEMORY_BYTES }
    }

    /// Its bytes, unpacked by another thread.
    ///
    /// # Errors
    /// As [`PackedStream::reader`], or no thread.
    pub fn reader_ahead(self, all: &Arc<Vec<u8>>) -> io::Result<Box<dyn Read + Send>> {
        let is_worth_it = self.ahead_memory_bytes() > 0;
        let reader = self.reader(all)?;
        Ok(if is_worth_it { Box::new(Ahead::start(reader)?) } else { reader })
    }

    /// Its bytes, unpacked as they are read. `all` are the bytes that the stream was read from: the
    /// reader holds on to them, and takes memory for the dictionary.
    ///
    /// # Errors
    /// An unknown method, or no memory.
    pub fn reader(self, all: &Arc<Vec<u8>>) -> io::Result<Box<dyn Read + Send>> {
        let from = self.bytes.as_ptr().addr().wrapping_sub(all.as_ptr().addr());
        let range = from..from.saturating_add(self.bytes.len());
        if all.get(range.clone()) != Some(self.bytes) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a stream of other bytes"));
        }
        self.open(io::Cursor::new(SharedBytes { all: Arc::clone(all), range }))
    }

    fn open<'r>(self, bytes: impl io::BufRead + Send + 'r) -> io::Result<Box<dyn Read + Send + 'r>> {
        Ok(match self.method {
            METHOD_RAW => Box::new(bytes),
            METHOD_ZSTD => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes)?;
                decoder.window_log_max(STREAM_DICTIONARY_BYTES_MAX.ilog2())?;
                Box::new(decoder.take(self.len))
            }
            method => {
                let settings = lzma_settings_of(method)
                    .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "an unknown packing method"))?;
                let mut filters = Filters::new();
                filters.lzma2(&lzma_options(settings, dictionary_len(self.len))?);
                let stream = Stream::new_raw_decoder(&filters)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(bytes, stream).take(self.len))
            }
        })
    }

    /// All of it, when its length is at most `limit` bytes.
    ///
    /// # Errors
    /// As [`PackedStream::reader`]; a stream above the limit or of another length than it says.
    pub fn read_all(self, limit: usize) -> io::Result<Vec<u8>> {
        if self.len > limit as u64 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a stream is longer than its limit"));
        }
        let mut plain = Vec::with_capacity(self.len as usize);
        self.open(self.bytes)?.read_to_end(&mut plain)?;
        if plain.len() as u64 != self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(plain)
    }
}

/// How much memory a stream of `len` bytes, packed with this effort, takes while it is read, in
/// bytes, at most.
pub fn decode_memory_bytes(len: u64, effort: Effort) -> u64 {
    // LZMA2 keeps its dictionary and about 40 KiB of state, Zstandard its window, two blocks of 128 KiB and
    // 94 KiB of state; the window of a short stream is within these.
    match effort {
        Effort::Zstd(_) => u64::from(dictionary_len(len).next_power_of_two()) + (384 << 10),
        Effort::Smallest => u64::from(dictionary_len(len)) + (64 << 10),
    }
}

/// A stream that is shorter than the largest dictionary is held whole.
fn dictionary_len(len: u64) -> u32 {
    (len.clamp(4096, u64::from(STREAM_DICTIONARY_BYTES_MAX)) as u32).next_multiple_of(4096)
}

fn lzma_settings_of(method: u8) -> Option<(u32, u32, u32)> {
    let number = u32::from(method.checked_sub(METHOD_LZMA2)?);
    let settings = (number % 5, number / 5 % 5, number / 25);
    (settings.0 + settings.1 <= 4 && settings.2 <= 4).then_some(settings)
}

fn lzma_options((lc, lp, pb): (u32, u32, u32), dictionary: u32) -> io::Result<LzmaOptions> {
    let mut options = LzmaOptions::new_preset(9 | liblzma_extreme())?;
    options.literal_context_bits(lc).literal_position_bits(lp).position_bits(pb).dict_size(dictionary);
    options.nice_len(273);
    Ok(options)
}

fn liblzma_extreme() -> u32 {
    // LZMA_PRESET_EXTREME of liblzma's container.h.
    1 << 31
}

fn pack(plain: &[u8], effort: Effort) -> (u8, Vec<u8>) {
    let mut best = (METHOD_RAW, Vec::new());
    let mut best_len = plain.len();
    let mut offer = |method, packed: io::Result<Vec<u8>>| {
        if let Ok(packed) = packed
            && packed.len() < best_len
        {
            best_len = packed.len();
            best = (method, packed);
        }
    };
    match effort {
        Effort::Zstd(level) => offer(METHOD_ZSTD, pack_zstd(plain, level)),
        Effort::Smallest => {
            if plain.len() >= TINY_BYTES {
                for settings in likely_settings(plain) {
                    let (lc, lp, pb) = settings;
                    offer(METHOD_LZMA2 + (lc + 5 * (lp + 5 * pb)) as u8, pack_lzma(plain, settings));
                }
            }
            if plain.len() < 16 << 10 {
                offer(METHOD_ZSTD, pack_zstd(plain, 19));
            }
        }
    }
    best
}

/// The settings to try: all for short streams, the one that is best for a sample of long ones.
fn likely_settings(plain: &[u8]) -> Vec<(u32, u32, u32)> {
    const SAMPLE_BYTES: usize = 128 << 10;
    if plain.len() <= 2 * SAMPLE_BYTES {
        return LZMA_SETTINGS.to_vec();
    }
    let middle = (plain.len() - SAMPLE_BYTES) / 2;
    let sample = &plain[middle..middle + SAMPLE_BYTES];
    let packed_len =
        |settings: &(u32, u32, u32)| pack_lzma(sample, *settings).map_or(usize::MAX, |packed| packed.len());
    LZMA_SETTINGS.into_iter().min_by_key(packed_len).into_iter().collect()
}

fn pack_zstd(plain: &[u8], level: i32) -> io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(level)?;
    compressor.include_contentsize(false)?;
    compressor.include_checksum(false)?;
    compressor.include_magicbytes(true)?;
    compressor.set_parameter(zstd::zstd_safe::CParameter::WindowLog(
        dictionary_len(plain.len() as u64).next_power_of_two().ilog2().max(10),
    ))?;
    compressor.compress(plain)
}

fn pack_lzma(plain: &[u8], settings: (u32, u32, u32)) -> io::Result<Vec<u8>> {
    let mut filters = Filters::new();
    filters.lzma2(&lzma_options(settings, dictionary_len(plain.len() as u64))?);
    let stream = Stream::new_raw_encoder(&filters)?;
    let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(plain)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(plain: &[u8], effort: Effort) -> Vec<u8> {
        let mut writer = WireWriter::default();
        write_stream(plain, effort, &mut writer);
        let mut reader = WireReader::new(&writer.bytes);
        let stream = read_stream(&mut reader).unwrap();
        reader.finish().unwrap();
        stream.read_all(plain.len()).unwrap()
    }

    proptest! {
        #[test]
        fn streams_come_back(seed: Vec<u8>, repeat in 0_usize..40) {
            let plain = seed.repeat(repeat);
            prop_assert_eq!(round_trip(&plain, Effort::Smallest), plain.clone());
            prop_assert_eq!(round_trip(&plain, Effort::Zstd(3)), plain);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            if let Ok(stream) = read_stream(&mut WireReader::new(&bytes)) {
                let _ = stream.read_all(1 << 16);
            }
        }
    }

    #[test]
    fn a_bomb_is_refused_by_its_limit() {
        let mut writer = WireWriter::default();
        write_stream(&vec![0; 10 << 20], Effort::Smallest, &mut writer);
        assert!(writer.bytes.len() < 4096);
        let stream = read_stream(&mut WireReader::new(&writer.bytes)).unwrap();
        assert!(stream.read_all(1 << 20).is_err());
    }
}
