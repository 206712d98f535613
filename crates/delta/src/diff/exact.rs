//! Exact matches: content that stands elsewhere byte for byte.

use std::collections::HashMap;

use super::DiffError;
use super::chunks::{Chunk, cut};
use super::flat::Flat;
use crate::frame::Cover;
use crate::space::Space;
use crate::structure::{Extent, ReadAt};

/// Shorter matches are left to the search for approximate ones.
const MATCH_BYTES_MIN: u64 = 32;
const COMPARE_BYTES: usize = 256 << 10;

/// Chunks of the old space. `cuts` are the extents to be cut, each starting a chunk.
pub(super) fn chunks_of(stream: &dyn ReadAt, cuts: &[Extent]) -> std::io::Result<Vec<Chunk>> {
    let mut chunks = Vec::new();
    for &extent in cuts {
        cut(stream, extent, &mut chunks)?;
    }
    Ok(chunks)
}

/// Extents of a stream of `len` bytes, cut wherever one of the parts starts or ends.
pub(super) fn cuts(len: u64, parts: impl Iterator<Item = Extent>) -> Vec<Extent> {
    let mut edges: Vec<u64> = parts.flat_map(|extent| [extent.offset, extent.end()]).collect();
    edges.extend([0, len]);
    edges.sort_unstable();
    edges.dedup();
    edges.windows(2).map(|pair| Extent { offset: pair[0], len: pair[1] - pair[0] }).collect()
}

/// Finds what stands in the old space, or earlier in the flattened target, byte for byte. The
/// covers are in flattened order and do not overlap.
pub(super) fn find(
    space: &Space<'_>,
    flat: &Flat<'_>,
    old_chunks: &[Chunk],
    new_chunks: &[Chunk],
    progress: &dyn Fn(u64) -> bool,
) -> Result<Vec<Cover>, DiffError> {
    let mut search = Search {
        space,
        flat,
        old_len: space.len(),
        addresses: HashMap::with_capacity(old_chunks.len() + new_chunks.len()),
        buffers: (vec![0; COMPARE_BYTES], vec![0; COMPARE_BYTES]),
    };
    for chunk in old_chunks {
        search.addresses.entry(chunk.hash).or_insert(chunk.extent.offset);
    }
    let mut covers: Vec<Cover> = Vec::new();
    let mut done = 0;
    let mut told = 0;
    for chunk in new_chunks {
        if chunk.extent.end() > done {
            let from = chunk.extent.offset.max(done);
            // The same distance as before is the cheapest, and the likeliest.
            let expected = covers.last().map(|last| last.address + (from - last.flat));
            let found = search.addresses.get(&chunk.hash).map(|at| at + (from - chunk.extent.offset));
            for address in expected.into_iter().chain(found) {
                if let Some(cover) = search.extend(address, from, done)? {
                    done = cover.flat_end();
                    covers.push(cover);
                    break;
                }
            }
        }
        if chunk.extent.end() <= flat.readable_end {
            search.addresses.entry(chunk.hash).or_insert(search.old_len + chunk.extent.offset);
        }
        if chunk.extent.end() - told > 16 << 20 {
            if !progress(chunk.extent.end() - told) {
                return Err(DiffError::Cancelled);
            }
            told = chunk.extent.end();
        }
    }
    Ok(covers)
}

struct Search<'a> {
    space: &'a Space<'a>,
    flat: &'a Flat<'a>,
    old_len: u64,
    addresses: HashMap<u64, u64>,
    buffers: (Vec<u8>, Vec<u8>),
}

impl Search<'_> {
    /// The longest match through `address` and `flat`, not before `floor`.
    fn extend(&mut self, address: u64, flat: u64, floor: u64) -> Result<Option<Cover>, DiffError> {
        let forward_max = if address < self.old_len {
            self.old_len - address
        } else {
            // Only bytes that are written when the cover begins.
            self.flat.settled_end(flat).saturating_sub(address - self.old_len)
        };
        let forward = self.common(address, flat, forward_max.min(self.flat.len() - flat), true)?;
        if forward == 0 {
            return Ok(None);
        }
        let (backward_max, floor) = if address < self.old_len {
            (address, floor)
        } else {
            (address - self.old_len, floor.max(self.flat.piece_start(flat).unwrap_or(0)))
        };
        let backward = self.common(address, flat, backward_max.min(flat - floor), false)?;
        let len = forward + backward;
        // A copy within the target must not run into what it writes.
        let cover = Cover { flat: flat - backward, address: address - backward, len };
        let overlaps = cover.address >= self.old_len
            && cover.address - self.old_len + len > self.flat.settled_end(cover.flat);
        Ok((len >= MATCH_BYTES_MIN && !overlaps).then_some(cover))
    }

    fn common(&mut self, address: u64, flat: u64, max: u64, forward: bool) -> Result<u64, DiffError> {
        let mut len = 0;
        let mut step = 4096;
        while len < max {
            let want = (max - len).min(step) as usize;
            let (old_at, new_at) = if forward {
                (address + len, flat + len)
            } else {
                (address - len - want as u64, flat - len - want as u64)
            };
            let (old, new) = (&mut self.buffers.0[..want], &mut self.buffers.1[..want]);
            if old_at < self.old_len {
                self.space.read_at(old_at, old).map_err(DiffError::ReadOld)?;
            } else {
                self.flat.read_at(old_at - self.old_len, old).map_err(DiffError::ReadNew)?;
            }
            self.flat.read_at(new_at, new).map_err(DiffError::ReadNew)?;
            let same = if forward { common_prefix(old, new) } else { common_suffix(old, new) };
            len += same as u64;
            if same < want {
                break;
            }
            step = (step * 4).min(COMPARE_BYTES as u64);
        }
        Ok(len)
    }
}

/// How many bytes two slices share at their start.
pub(super) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    const STEP: usize = 32;
    let mut at = 0;
    for (a, b) in a.chunks_exact(STEP).zip(b.chunks_exact(STEP)) {
        if a != b {
            break;
        }
        at += STEP;
    }
    at + a[at..].iter().zip(&b[at..]).take_while(|(a, b)| a == b).count()
}

/// How many bytes two slices share at their end.
fn common_suffix(a: &[u8], b: &[u8]) -> usize {
    a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}
