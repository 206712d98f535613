//! Folder entries. Hashed folders hide their index in entries without an inode.

use crate::field::{u8_at, u16_at, u32_at};

/// An entry of a folder.
pub(super) struct Entry<'a> {
    pub inode: u64,
    pub name: &'a [u8],
}

/// The entries of one block of a folder, up to the first that is damaged. `typed`: the name's
/// length has one byte, and the next says what the entry leads to.
pub(super) fn entries(block: &[u8], typed: bool) -> impl Iterator<Item = Entry<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let inode = u64::from(u32_at(block, at)?);
            let len = match usize::from(u16_at(block, at + 4)?) {
                // 64 KiB does not fit in the field.
                0 | 0xffff => block.len(),
                len => len,
            };
            let name_len =
                if typed { usize::from(u8_at(block, at + 6)?) } else { usize::from(u16_at(block, at + 6)?) };
            let name = block.get(at + 8..at + 8 + name_len);
            at = at.checked_add(len.max(8))?;
            if inode != 0 {
                return Some(Entry { inode, name: name? });
            }
        }
    })
}
