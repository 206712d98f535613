//! Sinks: the way of made bytes through packers into a target.

use fluvial_codec::Packer;

use super::crew::{Crew, Job, OFFERED_BYTES_MIN};
use super::{ApplyError, Sink, Target};
use crate::layout::{Piece, Root};
use crate::structure::Extent;

/// Writes to the place of a root, and to its copies.
#[derive(Clone)]
pub(super) struct TargetSink<'a> {
    target: &'a dyn Target,
    place: Place<'a>,
    copies: Vec<Place<'a>>,
}

/// Where the next bytes go.
#[derive(Clone)]
struct Place<'a> {
    extents: &'a [Extent],
    /// Bytes of the first extent that are written already.
    done: u64,
}

impl<'a> TargetSink<'a> {
    pub(super) fn new(target: &'a dyn Target, root: &'a Root) -> Self {
        let copies = root.copies.iter().map(|extents| Place { extents, done: 0 }).collect();
        Self { target, place: Place { extents: &root.extents, done: 0 }, copies }
    }

    /// Leaves out the next `len` bytes: an earlier run has written them.
    pub(super) fn skip(&mut self, len: u64) {
        self.place.skip(len);
        self.copies.iter_mut().for_each(|copy| copy.skip(len));
    }
}

impl Place<'_> {
    fn skip(&mut self, mut len: u64) {
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

    fn write(&mut self, target: &dyn Target, mut bytes: &[u8]) -> Result<(), ApplyError> {
        while !bytes.is_empty() {
            let extent = self.extents.first().ok_or(ApplyError::Lengths)?;
            let len = (extent.len - self.done).min(bytes.len() as u64);
            let (now, later) = bytes.split_at(len as usize);
            if !extent.is_hole() {
                target.write_at(extent.offset + self.done, now).map_err(ApplyError::WriteTarget)?;
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

impl<'a> Sink<'a> for TargetSink<'a> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ApplyError> {
        let Self { target, place, copies } = self;
        place.write(*target, bytes)?;
        copies.iter_mut().try_for_each(|copy| copy.write(*target, bytes))
    }

    fn is_place(&self) -> bool {
        true
    }

    fn detach(&mut self, len: u64) -> Option<TargetSink<'a>> {
        let place = self.clone();
        self.skip(len);
        Some(place)
    }
}

/// Packs pieces of a content.
pub(super) struct PackedSink<'s, 'a> {
    pieces: &'a [Piece],
    crew: &'s Crew<'a>,
    corrections: Vec<u8>,
    corrections_taken: usize,
    sink: &'s mut dyn Sink<'a>,
    state: State,
    /// Plain bytes of the current piece that are still to come.
    left: u64,
}

enum State {
    /// No piece is open.
    Between,
    /// A piece is collected.
    Collected(Vec<u8>),
    /// A large piece is packed as it comes.
    Packing(Packing),
}

impl<'s, 'a> PackedSink<'s, 'a> {
    pub(super) fn new(
        pieces: &'a [Piece],
        crew: &'s Crew<'a>,
        corrections: Vec<u8>,
        sink: &'s mut dyn Sink<'a>,
    ) -> Self {
        crew.hold(corrections.len() as u64);
        Self { pieces, crew, corrections, corrections_taken: 0, sink, state: State::Between, left: 0 }
    }

    /// Ends the content.
    pub(super) fn finish(self) -> Result<(), ApplyError> {
        self.crew.release(self.corrections.len() as u64);
        match (self.state, self.pieces) {
            (State::Between, []) => Ok(()),
            _ => Err(ApplyError::Lengths),
        }
    }

    fn open(&mut self) -> Result<(), ApplyError> {
        let piece = self.pieces.first().ok_or(ApplyError::Lengths)?;
        self.left = piece.plain_len;
        let is_collected = if piece.is_block() {
            self.crew.hold_block(piece);
            true
        } else {
            let is_collected = self.sink.is_place() && self.crew.try_hold(self.crew.collected_bytes(piece));
            if !is_collected {
                self.crew.hold(self.crew.piece_bytes(piece));
            }
            is_collected
        };
        self.state = if is_collected {
            State::Collected(Vec::with_capacity(piece.plain_len as usize))
        } else {
            let corrections = &self.corrections[self.corrections_taken..][..piece.corrections_len as usize];
            State::Packing(Packing::begin(self.crew, piece, corrections)?)
        };
        Ok(())
    }

    fn close(&mut self) -> Result<(), ApplyError> {
        let (piece, rest) = self.pieces.split_first().ok_or(ApplyError::Lengths)?;
        let corrections = &self.corrections[self.corrections_taken..][..piece.corrections_len as usize];
        self.corrections_taken += piece.corrections_len as usize;
        self.pieces = rest;
        match std::mem::replace(&mut self.state, State::Between) {
            State::Between => Err(ApplyError::Lengths),
            State::Collected(plain) => {
                let is_offered =
                    !piece.is_block() || piece.plain_len >= OFFERED_BYTES_MIN && self.crew.is_free()?;
                let place = if is_offered { self.sink.detach(piece.packed_len) } else { None };
                if let Some(sink) = place {
                    let corrections = corrections.to_vec();
                    self.crew.hand_on(Job { piece: *piece, plain, corrections, sink });
                    return Ok(());
                }
                self.crew.pack_block(piece, plain, corrections, self.sink)
            }
            State::Packing(packing) => {
                packing.finish(self.sink)?;
                self.crew.release(self.crew.piece_bytes(piece));
                Ok(())
            }
        }
    }
}

impl<'a> Sink<'a> for PackedSink<'_, 'a> {
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
                State::Collected(plain) => plain.extend_from_slice(now),
                State::Packing(packing) => packing.write(now, self.sink)?,
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

/// A piece that is packed as it comes.
pub(super) struct Packing {
    packer: Box<dyn Packer>,
    /// Packed bytes that came out.
    made: u64,
    packed_len: u64,
}

impl Packing {
    pub(super) fn begin(crew: &Crew<'_>, piece: &Piece, corrections: &[u8]) -> Result<Self, ApplyError> {
        let packer = crew.recipe(piece).packer(piece.plain_len, piece.packed_len, corrections)?;
        Ok(Self { packer, made: 0, packed_len: piece.packed_len })
    }

    pub(super) fn write(&mut self, plain: &[u8], sink: &mut dyn Sink<'_>) -> Result<(), ApplyError> {
        let mut counted = Counted { sink, made: self.made, limit: self.packed_len, error: None };
        let result = self.packer.write(plain, &mut counted);
        self.made = counted.into_made(result)?;
        Ok(())
    }

    pub(super) fn finish(self, sink: &mut dyn Sink<'_>) -> Result<(), ApplyError> {
        let mut counted = Counted { sink, made: self.made, limit: self.packed_len, error: None };
        let result = self.packer.finish(&mut counted);
        let made = counted.into_made(result)?;
        if made == self.packed_len {
            Ok(())
        } else {
            Err(ApplyError::PackedLen { made, expected: self.packed_len })
        }
    }
}

/// Passes packed bytes on and counts them; stops a packer that makes more than the layout says.
struct Counted<'s, 'a> {
    sink: &'s mut dyn Sink<'a>,
    made: u64,
    limit: u64,
    error: Option<ApplyError>,
}

impl Counted<'_, '_> {
    fn into_made(self, result: Result<(), fluvial_codec::PackError>) -> Result<u64, ApplyError> {
        match self.error {
            Some(error) => Err(error),
            None => result.map(|()| self.made).map_err(ApplyError::from),
        }
    }
}

impl std::io::Write for Counted<'_, '_> {
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
