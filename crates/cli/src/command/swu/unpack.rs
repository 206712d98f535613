//! What a file of a package holds.

use std::io::{self, BufRead as _, BufReader, Read};

use flate2::bufread::GzDecoder;
use fluvial_swu::description::Compression;
use zstd::stream::read::Decoder;

/// The largest window of Zstandard that is taken, as a power of two: 16 MiB of memory. Levels up to 19 take half
/// of that.
const WINDOW_LOG_MAX: u32 = 24;
/// Packed bytes that are read at a time.
const STEP_BYTES: usize = 64 << 10;

/// Unpacks a stream. To be read to its end: then nothing may stand behind what is packed.
///
/// Memory: 16 MiB and 256 KiB.
pub(super) enum Unpacked<R: Read> {
    /// As it is.
    Plain(R),
    /// gzip, one member.
    Gzip(Box<GzDecoder<BufReader<R>>>),
    /// Zstandard, one frame or several.
    Zstd(Decoder<'static, BufReader<R>>),
}

impl<R: Read> Unpacked<R> {
    /// Begins to unpack.
    ///
    /// # Errors
    /// Where memory cannot be had.
    pub(super) fn new(packed: R, compression: Option<Compression>) -> io::Result<Self> {
        let buffered = |packed| BufReader::with_capacity(STEP_BYTES, packed);
        Ok(match compression {
            None => Self::Plain(packed),
            Some(Compression::Zlib) => Self::Gzip(Box::new(GzDecoder::new(buffered(packed)))),
            Some(Compression::Zstd) => {
                let mut decoder = Decoder::with_buffer(buffered(packed))?;
                decoder.window_log_max(WINDOW_LOG_MAX)?;
                Self::Zstd(decoder)
            }
        })
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let (count, packed) = match self {
            Self::Plain(packed) => return packed.read(buf),
            Self::Gzip(decoder) => (decoder.read(buf)?, decoder.get_mut()),
            Self::Zstd(decoder) => (decoder.read(buf)?, decoder.get_mut()),
        };
        // The hash of the file is checked at its own end, which this reaches.
        if count == 0 && !packed.fill_buf()?.is_empty() {
            let message = "something stands behind what is packed";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn unpacked(packed: &[u8], compression: Compression) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        Unpacked::new(packed, Some(compression))?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn what_is_cut_or_goes_on_is_refused() {
        let content: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        let packings = [
            (gzip(&content), Compression::Zlib),
            (zstd::encode_all(&content[..], 3).unwrap(), Compression::Zstd),
        ];
        for (packed, compression) in packings {
            assert!(unpacked(&packed, compression).unwrap() == content);
            let longer = [&packed[..], b"more"].concat();
            unpacked(&longer, compression).expect_err("something stands behind it");
            for len in [0, 1, packed.len() / 2, packed.len() - 1] {
                // Nothing at all is nothing for Zstandard: a delta of no bytes is cut short too.
                let result = unpacked(&packed[..len], compression);
                assert!(result.map_or(true, |bytes| bytes.is_empty()), "cut at {len}");
            }
        }
    }

    #[test]
    fn a_window_that_takes_too_much_memory_is_refused() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(WINDOW_LOG_MAX + 1).unwrap();
        encoder.write_all(&vec![7; 40 << 20]).unwrap();
        let packed = encoder.finish().unwrap();
        unpacked(&packed, Compression::Zstd).expect_err("32 MiB are too much");
    }
}
