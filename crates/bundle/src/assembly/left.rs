//! What stands behind a payload: packed files are made of it. Some of these are there already, and then nobody needs it;
//! the others can be made as soon as it is there.

use std::ops::Range;
use std::sync::atomic::Ordering;

use fluvial_delta::structure::Extent;

use super::Assembly;
use super::copy::{ABSENT, KEPT, LEFT, REPEATED, WRITTEN};
use crate::error::AssembleError;
use crate::index::{Index, RunInfo};
use crate::pieces::{OpenRun, State};
use crate::scatter::Scatter;

impl Assembly<'_> {
    /// Whether everything that stands behind payloads is there, and right, but for what [`Assembly::copies`] has.
    ///
    /// # Errors
    /// [`AssembleError::ReadTarget`].
    pub fn is_behind_made(&self) -> Result<bool, AssembleError> {
        let mut open_here = Vec::new();
        for (number, payload) in self.payloads.iter().enumerate() {
            for run in payload.behind.iter().cloned().flatten() {
                let state = payload.there[run].load(Ordering::Acquire);
                if [KEPT, WRITTEN, LEFT].contains(&state) {
                    continue;
                }
                let key = (number as u32, run as u32);
                match self.open_runs.binary_search_by_key(&key, |open| (open.payload, open.run)) {
                    Ok(open) => open_here.push(&self.open_runs[open]),
                    Err(_) if state == REPEATED || payload.is_missing(run) => return Ok(false),
                    Err(_) => {}
                }
            }
        }
        let is_done = |open: &&OpenRun| self.pieces[open.pieces()].iter().all(|one| one.state == State::Done);
        if !open_here.iter().all(is_done) {
            return Ok(false);
        }
        for open in open_here {
            if !self.is_right(open)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Leaves out what nobody needs of a payload, and of what stands behind it: places in order, without overlaps.
    /// Runs that have nothing else are neither looked for, nor fetched, nor written. Comes before anything else but
    /// [`Assembly::find_in_place`].
    pub fn leave(&mut self, payload: usize, places: &[Extent]) {
        let payload = &self.payloads[payload];
        if places.is_empty() {
            return;
        }
        for (run, state) in payload.index.runs.iter().zip(&*payload.there) {
            let all = pieces(&payload.order, run).all(|piece| is_within(places, &piece));
            if all {
                let _ = state.compare_exchange(ABSENT, LEFT, Ordering::AcqRel, Ordering::Acquire);
            }
        }
    }
}

/// The runs that stand behind a payload's end, or reach there: of what stands between files, which is so long, and of
/// files.
pub(super) fn behind_runs<S>(index: &Index, order: &Scatter<S>, between_len: u64) -> [Range<usize>; 2] {
    let runs = &index.runs;
    if index.unpacked.is_empty() {
        return [runs.len()..runs.len(), runs.len()..runs.len()];
    }
    let files = runs.partition_point(|run| run.offset < between_len);
    // Both stand in the order in which they were cut.
    let is_before = |run: &RunInfo| order.place_of(run.offset + u64::from(run.len) - 1) < index.len;
    let behind =
        |range: Range<usize>| range.start + runs[range.clone()].partition_point(is_before)..range.end;
    [behind(0..files), behind(files..runs.len())]
}

/// Which runs of an index hold nothing of these places, in order and without overlaps.
pub(super) fn is_there(index: &Index, absent: &[Extent]) -> Vec<bool> {
    if absent.is_empty() {
        return vec![true; index.runs.len()];
    }
    let order = Scatter::new((), index.order());
    let is_there = |run: &RunInfo| !pieces(&order, run).any(|piece| overlaps(absent, &piece));
    index.runs.iter().map(is_there).collect()
}

/// Where a run stands; holes are left out.
fn pieces<S>(order: &Scatter<S>, run: &RunInfo) -> impl Iterator<Item = Range<u64>> {
    let mut pieces = Vec::new();
    let each = |at, range: Range<usize>| {
        pieces.push(at..at + range.len() as u64);
        Ok(())
    };
    // All runs stand in their payloads, as `Index::read` has checked.
    let _ = order.pieces(run.offset, run.len as usize, each);
    pieces.into_iter()
}

/// The first of these places that does not end before `start`.
fn next(places: &[Extent], start: u64) -> Option<&Extent> {
    places.get(places.partition_point(|place| place.end() <= start))
}

fn is_within(places: &[Extent], piece: &Range<u64>) -> bool {
    next(places, piece.start).is_some_and(|place| place.offset <= piece.start && piece.end <= place.end())
}

fn overlaps(places: &[Extent], piece: &Range<u64>) -> bool {
    next(places, piece.start).is_some_and(|place| place.offset < piece.end)
}
