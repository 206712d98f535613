//! Exact matches: content that stands elsewhere byte for byte.

use std::collections::HashMap;

use rayon::prelude::*;

use super::DiffError;
use super::chunks::{Chunk, cut};
use super::flat::{Flat, FlatPart};
use super::old::OldPart;
use super::unchanged::Unchanged;
use crate::frame::Cover;
use crate::space::Space;
use crate::structure::{Extent, Gathered, ReadAt};

/// Shorter matches are left to the search for approximate ones.
const MATCH_BYTES_MIN: u64 = 32;
const COMPARE_BYTES: usize = 256 << 10;
/// So many bytes behind a match the next one is looked for at the same distance.
const NEAR_BYTES: u64 = 32 << 10;

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

/// New files that are what the old file of the same name is, in flattened order. Most of a system is:
/// comparing takes a fraction of what cutting both sides into chunks does.
pub(super) fn same_files(
    space: &Space<'_>,
    flat: &Flat<'_>,
    old_parts: &[OldPart],
    new_parts: &[FlatPart],
    unchanged: &Unchanged,
) -> Result<Vec<Cover>, DiffError> {
    let mut old_files: HashMap<&str, &[Extent]> = HashMap::with_capacity(old_parts.len());
    for part in old_parts {
        old_files.entry(&part.path).or_insert(&part.extents);
    }
    // A file may stand in several parts: how much of it stands before each.
    let mut told: HashMap<&str, u64> = HashMap::new();
    let mut pairs = Vec::new();
    for part in new_parts {
        let Some(path) = part.path.as_deref() else { continue };
        let before = told.entry(path).or_default();
        if let Some(&extents) = old_files.get(path)
            && part.extent.len >= MATCH_BYTES_MIN
        {
            pairs.push((extents, *before, part.extent, unchanged.stands_the_same(path)));
        }
        *before += part.extent.len;
    }
    let covers: Result<Vec<_>, DiffError> = pairs
        .par_iter()
        .map_init(buffers, |buffers, &(extents, before, new, is_known)| {
            let same = is_known || is_same(&Gathered::new(space, extents), before, flat, new, buffers)?;
            Ok(if same { covers_of(space, extents, before, new) } else { Vec::new() })
        })
        .collect();
    Ok(covers?.concat())
}

/// Room for comparing two streams.
pub(super) fn buffers() -> (Vec<u8>, Vec<u8>) {
    (vec![0; COMPARE_BYTES], vec![0; COMPARE_BYTES])
}

/// Whether the bytes of `old` from `from` on are those of an extent of `new`.
pub(super) fn is_same(
    old: &dyn ReadAt,
    from: u64,
    new: &dyn ReadAt,
    extent: Extent,
    buffers: &mut (Vec<u8>, Vec<u8>),
) -> Result<bool, DiffError> {
    if old.len() < from.saturating_add(extent.len) {
        return Ok(false);
    }
    let (mut at, mut step) = (0, 4096);
    while at < extent.len {
        let len = (extent.len - at).min(step) as usize;
        let (old_bytes, new_bytes) = (&mut buffers.0[..len], &mut buffers.1[..len]);
        old.read_at(from + at, old_bytes).map_err(DiffError::ReadOld)?;
        new.read_at(extent.offset + at, new_bytes).map_err(DiffError::ReadNew)?;
        if old_bytes != new_bytes {
            return Ok(false);
        }
        at += len as u64;
        step = (step * 4).min(COMPARE_BYTES as u64);
    }
    Ok(true)
}

/// Copies of `new` from what scattered extents hold from `from` on: from where the bytes really stand,
/// which is what the bytes around them are copied from too.
fn covers_of(space: &Space<'_>, extents: &[Extent], mut from: u64, new: Extent) -> Vec<Cover> {
    let mut covers = Vec::new();
    let mut at = new.offset;
    for extent in extents {
        let len = extent.len.saturating_sub(from).min(new.end() - at);
        let mut done = 0;
        while done < len {
            let place = space.origin(Extent { offset: extent.offset + from + done, len: len - done });
            covers.push(Cover { flat: at, address: place.offset, len: place.len });
            at += place.len;
            done += place.len;
        }
        from = from.saturating_sub(extent.len);
    }
    covers
}

