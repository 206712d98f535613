//! What stands around packed blocks in an xz stream (The .xz File Format 1.2).

use sha2::{Digest, Sha256};

use crate::codec::xz::header::LZMA2;
use crate::format::XZ_MAGIC;
use crate::varint;

/// The last bytes of a stream (section 2.1.2.4).
const FOOTER_MAGIC: &[u8] = b"YZ";
/// A block header tells the length after packing, and of the content (section 3.1.2).
const FLAGS_LENGTHS: u8 = 0xc0;
/// Headers, padding and checks are multiples of this, in bytes.
const UNIT_BYTES: usize = 4;
/// Length of the size and the CRC-32 of a block header.
const HEADER_ENDS_BYTES: usize = 5;

/// What goes over the content of a block behind it.
pub(crate) enum Check {
    None,
    Crc32(u32),
    Crc64(u64),
    Sha256(Box<Sha256>),
}

impl Check {
    /// By its number (section 2.1.1.2); `None` for one that nobody uses.
    pub(crate) fn new(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::None),
            1 => Some(Self::Crc32(0)),
            4 => Some(Self::Crc64(0)),
            10 => Some(Self::Sha256(Box::default())),
            _ => None,
        }
    }

    pub(crate) fn update(&mut self, plain: &[u8]) {
        match self {
            Self::None => {}
            Self::Crc32(crc) => *crc = crc32(plain, *crc),
            // SAFETY: the pointer and the length are those of a slice, which is only read.
            Self::Crc64(crc) => *crc = unsafe { liblzma_sys::lzma_crc64(plain.as_ptr(), plain.len(), *crc) },
            Self::Sha256(hash) => hash.update(plain),
        }
    }

    /// Appends it.
    pub(crate) fn finish(self, out: &mut Vec<u8>) {
        match self {
            Self::None => {}
            Self::Crc32(crc) => out.extend(crc.to_le_bytes()),
            Self::Crc64(crc) => out.extend(crc.to_le_bytes()),
            Self::Sha256(hash) => out.extend(hash.finalize()),
        }
    }
}

fn crc32(bytes: &[u8], crc: u32) -> u32 {
    // SAFETY: the pointer and the length are those of a slice, which is only read.
    unsafe { liblzma_sys::lzma_crc32(bytes.as_ptr(), bytes.len(), crc) }
}

/// Appends zeros behind `len` bytes, up to a multiple of four.
pub(crate) fn pad(len: u64, out: &mut Vec<u8>) {
    let zeros = len.next_multiple_of(UNIT_BYTES as u64) - len;
    out.resize(out.len() + zeros as usize, 0);
}

/// Appends the stream's header.
pub(crate) fn stream_header(check: u8, out: &mut Vec<u8>) {
    let flags = [0, check];
    out.extend(XZ_MAGIC);
    out.extend(flags);
    out.extend(crc32(&flags, 0).to_le_bytes());
}

/// The filters of a block, in the order in which packing goes through them.
pub(crate) struct FilterFlags(Vec<u8>, u8);

impl FilterFlags {
    /// Branch converters by their numbers, then LZMA2.
    pub(crate) fn new(converters: &[u8], dict_bytes: u32) -> Self {
        let mut bytes: Vec<u8> = converters.iter().flat_map(|&number| [number, 0]).collect();
        bytes.extend([LZMA2 as u8, 1, dict_byte(dict_bytes)]);
        Self(bytes, converters.len() as u8)
    }

    /// The length of a header with these lengths in it: after packing, and of the content.
    pub(crate) fn header_len(&self, lengths: Option<[u64; 2]>) -> usize {
        let lengths = lengths.iter().flatten().map(|&length| varint_len(length));
        (HEADER_ENDS_BYTES + 1 + lengths.sum::<usize>() + self.0.len()).next_multiple_of(UNIT_BYTES)
    }

    /// Appends a header of `header_len` bytes; `false` if the lengths do not fit into it.
    pub(crate) fn header(&self, header_len: usize, lengths: Option<[u64; 2]>, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let Ok(size) = u8::try_from(header_len / UNIT_BYTES - 1) else { return false };
        out.extend([size, self.1 | if lengths.is_some() { FLAGS_LENGTHS } else { 0 }]);
        for length in lengths.into_iter().flatten() {
            varint::put(out, length);
        }
        out.extend(&self.0);
        let end = start + header_len - size_of::<u32>();
        if out.len() > end {
            return false;
        }
        out.resize(end, 0);
        let crc = crc32(&out[start..], 0);
        out.extend(crc.to_le_bytes());
        true
    }
}

/// The byte of the smallest dictionary that is not smaller (section 5.3.1).
fn dict_byte(dict_bytes: u32) -> u8 {
    (0..40).find(|&byte| (2 | u64::from(byte & 1)) << (byte / 2 + 11) >= u64::from(dict_bytes)).unwrap_or(40)
}

fn varint_len(value: u64) -> usize {
    let mut bytes = Vec::new();
    varint::put(&mut bytes, value);
    bytes.len()
}

/// Appends the index of all blocks, each by its length without padding and that of its content, and
/// the stream's footer.
pub(crate) fn end(blocks: &[[u64; 2]], check: u8, out: &mut Vec<u8>) {
    let start = out.len();
    out.push(0);
    varint::put(out, blocks.len() as u64);
    for &length in blocks.iter().flatten() {
        varint::put(out, length);
    }
    pad((out.len() - start) as u64, out);
    let crc = crc32(&out[start..], 0);
    out.extend(crc.to_le_bytes());
    let index_units = ((out.len() - start) / UNIT_BYTES - 1) as u32;
    let fields = [&index_units.to_le_bytes()[..], &[0, check]].concat();
    out.extend(crc32(&fields, 0).to_le_bytes());
    out.extend(&fields);
    out.extend(FOOTER_MAGIC);
}
