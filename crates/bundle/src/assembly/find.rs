//! Looks for what is wanted in what the device has.

use std::ops::Range;

use fluvial_delta::apply::Target as _;
use fluvial_delta::structure::ReadAt as _;

use super::{Assembly, Payload, Tally};
use rayon::prelude::*;

use crate::cut::{Chunk, cut};
use crate::error::AssembleError;
use crate::index::{Index, RunDigest, RunInfo};
use crate::limits::ZERO_RUN_BYTES_MAX;
use crate::pieces::{IN_PLACE, NOWHERE, OpenRun, Piece, State};

/// Runs that are read and hashed at a time, on all threads: some MiB.
const BATCH_RUNS: usize = 64;
/// A key that more pieces have than this is frequent: zeros are.
const FREQUENT_PIECES: usize = 64;
/// So often all pieces of a frequent key are looked at: the time is bounded, whatever is published.
const FREQUENT_VISITS_MAX: u8 = 255;

impl Assembly<'_> {
    /// Looks for whole runs in the old streams, and puts them in place. Old streams that cannot be read are
    /// passed over. `progress` hears how many more bytes were read, and cancels by answering `false`.
    ///
    /// # Errors
    /// [`AssembleError::Write`], [`AssembleError::Cancelled`].
    pub fn find_runs(&mut self, progress: &dyn Fn(u64) -> bool) -> Result<(), AssembleError> {
        let wanted = self.wanted_runs();
        self.write_zeros(progress)?;
        for (number, (stream, extent)) in self.old.streams().enumerate() {
            let (mut is_program, mut is_unchanged) = (false, true);
            let (payloads, tally) = (&mut self.payloads, &mut self.tally);
            let result = cut(stream, self.hash, false, AssembleError::ReadOld, &mut |run, bytes| {
                is_program = run.is_program;
                if !run.is_zeros() {
                    let place = extent.offset + run.offset;
                    is_unchanged &= put_run(payloads, &wanted, run.digest, place, bytes, tally)?;
                }
                told(progress, bytes.len())
            });
            self.unchanged_streams[number] = is_unchanged;
            pass_over_unreadable(result)?;
            if is_program {
                self.old_programs.push(extent);
            }
        }
        Ok(())
    }

    /// As [`Assembly::find_runs`], where an index tells what the old streams held: they are those of its payload.
    /// Only what is wanted of them is read. Answers how many runs are other bytes than it tells: they are
    /// passed over.
    ///
    /// # Errors
    /// As [`Assembly::find_runs`].
    pub fn find_indexed(
        &mut self,
        index: &Index,
        progress: &dyn Fn(u64) -> bool,
    ) -> Result<usize, AssembleError> {
        let wanted = self.wanted_runs();
        self.write_zeros(progress)?;
        let streams = index.streams();
        let mut stream = 0;
        self.unchanged_streams.fill(true);
        let mut changed = 0;
        for batch in index.runs.chunks(BATCH_RUNS) {
            // Reading and hashing takes longest, and one run waits for no other.
            let read = |run: &RunInfo| {
                (!run.is_zeros() && self.is_missing(&wanted, run)).then(|| self.read_old(run))
            };
            let found: Vec<Option<Option<Vec<u8>>>> = batch.par_iter().map(read).collect();
            for (run, found) in batch.iter().zip(found) {
                while streams[stream].end() <= run.offset {
                    stream += 1;
                }
                let is_wanted = match found {
                    Some(Some(bytes)) => {
                        let (payloads, tally) = (&mut self.payloads, &mut self.tally);
                        put_run(payloads, &wanted, run.digest, run.offset, &bytes, tally)?
                    }
                    Some(None) => {
                        changed += 1;
                        false
                    }
                    None => run.is_zeros() || is_wanted(&wanted, run),
                };
                self.unchanged_streams[stream] &= is_wanted;
                told(progress, run.len as usize)?;
            }
        }
        let programs = streams[1..].iter().zip(&index.programs).filter(|(_, is_program)| **is_program);
        self.old_programs.extend(programs.map(|(stream, _)| *stream));
        Ok(changed)
    }

    /// A run of the old space, if it still is what an index tells.
    fn read_old(&self, run: &RunInfo) -> Option<Vec<u8>> {
        let mut bytes = vec![0; run.len as usize];
        // What cannot be read is not there.
        let is_read = self.old.read_at(run.offset, &mut bytes).is_ok();
        (is_read && RunDigest::of(self.hash, &bytes) == run.digest).then_some(bytes)
    }

    /// All runs that are not zeros, by digest and length.
    fn wanted_runs(&self) -> Vec<WantedRun> {
        let mut wanted = Vec::new();
        for (number, payload) in self.payloads.iter().enumerate() {
            let entry = |(index, run): (usize, &RunInfo)| (run.digest, run.len, number as u32, index as u32);
            let runs = payload.index.runs.iter().enumerate().filter(|(_, run)| !run.is_zeros());
            wanted.extend(runs.map(entry));
        }
        wanted.sort_unstable();
        wanted
    }

    /// Whether a run like this one is wanted, and not known to stand in the old streams.
    fn is_missing(&self, wanted: &[WantedRun], run: &RunInfo) -> bool {
        let from = wanted.partition_point(|one| (one.0, one.1) < (run.digest, run.len));
        wanted.get(from).is_some_and(|&(digest, len, payload, index)| {
            (digest, len) == (run.digest, run.len)
                && self.payloads[payload as usize].run_places[index as usize] >= IN_PLACE
        })
    }

    /// Looks for single chunks in the old streams, as [`Assembly::find_runs`] for runs. A stream of which all
    /// runs were found is not looked into: what is like it in the new payloads is there.
    ///
    /// # Errors
    /// As [`Assembly::find_runs`].
    pub fn find_chunks(&mut self, progress: &dyn Fn(u64) -> bool) -> Result<(), AssembleError> {
        let mut wanted = self.wanted_chunks();
        if wanted.list.is_empty() {
            return Ok(());
        }
        for (number, (stream, extent)) in self.old.streams().enumerate() {
            if self.unchanged_streams[number] {
                continue;
            }
            let result = cut(stream, self.hash, true, AssembleError::ReadOld, &mut |run, bytes| {
                let mut at = 0;
                for chunk in &run.chunks {
                    let here = &bytes[at..at + chunk.len as usize];
                    let place = extent.offset + run.offset + at as u64;
                    at += here.len();
                    for index in wanted.look_up(chunk.key) {
                        let (_, open, piece) = wanted.list[index];
                        let found = Found { chunk, bytes: here, place, is_program: run.is_program };
                        put_chunk(
                            &self.payloads,
                            &self.open_runs[open as usize],
                            &mut self.pieces,
                            piece,
                            &found,
                            &mut self.tally,
                        )?;
                    }
                }
                told(progress, bytes.len())
            });
            pass_over_unreadable(result)?;
        }
        Ok(())
    }

    /// Writes the runs of zeros.
    fn write_zeros(&mut self, progress: &dyn Fn(u64) -> bool) -> Result<(), AssembleError> {
        let zeros = vec![0; ZERO_RUN_BYTES_MAX];
        for payload in &self.payloads {
            for (run, place) in payload.index.runs.iter().zip(&payload.run_places) {
                if !run.is_zeros() || *place == IN_PLACE {
                    continue;
                }
                let zeros = &zeros[..run.len as usize];
                payload.order.write_at(run.offset, zeros).map_err(AssembleError::Write)?;
                self.tally.found_bytes += zeros.len() as u64;
                told(progress, 0)?;
            }
        }
        Ok(())
    }

    fn wanted_chunks(&self) -> WantedChunks {
        let mut list = Vec::new();
        for (number, open) in self.open_runs.iter().enumerate().filter(|(_, open)| open.count > 1) {
            list.extend(open.pieces().map(|piece| (self.pieces[piece].key, number as u32, piece as u32)));
        }
        list.sort_unstable();
        let visits = vec![0; list.len()];
        WantedChunks { list, visits }
    }
}

