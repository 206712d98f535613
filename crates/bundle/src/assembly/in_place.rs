//! What the target holds already: an earlier release, or what an earlier run has made.

use std::io;
use std::ops::Range;
use std::sync::atomic::Ordering;

use fluvial_delta::structure::ReadAt;
use rayon::prelude::*;

use super::copy::KEPT;
use super::{Assembly, Payload};
use crate::cut::is_zeros;
use crate::error::AssembleError;
use crate::hash::HashKind;
use crate::index::{Index, ROW_DIGEST_BYTES, RunDigest, RunInfo};
use crate::parity::PARITY_BYTES;
use crate::pieces::IN_PLACE;
use crate::scatter::Scatter;

/// Runs that are read and hashed at a time, on all threads: some MiB.
const BATCH_RUNS: usize = 64;

impl Assembly<'_> {
    /// Reads the targets, and takes for made what stands there as it should: it is neither looked for nor
    /// written. A run that was cut goes on so. Comes before everything else, if at all. `progress` hears how
    /// many more bytes were read, and cancels by answering `false`.
    ///
    /// # Errors
    /// [`AssembleError::ReadTarget`], [`AssembleError::Cancelled`].
    pub fn find_in_place(&mut self, progress: &dyn Fn(u64) -> bool) -> Result<(), AssembleError> {
        let hash = self.hash;
        for payload in &mut self.payloads {
            let runs = &payload.index.runs;
            for (batch, runs) in runs.chunks(BATCH_RUNS).enumerate() {
                let order = &*payload.order;
                let found: io::Result<Vec<bool>> =
                    runs.par_iter().map(|run| is_in_place(order, run, hash)).collect();
                let found = found.map_err(AssembleError::ReadTarget)?;
                for (number, (run, is_there)) in runs.iter().zip(found).enumerate() {
                    if is_there {
                        payload.keep(batch * BATCH_RUNS + number);
                        self.tally.in_place_bytes += u64::from(run.len);
                    }
                    if !progress(u64::from(run.len)) {
                        return Err(AssembleError::Cancelled);
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether any of `count` runs from all over the targets stands in place.
    ///
    /// # Errors
    /// [`AssembleError::ReadTarget`].
    pub fn is_some_in_place(&self, count: usize) -> Result<bool, AssembleError> {
        for payload in &self.payloads {
            let runs: Vec<&RunInfo> = payload.index.runs.iter().filter(|run| !run.is_zeros()).collect();
            for run in runs.iter().step_by(runs.len().div_ceil(count.max(1)).max(1)) {
                let is_there = is_in_place(&*payload.order, run, self.hash);
                if is_there.map_err(AssembleError::ReadTarget)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// As [`Assembly::find_in_place`], where an index tells what the only target held: nothing is read. The index is
    /// believed; whoever compares the payload's SHA-256 sees whether that was right. Answers whether anything is
    /// in place.
    ///
    /// # Errors
    /// None in fact: all runs stand in their payloads, as [`Index::read`] has checked.
    pub fn note_in_place(&mut self, known: &Index) -> Result<bool, AssembleError> {
        let [payload] = self.payloads.as_mut_slice() else { return Ok(false) };
        let known_order = Scatter::new((), known.order());
        let mut there: Vec<(u64, &RunInfo)> =
            known.runs.iter().map(|run| (known_order.place_of(run.offset), run)).collect();
        // Of several at a place all but the last are holes before it.
        there.sort_by_key(|(place, _)| *place);
        let before = self.tally.in_place_bytes;
        for (number, run) in payload.index.runs.iter().enumerate() {
            let place = payload.order.place_of(run.offset);
            let behind = there.partition_point(|(at, _)| *at <= place);
            let Some((_, old)) = behind.checked_sub(1).map(|last| there[last]).filter(|(at, _)| *at == place)
            else {
                continue;
            };
            let is_same = (old.digest, old.len, old.is_zeros()) == (run.digest, run.len, run.is_zeros())
                && places(&known_order, old)? == places(&payload.order, run)?;
            // What is packed in the old target was unpacked elsewhere.
            let len = payload.index.len;
            if is_same
                && places(&payload.order, run)?.iter().all(|(at, piece)| at + piece.len() as u64 <= len)
            {
                payload.keep(number);
                self.tally.in_place_bytes += u64::from(run.len);
            }
        }
        Ok(self.tally.in_place_bytes > before)
    }

    /// How many bytes [`Assembly::find_in_place`] reads.
    pub fn target_bytes(&self) -> u64 {
        self.payloads.iter().map(|payload| payload.index.len).sum()
    }

    /// How many bytes come at most if all that was not found is fetched in chunks, pages included. In truth it
    /// is less: old chunks are found in what is missing.
    pub fn chunk_bytes_max(&self) -> u64 {
        self.payloads.iter().map(Payload::chunk_bytes_max).sum()
    }
}

/// Whether a run stands where it belongs.
fn is_in_place(order: &dyn ReadAt, run: &RunInfo, hash: HashKind) -> io::Result<bool> {
    let mut bytes = vec![0; run.len as usize];
    order.read_at(run.offset, &mut bytes)?;
    Ok(if run.is_zeros() { is_zeros(&bytes) } else { RunDigest::of(hash, &bytes) == run.digest })
}

/// Where the pieces of a run stand, and which of its bytes they are.
fn places<S>(order: &Scatter<S>, run: &RunInfo) -> Result<Vec<(u64, Range<usize>)>, AssembleError> {
    let mut places = Vec::new();
    let each = |at, range: Range<usize>| {
        places.push((at, range));
        Ok(())
    };
    order.pieces(run.offset, run.len as usize, each).map_err(AssembleError::ReadTarget)?;
    Ok(places)
}

impl Payload<'_> {
    /// Takes a run for made.
    fn keep(&mut self, run: usize) {
        self.run_places[run] = IN_PLACE;
        self.there[run].store(KEPT, Ordering::Release);
    }

    fn chunk_bytes_max(&self) -> u64 {
        let runs = &self.index.runs;
        let mut bytes = 0;
        let chunk_bytes = ROW_DIGEST_BYTES + if self.index.has_parity() { PARITY_BYTES as u64 } else { 0 };
        for page in &self.index.pages {
            let missing = page.runs.clone().filter(|&run| self.is_missing(run));
            let packed: u64 = missing.map(|run| u64::from(runs[run].packed_len)).sum();
            let beside = u64::from(page.len) + u64::from(page.chunks) * chunk_bytes;
            bytes += if packed > 0 { packed + beside } else { 0 };
        }
        bytes
    }
}
