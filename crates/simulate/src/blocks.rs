//! Blocks of one length, fetched in packed groups, as RAUC does.

use std::collections::HashSet;

use fluvial_bundle::Chunker;
use rayon::prelude::*;

use crate::cost::Cost;
use crate::error::{Side, SimulateError};
use crate::pack::xz_len;
use crate::stream::Pair;

/// Blocks of `chunker` in groups of `group_bytes`, counted as Rugix's simulator counts them for RAUC
/// (`rugix-bundler simulator block-based simulate --chunker fixed-4 --group-size 32768`).
///
/// A group that holds a block that is not in the old image, and did not come before, is fetched whole, packed
/// with xz, in a request of its own. The index is the digest of each block of the new image, and the lengths
/// of the groups that are fetched, packed with xz. Memory: 80 bytes for each block.
///
/// # Errors
/// Where an image cannot be read, or the caller cancels.
pub fn by_groups(pair: Pair<'_>, chunker: Chunker, group_bytes: u64) -> Result<Cost, SimulateError> {
    let mut known: HashSet<[u8; 32]> =
        pair.cut(Side::Old, chunker)?.iter().map(|piece| piece.digest).collect();
    let blocks = pair.cut(Side::New, chunker)?;
    let missing = blocks.iter().filter(|block| known.insert(block.digest));
    let mut groups: Vec<u64> = missing.map(|block| block.offset / group_bytes).collect();
    groups.dedup();

    let packed = |group: &u64| {
        let offset = group * group_bytes;
        let len = group_bytes.min(pair.new.len() - offset) as usize;
        if !(pair.watch)(0) {
            return Err(SimulateError::Cancelled);
        }
        xz_len(&pair.read(Side::New, offset, len)?)
    };
    let lens = groups.par_iter().map(packed).collect::<Result<Vec<u64>, _>>()?;
    let digests: Vec<u8> = blocks.iter().flat_map(|block| block.digest).collect();
    let sizes: Vec<u8> = lens.iter().flat_map(|&len| (len as u32).to_be_bytes()).collect();
    Ok(Cost {
        data_bytes: lens.iter().sum(),
        index_bytes: xz_len(&digests)? + xz_len(&sizes)?,
        requests: 1 + groups.len() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NOTHING, noise, pair};

    const GROUP_BYTES: usize = 32 << 10;

    #[test]
    fn a_changed_block_brings_its_group() {
        let old = noise(1, 40 * 4096);
        let mut new = old.clone();
        new[9 * 4096 + 7] ^= 1;
        let chunker = Chunker::fixed(4).unwrap();
        let cost = by_groups(pair(&old, &new), chunker, GROUP_BYTES as u64).unwrap();
        assert_eq!(cost.data_bytes, xz_len(&new[GROUP_BYTES..2 * GROUP_BYTES]).unwrap());
        assert_eq!(cost.requests, 2);
        assert!(cost.index_bytes > 40 * 32, "a digest for each block");
    }

    #[test]
    fn the_last_group_is_as_long_as_what_is_there() {
        let new = noise(2, GROUP_BYTES + 5000);
        let chunker = Chunker::fixed(4).unwrap();
        let cost = by_groups(pair(NOTHING, &new), chunker, GROUP_BYTES as u64).unwrap();
        let groups = [&new[..GROUP_BYTES], &new[GROUP_BYTES..]].map(|group| xz_len(group).unwrap());
        assert_eq!(cost.data_bytes, groups.iter().sum::<u64>());
        assert_eq!(cost.requests, 3);
    }

    #[test]
    fn what_moved_by_whole_blocks_is_found_and_what_comes_twice_comes_once() {
        let old = noise(3, 16 * 4096);
        let chunker = Chunker::fixed(4).unwrap();
        let moved = [&old[8 * 4096..], &old[..8 * 4096]].concat();
        let cost = by_groups(pair(&old, &moved), chunker, GROUP_BYTES as u64).unwrap();
        assert_eq!((cost.data_bytes, cost.requests), (0, 1));
        let twice = [noise(4, GROUP_BYTES), noise(4, GROUP_BYTES)].concat();
        let cost = by_groups(pair(&old, &twice), chunker, GROUP_BYTES as u64).unwrap();
        assert_eq!(cost.requests, 2);
    }
}
