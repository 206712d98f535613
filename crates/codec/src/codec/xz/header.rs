//! The headers of xz streams (The .xz File Format 1.2, sections 2.1 and 3.1) and `.lzma` files.

use crate::decode::DECODE_WINDOW_BYTES_MAX;
use crate::format::XZ_MAGIC;

/// Filter number of LZMA2.
pub(crate) const LZMA2: u64 = 0x21;
/// Filter numbers of the branch converters: x86 to RISC-V.
pub(crate) const BRANCH_FILTERS: std::ops::RangeInclusive<u8> = 0x04..=0x0b;
/// The most branch converters in front of LZMA2.
pub(crate) const FILTERS_MAX: usize = 3;
/// Length of the stream header: magic, flags, CRC-32.
const STREAM_HEADER_BYTES: usize = 12;
/// The literal and position bits of a stream that does not tell: those of every preset.
const USUAL_BITS: Bits = Bits { literal_context: 3, literal_position: 0, position: 2 };

/// How the encoder models literals and positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Bits {
    pub(crate) literal_context: u8,
    pub(crate) literal_position: u8,
    pub(crate) position: u8,
}

impl Bits {
    /// Reads the properties byte; `None` for what liblzma refuses.
    pub(crate) fn read(byte: u8) -> Option<Bits> {
        let bits = Bits { literal_context: byte % 9, literal_position: byte / 9 % 5, position: byte / 45 };
        (byte < 225 && bits.literal_context + bits.literal_position <= 4).then_some(bits)
    }

    pub(crate) fn byte(self) -> u8 {
        (self.position * 5 + self.literal_position) * 9 + self.literal_context
    }
}

/// What the headers of an xz stream tell about its encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// Number of the integrity check.
    pub(crate) check: u8,
    /// The branch converters in front of LZMA2.
    pub(crate) filters: Vec<u8>,
    pub(crate) dict_bytes: u32,
    pub(crate) bits: Bits,
    /// Length of the first block's content, where its header tells: so it does if the encoder knew
    /// the block as a whole.
    pub(crate) block_bytes: Option<u64>,
}

/// Reads the headers of the stream and of its first block. `None` for an empty stream, and for
/// filters with parameters of their own.
pub(crate) fn read_xz(packed: &[u8]) -> Option<Header> {
    let flags = packed.strip_prefix(XZ_MAGIC)?.get(..2)?;
    let block = packed.get(STREAM_HEADER_BYTES..)?;
    let header_len = match *block.first()? {
        0 => return None,
        len => (usize::from(len) + 1) * 4,
    };
    let header = block.get(..header_len)?;
    let block_flags = *header.get(1)?;
    let mut rest = header.get(2..)?;
    if block_flags & 0x40 != 0 {
        crate::varint::take(&mut rest)?;
    }
    let block_bytes = if block_flags & 0x80 != 0 { Some(crate::varint::take(&mut rest)?) } else { None };
    let mut filters = Vec::new();
    let mut dict_bytes = None;
    for _ in 0..=block_flags & 3 {
        let (id, len) = (crate::varint::take(&mut rest)?, crate::varint::take_len(&mut rest)?);
        let properties = crate::varint::take_bytes(&mut rest, len)?;
        match (id, properties) {
            (LZMA2, [size]) => dict_bytes = Some(dict_size(*size)?),
            (id, []) => {
                filters.push(u8::try_from(id).ok().filter(|id| BRANCH_FILTERS.contains(id))?);
            }
            _ => return None,
        }
    }
    // A chunk of LZMA2 with new properties has them behind its two lengths.
    let bits = match block.get(header_len..)? {
        [control, _, _, _, _, properties, ..] if *control >= 0xc0 => Bits::read(*properties)?,
        _ => USUAL_BITS,
    };
    Some(Header { check: flags[1], filters, dict_bytes: dict_bytes?, bits, block_bytes })
}

/// Size of the dictionary from its byte (section 5.3.1).
fn dict_size(byte: u8) -> Option<u32> {
    let bytes = (2 | u64::from(byte & 1)).checked_shl(u32::from(byte) / 2 + 11)?;
    (byte < 40 && bytes <= DECODE_WINDOW_BYTES_MAX).then_some(bytes as u32)
}

/// The properties and the dictionary of a `.lzma` file whose length its header leaves open, as
/// liblzma writes it.
pub(crate) fn read_lzma(packed: &[u8]) -> Option<(Bits, u32)> {
    let [properties, a, b, c, d, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, ..] = packed else {
        return None;
    };
    let dict_bytes = u32::from_le_bytes([*a, *b, *c, *d]);
    (u64::from(dict_bytes) <= DECODE_WINDOW_BYTES_MAX).then_some((Bits::read(*properties)?, dict_bytes))
}
