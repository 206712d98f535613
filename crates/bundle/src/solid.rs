//! A payload packed as a whole, for devices that have nothing of it.
//!
//! Small chunks do not pack well. Where most of a payload is missing, frames of 2 MiB are fetched instead: each
//! is a Zstandard frame (RFC 8878) of its own, and is compared with its digest before it is unpacked.

use std::io::Write;

use fluvial_delta::structure::ReadAt;
use rayon::prelude::*;

use crate::error::{IndexError, WriteError};
use crate::hash::HashKind;
use crate::index::{RunDigest, unpack};

/// Bytes of a payload in one frame; fewer in the last one.
pub(crate) const FRAME_BYTES: u64 = 2 << 20;
/// Frames that are packed at a time, on all threads.
const BATCH_FRAMES: usize = 8;

/// A frame, as an index tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameInfo {
    /// Where it stands among the frames.
    pub packed_offset: u64,
    /// How many bytes it has.
    pub packed_len: u32,
    /// The digest of these bytes.
    pub digest: RunDigest,
}

/// Packs a payload in frames, writes them to `out`, and answers what an index has to tell of them.
///
/// Memory: 5 MiB for each of eight frames, and what Zstandard takes on each thread.
///
/// # Errors
/// [`WriteError`].
pub fn write_solid(
    payload: &dyn ReadAt,
    level: i32,
    hash: HashKind,
    out: &mut dyn Write,
    progress: &dyn Fn(u64) -> bool,
) -> Result<Vec<FrameInfo>, WriteError> {
    let mut frames = Vec::new();
    let mut packed_offset = 0;
    let starts: Vec<u64> = (0..payload.len()).step_by(FRAME_BYTES as usize).collect();
    for batch in starts.chunks(BATCH_FRAMES) {
        let packed: Vec<Result<Vec<u8>, WriteError>> =
            batch.par_iter().map(|&start| pack(payload, start, level)).collect();
        for (packed, &start) in packed.into_iter().zip(batch) {
            let packed = packed?;
            out.write_all(&packed).map_err(WriteError::Write)?;
            let digest = RunDigest::of(hash, &packed);
            frames.push(FrameInfo { packed_offset, packed_len: packed.len() as u32, digest });
            packed_offset += packed.len() as u64;
            if !progress((payload.len() - start).min(FRAME_BYTES)) {
                return Err(WriteError::Cancelled);
            }
        }
    }
    Ok(frames)
}

fn pack(payload: &dyn ReadAt, start: u64, level: i32) -> Result<Vec<u8>, WriteError> {
    let mut bytes = vec![0; (payload.len() - start).min(FRAME_BYTES) as usize];
    payload.read_at(start, &mut bytes).map_err(WriteError::Read)?;
    zstd::bulk::compress(&bytes, level).map_err(|_| WriteError::Pack("a frame"))
}

/// Unpacks a frame of a payload of `len` bytes: where its bytes stand, and they themselves. `None` where the
/// packed bytes are others than the index tells.
pub(crate) fn unpack_frame(
    info: &FrameInfo,
    number: usize,
    len: u64,
    hash: HashKind,
    packed: &[u8],
) -> Result<Option<(u64, Vec<u8>)>, IndexError> {
    if RunDigest::of(hash, packed) != info.digest {
        return Ok(None);
    }
    let start = number as u64 * FRAME_BYTES;
    let bytes = unpack(packed, len.saturating_sub(start).min(FRAME_BYTES) as usize)?;
    Ok(Some((start, bytes)))
}

/// How many frames a payload of so many bytes has.
pub(crate) fn frames_of(len: u64) -> usize {
    len.div_ceil(FRAME_BYTES) as usize
}
