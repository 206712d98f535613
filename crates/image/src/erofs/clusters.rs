//! The index of a compressed file: one entry per logical cluster.
//!
//! A logical cluster is a block of the file. It either contains the start of an extent (a *head*)
//! or not. Compact indexes pack 2 entries into 8 bytes, or 16 into 32: every entry has an offset
//! and a type, and only the pack as a whole has a block number.

use crate::field::{u16_at, u32_at};
use crate::pages::Pages;

/// In the distance to the head: it is a count of blocks instead.
const BLOCK_COUNT: u32 = 1 << 11;
/// In a full index's first number: only a part of what is packed there belongs to the file.
const PARTIAL: u16 = 1 << 15;
/// Packs are aligned to the longer of the two kinds from here on.
const LONG_PACK_BYTES: u64 = 32;
/// Entries in a long pack.
const LONG_PACK_ENTRIES: u64 = 16;

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cluster {
    /// An extent starts here.
    Head(Head),
    /// No extent starts here. The first such cluster behind a head may tell how many blocks the
    /// extent is packed into.
    Rest { packed_blocks: Option<u32> },
}

/// The start of an extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub kind: HeadKind,
    /// Where in the logical cluster.
    pub offset: u32,
    /// The first block of what it is packed into.
    pub block: u32,
    /// Another file owns the whole of it.
    pub partial: bool,
}

/// How an extent is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeadKind {
    /// Not at all.
    Plain,
    /// By the file's first algorithm.
    First,
    /// By its second.
    Second,
}

impl HeadKind {
    /// `None` for a cluster in which no extent starts.
    fn of(kind: u32) -> Option<Self> {
        [Some(Self::Plain), Some(Self::First), None, Some(Self::Second)][kind as usize & 3]
    }
}

/// Where the index is and how it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Index {
    /// Offset of the first entry.
    pub start: u64,
    /// Logical clusters of the file.
    pub count: u64,
    pub cluster_log: u32,
    /// Extents may be packed into more than one block.
    pub big: bool,
    pub form: Form,
}

/// How entries are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Eight bytes each.
    Full,
    /// In short packs; in long ones where the flag says so and alignment allows.
    Compact { long: bool },
}

impl Index {
    /// Bytes of the whole index, a pack more at most.
    pub(super) fn len(&self) -> u64 {
        self.count.saturating_mul(if self.form == Form::Full { 8 } else { 4 })
    }

    /// The entry of a logical cluster, and the offset behind it or its pack.
    pub(super) fn get(&self, pages: &mut Pages<'_>, number: u64) -> Option<(Cluster, u64)> {
        match self.form {
            Form::Full => self.full(pages, number),
            Form::Compact { long } => self.compact(pages, number, long),
        }
    }

    fn full(&self, pages: &mut Pages<'_>, number: u64) -> Option<(Cluster, u64)> {
        let offset = self.start.checked_add(number.checked_mul(8)?)?;
        let entry: [u8; 8] = pages.array(offset)?;
        let advice = u16_at(&entry, 0)?;
        let cluster = match HeadKind::of(u32::from(advice)) {
            Some(kind) => Cluster::Head(Head {
                kind,
                offset: u32::from(u16_at(&entry, 2)?),
                block: u32_at(&entry, 4)?,
                partial: advice & PARTIAL != 0,
            }),
            None => Self::rest(u32::from(u16_at(&entry, 4)?)),
        };
        Some((cluster, offset + 8))
    }

    fn rest(distance: u32) -> Cluster {
        let packed_blocks = (distance & BLOCK_COUNT != 0).then_some(distance & (BLOCK_COUNT - 1));
        Cluster::Rest { packed_blocks }
    }

    fn compact(&self, pages: &mut Pages<'_>, number: u64, long: bool) -> Option<(Cluster, u64)> {
        // Short packs up to the alignment of long ones, then long ones, then short ones again.
        let before = (LONG_PACK_BYTES - self.start % LONG_PACK_BYTES) % LONG_PACK_BYTES / 4;
        let in_long = if long && before < self.count {
            (self.count - before) / LONG_PACK_ENTRIES * LONG_PACK_ENTRIES
        } else {
            0
        };
        let (entry_offset, entry_bytes) = if number < before || in_long == 0 {
            (number * 4, 4)
        } else if number < before + in_long {
            (before * 4 + (number - before) * 2, 2)
        } else {
            (before * 4 + in_long * 2 + (number - before - in_long) * 4, 4)
        };
        let offset = self.start.checked_add(entry_offset)?;
        if entry_bytes == 2 {
            let pack: [u8; 32] = pages.array(offset & !31)?;
            let cluster =
                Pack { bytes: &pack, entries: 16, index: self }.cluster(offset as usize % 32 / 2)?;
            Some((cluster, (offset & !31) + 32))
        } else {
            let pack: [u8; 8] = pages.array(offset & !7)?;
            let cluster = Pack { bytes: &pack, entries: 2, index: self }.cluster(offset as usize % 8 / 4)?;
            Some((cluster, (offset & !7) + 8))
        }
    }
}

/// A few entries with one block number.
struct Pack<'a> {
    bytes: &'a [u8],
    entries: usize,
    index: &'a Index,
}

impl Pack<'_> {
    fn cluster(&self, number: usize) -> Option<Cluster> {
        let (low, kind) = self.entry(number)?;
        let Some(kind) = HeadKind::of(kind) else {
            return Some(Index::rest(low));
        };
        let base = u32_at(self.bytes, self.bytes.len() - 4)?;
        let before = if self.index.big { self.blocks_before_big(number) } else { self.blocks_before(number) };
        Some(Cluster::Head(Head { kind, offset: low, block: base.checked_add(before?)?, partial: false }))
    }

    /// An entry's offset or distance, and its type.
    fn entry(&self, number: usize) -> Option<(u32, u32)> {
        let entry_bits = (self.bytes.len() - 4) * 8 / self.entries;
        let low_bits = self.index.cluster_log.max(BLOCK_COUNT.ilog2() + 1);
        let bit = entry_bits * number;
        // The last entry's four bytes reach into the block number, which is there.
        let word = u32_at(self.bytes, bit / 8)? >> (bit % 8);
        Some((word & ((1 << low_bits) - 1), word >> low_bits))
    }

    /// Blocks from the pack's own number to that of a head, where each extent has one.
    fn blocks_before(&self, number: usize) -> Option<u32> {
        let mut at = number as i64;
        let mut blocks = 1;
        while at > 0 {
            at -= 1;
            let (low, kind) = self.entry(at as usize)?;
            if HeadKind::of(kind).is_none() {
                at -= i64::from(low);
            }
            if at >= 0 {
                blocks += 1;
            }
        }
        Some(blocks)
    }

    /// The same where extents have more than one block, and say how many.
    fn blocks_before_big(&self, number: usize) -> Option<u32> {
        let mut at = number as i64;
        let mut blocks = 0_u32;
        while at > 0 {
            at -= 1;
            let (low, kind) = self.entry(at as usize)?;
            if HeadKind::of(kind).is_some() {
                blocks += 1;
            } else if low & BLOCK_COUNT != 0 {
                at -= 1;
                blocks = blocks.checked_add(low & (BLOCK_COUNT - 1))?;
            } else {
                // One cluster further on stands the count, two further the head.
                at -= i64::from(low.checked_sub(2)?);
            }
        }
        Some(blocks)
    }
}
