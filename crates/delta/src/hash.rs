//! Hashes of whole streams.

use std::io;

use sha2::{Digest as _, Sha256};

use crate::header::{Blake3Digest, Sha256Digest};
use crate::structure::ReadAt;

/// How many bytes are hashed at a time: they are still in the processor's cache when they are.
const CHUNK_BYTES: usize = 256 << 10;
/// So many where all processors hash: a part for each is worth its while.
const SHARED_CHUNK_BYTES: usize = 1 << 20;

/// Why a stream could not be hashed.
#[derive(Debug)]
pub(crate) enum HashError {
    Cancelled,
    Read(io::Error),
}

/// Hears how many bytes have been read since its last call, and cancels by answering `false`.
pub(crate) type OnBytes<'a> = &'a mut dyn FnMut(u64) -> bool;

pub(crate) fn sha256_of(stream: &dyn ReadAt, progress: OnBytes<'_>) -> Result<Sha256Digest, HashError> {
    let mut hash = Sha256::new();
    for_chunks(stream, CHUNK_BYTES, progress, |bytes| hash.update(bytes))?;
    Ok(hash.finalize().into())
}

/// Hashes with all processors.
pub(crate) fn blake3_of(stream: &dyn ReadAt, progress: OnBytes<'_>) -> Result<Blake3Digest, HashError> {
    let mut hash = blake3::Hasher::new();
    for_chunks(stream, SHARED_CHUNK_BYTES, progress, |bytes| {
        hash.update_rayon(bytes);
    })?;
    Ok(hash.finalize().into())
}

pub(crate) fn both_of(
    stream: &dyn ReadAt,
    progress: OnBytes<'_>,
) -> Result<(Sha256Digest, Blake3Digest), HashError> {
    let (mut sha256, mut blake3) = (Sha256::new(), blake3::Hasher::new());
    for_chunks(stream, CHUNK_BYTES, progress, |bytes| {
        sha256.update(bytes);
        blake3.update(bytes);
    })?;
    Ok((sha256.finalize().into(), blake3.finalize().into()))
}

fn for_chunks(
    stream: &dyn ReadAt,
    chunk_bytes: usize,
    progress: OnBytes<'_>,
    mut update: impl FnMut(&[u8]),
) -> Result<(), HashError> {
    let mut buf = vec![0; chunk_bytes];
    let mut offset = 0;
    while offset < stream.len() {
        let len = (stream.len() - offset).min(chunk_bytes as u64) as usize;
        stream.read_at(offset, &mut buf[..len]).map_err(HashError::Read)?;
        update(&buf[..len]);
        offset += len as u64;
        if !progress(len as u64) {
            return Err(HashError::Cancelled);
        }
    }
    Ok(())
}