/// A run that is looked for: digest, length, payload, and its number there.
type WantedRun = (RunDigest, u32, u32, u32);

/// Whether a run like this one is wanted.
fn is_wanted(wanted: &[WantedRun], run: &RunInfo) -> bool {
    let from = wanted.partition_point(|one| (one.0, one.1) < (run.digest, run.len));
    wanted.get(from).is_some_and(|one| (one.0, one.1) == (run.digest, run.len))
}

/// Puts an old run in place wherever it is wanted; answers whether it is. `place` is where the old space holds
/// it.
fn put_run(
    payloads: &mut [Payload<'_>],
    wanted: &[WantedRun],
    digest: RunDigest,
    place: u64,
    bytes: &[u8],
    tally: &mut Tally,
) -> Result<bool, AssembleError> {
    let key = (digest, bytes.len() as u32);
    let from = wanted.partition_point(|one| (one.0, one.1) < key);
    let is_wanted = wanted.get(from).is_some_and(|one| (one.0, one.1) == key);
    for &(_, _, payload, index) in wanted[from..].iter().take_while(|one| (one.0, one.1) == key) {
        let payload = &mut payloads[payload as usize];
        let info = payload.index.runs[index as usize];
        let run_place = &mut payload.run_places[index as usize];
        match *run_place {
            NOWHERE => {
                payload.order.write_at(info.offset, bytes).map_err(AssembleError::Write)?;
                tally.found_bytes += bytes.len() as u64;
            }
            IN_PLACE => {}
            // All that are the same were put in place together.
            _ => break,
        }
        *run_place = place;
    }
    Ok(is_wanted)
}

/// The chunks that are looked for.
struct WantedChunks {
    /// Key, run and piece: which piece of which run, where each stands.
    list: Vec<(u32, u32, u32)>,
    /// How often each key was met, where it stands first.
    visits: Vec<u8>,
}

impl WantedChunks {
    /// Where the pieces of a key stand in the list; none where there are many that were met often.
    fn look_up(&mut self, key: u32) -> Range<usize> {
        let from = self.list.partition_point(|one| one.0 < key);
        let is_of_key = |index: usize| self.list.get(index).is_some_and(|one| one.0 == key);
        if !is_of_key(from + FREQUENT_PIECES) {
            let len = self.list[from..].iter().take_while(|one| one.0 == key).count();
            return from..from + len;
        }
        if self.visits[from] == FREQUENT_VISITS_MAX {
            return from..from;
        }
        self.visits[from] += 1;
        from..self.list.partition_point(|one| one.0 <= key)
    }
}

/// An old chunk.
struct Found<'a> {
    chunk: &'a Chunk,
    bytes: &'a [u8],
    /// Where it stands in the old space.
    place: u64,
    is_program: bool,
}

