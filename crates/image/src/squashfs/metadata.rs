//! Metadata blocks: 8 KiB each, packed on their own behind two bytes of length.

use fluvial_codec::Format;
use fluvial_delta::structure::{Block, Extent, ReadAt};

use crate::field::{read_array, read_vec, u64_at};

/// Unpacked bytes of a metadata block; only the last of a table may have less.
const METADATA_BYTES: usize = 8192;
/// Marks a metadata block as stored.
const STORED_BIT: u16 = 1 << 15;
/// Blocks of one table at most: 128 MiB unpacked, some million inodes.
const TABLE_BLOCKS_MAX: usize = 1 << 14;

/// The block whose header is at `offset`. Its unpacked length is not known yet.
fn block(stream: &dyn ReadAt, offset: u64, format: Format) -> Option<Block> {
    let word = u16::from_le_bytes(read_array(stream, offset)?);
    let len = u64::from(word & (STORED_BIT - 1));
    let extent = Extent { offset: offset + 2, len };
    let fits = (1..=METADATA_BYTES as u64).contains(&len) && extent.end() <= stream.len();
    let format = if word & STORED_BIT == 0 { format } else { Format::Stored };
    fits.then_some(Block { extent, plain_len: None, format })
}

/// The blocks that follow one another from `start` to `end`, up to the first that is damaged.
pub(super) fn run(stream: &dyn ReadAt, start: u64, end: u64, format: Format) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut offset = start;
    while offset < end && blocks.len() < TABLE_BLOCKS_MAX {
        let Some(block) = block(stream, offset, format) else { break };
        offset = block.extent.end();
        blocks.push(block);
    }
    if let Some((_, whole)) = blocks.split_last_mut() {
        for block in whole {
            block.plain_len = Some(METADATA_BYTES as u64);
        }
    }
    blocks
}

/// The blocks of a table that is found by a list of block offsets at `index`, and whose unpacked
/// length is known. `None` where it is absent or damaged.
pub(super) fn indexed_table(
    stream: &dyn ReadAt,
    index: Option<u64>,
    plain_len: usize,
    format: Format,
) -> Option<Vec<Block>> {
    let count = plain_len.div_ceil(METADATA_BYTES);
    if count == 0 || count > TABLE_BLOCKS_MAX {
        return None;
    }
    let list = read_vec(stream, index?, count as u64 * 8)?;
    let mut blocks = Vec::with_capacity(count);
    for number in 0..count {
        let mut block = block(stream, u64_at(&list, number * 8)?, format)?;
        let left = plain_len - number * METADATA_BYTES;
        block.plain_len = Some(left.min(METADATA_BYTES) as u64);
        blocks.push(block);
    }
    Some(blocks)
}

/// A table, unpacked.
pub(super) struct Table {
    /// Where its blocks are, every one with its unpacked length.
    pub blocks: Vec<Block>,
    /// All of it.
    pub plain: Vec<u8>,
    /// Offset of the first block's header. Others are named by their distance from it.
    start: u64,
}

impl Table {
    /// Unpacks the blocks of a table that starts at `start`. A block that does not unpack ends it.
    pub(super) fn unpack(stream: &dyn ReadAt, start: u64, mut blocks: Vec<Block>) -> Option<Self> {
        let mut plain = Vec::new();
        let mut whole = 0;
        let mut buffer = Vec::new();
        for block in &mut blocks {
            let packed = read_vec(stream, block.extent.offset, block.extent.len)?;
            if block.format.decode_block(&packed, METADATA_BYTES, &mut buffer).is_err() {
                break;
            }
            // A position in the table is block times 8 KiB plus offset.
            if plain.len() % METADATA_BYTES != 0 {
                break;
            }
            block.plain_len = Some(buffer.len() as u64);
            plain.extend_from_slice(&buffer);
            whole += 1;
        }
        blocks.truncate(whole);
        Some(Self { blocks, plain, start })
    }

    /// The bytes from `offset` in the block whose header is `block` bytes behind the table's start.
    pub(super) fn at(&self, block: u64, offset: u16) -> Option<&[u8]> {
        let wanted = self.start.checked_add(block)?.checked_add(2)?;
        let number = self.blocks.binary_search_by_key(&wanted, |block| block.extent.offset).ok()?;
        self.plain.get(number * METADATA_BYTES + usize::from(offset)..)
    }
}
