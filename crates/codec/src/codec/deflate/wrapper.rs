//! What stands around a deflate stream: gzip members (RFC 1952), zlib streams (RFC 1950), nothing.

use flate2::Crc;

use crate::format::{Format, GZIP_MAGIC};
use crate::recipe::{RecipeError, take_u8};

/// Flags of a gzip header (RFC 1952, section 2.3.1).
const FHCRC: u8 = 2;
const FEXTRA: u8 = 4;
const FNAME: u8 = 8;
const FCOMMENT: u8 = 16;
/// The largest prime below 2^16: the modulus of Adler-32.
const ADLER_MODULUS: u32 = 65_521;
/// How many bytes fit before the sums of Adler-32 pass 32 bits.
const ADLER_RUN_BYTES: usize = 5552;

/// The wrapping of a stream, with the header that its members usually have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Wrapper {
    /// Members with these extra flags and this operating system; no name, no time.
    Gzip {
        extra_flags: u8,
        system: u8,
    },
    /// Method and flags.
    Zlib {
        head: [u8; 2],
    },
    Bare,
}

impl Wrapper {
    /// The wrapping of the stream at the start of `packed`.
    pub(crate) fn of(format: Format, packed: &[u8]) -> Option<Self> {
        match format {
            Format::Gzip => Some(Wrapper::Gzip { extra_flags: *packed.get(8)?, system: *packed.get(9)? }),
            Format::Zlib => Some(Wrapper::Zlib { head: [*packed.first()?, *packed.get(1)?] }),
            Format::Deflate => Some(Wrapper::Bare),
            _ => None,
        }
    }

    /// The usual header.
    pub(crate) fn header(self) -> Vec<u8> {
        match self {
            Wrapper::Gzip { extra_flags, system } => {
                [GZIP_MAGIC, &[0, 0, 0, 0, 0, extra_flags, system]].concat()
            }
            Wrapper::Zlib { head } => head.to_vec(),
            Wrapper::Bare => Vec::new(),
        }
    }

    /// Length of the header of the member at the start of `packed`.
    pub(crate) fn header_len(self, packed: &[u8]) -> Option<usize> {
        match self {
            Wrapper::Gzip { .. } => gzip_header_len(packed),
            Wrapper::Zlib { .. } => (packed.len() >= 2).then_some(2),
            Wrapper::Bare => Some(0),
        }
    }

    /// What stands behind a member with this content.
    pub(crate) fn trailer(self) -> Trailer {
        match self {
            Wrapper::Gzip { .. } => Trailer::Gzip(Crc::new()),
            Wrapper::Zlib { .. } => Trailer::Zlib { low: 1, high: 0 },
            Wrapper::Bare => Trailer::Bare,
        }
    }

    /// The levels that the header leaves, likely ones first; all where it does not tell.
    pub(crate) fn levels(self) -> &'static [u8] {
        match self {
            // RFC 1952, section 2.3.1: XFL is 2 for the slowest, 4 for the fastest way.
            Wrapper::Gzip { extra_flags: 2, .. } => &[9],
            Wrapper::Gzip { extra_flags: 4, .. } => &[1],
            // RFC 1950, section 2.2: FLEVEL, in the top two bits of the second byte.
            Wrapper::Zlib { head: [_, flags] } => match flags >> 6 {
                0 => &[1],
                1 => &[5, 2, 3, 4],
                2 => &[6],
                _ => &[9, 7, 8],
            },
            _ => &[6, 9, 1, 5, 7, 8, 2, 3, 4],
        }
    }

    pub(crate) fn write(self, bytes: &mut Vec<u8>) {
        match self {
            Wrapper::Gzip { extra_flags, system } => bytes.extend([0, extra_flags, system]),
            Wrapper::Zlib { head } => bytes.extend([1, head[0], head[1]]),
            Wrapper::Bare => bytes.push(2),
        }
    }

    pub(crate) fn read(bytes: &mut &[u8]) -> Result<Self, RecipeError> {
        Ok(match take_u8(bytes)? {
            0 => Wrapper::Gzip { extra_flags: take_u8(bytes)?, system: take_u8(bytes)? },
            1 => Wrapper::Zlib { head: [take_u8(bytes)?, take_u8(bytes)?] },
            2 => Wrapper::Bare,
            _ => return Err(RecipeError::Malformed),
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Wrapper::Gzip { .. } => "gzip",
            Wrapper::Zlib { .. } => "zlib",
            Wrapper::Bare => "deflate",
        }
    }
}

fn gzip_header_len(packed: &[u8]) -> Option<usize> {
    let flags = *packed.get(3)?;
    let mut len = 10;
    if flags & FEXTRA != 0 {
        let extra = packed.get(len..len + 2)?;
        len += 2 + usize::from(u16::from_le_bytes([extra[0], extra[1]]));
    }
    for flag in [FNAME, FCOMMENT] {
        if flags & flag != 0 {
            len += 1 + packed.get(len..)?.iter().position(|&byte| byte == 0)?;
        }
    }
    if flags & FHCRC != 0 {
        len += 2;
    }
    (len <= packed.len()).then_some(len)
}

/// The checksum of a member as it grows.
pub(crate) enum Trailer {
    /// CRC-32 and the length modulo 2^32.
    Gzip(Crc),
    /// The two sums of Adler-32.
    Zlib {
        low: u32,
        high: u32,
    },
    Bare,
}

impl Trailer {
    pub(crate) fn update(&mut self, plain: &[u8]) {
        match self {
            Trailer::Gzip(crc) => crc.update(plain),
            Trailer::Zlib { low, high } => {
                for run in plain.chunks(ADLER_RUN_BYTES) {
                    for &byte in run {
                        *low += u32::from(byte);
                        *high += *low;
                    }
                    *low %= ADLER_MODULUS;
                    *high %= ADLER_MODULUS;
                }
            }
            Trailer::Bare => {}
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self {
            Trailer::Gzip(crc) => [crc.sum().to_le_bytes(), crc.amount().to_le_bytes()].concat(),
            Trailer::Zlib { low, high } => (high << 16 | low).to_be_bytes().to_vec(),
            Trailer::Bare => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adler_is_that_of_the_rfc() {
        let mut trailer = Wrapper::Zlib { head: [0x78, 0x9c] }.trailer();
        trailer.update(b"Wikipedia");
        assert_eq!(trailer.bytes(), 0x11e6_0398_u32.to_be_bytes());
        // Long runs of the largest byte: no sum may overflow.
        let mut trailer = Wrapper::Zlib { head: [0x78, 0x9c] }.trailer();
        trailer.update(&vec![0xff; 1 << 20]);
        assert_eq!(trailer.bytes().len(), 4);
    }

    #[test]
    fn headers_with_every_field_are_measured() {
        let mut header = vec![0x1f, 0x8b, 8, FHCRC | FEXTRA | FNAME | FCOMMENT, 0, 0, 0, 0, 2, 3];
        header.extend([3, 0, 1, 2, 3]);
        header.extend(b"name\0comment\0");
        header.extend([0xaa, 0xbb]);
        assert_eq!(gzip_header_len(&header), Some(header.len()));
        for len in 0..header.len() {
            assert_eq!(gzip_header_len(&header[..len]), None);
        }
    }
}
