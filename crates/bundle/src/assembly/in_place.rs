//! What the target holds already: an earlier release, or what an earlier run has made.

use std::io;

use fluvial_delta::structure::ReadAt;
use rayon::prelude::*;

use super::{Assembly, Payload, Want};
use crate::error::AssembleError;
use crate::hash::HashKind;
use crate::index::{ROW_DIGEST_BYTES, RunDigest, RunInfo};
use crate::parity::PARITY_BYTES;
use crate::pieces::{IN_PLACE, NOWHERE};
use crate::solid::{FRAME_BYTES, unpack_frame};

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

    /// The frames that hold what was not found, by the payload and where they stand among its frames; `None`
    /// where a payload has no frames.
    pub fn frames(&self) -> Option<Vec<Want>> {
        let mut wants = Vec::new();
        for (number, payload) in self.payloads.iter().enumerate() {
            let needed = payload.missing_frames().ok()?;
            if payload.index.frames.is_empty() && needed.contains(&true) {
                return None;
            }
            for (info, _) in payload.index.frames.iter().zip(needed).filter(|(_, is_needed)| *is_needed) {
                let len = u64::from(info.packed_len);
                wants.push(Want { payload: number, offset: info.packed_offset, len, again: false });
            }
        }
        Some(wants)
    }

    /// Takes a frame that was wanted: compares it with its digest, unpacks it, and puts its bytes in place.
    /// After all of them every payload is there.
    ///
    /// # Errors
    /// [`AssembleError::Content`] where it is other bytes, [`AssembleError::Frame`], [`AssembleError::Write`].
    pub fn take_frame(&mut self, want: Want, packed: &[u8]) -> Result<(), AssembleError> {
        let Want { payload: number, offset, len, .. } = want;
        let payload = &self.payloads[number];
        let index = payload.index;
        let frame = index.frames.partition_point(|frame| frame.packed_offset < offset);
        let wrong = AssembleError::Content { payload: number, offset, len };
        let Some(info) = index.frames.get(frame) else { return Err(wrong) };
        let unpacked = unpack_frame(info, frame, index.len, index.hash, packed)
            .map_err(|source| AssembleError::Frame { payload: number, frame, source })?;
        let Some((start, bytes)) = unpacked else { return Err(wrong) };
        payload.target.write_at(start, &bytes).map_err(AssembleError::Write)?;
        self.tally.fetched_bytes += bytes.len() as u64;
        Ok(())
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

    /// Which frames hold bytes that were not found; all bytes of the others are there.
    fn missing_frames(&self) -> io::Result<Vec<bool>> {
        let mut needed = vec![false; crate::solid::frames_of(self.index.len)];
        for (run, place) in self.index.runs.iter().zip(&self.run_places) {
            if *place != NOWHERE || run.is_zeros() {
                continue;
            }
            self.order.pieces(run.offset, run.len as usize, |at, range| {
                if at >= self.index.len {
                    return Ok(());
                }
                let end = (at + range.len() as u64).min(self.index.len);
                let (first, last) = (at / FRAME_BYTES, (end - 1) / FRAME_BYTES);
                needed[first as usize..=last as usize].fill(true);
                Ok(())
            })?;
        }
        Ok(needed)
    }
}
