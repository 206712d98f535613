//! What is fetched when.

use std::ops::Range;

use fluvial_delta::predict::HEAD_BYTES;
use fluvial_delta::structure::{Extent, ReadAt as _};

use super::take::fail;
use super::tell::each_in_order;
use super::{Assembly, Want};
use crate::error::AssembleError;
use crate::index::RunDigest;
use crate::parity;
use crate::pieces::{NOWHERE, OpenRun, Piece, State, places};
use crate::shelf::Shelf;

/// Levels of parity that are fetched for a chunk of which the old space has no like: of those most cannot be told
/// by any parity, so the dearest level costs more than it saves.
pub(super) const LEVELS_OF_STRANGERS: usize = 1;

/// Of a file of which less than one part in so many is known hardly anything is known.
const KNOWN_SHARE: u64 = 16;

/// Runs that are read back before anybody hears of it.
const RUNS_AT_A_TIME: usize = 256;

/// What a round asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    /// The starts of programs, and what is missing where nothing can be told.
    Sure,
    /// Parity of what may be told.
    Parity(usize),
    /// All that is missing.
    Rest,
}

const ROUNDS: [Round; 4] = [Round::Sure, Round::Parity(0), Round::Parity(1), Round::Rest];
const _: () = assert!(ROUNDS.len() == parity::LEVELS.len() + 2);

