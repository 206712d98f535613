//! What the target holds already: an earlier release, or what an earlier run has made.

use std::io;

use fluvial_delta::structure::ReadAt;
use rayon::prelude::*;

use super::{Assembly, Payload};
use crate::error::AssembleError;
use crate::hash::HashKind;
use crate::index::{ROW_DIGEST_BYTES, RunDigest, RunInfo};
use crate::parity::PARITY_BYTES;
use crate::pieces::{IN_PLACE, NOWHERE};

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
            let (order, runs) = (&payload.order, &payload.index.runs);
            for (runs, places) in runs.chunks(BATCH_RUNS).zip(payload.run_places.chunks_mut(BATCH_RUNS)) {
                let found: io::Result<Vec<bool>> =
                    runs.par_iter().map(|run| is_in_place(order, run, hash)).collect();
                for ((run, place), is_there) in
                    runs.iter().zip(places).zip(found.map_err(AssembleError::ReadTarget)?)
                {
                    if is_there {
                        *place = IN_PLACE;
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
    Ok(if run.is_zeros() {
        bytes.iter().all(|&byte| byte == 0)
    } else {
        RunDigest::of(hash, &bytes) == run.digest
    })
}

impl Payload<'_> {
    fn chunk_bytes_max(&self) -> u64 {
        let runs = &self.index.runs;
        let mut bytes = 0;
        let chunk_bytes = ROW_DIGEST_BYTES + if self.index.has_parity() { PARITY_BYTES as u64 } else { 0 };
        for page in &self.index.pages {
            let missing = page.runs.clone().filter(|&run| self.run_places[run] == NOWHERE);
            let packed: u64 = missing.map(|run| u64::from(runs[run].packed_len)).sum();
            let beside = u64::from(page.len) + u64::from(page.chunks) * chunk_bytes;
            bytes += if packed > 0 { packed + beside } else { 0 };
        }
        bytes
    }
}
