//! Disk images with partitions: GPT and MBR.
//!
//! Sources: UEFI Specification 2.10, chapter 5 (GUID Partition Table), and the usual layout of the
//! master boot record with its chain of extended records.

use fluvial_delta::structure::{ReadAt, Structure};

use crate::anatomist::Specimen;
use crate::catalogue::Catalogue;
use crate::field::{read_array, read_vec, u8_at, u32_at, u64_at};

/// Sizes of a sector that disks have.
const SECTORS_BYTES: [u64; 2] = [512, 4096];
/// Entries of a GPT at most; the usual table has 128.
const GPT_ENTRIES_MAX: u32 = 4096;
/// Bytes of one GPT entry: 128 times a power of two.
const GPT_ENTRY_BYTES: std::ops::RangeInclusive<u32> = 128..=4096;
/// Logical partitions of an MBR at most.
const LOGICAL_MAX: usize = 128;
/// Number of the first logical partition.
const LOGICAL_FIRST: usize = 5;
/// The MBR's type for "see the GPT".
const TYPE_PROTECTIVE: u8 = 0xee;
/// Types of extended partitions, which hold logical ones.
const TYPES_EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];

/// Takes a disk apart: a part per partition, named by its number. Whatever does not fit is no disk.
pub(crate) fn dissect(specimen: Specimen<'_>) -> Option<Structure> {
    let mbr = Mbr::parse(specimen.head)?;
    if mbr.partitions.iter().any(|partition| partition.kind == TYPE_PROTECTIVE) {
        return SECTORS_BYTES.into_iter().find_map(|sector_bytes| gpt(specimen.stream, sector_bytes));
    }
    mbr.dissect(specimen.stream)
}

fn name(number: usize) -> String {
    format!("<partition {number}>")
}

fn gpt(stream: &dyn ReadAt, sector_bytes: u64) -> Option<Structure> {
    let header: [u8; 92] = read_array(stream, sector_bytes)?;
    let (entries, entry_bytes) = (u32_at(&header, 80)?, u32_at(&header, 84)?);
    let sane = &header[..8] == b"EFI PART"
        && entries <= GPT_ENTRIES_MAX
        && GPT_ENTRY_BYTES.contains(&entry_bytes)
        && entry_bytes.is_power_of_two();
    if !sane {
        return None;
    }
    let table_offset = u64_at(&header, 72)?.checked_mul(sector_bytes)?;
    let table = read_vec(stream, table_offset, u64::from(entries) * u64::from(entry_bytes))?;
    let mut catalogue = Catalogue::new(stream.len());
    for (index, entry) in table.chunks_exact(entry_bytes as usize).enumerate() {
        // A type of zeros marks an empty entry. Both sectors belong to the partition.
        let (first, last) = (u64_at(entry, 32)?, u64_at(entry, 40)?);
        if entry.iter().take(16).all(|byte| *byte == 0) || last < first {
            continue;
        }
        let offset = first.saturating_mul(sector_bytes);
        let len = (last - first).saturating_add(1).saturating_mul(sector_bytes);
        catalogue.run(name(index + 1), offset, len).ok()?;
    }
    catalogue.finish("gpt")
}

/// A master or an extended boot record.
struct Mbr {
    partitions: [MbrPartition; 4],
}

#[derive(Clone, Copy)]
struct MbrPartition {
    status: u8,
    kind: u8,
    /// First sector, counted from the record's own, or from the extended partition's start.
    first: u64,
    sectors: u64,
}

impl MbrPartition {
    fn is_extended(self) -> bool {
        TYPES_EXTENDED.contains(&self.kind)
    }
}

impl Mbr {
    fn parse(sector: &[u8]) -> Option<Self> {
        if sector.get(510..512)? != [0x55, 0xaa] {
            return None;
        }
        let partition = |index: usize| {
            let at = 446 + index * 16;
            Some(MbrPartition {
                status: u8_at(sector, at)?,
                kind: u8_at(sector, at + 4)?,
                first: u64::from(u32_at(sector, at + 8)?),
                sectors: u64::from(u32_at(sector, at + 12)?),
            })
        };
        Some(Self { partitions: [partition(0)?, partition(1)?, partition(2)?, partition(3)?] })
    }

    /// Boot sectors of FAT and NTFS and the start of kernels have the same mark at their end, and
    /// code where partitions would be: all four entries must make sense.
    fn dissect(&self, stream: &dyn ReadAt) -> Option<Structure> {
        let sector_bytes = SECTORS_BYTES[0];
        let sectors = stream.len() / sector_bytes;
        let used = || self.partitions.iter().filter(|partition| partition.kind != 0);
        let sane = self.partitions.iter().all(|partition| {
            let placed = partition.first > 0
                && partition.sectors > 0
                && partition.first + partition.sectors <= sectors;
            matches!(partition.status, 0 | 0x80) && (partition.kind == 0 || placed)
        });
        if !sane || used().count() == 0 {
            return None;
        }
        let mut catalogue = Catalogue::new(stream.len());
        for (index, partition) in self.partitions.iter().enumerate() {
            if partition.is_extended() {
                list_logical(stream, partition.first, &mut catalogue);
            } else if partition.kind != 0 {
                let (offset, len) = (partition.first * sector_bytes, partition.sectors * sector_bytes);
                catalogue.run(name(index + 1), offset, len).ok()?;
            }
        }
        catalogue.finish("mbr")
    }
}

/// Follows the chain of extended records from sector `start`: each has one partition, and the place
/// of the next record.
fn list_logical(stream: &dyn ReadAt, start: u64, catalogue: &mut Catalogue) {
    let sector_bytes = SECTORS_BYTES[0];
    let mut at = start;
    for number in LOGICAL_FIRST..LOGICAL_FIRST + LOGICAL_MAX {
        let record = read_array::<512>(stream, at * sector_bytes).and_then(|sector| Mbr::parse(&sector));
        let Some(Mbr { partitions: [partition, next, ..] }) = record else { return };
        if partition.kind != 0 {
            let (offset, len) = ((at + partition.first) * sector_bytes, partition.sectors * sector_bytes);
            if catalogue.run(name(number), offset, len).is_err() {
                return;
            }
        }
        // The chain goes forward only, so it ends.
        let following = start + next.first;
        if !next.is_extended() || following <= at {
            return;
        }
        at = following;
    }
}
