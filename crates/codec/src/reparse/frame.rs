//! Frames and the blocks in them, not yet opened (RFC 8878, section 3.1.1).

use super::block::BLOCK_PLAIN_MAX;

/// First bytes of a frame.
const MAGIC: u32 = 0xFD2F_B528;
/// First bytes of a skippable frame, the lowest four bits being free.
const SKIPPABLE_MAGIC: u32 = 0x184D_2A50;
/// The longest frame header.
pub const HEADER_BYTES_MAX: usize = 18;

/// What a frame's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes of the header, its magic included.
    pub len: usize,
    /// The furthest that a match may reach back.
    pub window: u64,
    /// Bytes that the frame stands for, if it says so.
    pub content: Option<u64>,
    /// Whether four bytes of checksum follow the last block.
    pub checksum: bool,
    /// The dictionary that is needed; 0 for none.
    pub dictionary: u32,
}

impl FrameHeader {
    /// Reads a header. `None` when there is none, or not all of it.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let magic = bytes.get(..4)?;
        if u32::from_le_bytes([magic[0], magic[1], magic[2], magic[3]]) != MAGIC {
            return None;
        }
        let descriptor = *bytes.get(4)?;
        if descriptor & 8 != 0 {
            return None;
        }
        let single_segment = descriptor & 0x20 != 0;
        let mut at = 5;
        let mut field = |len: usize| -> Option<u64> {
            let run = bytes.get(at..at + len)?;
            at += len;
            let mut value = [0; 8];
            value[..len].copy_from_slice(run);
            Some(u64::from_le_bytes(value))
        };
        let window = if single_segment { None } else { Some(field(1)?) };
        let dictionary = field([0, 1, 2, 4][usize::from(descriptor & 3)])? as u32;
        let content = match descriptor >> 6 {
            0 if single_segment => Some(field(1)?),
            0 => None,
            1 => Some(field(2)? + 256),
            2 => Some(field(4)?),
            _ => Some(field(8)?),
        };
        let window = match window {
            Some(byte) => {
                let base = 1u64 << (10 + (byte >> 3));
                base + (base >> 3) * (byte & 7)
            }
            None => content?,
        };
        Some(Self { len: at, window, content, checksum: descriptor & 4 != 0, dictionary })
    }
}

/// Whether a frame, skippable or not, begins here.
pub fn skippable(bytes: &[u8]) -> Option<usize> {
    let head = bytes.get(..8)?;
    let magic = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    let len = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
    (magic & !15 == SKIPPABLE_MAGIC && bytes.len() - 8 >= len).then_some(8 + len)
}

/// The three kinds of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// The content itself.
    Raw,
    /// One byte that is repeated.
    Rle,
    /// Compressed.
    Compressed,
}

/// A block's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockHeader {
    /// Whether the frame ends with it.
    pub last: bool,
    /// What kind it is.
    pub kind: BlockKind,
    /// Size of the block as stored, or of its content for [`BlockKind::Rle`].
    pub size: usize,
}

impl BlockHeader {
    /// Bytes of the header.
    pub const LEN: usize = 3;

    /// Reads it. `None` when there is none or it is not well formed.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let head = bytes.get(..Self::LEN)?;
        let word = u32::from_le_bytes([head[0], head[1], head[2], 0]);
        let kind = match (word >> 1) & 3 {
            0 => BlockKind::Raw,
            1 => BlockKind::Rle,
            2 => BlockKind::Compressed,
            _ => return None,
        };
        let size = (word >> 3) as usize;
        (size <= BLOCK_PLAIN_MAX).then_some(Self { last: word & 1 == 1, kind, size })
    }

    /// Writes it.
    pub fn write(self, out: &mut Vec<u8>) {
        let word = u32::from(self.last) | ((self.kind as u32) << 1) | ((self.size as u32) << 3);
        out.extend_from_slice(&word.to_le_bytes()[..Self::LEN]);
    }
}