/// Finds what stands in the old space, or earlier in the flattened target, byte for byte. The
/// covers are in flattened order and do not overlap. `known` are those of [`same_files`], in which no
/// chunk stands.
pub(super) fn find(
    space: &Space<'_>,
    flat: &Flat<'_>,
    known: &[Cover],
    old_chunks: &[Chunk],
    new_chunks: &[Chunk],
    progress: &dyn Fn(u64) -> bool,
) -> Result<Vec<Cover>, DiffError> {
    let mut search = Search {
        space,
        flat,
        old_len: space.len(),
        addresses: HashMap::with_capacity(old_chunks.len() + new_chunks.len()),
        buffers: buffers(),
    };
    for chunk in old_chunks {
        search.addresses.entry(chunk.hash).or_insert(chunk.extent.offset);
    }
    let mut covers: Vec<Cover> = Vec::new();
    let mut done = 0;
    let mut told = 0;
    let mut known = known.iter().copied().peekable();
    for chunk in new_chunks {
        while let Some(cover) = known.next_if(|cover| cover.flat < chunk.extent.offset) {
            covers.push(cover);
            done = cover.flat_end();
        }
        let ceiling = known.peek().map_or(flat.len(), |next| next.flat);
        if chunk.extent.end() > done {
            let from = chunk.extent.offset.max(done);
            // The same distance as before is the cheapest, and the likeliest near by.
            let near = covers.last().filter(|last| from - last.flat_end() < NEAR_BYTES);
            let expected = near.map(|last| last.address + (from - last.flat));
            let found = search.addresses.get(&chunk.hash).map(|at| at + (from - chunk.extent.offset));
            for address in expected.into_iter().chain(found) {
                if let Some(cover) = search.extend(address, from, done..ceiling)? {
                    done = cover.flat_end();
                    covers.push(cover);
                    break;
                }
            }
        }
        let readable = flat.readable_around(chunk.extent.offset);
        if readable.is_some_and(|readable| chunk.extent.end() <= readable.end) {
            search.addresses.entry(chunk.hash).or_insert(search.old_len + chunk.extent.offset);
        }
        if chunk.extent.end() - told > 16 << 20 {
            if !progress(chunk.extent.end() - told) {
                return Err(DiffError::Cancelled);
            }
            told = chunk.extent.end();
        }
    }
    covers.extend(known);
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
    /// The longest match through `address` and `flat`, within `room`.
    fn extend(
        &mut self,
        address: u64,
        flat: u64,
        room: std::ops::Range<u64>,
    ) -> Result<Option<Cover>, DiffError> {
        // The bytes behind and before it that may be read.
        let (forward_max, backward_max) = if let Some(made_at) = address.checked_sub(self.old_len) {
            let Some(readable) = self.flat.readable_around(made_at) else { return Ok(None) };
            // Only bytes that are written when the cover begins.
            let end = self.flat.settled_end(flat).min(readable.end);
            (end.saturating_sub(made_at), made_at - readable.start)
        } else {
            (self.old_len - address, address)
        };
        let forward = self.common(address, flat, forward_max.min(room.end - flat), true)?;
        if forward == 0 {
            return Ok(None);
        }
        let floor = if address < self.old_len {
            room.start
        } else {
            room.start.max(self.flat.piece_start(flat).unwrap_or(0))
        };
        let backward = self.common(address, flat, backward_max.min(flat - floor), false)?;
        let mut cover = Cover { flat: flat - backward, address: address - backward, len: forward + backward };
        // A copy within the target must not run into what it writes.
        if let Some(made_at) = cover.address.checked_sub(self.old_len) {
            cover.len = cover.len.min(self.flat.settled_end(cover.flat).saturating_sub(made_at));
        }
        Ok((cover.len >= MATCH_BYTES_MIN && cover.flat_end() > flat).then_some(cover))
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
