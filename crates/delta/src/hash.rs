//! Hashes of whole streams.

use std::io;
use std::sync::{Mutex, PoisonError};

use blake3::hazmat::{
    ChainingValue, HasherExt as _, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::header::{Blake3Digest, START_BYTES, START_DIGEST_BYTES, Sha256Digest};
use crate::structure::{Extent, ReadAt};

/// How many bytes are hashed at a time: they are still in the processor's cache when they are.
const CHUNK_BYTES: u64 = 256 << 10;
/// What one processor hashes on its own, in bytes: a power of two, which BLAKE3's tree asks for, and so
/// much that sharing out costs nothing.
const SUBTREE_BYTES: u64 = 8 << 20;

/// Why a stream could not be hashed.
#[derive(Debug, Error)]
pub enum HashError {
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The stream cannot be read.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
}

/// Hears how many bytes have been read since its last call, and cancels by answering `false`.
pub type OnBytes<'a> = &'a mut (dyn FnMut(u64) -> bool + Send);

/// The SHA-256 (FIPS 180-4) of a stream. Memory: a buffer.
///
/// # Errors
/// [`HashError`].
pub fn sha256_of(stream: &dyn ReadAt, progress: OnBytes<'_>) -> Result<Sha256Digest, HashError> {
    let mut hash = Sha256::new();
    for_chunks(stream, Extent { offset: 0, len: stream.len() }, progress, |bytes| hash.update(bytes))?;
    Ok(hash.finalize().into())
}

/// Hashes with all processors: each reads and hashes parts of the tree of its own (section 5.3 of the
/// BLAKE3 paper). Memory: a buffer for each.
pub(crate) fn blake3_of(stream: &dyn ReadAt, progress: OnBytes<'_>) -> Result<Blake3Digest, HashError> {
    let whole = Extent { offset: 0, len: stream.len() };
    let progress = Mutex::new(progress);
    if whole.len <= SUBTREE_BYTES {
        return Ok(hash_part(stream, whole, &progress)?.finalize().into());
    }
    let (left, right) = halves(whole);
    let (left, right) =
        rayon::join(|| subtree(stream, left, &progress), || subtree(stream, right, &progress));
    Ok(merge_subtrees_root(&left?, &right?, Mode::Hash).into())
}

/// Hashes on the thread that calls: others may be at work.
pub(crate) fn blake3_alone(stream: &dyn ReadAt, progress: OnBytes<'_>) -> Result<Blake3Digest, HashError> {
    let whole = Extent { offset: 0, len: stream.len() };
    Ok(hash_part(stream, whole, &Mutex::new(progress))?.finalize().into())
}

/// What the tree has at the top of a part.
fn subtree(
    stream: &dyn ReadAt,
    part: Extent,
    progress: &Mutex<OnBytes<'_>>,
) -> Result<ChainingValue, HashError> {
    if part.len <= SUBTREE_BYTES {
        return Ok(hash_part(stream, part, progress)?.finalize_non_root());
    }
    let (left, right) = halves(part);
    let (left, right) = rayon::join(|| subtree(stream, left, progress), || subtree(stream, right, progress));
    Ok(merge_subtrees_non_root(&left?, &right?, Mode::Hash))
}

fn halves(whole: Extent) -> (Extent, Extent) {
    let left = left_subtree_len(whole.len);
    let right = Extent { offset: whole.offset + left, len: whole.len - left };
    (Extent { len: left, ..whole }, right)
}

fn hash_part(
    stream: &dyn ReadAt,
    part: Extent,
    progress: &Mutex<OnBytes<'_>>,
) -> Result<blake3::Hasher, HashError> {
    let mut hash = blake3::Hasher::new();
    hash.set_input_offset(part.offset);
    let mut progress = |len| (progress.lock().unwrap_or_else(PoisonError::into_inner))(len);
    for_chunks(stream, part, &mut progress, |bytes| {
        hash.update(bytes);
    })?;
    Ok(hash)
}

/// What tells most streams apart that are alike in length: see [`LargeCheck::start`](crate::header::LargeCheck::start).
pub(crate) fn start_of(stream: &dyn ReadAt) -> io::Result<[u8; START_DIGEST_BYTES]> {
    let mut bytes = vec![0; stream.len().min(START_BYTES as u64) as usize];
    stream.read_at(0, &mut bytes)?;
    let mut start = [0; START_DIGEST_BYTES];
    start.copy_from_slice(&blake3::hash(&bytes).as_bytes()[..START_DIGEST_BYTES]);
    Ok(start)
}

/// The SHA-256 and the BLAKE3 of a stream, which is read once. Memory: a buffer.
///
/// # Errors
/// [`HashError`].
pub fn both_of(
    stream: &dyn ReadAt,
    progress: OnBytes<'_>,
) -> Result<(Sha256Digest, Blake3Digest), HashError> {
    let (mut sha256, mut blake3) = (Sha256::new(), blake3::Hasher::new());
    for_chunks(stream, Extent { offset: 0, len: stream.len() }, progress, |bytes| {
        sha256.update(bytes);
        blake3.update(bytes);
    })?;
    Ok((sha256.finalize().into(), blake3.finalize().into()))
}

fn for_chunks(
    stream: &dyn ReadAt,
    part: Extent,
    progress: OnBytes<'_>,
    mut update: impl FnMut(&[u8]),
) -> Result<(), HashError> {
    let mut buf = vec![0; part.len.min(CHUNK_BYTES) as usize];
    let mut offset = part.offset;
    while offset < part.end() {
        let len = (part.end() - offset).min(CHUNK_BYTES);
        let bytes = &mut buf[..len as usize];
        stream.read_at(offset, bytes).map_err(HashError::Read)?;
        update(bytes);
        offset += len;
        if !progress(len) {
            return Err(HashError::Cancelled);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_the_whole_hash() {
        let part = SUBTREE_BYTES as usize;
        let bytes: Vec<u8> = (0..3 * part + 5000).map(|index| (index % 251) as u8).collect();
        for len in [0, 1, 1024, part - 1, part, part + 1, 2 * part, 2 * part + 1025, bytes.len()] {
            let bytes = &bytes[..len];
            let mut told = 0;
            let digest = blake3_of(&bytes, &mut |len| {
                told += len;
                true
            });
            assert_eq!(digest.unwrap(), *blake3::hash(bytes).as_bytes(), "{len} bytes");
            assert_eq!(told, len as u64);
        }
        let cancelled = blake3_of(&bytes.as_slice(), &mut |_| false);
        assert!(matches!(cancelled, Err(HashError::Cancelled)));
    }
}
