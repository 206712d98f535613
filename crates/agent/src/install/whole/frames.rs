//! Frames are fetched, unpacked and written at the same time: some threads fetch pieces and compare them, one
//! unpacks, one restores programs and writes.
//!
//! Memory: a piece for each that fetches and one that is unpacked, six blocks of 256 KiB, and the window.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use fluvial_bundle::limits::PIECE_BYTES_MAX;
use fluvial_bundle::{AssembleError, FrameReader, IndexError, Piece, Restorer, Whole};
use fluvial_console::{Fault, Kind, Progress};
use fluvial_delta::apply::Target;

use super::staged::StagedFrames;
use crate::bundle::Bundle;
use crate::install::Work;

/// Pieces that are fetched at a time: while one is on its way, another one is asked for.
const FETCHERS: usize = 3;
/// Blocks that wait to be written.
const BLOCKS_AHEAD: usize = 4;

/// Where pieces come from.
pub struct Fetched<'a> {
    pub bundle: &'a Bundle,
    /// Where frames begin in the bundle.
    pub start: u64,
    pub whole: &'a Whole,
    pub staged: &'a StagedFrames,
}

/// A block of a frame: the frame's number, where it stands in the image, and its bytes.
type Block = (usize, u64, Vec<u8>);

impl Fetched<'_> {
    /// A piece that is right.
    fn piece(&self, frame: usize, piece: &Piece) -> Result<Vec<u8>, Fault> {
        if let Some(bytes) = self.staged.get(self.whole, frame, piece) {
            return Ok(bytes);
        }
        let range = self.start + piece.range.start..self.start + piece.range.end;
        for _ in 0..2 {
            let bytes = self.bundle.read(range.clone(), PIECE_BYTES_MAX)?;
            if self.whole.is_right(piece, &bytes) {
                self.staged.put(self.whole, frame, piece, &bytes)?;
                return Ok(bytes);
            }
        }
        let len = piece.range.end - piece.range.start;
        Err(AssembleError::Content { payload: 0, offset: piece.range.start, len }.into())
    }

    /// Fetches all pieces of these frames in order, on some threads by turns.
    fn pieces<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        frames: &'scope [usize],
    ) -> Vec<Receiver<Result<Vec<u8>, Fault>>> {
        let fetcher = |first: usize| {
            let (sender, receiver) = sync_channel(0);
            scope.spawn(move || {
                let pieces =
                    |&frame: &usize| self.whole.frames[frame].pieces.iter().map(move |one| (frame, one));
                for (frame, piece) in frames.iter().flat_map(pieces).skip(first).step_by(FETCHERS) {
                    // Whoever receives has given up.
                    if sender.send(self.piece(frame, piece)).is_err() {
                        return;
                    }
                }
            });
            receiver
        };
        (0..FETCHERS).map(fetcher).collect()
    }
}

/// Writes these frames to the target.
pub fn write(
    work: &Work<'_>,
    from: &Fetched<'_>,
    frames: &[usize],
    target: &dyn Target,
) -> Result<(), Fault> {
    let packed_len = |&frame: &usize| {
        let packed = &from.whole.frames[frame].packed;
        packed.end - packed.start
    };
    work.progress.phase("fetching", frames.iter().map(packed_len).sum());
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(BLOCKS_AHEAD);
        let writer = scope.spawn(move || write_blocks(from, &receiver, target));
        let pieces = from.pieces(scope, frames);
        let unpacked = unpack(work.progress, from, frames, &pieces, &sender);
        // Nothing more comes.
        drop(sender);
        finish(unpacked, writer)
    })
}

/// Of two threads that have failed, the one that writes knows why: the other one has lost it.
fn finish(unpacked: Result<(), Fault>, writer: ScopedJoinHandle<'_, Result<(), Fault>>) -> Result<(), Fault> {
    match writer.join() {
        Ok(written) => written.and(unpacked),
        Err(_) => Err(stopped()),
    }
}

fn stopped() -> Fault {
    Fault::new(Kind::Internal, "a thread has stopped")
}

fn unpack(
    progress: &Progress,
    from: &Fetched<'_>,
    frames: &[usize],
    pieces: &[Receiver<Result<Vec<u8>, Fault>>],
    blocks: &SyncSender<Block>,
) -> Result<(), Fault> {
    let mut turns = pieces.iter().cycle();
    for &number in frames {
        let frame = &from.whole.frames[number];
        let failed = |source| AssembleError::Frame { payload: 0, frame: number, source };
        let mut reader = FrameReader::new(from.whole, frame).map_err(failed)?;
        for piece in &frame.pieces {
            let packed = turns.next().and_then(|fetcher| fetcher.recv().ok()).ok_or_else(stopped)??;
            let mut lost = false;
            let mut hand_on = |offset, block| {
                lost = blocks.send((number, offset, block)).is_err();
                if lost { Err(IndexError::Packed("nobody writes it")) } else { Ok(()) }
            };
            let pushed = reader.push(&packed, &mut hand_on);
            if lost {
                return Err(stopped());
            }
            pushed.map_err(failed)?;
            if !progress.advance(piece.range.end - piece.range.start) {
                return Err(Fault::new(Kind::Cancelled, "cancelled").hint("what has come is kept"));
            }
        }
        reader.finish().map_err(failed)?;
    }
    Ok(())
}

/// Restores and writes blocks; a frame that stands is not kept any longer.
fn write_blocks(from: &Fetched<'_>, blocks: &Receiver<Block>, target: &dyn Target) -> Result<(), Fault> {
    let mut at_hand: Option<(usize, Restorer<'_>)> = None;
    for (number, offset, mut block) in blocks {
        if at_hand.as_ref().is_none_or(|(frame, _)| *frame != number) {
            at_hand = Some((number, Restorer::new(from.whole)));
        }
        if let Some((_, restorer)) = &mut at_hand {
            restorer.restore(offset, &mut block);
        }
        target.write_at(offset, &block).map_err(AssembleError::Write)?;
        if offset + block.len() as u64 == from.whole.frames[number].content.end {
            from.staged.remove(number)?;
        }
    }
    Ok(())
}
