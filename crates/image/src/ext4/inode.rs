//! Inodes.

use std::collections::HashMap;

use fluvial_delta::structure::Extent;

use super::superblock::Superblock;
use crate::field::{array_at, u8_at, u16_at, u32_at};
use crate::pages::Pages;
use crate::tree::Kind;

/// The block map's length, and the most content that an inode without extended attributes holds.
pub(super) const MAP_BYTES: usize = 60;
/// The inode's flag for a tree of extents instead of a block map.
const EXTENTS: u32 = 0x8_0000;
/// The inode's flag for content inside the inode.
const INLINE: u32 = 0x1000_0000;
/// First word of the extended attributes inside an inode.
const XATTR_MAGIC: u32 = 0xea02_0000;
/// Name index of "system." attributes; `system.data` has what does not fit in the map.
const XATTR_SYSTEM: u8 = 7;
/// Attributes of one inode at most: an entry has 16 bytes and more, an inode 4 KiB at most.
const XATTRS_MAX: usize = 256;

/// An inode, as far as it matters here.
pub(super) struct Inode {
    mode: u16,
    flags: u32,
    /// The file's length in bytes.
    pub len: u64,
    /// Block map, root of the extent tree, or content.
    pub map: [u8; MAP_BYTES],
    /// All of the inode's bytes, kept only where content is inside.
    inline: Option<Vec<u8>>,
}

impl Inode {
    pub(super) fn kind(&self) -> Kind {
        match self.mode & 0xf000 {
            0x8000 => Kind::File,
            0x4000 => Kind::Folder,
            _ => Kind::Other,
        }
    }

    pub(super) fn has_extents(&self) -> bool {
        self.flags & EXTENTS != 0
    }

    /// Whether the inode itself tells where all blocks stand.
    pub(super) fn has_map_at_hand(&self) -> bool {
        let is_leaf = |depth| depth == 0;
        self.has_extents() && u16_at(&self.map, 6).is_some_and(is_leaf)
    }

    pub(super) fn is_inline(&self) -> bool {
        self.flags & INLINE != 0
    }

    /// The listings of a folder that stands in its inode: behind the parent's number, and in an
    /// extended attribute.
    pub(super) fn inline_listings(&self) -> Vec<Vec<u8>> {
        let mut listings = vec![self.map[4..].to_vec()];
        listings.extend(self.inline.as_deref().and_then(system_data).map(<[u8]>::to_vec));
        listings
    }
}

/// The value of the attribute `system.data` in an inode.
fn system_data(inode: &[u8]) -> Option<&[u8]> {
    let start = 128 + usize::from(u16_at(inode, 128)?);
    if u32_at(inode, start)? != XATTR_MAGIC {
        return None;
    }
    let values = inode.get(start + 4..)?;
    let mut at = 0;
    for _ in 0..XATTRS_MAX {
        let name_len = usize::from(u8_at(values, at)?);
        let (index, offset, len) =
            (u8_at(values, at + 1)?, u16_at(values, at + 2)?, u32_at(values, at + 8)? as usize);
        // Four zeros end the list.
        if name_len == 0 && index == 0 && offset == 0 {
            return None;
        }
        if index == XATTR_SYSTEM && values.get(at + 16..at + 16 + name_len)? == b"data" {
            let offset = usize::from(offset);
            return values.get(offset..offset.checked_add(len)?);
        }
        at = (at + 16 + name_len).next_multiple_of(4);
    }
    None
}

/// The length of inodes whose checksums are taken out, in bytes; see [`Format::Ext4Inodes`].
///
/// [`Format::Ext4Inodes`]: fluvial_codec::Format::Ext4Inodes
const CHECKED_INODE_BYTES: u16 = 256;
/// Tables are one part up to so many bytes together.
const TABLES_BYTES_MAX: u64 = 64 << 20;

/// Finds inodes by their number.
pub(super) struct Inodes {
    /// Offset of each group's inode table, as far as known.
    tables: HashMap<u32, u64>,
    wide: bool,
}

impl Inodes {
    pub(super) fn new(superblock: &Superblock) -> Self {
        Self { tables: HashMap::new(), wide: superblock.descriptor_bytes >= 64 }
    }

    /// Reads an inode; `None` where there is none of that number.
    pub(super) fn read(
        &mut self,
        pages: &mut Pages<'_>,
        superblock: &Superblock,
        number: u64,
    ) -> Option<Inode> {
        let index = u32::try_from(number.checked_sub(1)?).ok().filter(|index| *index < superblock.inodes)?;
        let table = self.table(pages, superblock, index / superblock.inodes_per_group)?;
        let within = u64::from(index % superblock.inodes_per_group) * u64::from(superblock.inode_bytes);
        let offset = table.checked_add(within)?;
        let bytes: [u8; 128] = pages.array(offset)?;
        let flags = u32_at(&bytes, 32)?;
        let inline = (flags & INLINE != 0).then(|| pages.vec(offset, u64::from(superblock.inode_bytes)));
        Some(Inode {
            mode: u16_at(&bytes, 0)?,
            flags,
            len: u64::from(u32_at(&bytes, 4)?) | u64::from(u32_at(&bytes, 108)?) << 32,
            map: array_at(&bytes, 40)?,
            inline: inline.flatten(),
        })
    }

    /// The inode tables from the first group on, as far as they stand in one run; `None` where inodes have
    /// no checksums, or not the usual length.
    pub(super) fn first_tables(&mut self, pages: &mut Pages<'_>, superblock: &Superblock) -> Option<Extent> {
        if !superblock.checksums || superblock.inode_bytes != CHECKED_INODE_BYTES {
            return None;
        }
        let table_bytes = u64::from(superblock.inodes_per_group) * u64::from(superblock.inode_bytes);
        let groups = superblock.inodes / superblock.inodes_per_group;
        let groups = groups.min((TABLES_BYTES_MAX / table_bytes) as u32);
        let offset = self.table(pages, superblock, 0)?;
        let next = |group: &u32| {
            let expected = offset + u64::from(*group) * table_bytes;
            self.table(pages, superblock, *group) == Some(expected)
        };
        let count = (0..groups).take_while(next).count() as u64;
        (count > 0).then_some(Extent { offset, len: count * table_bytes })
    }

    fn table(&mut self, pages: &mut Pages<'_>, superblock: &Superblock, group: u32) -> Option<u64> {
        if let Some(table) = self.tables.get(&group) {
            return Some(*table);
        }
        let descriptor = superblock.descriptor_offset(group)?;
        let low = u32::from_le_bytes(pages.array(descriptor + 8)?);
        let high = if self.wide { u32::from_le_bytes(pages.array(descriptor + 40)?) } else { 0 };
        let table = (u64::from(high) << 32 | u64::from(low)).checked_mul(superblock.block_bytes)?;
        self.tables.insert(group, table);
        Some(table)
    }
}
