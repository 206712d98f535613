//! A payload packed as a whole, for devices that have little of it.
//!
//! Small chunks do not pack well. Where most of a payload is missing, frames of 64 MiB are fetched instead. Each is a
//! Zstandard frame (RFC 8878) with a window of 8 MiB, which comes in pieces: a piece is compared with its digest
//! before it is unpacked, so a device unpacks as it fetches, and needs no room for a frame. The table tells pieces
//! and frames; a signed manifest names its digest. docs/bundle-format.md has the byte layout.

mod pack;
mod programs;
mod table;
mod unpack;

use std::io;
use std::ops::Range;

use fluvial_delta::structure::{Extent, ReadAt};

use crate::hash::HashKind;
use crate::index::RunDigest;

pub use pack::{WholeOptions, write_whole};
pub use programs::Restorer;
pub use unpack::FrameReader;

/// Bytes of a payload that are rewritten and handed on at a time; fewer at the end of a payload.
pub(crate) const BLOCK_BYTES: u64 = 256 << 10;

/// A payload as a whole: what stands before its frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// How long the payload is, in bytes.
    pub len: u64,
    /// The hash of pieces and of what frames hold.
    pub hash: HashKind,
    /// The binary logarithm of the window that frames were packed with: unpacking takes as many bytes of memory.
    pub window_log: u8,
    /// Bytes of the payload in one frame; fewer in the last one.
    pub(crate) frame_bytes: u64,
    /// Packed bytes in one piece; fewer in the last one of a frame.
    pub(crate) piece_bytes: u64,
    /// Its frames, in order.
    pub frames: Vec<WholeFrame>,
    /// Files in which references stand as addresses: in order, and none over another.
    pub(crate) programs: Vec<Extent>,
}

/// A frame of a payload as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeFrame {
    /// Which bytes of the payload it holds.
    pub content: Range<u64>,
    /// What tells that they stand in a slot ([`Whole::holds`]).
    pub(crate) content_digest: RunDigest,
    /// Where its packed bytes stand behind the table.
    pub packed: Range<u64>,
    /// Its pieces, in order.
    pub pieces: Vec<Piece>,
}

/// Packed bytes that are fetched, compared and unpacked at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Where they stand behind the table.
    pub range: Range<u64>,
    digest: RunDigest,
}

impl Whole {
    /// How many bytes its frames have together.
    pub fn packed_len(&self) -> u64 {
        self.frames.last().map_or(0, |frame| frame.packed.end)
    }

    /// Whether these are the bytes of a piece.
    pub fn is_right(&self, piece: &Piece, bytes: &[u8]) -> bool {
        bytes.len() as u64 == piece.range.end - piece.range.start
            && RunDigest::of(self.hash, bytes) == piece.digest
    }

    /// Whether `target` holds what a frame would bring. It is read in steps of 256 KiB.
    ///
    /// # Errors
    /// Whatever the medium reports.
    pub fn holds(&self, frame: &WholeFrame, target: &dyn ReadAt) -> io::Result<bool> {
        let mut digests = Vec::new();
        let mut block = Vec::new();
        for here in blocks(&frame.content) {
            block.resize((here.end - here.start) as usize, 0);
            target.read_at(here.start, &mut block)?;
            digests.extend_from_slice(&self.hash.digest(&block));
        }
        Ok(RunDigest::of(self.hash, &digests) == frame.content_digest)
    }
}

/// The blocks of a range, which begins where a block does.
fn blocks(range: &Range<u64>) -> impl Iterator<Item = Range<u64>> + use<> {
    let end = range.end;
    (range.start..end).step_by(BLOCK_BYTES as usize).map(move |start| start..end.min(start + BLOCK_BYTES))
}
