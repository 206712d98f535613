//! Every decoder, from memory and from a reader that gives a byte at a time.
//!
//! Input: the format's code, one byte; the limit on the content, two bytes; packed bytes.

use std::io::{self, Read};

use fluvial_codec::{DecodeError, Format};

/// A bare LZ4 block is held in memory whole by its reader, up to 16 MiB; everything else in pieces.
const READ_BYTES_MAX: u64 = 1 << 20;

/// Gives few bytes a call, as a slow pipe does.
struct Slow<'a>(&'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = out.len().min(1 + self.0.len() % 7);
        self.0.read(&mut out[..count])
    }
}

/// Both ways of decoding agree, and keep within their limits.
///
/// # Panics
/// Where that does not hold.
pub fn run(bytes: &[u8]) {
    let [code, low, high, packed @ ..] = bytes else { return };
    let Some(format) = Format::from_code(code % 13) else { return };
    let limit = usize::from(u16::from_le_bytes([*low, *high]));
    let mut plain = Vec::new();
    let decoded = format.decode_block(packed, limit, &mut plain);
    assert!(decoded.is_err() || plain.len() <= limit);

    let mut read = Vec::new();
    let result = match format.reader(Box::new(Slow(packed))) {
        Ok(reader) => reader.take(READ_BYTES_MAX).read_to_end(&mut read).map(|_| ()),
        Err(error) => Err(error),
    };
    // libzstd takes some damaged frames in pieces that it refuses in one go, and others the other way
    // round. A block is always unpacked in the way in which it was tried.
    let unsure = format == Format::Zstd;
    match decoded {
        Ok(()) if unsure && result.is_err() => {}
        Ok(()) => {
            result.unwrap_or_else(|error| panic!("{format} is decoded in memory, but not read: {error}"));
            assert!(read == plain, "{format} is read as something else");
        }
        Err(DecodeError::TooLong { .. }) => assert!(result.is_err() || read.len() > limit),
        Err(error) => {
            // A bare LZ4 block does not tell a limit that is too low from damage.
            let limited =
                read.len() as u64 == READ_BYTES_MAX || (format == Format::Lz4Block && read.len() > limit);
            assert!(
                result.is_err() || limited || unsure,
                "{format} is read, but not decoded in memory: {error}"
            );
        }
    }
}
