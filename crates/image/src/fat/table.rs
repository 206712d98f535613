//! The table that gives FAT its name: for every cluster, the next one.

use fluvial_delta::structure::{Extent, ReadAt};

use super::{Volume, Width};
use crate::catalogue::Full;
use crate::field::{read_vec, u16_at, u32_at};

/// Bytes of a table at most: 2^26 clusters of FAT32.
const TABLE_BYTES_MAX: u64 = 256 << 20;
/// The first cluster's number.
const FIRST: u32 = 2;

/// The first copy of the table.
pub(super) struct Table {
    bytes: Vec<u8>,
    width: Width,
    /// Clusters that may yet be followed. In a sound image none belongs to two files.
    clusters_left: u64,
}

impl Table {
    pub(super) fn read(stream: &dyn ReadAt, volume: &Volume) -> Option<Self> {
        if volume.table.len > TABLE_BYTES_MAX {
            return None;
        }
        let bytes = read_vec(stream, volume.table.offset, volume.table.len)?;
        Some(Self { bytes, width: volume.width, clusters_left: volume.clusters })
    }

    /// The extents of a chain of clusters, up to a length in bytes. A damaged chain ends early.
    pub(super) fn extents(&mut self, volume: &Volume, first: u32, len: u64) -> Result<Vec<Extent>, Full> {
        let mut extents: Vec<Extent> = Vec::new();
        let mut cluster = first;
        let mut left = len;
        while left > 0 && cluster >= FIRST && u64::from(cluster - FIRST) < volume.clusters {
            self.clusters_left = self.clusters_left.checked_sub(1).ok_or(Full)?;
            let offset = volume.data_offset + u64::from(cluster - FIRST) * volume.cluster_bytes;
            let len = left.min(volume.cluster_bytes);
            left -= len;
            match extents.last_mut() {
                Some(last) if last.end() == offset => last.len += len,
                _ => extents.push(Extent { offset, len }),
            }
            let Some(next) = self.next(cluster) else { break };
            cluster = next;
        }
        Ok(extents)
    }

    /// The cluster behind another. Marks for the end of a chain are larger than any cluster.
    fn next(&self, cluster: u32) -> Option<u32> {
        let at = cluster as usize;
        match self.width {
            Width::Twelve => {
                let pair = u32::from(u16_at(&self.bytes, at + at / 2)?);
                Some(if at.is_multiple_of(2) { pair & 0xfff } else { pair >> 4 })
            }
            Width::Sixteen => u16_at(&self.bytes, at.checked_mul(2)?).map(u32::from),
            // The upper four bits are reserved.
            Width::ThirtyTwo => u32_at(&self.bytes, at.checked_mul(4)?).map(|next| next & 0x0fff_ffff),
        }
    }
}
