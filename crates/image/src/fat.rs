//! FAT12, FAT16 and FAT32: boot and EFI system partitions.
//!
//! Source: Microsoft, "FAT32 File System Specification" 1.03 (which covers all three), and the
//! Linux kernel's `Documentation/filesystems/vfat.rst` for the case bits of short names.

mod folder;
mod table;

use fluvial_delta::structure::{Extent, Structure};

use self::table::Table;
use crate::anatomist::Specimen;
use crate::catalogue::{Catalogue, Full};
use crate::field::{read_vec, u8_at, u16_at, u32_at};
use crate::tree::{Kind, Tree};

/// Bytes of one folder at most: 65,536 entries of 32 bytes, by the specification.
const FOLDER_BYTES_MAX: u64 = 65_536 * 32;
/// The node of the root folder where it has no cluster of its own (FAT12 and FAT16).
const FIXED_ROOT: u64 = u64::MAX;

/// Takes a FAT file system apart: a part per file.
pub(crate) fn dissect(specimen: Specimen<'_>) -> Option<Structure> {
    let stream = specimen.stream;
    let volume = Volume::parse(specimen.head)?;
    let mut catalogue = Catalogue::new(stream.len());
    let mut table = Table::read(stream, &volume)?;
    // What was found before the catalogue was full, or a limit was reached, stands.
    let _ = walk(specimen, &volume, &mut table, &mut catalogue);
    catalogue.finish("fat")
}

fn walk(
    specimen: Specimen<'_>,
    volume: &Volume,
    table: &mut Table,
    catalogue: &mut Catalogue,
) -> Result<(), Full> {
    let mut tree = Tree::new(volume.root_cluster.map_or(FIXED_ROOT, u64::from));
    while let Some(node) = tree.next_folder() {
        let extents = match u32::try_from(node) {
            Ok(cluster) => table.extents(volume, cluster, FOLDER_BYTES_MAX)?,
            Err(_) => vec![volume.fixed_root],
        };
        let mut listing = Vec::new();
        for Extent { offset, len } in extents {
            listing.extend(read_vec(specimen.stream, offset, len).unwrap_or_default());
        }
        for entry in folder::entries(&listing) {
            // Files without content have no cluster, and nothing to list.
            if entry.cluster == 0 {
                continue;
            }
            let kind = if entry.is_folder { Kind::Folder } else { Kind::File };
            let path = tree.entry(entry.name.as_bytes(), u64::from(entry.cluster), kind)?;
            if let Some(path) = path {
                catalogue.plain(path, table.extents(volume, entry.cluster, u64::from(entry.len))?)?;
            }
        }
    }
    Ok(())
}

/// The boot sector, as far as it matters here. Offsets are in bytes from the start of the stream.
struct Volume {
    cluster_bytes: u64,
    /// Clusters are numbered from 2.
    clusters: u64,
    table: Extent,
    /// Where cluster 2 is.
    data_offset: u64,
    fixed_root: Extent,
    root_cluster: Option<u32>,
    /// Bits of a number in the table.
    width: Width,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Width {
    Twelve,
    Sixteen,
    ThirtyTwo,
}

impl Volume {
    /// `None` where it is no FAT file system. There is no magic worth the name: all fields must
    /// make sense together.
    fn parse(head: &[u8]) -> Option<Self> {
        let sector_bytes = u64::from(u16_at(head, 11)?);
        let cluster_sectors = u64::from(u8_at(head, 13)?);
        let reserved = u64::from(u16_at(head, 14)?);
        let tables = u64::from(u8_at(head, 16)?);
        let root_entries = u64::from(u16_at(head, 17)?);
        let either = |short: u64, long: u32| if short == 0 { u64::from(long) } else { short };
        let sectors = either(u64::from(u16_at(head, 19)?), u32_at(head, 32)?);
        let short_table = u64::from(u16_at(head, 22)?);
        let table_sectors = either(short_table, u32_at(head, 36)?);
        let sane = head.get(510..512)? == [0x55, 0xaa]
            && matches!(head.first()?, 0xeb | 0xe9)
            && matches!(sector_bytes, 512 | 1024 | 2048 | 4096)
            && cluster_sectors.is_power_of_two()
            && reserved > 0
            && (1..=4).contains(&tables)
            && table_sectors > 0
            // The kind of medium: 0xf0 and 0xf8 to 0xff.
            && matches!(u8_at(head, 21)?, 0xf0 | 0xf8..);
        if !sane {
            return None;
        }
        let root_sectors = (root_entries * 32).div_ceil(sector_bytes);
        let root_start = reserved + tables * table_sectors;
        let data_start = root_start + root_sectors;
        let clusters = sectors.checked_sub(data_start)? / cluster_sectors;
        let width = match clusters {
            _ if short_table == 0 => Width::ThirtyTwo,
            0..4085 => Width::Twelve,
            _ => Width::Sixteen,
        };
        Some(Self {
            cluster_bytes: cluster_sectors * sector_bytes,
            clusters,
            table: Extent { offset: reserved * sector_bytes, len: table_sectors * sector_bytes },
            data_offset: data_start * sector_bytes,
            fixed_root: Extent { offset: root_start * sector_bytes, len: root_entries * 32 },
            root_cluster: if width == Width::ThirtyTwo { Some(u32_at(head, 44)?) } else { None },
            width,
        })
    }
}
