//! The first 96 bytes, and the header of the extended attributes.

use fluvial_codec::Format;
use fluvial_delta::structure::ReadAt;

use crate::field::{read_array, u16_at, u32_at, u64_at};

/// Where a table is not there.
const ABSENT: u64 = u64::MAX;
/// Sizes of data blocks that the format allows, as powers of two: 4 KiB to 1 MiB.
const BLOCK_LOGS: std::ops::RangeInclusive<u16> = 12..=20;

/// The superblock, as far as it matters here. Offsets are in bytes from the start of the stream.
pub(super) struct Superblock {
    pub block_bytes: u32,
    pub format: Format,
    pub inodes: u32,
    pub fragments: u32,
    pub ids: u16,
    /// Reference of the root folder's inode.
    pub root: u64,
    pub bytes_used: u64,
    pub inode_table: u64,
    pub directory_table: u64,
    pub fragment_table: Option<u64>,
    pub export_table: Option<u64>,
    pub id_table: Option<u64>,
    xattr_table: Option<u64>,
}

/// Where the extended attributes stand.
pub(super) struct XattrTables {
    /// The first block of names and values.
    pub pairs: u64,
    /// The list of the blocks of the id table.
    pub index: Option<u64>,
    /// Entries of the id table.
    pub ids: usize,
}

impl Superblock {
    /// `None` where it is no squashfs 4.0, or packed in a way that cannot be unpacked here (LZO,
    /// and the bare LZMA of old patches).
    pub(super) fn parse(head: &[u8], stream_len: u64) -> Option<Self> {
        let four_zero = u16_at(head, 28)? == 4 && u16_at(head, 30)? == 0;
        let block_log = u16_at(head, 22)?;
        if head.get(..4)? != b"hsqs" || !four_zero || !BLOCK_LOGS.contains(&block_log) {
            return None;
        }
        let format = match u16_at(head, 20)? {
            1 => Format::Zlib,
            4 => Format::Xz,
            5 => Format::Lz4Block,
            6 => Format::Zstd,
            _ => return None,
        };
        let block_bytes = u32_at(head, 12)?;
        let offset = |at| Some(u64_at(head, at)?).filter(|offset| *offset < stream_len);
        let optional = |at| offset(at).filter(|offset| *offset != ABSENT);
        (block_bytes == 1 << block_log).then_some(())?;
        Some(Self {
            block_bytes,
            format,
            inodes: u32_at(head, 4)?,
            fragments: u32_at(head, 16)?,
            ids: u16_at(head, 26)?,
            root: u64_at(head, 32)?,
            bytes_used: u64_at(head, 40)?.min(stream_len),
            inode_table: offset(64)?,
            directory_table: offset(72)?,
            fragment_table: optional(80),
            export_table: optional(88),
            id_table: optional(48),
            xattr_table: optional(56),
        })
    }

    /// Reads the header of the extended attributes, if there are any.
    pub(super) fn xattr_tables(&self, stream: &dyn ReadAt) -> Option<XattrTables> {
        let at = self.xattr_table?;
        let header: [u8; 16] = read_array(stream, at)?;
        let pairs = u64_at(&header, 0)?;
        let ids = u32_at(&header, 8)? as usize;
        (pairs < at).then_some(XattrTables { pairs, index: Some(at + 16), ids })
    }
}