impl Assembly<'_> {
    /// Tells what can be told by what was fetched, and says what has to be fetched now, in order; nothing once
    /// every run is there and right.
    ///
    /// # Errors
    /// [`AssembleError`].
    pub fn next_round(
        &mut self,
        fetched: &dyn Shelf,
        progress: &dyn Fn(u64) -> bool,
    ) -> Result<Vec<Want>, AssembleError> {
        while let Some(&round) = ROUNDS.get(self.round) {
            if self.round == 0 {
                self.note_strange_programs();
            } else {
                self.tell_programs(fetched, self.round - 1)?;
            }
            self.round += 1;
            if !progress(0) {
                return Err(AssembleError::Cancelled);
            }
            let wants = self.wants(round);
            if !wants.is_empty() {
                return Ok(wants);
            }
        }
        if !self.is_compared_as_a_whole {
            self.check_runs(progress)?;
        }
        Ok(self.wants(Round::Rest))
    }

    /// Notes the programs of which hardly anything is known: all of them is fetched at once.
    fn note_strange_programs(&mut self) {
        let is_program = |(payload, file): &(u32, Extent)| {
            self.payloads[*payload as usize].program_of(file.offset).is_some()
        };
        let strange = self.strangers(KNOWN_SHARE).into_iter().filter(is_program);
        self.strange_programs = strange.map(|(payload, program)| (payload, program.offset)).collect();
    }

    /// The files of the window of which is known less than one part in so many: payload and place; sorted.
    pub(super) fn strangers(&self, known_share: u64) -> Vec<(u32, Extent)> {
        let mut sums: Vec<((u32, Extent), [u64; 2])> = Vec::new();
        let mut streams = Vec::new();
        let mut streams_of = None;
        for open in &self.open_runs {
            let payload = &self.payloads[open.payload as usize];
            if streams_of != Some(open.payload) {
                (streams, streams_of) = (payload.index.streams(), Some(open.payload));
            }
            let place = payload.index.runs[open.run as usize].offset;
            // What stands between files is like nothing else.
            let number = streams.partition_point(|stream| stream.end() <= place);
            let Some(file) = streams.get(number).filter(|_| number > 0) else { continue };
            let key = (open.payload, *file);
            if sums.last().is_none_or(|last| last.0 != key) {
                sums.push((key, [payload.placed_bytes(*file), 0]));
            }
            let Some((_, sum)) = sums.last_mut() else { continue };
            for piece in &self.pieces[open.pieces()] {
                sum[usize::from(piece.place == NOWHERE)] += u64::from(piece.len);
            }
        }
        let is_strange = |[known, strange]: [u64; 2]| known * known_share < strange;
        sums.into_iter().filter(|(_, sum)| is_strange(*sum)).map(|(key, _)| key).collect()
    }

    fn wants(&mut self, round: Round) -> Vec<Want> {
        let mut wants = Wants::default();
        for open in &self.open_runs {
            let payload = &self.payloads[open.payload as usize];
            let info = payload.index.runs[open.run as usize];
            let program = payload.program_of(info.offset);
            let is_head = |at: u64| program.is_some_and(|program| at - program.offset < HEAD_BYTES);
            let is_told = open.is_told(program.is_some_and(|program| {
                self.strange_programs.binary_search(&(open.payload, program.offset)).is_err()
            }));
            let again = open.failures > 0;
            let mut row = None;
            let run_pieces = &mut self.pieces[open.pieces()];
            let run_places: Vec<(u64, u64)> =
                places(&info, run_pieces).map(|(at, packed_at, _)| (at, packed_at)).collect();
            for (index, (piece, (at, packed_at))) in run_pieces.iter_mut().zip(run_places).enumerate() {
                if piece.state != State::Missing {
                    continue;
                }
                if let Round::Parity(level) = round {
                    if is_told && level < levels_of(piece) {
                        let chunk = open.first_chunk + index as u32;
                        let range = payload.index.parity_of(open.page as usize, chunk, level);
                        wants.push(open.payload, range, false);
                    }
                    continue;
                }
                if round == Round::Rest || !is_told || is_head(at) {
                    piece.state = State::Asked;
                    row = Some(payload.index.row_of(open.page as usize));
                    wants.push(open.payload, packed_at..packed_at + u64::from(piece.packed_len), again);
                }
            }
            if let Some(row) = row {
                wants.push(open.payload, row, again);
            }
        }
        wants.in_order()
    }

    /// Reads back every run that was put together, and gives up what came out wrong.
    fn check_runs(&mut self, progress: &dyn Fn(u64) -> bool) -> Result<(), AssembleError> {
        // What has just come wrong is fetched again first.
        let is_made =
            |open: &OpenRun| self.pieces[open.pieces()].iter().all(|piece| piece.state == State::Done);
        let made: Vec<usize> =
            (0..self.open_runs.len()).filter(|&open| is_made(&self.open_runs[open])).collect();
        for made in made.chunks(RUNS_AT_A_TIME) {
            let are_right = each_in_order(made, |&open| self.is_right(&self.open_runs[open]))?;
            for (&open, _) in made.iter().zip(are_right).filter(|(_, is_right)| !is_right) {
                let open = &mut self.open_runs[open];
                fail(open, &self.payloads[open.payload as usize].index.runs[open.run as usize])?;
                self.tally.repaired_runs += 1;
                for piece in &mut self.pieces[open.pieces()] {
                    (piece.state, piece.place) = (State::Missing, NOWHERE);
                }
            }
            if !progress(0) {
                return Err(AssembleError::Cancelled);
            }
        }
        Ok(())
    }

    /// Whether the target holds a run as it should be.
    pub(super) fn is_right(&self, open: &OpenRun) -> Result<bool, AssembleError> {
        let payload = &self.payloads[open.payload as usize];
        let info = payload.index.runs[open.run as usize];
        let mut bytes = vec![0; info.len as usize];
        payload.order.read_at(info.offset, &mut bytes).map_err(AssembleError::ReadTarget)?;
        Ok(RunDigest::of(self.hash, &bytes) == info.digest)
    }
}

/// So many levels of parity are fetched for a chunk.
pub(super) fn levels_of(piece: &Piece) -> usize {
    if piece.place == NOWHERE { LEVELS_OF_STRANGERS } else { parity::LEVELS.len() }
}

/// What is wanted, gathered.
#[derive(Default)]
struct Wants {
    list: Vec<Want>,
}

impl Wants {
    fn push(&mut self, payload: u32, range: Range<u64>, again: bool) {
        let (payload, len) = (payload as usize, range.end - range.start);
        match self.list.last_mut() {
            Some(last)
                if (last.payload, last.again) == (payload, again)
                    && last.offset + last.len == range.start =>
            {
                last.len += len;
            }
            _ => self.list.push(Want { payload, offset: range.start, len, again }),
        }
    }

    /// By where they stand: rows of digests, which runs share, once.
    fn in_order(mut self) -> Vec<Want> {
        self.list.sort_unstable_by_key(|want| (want.payload, want.offset, want.len));
        self.list.dedup();
        self.list
    }
}
