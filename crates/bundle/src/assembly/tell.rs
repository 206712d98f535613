//! What programs lack is made of what is known of them.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::thread;

use fluvial_delta::predict::HEAD_BYTES;
use fluvial_delta::structure::Extent;

use super::copy::{KEPT, WRITTEN};
use super::rounds::{LEVELS_OF_STRANGERS, levels_of};
use super::syndromes::Syndromes;
use super::{Assembly, Payload};
use crate::error::AssembleError;
use crate::guesses::GuessWriter;
use crate::in_order::in_order;
use crate::parity::{self, PARITY_BYTES};
use crate::pieces::{IN_PLACE, NOWHERE, OpenRun, Piece, State, places};
use crate::programs::{self, Bytes, Failed, Known, Open, Program, Resolved};
use crate::shelf::Shelf;
use crate::spool::Strand;
use crate::taught::Taught;

/// Programs that are told at a time: each takes memory.
const TELLERS_MAX: usize = 2;
/// What is kept of programs from one round to the next: by payload, and where the program stands in its order.
pub(super) type ToldPrograms = HashMap<(usize, u64), Told>;

/// What is kept of a program that was told.
#[derive(Default)]
pub(super) struct Told {
    /// What was told of its pieces and is not right; `None` where that could not be kept.
    pub(super) guesses: Option<Strand>,
    /// What it has taught.
    taught: Strand,
    /// How many of its pieces were proved since.
    pub(super) proved: usize,
}

/// Programs that are told before what they have taught is used for those behind them. Their lessons take memory.
const WAVE_PROGRAMS: usize = 16;

impl Assembly<'_> {
    /// Makes what programs lack from what is known of them by now. So many levels of parity were fetched.
    pub(super) fn tell_programs(&mut self, fetched: &dyn Shelf, levels: usize) -> Result<(), AssembleError> {
        self.correct_guesses(fetched, levels)?;
        let mut programs = self.open_programs();
        programs.retain(|(number, program)| {
            self.told.get(&(*number, program.offset)).is_none_or(Told::is_worth_telling)
        });
        for wave in programs.chunks(WAVE_PROGRAMS) {
            let told = each_in_order(wave, |&(number, program)| {
                self.tell_program(number, program, fetched, levels)
            })?;
            // In the order of the programs, so that the same is learned every time.
            for (&(number, program), (resolved, told)) in wave.iter().zip(told) {
                self.shared.learn(&resolved.lesson);
                self.told.insert((number, program.offset), told);
                self.note_proved(&resolved.proved);
            }
        }
        Ok(())
    }

    /// Notes pieces that were proved and written, and where the old space has the like of each.
    pub(super) fn note_proved(&mut self, proved: &[(u32, u64)]) {
        for &(index, place) in proved {
            let piece = &mut self.pieces[index as usize];
            (piece.state, piece.place) = (State::Done, place);
            self.tally.predicted_bytes += u64::from(piece.len);
        }
    }

    /// Programs that lack something, the longest first: nobody is to wait for one at the end.
    fn open_programs(&self) -> Vec<(usize, Extent)> {
        let program = |open: &OpenRun| {
            let payload = &self.payloads[open.payload as usize];
            let program = payload.program_of(payload.index.runs[open.run as usize].offset)?;
            Some((open.payload as usize, program))
        };
        let mut programs: Vec<_> = self.open_runs.iter().filter_map(program).collect();
        programs.dedup();
        programs.sort_by_key(|(_, program)| Reverse(program.len));
        programs
    }

    /// Answers what became of a program, and what is kept of it.
    fn tell_program(
        &self,
        number: usize,
        extent: Extent,
        fetched: &dyn Shelf,
        levels: usize,
    ) -> Result<(Resolved, Told), AssembleError> {
        let payload = &self.payloads[number];
        let Some(mut known) = known_of(payload, number, extent, &self.open_runs, &self.pieces) else {
            return Ok(Default::default());
        };
        let syndromes = RefCell::new(Syndromes::new(payload, number, fetched));
        let parity = |piece: u32, bytes: &mut [u8; PARITY_BYTES]| {
            let levels = levels.min(levels_of(&self.pieces[piece as usize]));
            let Some(open) = open_run_of(&self.open_runs, piece) else { return 0 };
            syndromes.borrow_mut().read(open, piece, levels, bytes)
        };
        // Behind the last level nothing is told any more.
        let is_last = levels == parity::LEVELS.len();
        let program = Program {
            hash: self.hash,
            extent,
            order: &*payload.order,
            old: &*self.old,
            old_programs: &self.old_programs,
            shared: &self.shared,
            // The last level is not fetched for them: of what was told with the one before, hardly any comes right now.
            tells_strangers: levels <= LEVELS_OF_STRANGERS,
            parity: &parity,
        };
        let mut guesses = if is_last { GuessWriter::none() } else { GuessWriter::new(&self.spool) };
        let taught = self.told.get(&(number, extent.offset)).map(|told| &told.taught);
        let taught = taught.and_then(|taught| Taught::read(&mut self.spool.reader(taught), extent.len).ok());
        let mut taught = taught.unwrap_or_default();
        let resolved = match programs::resolve(&program, &mut known, &mut taught, &mut guesses) {
            Ok(resolved) => resolved,
            Err(Failed::Unpredictable) => return Ok(Default::default()),
            Err(Failed::ReadTarget(source)) => return Err(AssembleError::ReadTarget(source)),
            Err(Failed::Write(source)) => return Err(AssembleError::Write(source)),
        };
        let mut told = Told { guesses: guesses.finish(), ..Told::default() };
        if !is_last && resolved.open > 0 {
            let mut strand = self.spool.writer();
            taught.write(&mut strand);
            told.taught = strand.finish().unwrap_or_default();
        }
        Ok((resolved, told))
    }
}

