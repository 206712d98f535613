//! The chunks that a device lacks, and what is known of each.

use crate::index::RunInfo;
use crate::page::Listed;

/// No place in the old space.
pub(crate) const NOWHERE: u64 = u64::MAX;
/// No place in the old space, but there.
pub(crate) const IN_PLACE: u64 = u64::MAX - 1;

/// How far a chunk has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Not there, and not asked for.
    Missing,
    /// Asked for.
    Asked,
    /// In the payload, and checked.
    Done,
}

/// A chunk of a run that is not there as a whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    /// Where the old space holds the like of it, [`NOWHERE`] if that is not known.
    pub(crate) place: u64,
    pub(crate) key: u32,
    pub(crate) check: u32,
    pub(crate) len: u32,
    pub(crate) packed_len: u32,
    pub(crate) state: State,
}

impl Piece {
    pub(crate) fn new(listed: &Listed) -> Self {
        let chunk = listed.chunk;
        Self {
            place: NOWHERE,
            key: chunk.key,
            check: chunk.check,
            len: chunk.len,
            packed_len: listed.packed_len,
            state: State::Missing,
        }
    }
}

/// A run that is not there as a whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenRun {
    pub(crate) payload: u32,
    /// Its index in the payload.
    pub(crate) run: u32,
    /// The page that lists it.
    pub(crate) page: u32,
    /// Where its first chunk stands among those of the page's segment.
    pub(crate) first_chunk: u32,
    /// Its first piece, and how many it has.
    pub(crate) first: u32,
    pub(crate) count: u32,
    /// How often what was fetched of it was wrong.
    pub(crate) failures: u8,
    /// Whether it is part of a program.
    pub(crate) is_program: bool,
}

impl OpenRun {
    /// Whether its chunks may be told of what is known of their program, if anything is. The only chunk of a run
    /// has no like; and where something came wrong everything is fetched.
    pub(crate) fn is_told(&self, is_program_known: bool) -> bool {
        is_program_known && self.count > 1 && self.failures == 0
    }

    /// The indexes of its pieces.
    pub(crate) fn pieces(&self) -> std::ops::Range<usize> {
        self.first as usize..(self.first + self.count) as usize
    }
}

/// Where the pieces of a run stand: in the payload's order, and packed in the chunk file.
pub(crate) fn places<'a>(info: &RunInfo, pieces: &'a [Piece]) -> impl Iterator<Item = (u64, u64, &'a Piece)> {
    let (mut at, mut packed_at) = (info.offset, info.packed_offset);
    pieces.iter().map(move |piece| {
        let place = (at, packed_at, piece);
        at += u64::from(piece.len);
        packed_at += u64::from(piece.packed_len);
        place
    })
}
