//! Blocks of folders: entries first, then their names.

use crate::field::{u8_at, u16_at, u64_at};
use crate::tree::Kind;

/// Bytes of an entry.
const ENTRY_BYTES: usize = 12;

/// An entry of a folder.
pub(super) struct Entry<'a> {
    pub inode: u64,
    pub name: &'a [u8],
    pub kind: Kind,
}

/// The entries of one block, up to the first that is damaged. The first name's offset tells how
/// many there are; the last name ends at a zero, or with the block.
pub(super) fn entries(block: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    let count = u16_at(block, 8).map_or(0, |offset| usize::from(offset) / ENTRY_BYTES);
    (0..count).map_while(move |index| {
        let at = index * ENTRY_BYTES;
        let start = usize::from(u16_at(block, at + 8)?);
        let name = if index + 1 < count {
            block.get(start..usize::from(u16_at(block, at + ENTRY_BYTES + 8)?))?
        } else {
            block.get(start..)?.split(|byte| *byte == 0).next()?
        };
        let kind = match u8_at(block, at + 10)? {
            1 => Kind::File,
            2 => Kind::Folder,
            _ => Kind::Other,
        };
        Some(Entry { inode: u64_at(block, at)?, name, kind })
    })
}
