//! Runs that a payload, or several, have more than once: an initial RAM disk holds modules of the system that it is
//! for. They are fetched once.

use std::sync::atomic::Ordering;

use fluvial_delta::apply::Target as _;
use fluvial_delta::structure::ReadAt as _;

use super::Assembly;
use super::copy::{ABSENT, REPEATED, WRITTEN};
use crate::error::AssembleError;
use crate::pieces::State;

/// A run by its payload and its number there.
type Place = (u32, u32);

impl Assembly<'_> {
    /// Notes which missing runs are like others: only the first of each is fetched.
    pub(super) fn note_repeats(&mut self) {
        for state in self.payloads.iter().flat_map(|payload| payload.there.iter()) {
            let _ = state.compare_exchange(REPEATED, ABSENT, Ordering::AcqRel, Ordering::Acquire);
        }
        self.repeats.clear();
        let wanted = self.wanted_runs();
        let likes = wanted.chunk_by(|one, next| (one.0, one.1) == (next.0, next.1));
        for like in likes.filter(|like| like.len() > 1) {
            let is_missing = |place: &Place| self.payloads[place.0 as usize].is_missing(place.1 as usize);
            let mut missing: Vec<Place> = like.iter().map(|one| (one.2, one.3)).filter(is_missing).collect();
            // What stands behind payloads is fetched first.
            missing.sort_by_key(|place| !self.payloads[place.0 as usize].is_behind(place.1 as usize));
            let Some((&first, others)) = missing.split_first() else { continue };
            for &(payload, run) in others {
                self.payloads[payload as usize].there[run as usize].store(REPEATED, Ordering::Release);
                self.repeats.push((first, (payload, run)));
            }
        }
    }

    /// Copies runs that are like others, if these are there already, and right: what waits for them
    /// needs not wait for the rest.
    ///
    /// # Errors
    /// As [`Assembly::copy_repeats`].
    pub fn copy_made_repeats(&mut self, progress: &dyn Fn(u64) -> bool) -> Result<(), AssembleError> {
        for (from, to) in std::mem::take(&mut self.repeats) {
            if !self.is_made(from)? {
                self.repeats.push((from, to));
                continue;
            }
            self.copy_repeat(from, to)?;
            if !progress(0) {
                return Err(AssembleError::Cancelled);
            }
        }
        Ok(())
    }

    /// Whether a run is there, and right.
    fn is_made(&self, place: Place) -> Result<bool, AssembleError> {
        let state = self.payloads[place.0 as usize].there[place.1 as usize].load(Ordering::Acquire);
        if state == WRITTEN {
            return Ok(true);
        }
        let found = self.open_runs.binary_search_by_key(&place, |open| (open.payload, open.run));
        let Ok(open) = found.map(|index| &self.open_runs[index]) else { return Ok(false) };
        let is_done = self.pieces[open.pieces()].iter().all(|piece| piece.state == State::Done);
        Ok(is_done && self.is_right(open)?)
    }

    /// Copies a run to one that is like it.
    fn copy_repeat(&mut self, from: Place, to: Place) -> Result<(), AssembleError> {
        let [from, to] = [from, to].map(|(payload, run)| {
            let payload = &self.payloads[payload as usize];
            (payload, payload.index.runs[run as usize], run as usize)
        });
        let mut bytes = vec![0; from.1.len as usize];
        from.0.order.read_at(from.1.offset, &mut bytes).map_err(AssembleError::ReadTarget)?;
        to.0.order.write_at(to.1.offset, &bytes).map_err(AssembleError::Write)?;
        to.0.there[to.2].store(WRITTEN, Ordering::Release);
        self.tally.found_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Copies the runs that are like others, once these were made: after [`Assembly::pages`] wanted no more. Only
    /// then the payloads are complete.
    ///
    /// # Errors
    /// [`AssembleError::ReadTarget`], [`AssembleError::Write`], [`AssembleError::Cancelled`].
    pub fn copy_repeats(&mut self, progress: &dyn Fn(u64) -> bool) -> Result<(), AssembleError> {
        for (from, to) in std::mem::take(&mut self.repeats) {
            self.copy_repeat(from, to)?;
            if !progress(0) {
                return Err(AssembleError::Cancelled);
            }
        }
        Ok(())
    }
}
