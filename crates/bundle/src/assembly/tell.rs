//! What programs lack is made of what is known of them.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::{panic, thread};

use fluvial_delta::predict::{HEAD_BYTES, Lore};
use fluvial_delta::structure::Extent;

use super::copy::{KEPT, WRITTEN};
use super::rounds::levels_of;
use super::{Assembly, Payload};
use crate::error::AssembleError;
use crate::parity::{self, PARITY_BYTES};
use crate::pieces::{IN_PLACE, NOWHERE, OpenRun, Piece, State, places};
use crate::programs::{self, Bytes, Failed, Known, Open, Program, Resolved, Taught};
use crate::shelf::Shelf;

/// Programs that are told at a time: each takes memory.
const TELLERS_MAX: usize = 2;
/// What programs have taught is kept until the next round, the longest first, as long as it takes no more memory than
/// this; the others teach again.
const TAUGHT_BYTES_MAX: u64 = 2 << 20;

/// What programs have taught: by payload, and where the program stands in its order.
pub(super) type TaughtPrograms = Mutex<HashMap<(usize, u64), Taught>>;

/// Programs that are told before what they have taught is used for those behind them. Their lessons take memory.
const WAVE_PROGRAMS: usize = 16;

impl Assembly<'_> {
    /// Makes what programs lack from what is known of them by now. So many levels of parity were fetched.
    pub(super) fn tell_programs(&mut self, fetched: &dyn Shelf, levels: usize) -> Result<(), AssembleError> {
        let programs = self.open_programs();
        let mut taught_bytes = 0;
        let fits = |(_, program): &&(usize, Extent)| {
            taught_bytes += Lore::memory_bytes(program.len);
            taught_bytes <= TAUGHT_BYTES_MAX
        };
        // Behind the last level nothing is told any more.
        let is_last = levels == parity::LEVELS.len();
        let kept = if is_last { 0 } else { programs.iter().take_while(fits).count() };
        for (number, wave) in programs.chunks(WAVE_PROGRAMS).enumerate() {
            let kept = kept.saturating_sub(number * WAVE_PROGRAMS);
            // In the order of the programs, so that the same is learned every time.
            for resolved in self.tell_wave(wave, kept, fetched, levels)? {
                self.shared.learn(&resolved.lesson);
                for (index, place) in resolved.proved {
                    let piece = &mut self.pieces[index];
                    (piece.state, piece.place) = (State::Done, place);
                    self.tally.predicted_bytes += u64::from(piece.len);
                }
            }
        }
        Ok(())
    }

    /// Tells of programs, on all threads; answers what became of each. What the first ones, `kept`, have taught is
    /// kept.
    fn tell_wave(
        &self,
        wave: &[(usize, Extent)],
        kept: usize,
        fetched: &dyn Shelf,
        levels: usize,
    ) -> Result<Vec<Resolved>, AssembleError> {
        let next = AtomicUsize::new(0);
        let tell = || {
            let mut told = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(&(number, program)) = wave.get(index) else { break };
                let key = (number, program.offset);
                let mut taught = self.taught().remove(&key).unwrap_or_default();
                told.push((index, self.tell_program(number, program, fetched, levels, &mut taught)?));
                if index < kept {
                    self.taught().insert(key, taught);
                }
            }
            Ok::<_, AssembleError>(told)
        };
        let tellers = thread::available_parallelism().map_or(1, usize::from).min(TELLERS_MAX);
        let mut told = thread::scope(|scope| {
            let others: Vec<_> = (1..tellers).map(|_| scope.spawn(tell)).collect();
            let mut told = tell();
            for other in others {
                let more = other.join().unwrap_or_else(|panic| panic::resume_unwind(panic));
                if let Ok(told) = &mut told {
                    told.extend(more?);
                }
            }
            told
        })?;
        told.sort_unstable_by_key(|(index, _)| *index);
        Ok(told.into_iter().map(|(_, resolved)| resolved).collect())
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

    fn taught(&self) -> impl std::ops::DerefMut<Target = HashMap<(usize, u64), Taught>> + '_ {
        self.taught.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_program(
        &self,
        number: usize,
        extent: Extent,
        fetched: &dyn Shelf,
        levels: usize,
        taught: &mut Taught,
    ) -> Result<Resolved, AssembleError> {
        let payload = &self.payloads[number];
        let Some(mut known) = known_of(payload, number, extent, &self.open_runs, &self.pieces) else {
            return Ok(Resolved::default());
        };
        let parity = |piece: usize| {
            let levels = levels.min(levels_of(&self.pieces[piece]));
            read_parity(payload, &self.open_runs, piece as u32, levels, fetched)
        };
        let program = Program {
            hash: self.hash,
            extent,
            order: &*payload.order,
            old: &*self.old,
            old_programs: &self.old_programs,
            shared: &self.shared,
            parity: &parity,
        };
        match programs::resolve(&program, &mut known, taught) {
            Ok(told) => Ok(told),
            Err(Failed::Unpredictable) => Ok(Resolved::default()),
            Err(Failed::ReadTarget(source)) => Err(AssembleError::ReadTarget(source)),
            Err(Failed::Write(source)) => Err(AssembleError::Write(source)),
        }
    }
}

/// The syndromes of a piece that were fetched. What cannot be read, or came wrong, corrects nothing.
fn read_parity(
    payload: &Payload<'_>,
    open_runs: &[OpenRun],
    piece: u32,
    levels: usize,
    fetched: &dyn Shelf,
) -> Vec<u8> {
    let behind = open_runs.partition_point(|open| open.first <= piece);
    let Some(open) = behind.checked_sub(1).map(|index| &open_runs[index]) else { return Vec::new() };
    let chunk = open.first_chunk + (piece - open.first);
    let mut bytes = Vec::with_capacity(PARITY_BYTES);
    for level in 0..levels.min(parity::LEVELS.len()) {
        let range = payload.index.parity_of(open.page as usize, chunk, level);
        let from = bytes.len();
        bytes.resize(from + (range.end - range.start) as usize, 0);
        if fetched.read(open.payload as usize, range.start, &mut bytes[from..]).is_err() {
            bytes.truncate(from);
            break;
        }
    }
    bytes
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
            let open = is_open.then_some(Open { piece: open.first as usize + index, check: piece.check });
            let len = u64::from(piece.len);
            programs::push(&mut known, Known { old: piece.place, new, len, bytes, open });
        }
    }
    Some(known)
}
