//! Packs a payload as a whole.

use std::io::Write;

use fluvial_delta::structure::{Extent, ReadAt};
use rayon::prelude::*;

use super::programs::{Restorer, programs_of};
use super::{BLOCK_BYTES, Piece, Whole, WholeFrame, blocks};
use crate::error::WriteError;
use crate::hash::HashKind;
use crate::index::RunDigest;
use crate::limits::{FRAMES_MAX, PAYLOAD_BYTES_MAX};

/// How a payload is packed as a whole.
#[derive(Debug, Clone, Copy)]
pub struct WholeOptions {
    /// The level of Zstandard, from 1 to 22.
    pub level: i32,
    /// The hash of pieces and of what frames hold.
    pub hash: HashKind,
    /// The binary logarithm of the window, 24 at most: who unpacks takes as many bytes of memory.
    pub window_log: u8,
    /// Bytes of the payload in one frame, a multiple of 256 KiB and 64 MiB at most. A run that was cut unpacks the
    /// frame at hand again; between frames nothing is shared.
    pub frame_bytes: u64,
    /// Packed bytes in one piece, from 4 KiB to 1 MiB.
    pub piece_bytes: u64,
}

impl WholeOptions {
    /// What a bundle is made with, at this level and with this hash.
    pub fn new(level: i32, hash: HashKind) -> Self {
        Self { level, hash, window_log: 23, frame_bytes: 64 << 20, piece_bytes: 512 << 10 }
    }
}

/// Packs a payload in frames, writes them to `out`, and answers what tells them. `files` are where files stand in the
/// payload, in order and without overlaps. `progress` hears how many more bytes are done, and cancels by answering
/// `false`.
///
/// Memory: a packed frame and what Zstandard takes at this level (230 MiB at 19), for each thread.
///
/// # Errors
/// [`WriteError`].
pub fn write_whole(
    payload: &dyn ReadAt,
    files: &[Extent],
    options: WholeOptions,
    out: &mut dyn Write,
    progress: &(dyn Fn(u64) -> bool + Sync),
) -> Result<Whole, WriteError> {
    let len = payload.len();
    if len > PAYLOAD_BYTES_MAX {
        return Err(WriteError::Limit { what: "the payload", have: len, limit: PAYLOAD_BYTES_MAX });
    }
    let WholeOptions { hash, window_log, frame_bytes, piece_bytes, .. } = options;
    let starts: Vec<u64> = (0..len).step_by(frame_bytes.max(BLOCK_BYTES) as usize).collect();
    if starts.len() > FRAMES_MAX {
        let (have, limit) = (starts.len() as u64, FRAMES_MAX as u64);
        return Err(WriteError::Limit { what: "the list of frames", have, limit });
    }
    let programs = programs_of(payload, files);
    let mut whole = Whole { len, hash, window_log, frame_bytes, piece_bytes, frames: Vec::new(), programs };
    for batch in starts.chunks(rayon::current_num_threads()) {
        let pack = |&start: &u64| {
            let content = start..len.min(start + frame_bytes);
            pack(payload, &content, &whole.programs, options, progress).map(|packed| (content, packed))
        };
        let packed: Vec<_> = batch.par_iter().map(pack).collect();
        for frame in packed {
            let (content, (packed, content_digest)) = frame?;
            out.write_all(&packed).map_err(WriteError::Write)?;
            let mut at = whole.packed_len();
            let range = at..at + packed.len() as u64;
            let piece = |bytes: &[u8]| {
                let start = at;
                at += bytes.len() as u64;
                Piece { range: start..at, digest: RunDigest::of(hash, bytes) }
            };
            let pieces = packed.chunks(piece_bytes as usize).map(piece).collect();
            whole.frames.push(WholeFrame { content, content_digest, packed: range, pieces });
        }
    }
    Ok(whole)
}

/// A frame's packed bytes, and what tells that a slot holds what it brings.
fn pack(
    payload: &dyn ReadAt,
    content: &std::ops::Range<u64>,
    programs: &[Extent],
    options: WholeOptions,
    progress: &(dyn Fn(u64) -> bool + Sync),
) -> Result<(Vec<u8>, RunDigest), WriteError> {
    let failed = |_| WriteError::Pack("a frame");
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), options.level).map_err(failed)?;
    encoder.window_log(u32::from(options.window_log)).map_err(failed)?;
    encoder.include_contentsize(false).map_err(failed)?;
    encoder.set_pledged_src_size(Some(content.end - content.start)).map_err(failed)?;
    let mut rewriter = Restorer::of(programs);
    let mut digests = Vec::new();
    for here in blocks(content) {
        let mut block = vec![0; (here.end - here.start) as usize];
        payload.read_at(here.start, &mut block).map_err(WriteError::Read)?;
        digests.extend_from_slice(&options.hash.digest(&block));
        rewriter.rewrite(here.start, &mut block);
        encoder.write_all(&block).map_err(failed)?;
        if !progress(block.len() as u64) {
            return Err(WriteError::Cancelled);
        }
    }
    let packed = encoder.finish().map_err(failed)?;
    Ok((packed, RunDigest::of(options.hash, &digests)))
}
