//! Inodes and the listings of folders.

use super::metadata::Table;
use crate::field::{u16_at, u32_at, u64_at};
use crate::tree::Kind;

/// The fragment number of a file that has no tail in a fragment.
const NO_FRAGMENT: u32 = u32::MAX;
/// A folder's stated length counts `.` and `..`, which are not there.
const LISTING_BYTES_EXTRA: u32 = 3;
/// Entries behind one header of a listing at most.
const RUN_ENTRIES_MAX: u32 = 256;

/// An inode that has content.
pub(super) enum Inode<'a> {
    File(RegularFile<'a>),
    Folder(Folder),
}

/// A regular file.
pub(super) struct RegularFile<'a> {
    /// Where its first block is.
    pub start: u64,
    /// Its length in bytes.
    pub len: u64,
    /// A word of four bytes for each block: length, and whether it is stored.
    pub sizes: &'a [u8],
    /// Its last bytes, where they share a block with those of other files.
    pub tail: Option<Tail>,
}

/// The end of a file in a fragment block.
pub(super) struct Tail {
    pub fragment: u32,
    pub offset: u32,
    pub len: u32,
}

/// A folder: where its listing is in the folder table.
pub(super) struct Folder {
    pub block: u64,
    pub offset: u16,
    pub len: usize,
}

impl<'a> Inode<'a> {
    /// Reads the inode of a reference: its block's distance from the table's start, and its offset
    /// in the block in the low 16 bits.
    pub(super) fn read(table: &'a Table, reference: u64, block_bytes: u32) -> Option<Self> {
        let bytes = table.at(reference >> 16, reference as u16)?;
        match u16_at(bytes, 0)? {
            1 => {
                let len = u32::from(u16_at(bytes, 24)?);
                Self::folder(u32_at(bytes, 16)?, u16_at(bytes, 26)?, len)
            }
            8 => Self::folder(u32_at(bytes, 24)?, u16_at(bytes, 34)?, u32_at(bytes, 20)?),
            2 => {
                let (start, len) = (u64::from(u32_at(bytes, 16)?), u64::from(u32_at(bytes, 28)?));
                let fragment = (u32_at(bytes, 20)?, u32_at(bytes, 24)?);
                Self::file(start, len, fragment, bytes.get(32..)?, block_bytes)
            }
            9 => {
                let (start, len) = (u64_at(bytes, 16)?, u64_at(bytes, 24)?);
                let fragment = (u32_at(bytes, 44)?, u32_at(bytes, 48)?);
                Self::file(start, len, fragment, bytes.get(56..)?, block_bytes)
            }
            _ => None,
        }
    }

    fn folder(block: u32, offset: u16, len: u32) -> Option<Self> {
        let len = len.checked_sub(LISTING_BYTES_EXTRA)? as usize;
        Some(Self::Folder(Folder { block: u64::from(block), offset, len }))
    }

    fn file(
        start: u64,
        len: u64,
        (fragment, offset): (u32, u32),
        sizes: &'a [u8],
        block_bytes: u32,
    ) -> Option<Self> {
        let tail_len = (len % u64::from(block_bytes)) as u32;
        let tail =
            (fragment != NO_FRAGMENT && tail_len > 0).then_some(Tail { fragment, offset, len: tail_len });
        let own_len = len - tail.as_ref().map_or(0, |tail| u64::from(tail.len));
        let blocks = usize::try_from(own_len.div_ceil(u64::from(block_bytes))).ok()?;
        let sizes = sizes.get(..blocks.checked_mul(4)?)?;
        Some(Self::File(RegularFile { start, len: own_len, sizes, tail }))
    }
}

/// An entry of a folder.
pub(super) struct Entry<'a> {
    pub name: &'a [u8],
    pub reference: u64,
    pub kind: Kind,
}

/// The entries of a listing, up to the first that is damaged.
pub(super) fn entries(listing: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    let mut rest = listing;
    let mut block = 0;
    let mut left = 0;
    std::iter::from_fn(move || {
        if left == 0 {
            // A header speaks for all entries whose inodes are in one block.
            left = u32_at(rest, 0)?.checked_add(1).filter(|count| *count <= RUN_ENTRIES_MAX)?;
            block = u64::from(u32_at(rest, 4)?);
            rest = rest.get(12..)?;
        }
        left -= 1;
        let offset = u64::from(u16_at(rest, 0)?);
        let kind = match u16_at(rest, 4)? {
            1 => Kind::Folder,
            2 => Kind::File,
            _ => Kind::Other,
        };
        let name_len = usize::from(u16_at(rest, 6)?) + 1;
        let name = rest.get(8..8 + name_len)?;
        rest = rest.get(8 + name_len..)?;
        Some(Entry { name, reference: block << 16 | offset, kind })
    })
}