/// Puts an old chunk in the place of a piece with its key, if it is the same, and notes where the like of it
/// stands.
fn put_chunk(
    payloads: &[Payload<'_>],
    open: &OpenRun,
    pieces: &mut [Piece],
    index: u32,
    found: &Found<'_>,
    tally: &mut Tally,
) -> Result<(), AssembleError> {
    let before = (index > open.first).then(|| pieces[index as usize - 1]);
    let piece = &mut pieces[index as usize];
    if piece.len != found.chunk.len {
        return Ok(());
    }
    let continues = before.is_some_and(|one| one.place.checked_add(u64::from(one.len)) == Some(found.place));
    if open.is_program && found.is_program && (piece.place == NOWHERE || continues) {
        piece.place = found.place;
    }
    if piece.check != found.chunk.check || piece.state == State::Done {
        return Ok(());
    }
    piece.state = State::Done;
    tally.found_bytes += found.bytes.len() as u64;
    let payload = &payloads[open.payload as usize];
    let before = &pieces[open.first as usize..index as usize];
    let inside: u64 = before.iter().map(|one| u64::from(one.len)).sum();
    let at = payload.index.runs[open.run as usize].offset + inside;
    payload.order.write_at(at, found.bytes).map_err(AssembleError::Write)
}

/// Tells that so many bytes are done.
fn told(progress: &dyn Fn(u64) -> bool, bytes: usize) -> Result<(), AssembleError> {
    if progress(bytes as u64) { Ok(()) } else { Err(AssembleError::Cancelled) }
}

/// What cannot be read is not there: it is fetched instead.
fn pass_over_unreadable(result: Result<(), AssembleError>) -> Result<(), AssembleError> {
    match result {
        Err(AssembleError::ReadOld(_)) => Ok(()),
        other => other,
    }
}
