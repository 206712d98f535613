//! Sinks: the way of made bytes through packers into a target.

use fluvial_codec::{PackContext, Packer};

use super::{ApplyError, Sink, Target};
use crate::layout::Piece;
use crate::map::Packing;
use crate::structure::Extent;

/// Writes to extents of a target, one after another.
pub(super) struct TargetSink<'a> {
    target: &'a dyn Target,
    extents: &'a [Extent],
    /// Bytes of the first extent that are written already.
    done: u64,
}

impl<'a> TargetSink<'a> {
    pub(super) fn new(target: &'a dyn Target, extents: &'a [Extent]) -> Self {
        Self { target, extents, done: 0 }
    }

    /// Leaves out the next `len` bytes: an earlier run has written them.
    pub(super) fn skip(&mut self, mut len: u64) {
        while let Some(extent) = self.extents.first()
            && len > 0
        {
            let step = len.min(extent.len - self.done);
            self.advance(step);
            len -= step;
        }
    }

    fn advance(&mut self, len: u64) {
        self.done += len;
        if self.extents.first().is_some_and(|extent| extent.len == self.done) {
            self.extents = &self.extents[1..];
            self.done = 0;
        }
    }
}

impl Sink for TargetSink<'_> {
    fn write(&mut self, mut bytes: &[u8]) -> Result<(), ApplyError> {
        while !bytes.is_empty() {
            let extent = self.extents.first().ok_or(ApplyError::Lengths)?;
            let len = (extent.len - self.done).min(bytes.len() as u64);
            let (now, later) = bytes.split_at(len as usize);
            if !extent.is_hole() {
                self.target.write_at(extent.offset + self.done, now).map_err(ApplyError::WriteTarget)?;
            } else if now.iter().any(|&byte| byte != 0) {
                // They could not be copied from later.
                return Err(ApplyError::Hole);
            }
            self.advance(len);
            bytes = later;
        }
        Ok(())
    }
}

/// Packs pieces of a content one after another.
pub(super) struct PackedSink<'a> {
    pieces: &'a [Piece],
    packings: &'a [Packing],
    corrections: Vec<u8>,
    corrections_taken: usize,
    sink: &'a mut dyn Sink,
    context: PackContext,
    state: State,
    /// Plain bytes of the current piece that are still to come.
    left: u64,
}

enum State {
    /// No piece is open.
    Between,
    /// A small piece is collected, and packed in one go.
    Block(Vec<u8>),
    /// A large piece goes through a streaming packer; so many packed bytes came out.
    Stream(Box<dyn Packer>, u64),
}

impl<'a> PackedSink<'a> {
    pub(super) fn new(
        pieces: &'a [Piece],
        packings: &'a [Packing],
        corrections: Vec<u8>,
        sink: &'a mut dyn Sink,
        context: PackContext,
    ) -> Self {
        Self {
            pieces,
            packings,
            corrections,
            corrections_taken: 0,
            sink,
            context,
            state: State::Between,
            left: 0,
        }
    }

    /// Ends the content; hands the packers' memory back for the next one.
    pub(super) fn finish(self) -> Result<PackContext, ApplyError> {
        match (self.state, self.pieces) {
            (State::Between, []) => Ok(self.context),
            _ => Err(ApplyError::Lengths),
        }
    }

    fn open(&mut self) -> Result<(), ApplyError> {
        let piece = self.pieces.first().ok_or(ApplyError::Lengths)?;
        self.left = piece.plain_len;
        self.state = if piece.is_block() {
            State::Block(Vec::with_capacity(piece.plain_len as usize))
        } else {
            let corrections = &self.corrections[self.corrections_taken..][..piece.corrections_len as usize];
            let recipe = &self.packings[piece.recipe as usize].recipe;
            State::Stream(recipe.packer(piece.plain_len, corrections)?, 0)
        };
        Ok(())
    }

    fn close(&mut self) -> Result<(), ApplyError> {
        let (piece, rest) = self.pieces.split_first().ok_or(ApplyError::Lengths)?;
        let made = match std::mem::replace(&mut self.state, State::Between) {
            State::Between => return Err(ApplyError::Lengths),
            State::Block(plain) => {
                let corrections =
                    &self.corrections[self.corrections_taken..][..piece.corrections_len as usize];
                let mut packed = Vec::new();
                self.packings[piece.recipe as usize].recipe.pack_block(
                    &plain,
                    corrections,
                    &mut self.context,
                    &mut packed,
                )?;
                if packed.len() as u64 == piece.packed_len {
                    self.sink.write(&packed)?;
                }
                packed.len() as u64
            }
            State::Stream(packer, made) => {
                let mut counted = Counted { sink: self.sink, made, limit: piece.packed_len, error: None };
                let result = packer.finish(&mut counted);
                counted.into_made(result)?
            }
        };
        if made != piece.packed_len {
            return Err(ApplyError::PackedLen { made, expected: piece.packed_len });
        }
        self.corrections_taken += piece.corrections_len as usize;
        self.pieces = rest;
        Ok(())
    }
}

impl Sink for PackedSink<'_> {
    fn write(&mut self, mut bytes: &[u8]) -> Result<(), ApplyError> {
        while !bytes.is_empty() {
            if matches!(self.state, State::Between) {
                if self.pieces.is_empty() {
                    // What follows stands elsewhere in the target; only the packers before needed it.
                    return Ok(());
                }
                self.open()?;
            }
            let (now, later) = bytes.split_at(self.left.min(bytes.len() as u64) as usize);
            match &mut self.state {
                State::Between => return Err(ApplyError::Lengths),
                State::Block(plain) => plain.extend_from_slice(now),
                State::Stream(packer, made) => {
                    let limit = self.pieces.first().map_or(0, |piece| piece.packed_len);
                    let mut counted = Counted { sink: self.sink, made: *made, limit, error: None };
                    let result = packer.write(now, &mut counted);
                    *made = counted.into_made(result)?;
                }
            }
            self.left -= now.len() as u64;
            bytes = later;
            if self.left == 0 {
                self.close()?;
            }
        }
        Ok(())
    }
}

/// Passes packed bytes on and counts them; stops a packer that makes more than the layout says.
struct Counted<'a> {
    sink: &'a mut dyn Sink,
    made: u64,
    limit: u64,
    error: Option<ApplyError>,
}

impl Counted<'_> {
    fn into_made(self, result: Result<(), fluvial_codec::PackError>) -> Result<u64, ApplyError> {
        match self.error {
            Some(error) => Err(error),
            None => result.map(|()| self.made).map_err(ApplyError::from),
        }
    }
}

impl std::io::Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.made += bytes.len() as u64;
        let result = if self.made > self.limit {
            Err(ApplyError::PackedLen { made: self.made, expected: self.limit })
        } else {
            self.sink.write(bytes)
        };
        result.map(|()| bytes.len()).map_err(|error| {
            self.error = Some(error);
            std::io::Error::other("the packed bytes cannot be taken")
        })
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
