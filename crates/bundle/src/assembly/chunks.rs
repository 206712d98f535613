//! Looks for single chunks that are wanted in what the device has.

use std::ops::Range;

use fluvial_delta::apply::Target as _;

use super::find::told;
use super::{Assembly, Payload, Tally};
use crate::cut::{Chunk, cut};
use crate::error::AssembleError;
use crate::pieces::{NOWHERE, OpenRun, Piece, State};

/// A key that more pieces have than this is frequent: zeros are.
const FREQUENT_PIECES: usize = 64;
/// So often all pieces of a frequent key are looked at: the time is bounded, whatever is published.
const FREQUENT_VISITS_MAX: u8 = 255;

impl Assembly<'_> {
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
        let (cutting, hash) = (self.cutting, self.hash);
        for (number, (stream, extent)) in self.old.streams().iter().zip(self.old.extents()).enumerate() {
            if self.unchanged_streams[number] {
                continue;
            }
            let result = cut(*stream, cutting, hash, true, AssembleError::ReadOld, &mut |run, bytes| {
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

/// What cannot be read is not there: it is fetched instead.
fn pass_over_unreadable(result: Result<(), AssembleError>) -> Result<(), AssembleError> {
    match result {
        Err(AssembleError::ReadOld(_)) => Ok(()),
        other => other,
    }
}