impl Told {
    /// Whether anything was proved by parity since the program was told: telling it again, which takes long, may then
    /// prove more.
    fn is_worth_telling(&self) -> bool {
        self.guesses.is_none() || self.proved > 0
    }
}

/// Calls `each` for every item, on all threads; answers the results in order.
pub(super) fn each_in_order<T: Sync, R: Send>(
    items: &[T],
    each: impl Fn(&T) -> Result<R, AssembleError> + Sync,
) -> Result<Vec<R>, AssembleError> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(TELLERS_MAX);
    let mut results = Vec::with_capacity(items.len());
    in_order(
        items,
        threads,
        |(): &mut (), item| each(item),
        |_, result| {
            results.push(result?);
            Ok(())
        },
    )?;
    Ok(results)
}

/// The run that a piece is of.
pub(super) fn open_run_of(open_runs: &[OpenRun], piece: u32) -> Option<&OpenRun> {
    let behind = open_runs.partition_point(|open| open.first <= piece);
    behind.checked_sub(1).map(|index| &open_runs[index])
}

/// What is known of a program, in order and without gaps; `None` where nothing is left to be told.
fn known_of(
    payload: &Payload<'_>,
    number: usize,
    program: Extent,
    open_runs: &[OpenRun],
    pieces: &[Piece],
) -> Option<Vec<Known>> {
    let runs = &payload.index.runs;
    let first = runs.partition_point(|run| run.offset < program.offset);
    let end = runs.partition_point(|run| run.offset < program.end());
    let key = |run: usize| (number as u32, run as u32);
    let before = |end| open_runs.partition_point(|open| (open.payload, open.run) < key(end));
    let open_here = &open_runs[before(first)..before(end)];
    let is_missing = |piece: &Piece| piece.state == State::Missing;
    if !open_here.iter().any(|open| pieces[open.pieces()].iter().any(is_missing)) {
        return None;
    }
    let mut known = Vec::new();
    let mut open_here = open_here.iter().peekable();
    for (run, info) in runs.iter().enumerate().take(end).skip(first) {
        let Some(open) = open_here.next_if(|open| open.run as usize == run) else {
            let place = payload.run_places[run];
            let old = if place < IN_PLACE { place } else { NOWHERE };
            let bytes = if info.is_zeros() {
                Bytes::Zeros
            } else if old != NOWHERE {
                Bytes::Old
            } else if [KEPT, WRITTEN].contains(&payload.there[run].load(Ordering::Acquire)) {
                Bytes::Made
            } else {
                // Another window makes it.
                Bytes::Unknown
            };
            let (new, len) = (info.offset - program.offset, u64::from(info.len));
            programs::push(&mut known, Known { old, new, len, bytes, open: None });
            continue;
        };
        for (index, (at, _, piece)) in places(info, &pieces[open.pieces()]).enumerate() {
            let bytes = if piece.state == State::Done { Bytes::Made } else { Bytes::Unknown };
            let is_open = piece.state == State::Missing && open.count > 1;
            let new = at - program.offset;
            // Without its head nothing can be told of a program.
            if new < HEAD_BYTES && bytes == Bytes::Unknown {
                return None;
            }
            let open = is_open.then_some(Open { piece: open.first + index as u32, check: piece.check });
            let len = u64::from(piece.len);
            programs::push(&mut known, Known { old: piece.place, new, len, bytes, open });
        }
    }
    Some(known)
}
