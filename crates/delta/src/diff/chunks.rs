//! Content-defined chunks.
//!
//! A chunk ends where the low bits of a rolling hash are zero, so that equal content gives equal
//! chunks wherever it stands (gear hash: W. Xia et al., *FastCDC*, USENIX ATC 2016). A new chunk
//! starts where a file's content starts: short files are found whole.

use std::io;

use xxhash_rust::xxh3::xxh3_64;

use crate::structure::{Extent, ReadAt};

/// No chunk is cut before this length, in bytes.
const CHUNK_BYTES_MIN: usize = 256;
/// Bits of the hash that are zero at a cut: 2 KiB between cuts on average.
const CUT_BITS: u32 = 11;
/// Every chunk is cut at this length, in bytes.
const CHUNK_BYTES_MAX: usize = 16 << 10;
/// Bytes that are read at a time.
const WINDOW_BYTES: usize = 1 << 20;

/// A chunk, and the hash of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) extent: Extent,
    pub(super) hash: u64,
}

/// Cuts an extent of a stream into chunks, and appends them.
pub(super) fn cut(stream: &dyn ReadAt, extent: Extent, chunks: &mut Vec<Chunk>) -> io::Result<()> {
    let mut window = vec![0; WINDOW_BYTES.min(extent.len as usize)];
    let (mut offset, mut held) = (extent.offset, 0);
    while offset < extent.end() {
        let want = window.len().min((extent.end() - offset) as usize);
        stream.read_at(offset + held as u64, &mut window[held..want])?;
        let last = offset + want as u64 == extent.end();
        let mut at = 0;
        while at < want && (last || want - at >= CHUNK_BYTES_MAX) {
            let len = cut_len(&window[at..want]);
            let hash = xxh3_64(&window[at..at + len]);
            chunks.push(Chunk { extent: Extent { offset: offset + at as u64, len: len as u64 }, hash });
            at += len;
        }
        window.copy_within(at..want, 0);
        held = want - at;
        offset += at as u64;
    }
    Ok(())
}

fn cut_len(bytes: &[u8]) -> usize {
    let end = bytes.len().min(CHUNK_BYTES_MAX);
    let mut hash = 0_u64;
    // The hash forgets bytes after 64 steps; it is warmed up for so many before the first cut.
    let start = CHUNK_BYTES_MIN.saturating_sub(64).min(end);
    for (index, &byte) in bytes[start..end].iter().enumerate() {
        hash = (hash << 1).wrapping_add(GEAR[usize::from(byte)]);
        if start + index >= CHUNK_BYTES_MIN && hash >> (64 - CUT_BITS) == 0 {
            return start + index + 1;
        }
    }
    end
}

/// A random number for each byte, from splitmix64 (S. Vigna, public domain) with seed 0.
static GEAR: [u64; 256] = gear();

const fn gear() -> [u64; 256] {
    let mut table = [0; 256];
    let mut state = 0_u64;
    let mut index = 0;
    while index < 256 {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        table[index] = mixed ^ (mixed >> 31);
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u32;
        (0..len)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect()
    }

    fn cut_all(bytes: &[u8]) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        cut(&bytes, Extent { offset: 0, len: bytes.len() as u64 }, &mut chunks).unwrap();
        chunks
    }

    #[test]
    fn chunks_cover_the_extent_without_gaps() {
        let bytes = noise(3 << 20);
        let chunks = cut_all(&bytes);
        let mut at = 0;
        for chunk in &chunks {
            assert_eq!(chunk.extent.offset, at);
            at = chunk.extent.end();
        }
        assert_eq!(at, bytes.len() as u64);
        assert!((800..3000).contains(&chunks.len()), "{}", chunks.len());
    }

    #[test]
    fn an_insertion_changes_only_the_chunks_around_it() {
        let old = noise(1 << 20);
        let mut new = old.clone();
        new.splice(500_000..500_000, *b"inserted");
        let hashes =
            |bytes| cut_all(bytes).iter().map(|chunk| chunk.hash).collect::<std::collections::HashSet<_>>();
        let (old, new) = (hashes(&old), hashes(&new));
        assert!(new.difference(&old).count() <= 3);
    }
}
