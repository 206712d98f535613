//! Content-defined chunks. A new chunk starts where a file's content starts: short files are found whole.

use std::io;

use xxhash_rust::xxh3::xxh3_64;

use crate::gear::Cutter;
use crate::structure::{Extent, ReadAt};

const CUTTER: Cutter = Cutter { bytes_min: 256, bytes_max: 16 << 10, cut_bits: 11 };
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
        while at < want && (last || want - at >= CUTTER.bytes_max) {
            let (len, _) = CUTTER.first(&window[at..want]);
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
