//! The superblock, and where the descriptors of block groups stand.

use std::ops::Range;

use crate::field::{u16_at, u32_at};
use crate::pages::Pages;

/// Where the superblock starts.
const OFFSET: usize = 1024;
/// `COMPAT_HAS_JOURNAL`.
const HAS_JOURNAL: u32 = 0x4;
/// `INCOMPAT_FILETYPE`: folder entries say what they lead to.
const FILE_TYPE: u32 = 0x2;
/// `INCOMPAT_JOURNAL_DEV`: a journal and no file system.
const JOURNAL_DEVICE: u32 = 0x8;
/// `INCOMPAT_META_BG`: descriptors stand in the groups that they describe.
const META_GROUPS: u32 = 0x10;
/// `INCOMPAT_EXTENTS`.
const EXTENTS: u32 = 0x40;
/// `INCOMPAT_64BIT`: descriptors may be longer than 32 bytes.
const WIDE: u32 = 0x80;
/// `RO_COMPAT_SPARSE_SUPER`: backups of the superblock in few groups only.
const SPARSE_BACKUPS: u32 = 0x1;
/// `RO_COMPAT_METADATA_CSUM`: inodes, among others, carry checksums.
const CHECKSUMS: u32 = 0x400;
/// `RO_COMPAT_BIGALLOC`: bitmaps tell of clusters of blocks.
const CLUSTERS: u32 = 0x200;
/// `COMPAT_SPARSE_SUPER2`: backups in two groups at most.
const TWO_BACKUPS: u32 = 0x200;

/// The superblock, as far as it matters here.
pub(super) struct Superblock {
    /// `ext2`, `ext3` or `ext4`, by the features in use.
    pub kind: &'static str,
    pub block_bytes: u64,
    pub inodes: u32,
    pub inodes_per_group: u32,
    pub inode_bytes: u16,
    pub typed_entries: bool,
    pub checksums: bool,
    pub descriptor_bytes: u64,
    /// Blocks are handed out several at a time.
    pub has_clusters: bool,
    blocks: u64,
    first_data_block: u32,
    blocks_per_group: u32,
    /// The first group of descriptors that stands in its own groups.
    first_meta_group: Option<u32>,
    backups: Backups,
}

enum Backups {
    Everywhere,
    /// In groups 0, 1, and the powers of 3, 5 and 7.
    Sparse,
    Two([u32; 2]),
}

impl Superblock {
    /// `None` where there is no ext file system, or numbers make no sense.
    pub(super) fn parse(head: &[u8]) -> Option<Self> {
        let bytes = head.get(OFFSET..OFFSET + 1024)?;
        let word = |at| u32_at(bytes, at);
        if u16_at(bytes, 56)? != 0xef53 {
            return None;
        }
        let block_log = word(24)?;
        let (compatible, incompatible, read_only) = (word(92)?, word(96)?, word(100)?);
        // Revision 0 has no features and inodes of 128 bytes.
        let inode_bytes = if word(76)? == 0 { 128 } else { u16_at(bytes, 88)? };
        let descriptor_bytes = if incompatible & WIDE == 0 { 32 } else { u16_at(bytes, 254)? };
        let blocks_per_group = word(32)?;
        let inodes_per_group = word(40)?;
        let sane = block_log <= 6
            && inode_bytes.is_power_of_two()
            && (128..=4096).contains(&inode_bytes)
            && descriptor_bytes.is_power_of_two()
            && (32..=1024).contains(&descriptor_bytes)
            && blocks_per_group > 0
            && inodes_per_group > 0
            && incompatible & JOURNAL_DEVICE == 0;
        if !sane {
            return None;
        }
        let kind = if incompatible & EXTENTS != 0 {
            "ext4"
        } else if compatible & HAS_JOURNAL != 0 {
            "ext3"
        } else {
            "ext2"
        };
        let backups = if compatible & TWO_BACKUPS != 0 {
            Backups::Two([word(588)?, word(592)?])
        } else if read_only & SPARSE_BACKUPS != 0 {
            Backups::Sparse
        } else {
            Backups::Everywhere
        };
        Some(Self {
            kind,
            block_bytes: 1024 << block_log,
            inodes: word(0)?,
            inodes_per_group,
            inode_bytes,
            typed_entries: incompatible & FILE_TYPE != 0,
            checksums: read_only & CHECKSUMS != 0,
            descriptor_bytes: u64::from(descriptor_bytes),
            has_clusters: read_only & CLUSTERS != 0,
            blocks: u64::from(word(4)?)
                | if incompatible & WIDE == 0 { 0 } else { u64::from(word(336)?) << 32 },
            first_data_block: word(20)?,
            blocks_per_group,
            first_meta_group: if incompatible & META_GROUPS == 0 { None } else { Some(word(260)?) },
            backups,
        })
    }

    /// Offset in the stream of a group's descriptor.
    pub(super) fn descriptor_offset(&self, group: u32) -> Option<u64> {
        let per_block = self.block_bytes / self.descriptor_bytes;
        let (table_block, index) = (u64::from(group) / per_block, u64::from(group) % per_block);
        let in_groups = self.first_meta_group.is_some_and(|first| table_block >= u64::from(first));
        let block = if in_groups {
            let first_group = table_block * per_block;
            let start = u64::from(self.first_data_block) + first_group * u64::from(self.blocks_per_group);
            start + u64::from(self.has_backup(first_group))
        } else {
            u64::from(self.first_data_block) + 1 + table_block
        };
        // Below 2^32 blocks per group times 2^32 groups times 64 KiB: check.
        block.checked_mul(self.block_bytes)?.checked_add(index * self.descriptor_bytes)
    }

    /// How many groups an image of so many bytes has.
    pub(super) fn groups(&self, image_len: u64) -> u32 {
        let blocks = self.blocks_within(image_len).saturating_sub(u64::from(self.first_data_block));
        u32::try_from(blocks.div_ceil(u64::from(self.blocks_per_group))).unwrap_or(u32::MAX)
    }

    /// The blocks of a group that an image of so many bytes has.
    pub(super) fn blocks_of(&self, group: u32, image_len: u64) -> Range<u64> {
        let end = self.blocks_within(image_len);
        let per_group = u64::from(self.blocks_per_group);
        let start = u64::from(self.first_data_block) + u64::from(group) * per_group;
        start.min(end)..start.saturating_add(per_group).min(end)
    }

    fn blocks_within(&self, image_len: u64) -> u64 {
        self.blocks.min(image_len / self.block_bytes)
    }

    /// Offset in the stream of the bitmap of a group's blocks.
    pub(super) fn bitmap_offset(&self, pages: &mut Pages<'_>, descriptor: u64) -> Option<u64> {
        let low = u32::from_le_bytes(pages.array(descriptor)?);
        let high =
            if self.descriptor_bytes > 32 { u32::from_le_bytes(pages.array(descriptor + 32)?) } else { 0 };
        (u64::from(high) << 32 | u64::from(low)).checked_mul(self.block_bytes)
    }

    /// Whether a group starts with a copy of the superblock.
    fn has_backup(&self, group: u64) -> bool {
        let power_of = |base: u64| {
            let mut power = base;
            while power < group {
                power *= base;
            }
            power == group
        };
        match self.backups {
            _ if group == 0 => true,
            Backups::Everywhere => true,
            Backups::Sparse => group == 1 || [3, 5, 7].into_iter().any(power_of),
            Backups::Two(groups) => groups.into_iter().any(|backup| u64::from(backup) == group),
        }
    }
}
