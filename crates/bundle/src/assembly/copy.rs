//! What the old streams hold as it is comes to its place.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use fluvial_delta::apply::Target;
use fluvial_delta::structure::ReadAt as _;

use super::find::{WantedRun, wanted_like};
use super::{Assembly, Payload};
use crate::error::AssembleError;
use crate::hash::HashKind;
use crate::have::Have;
use crate::index::{Index, RunDigest, RunInfo};
use crate::pieces::{IN_PLACE, NOWHERE};
use crate::scatter::Scatter;

/// Zeros are written in such pieces.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// The target does not hold a run.
pub(super) const ABSENT: u8 = 0;
/// It held it before.
pub(super) const KEPT: u8 = 1;
/// It was written.
pub(super) const WRITTEN: u8 = 2;
/// It does not hold it, but will hold, or holds, one like it.
pub(super) const REPEATED: u8 = 3;
/// It need not hold it.
pub(super) const LEFT: u8 = 4;

/// Puts runs in place while what the device has is cut for the first time: each is in memory then.
pub struct Early<'b, 'a> {
    pub(super) wanted: Vec<WantedRun>,
    goals: Vec<Goal<'a>>,
    has_room: &'b (dyn Fn() -> bool + Sync),
}

impl Early<'_, '_> {
    /// Takes a run of an old stream, on any thread. What cannot be written is left to [`Copies`].
    pub fn offer(&self, run: &RunInfo, bytes: &[u8]) {
        if run.is_zeros() {
            return;
        }
        for &(_, _, payload, index) in wanted_like(&self.wanted, run.digest, bytes.len() as u32) {
            let goal = &self.goals[payload as usize];
            let state = &goal.there[index as usize];
            if !(self.has_room)() {
                return;
            }
            if state.compare_exchange(ABSENT, WRITTEN, Ordering::AcqRel, Ordering::Acquire).is_err() {
                continue;
            }
            let place = goal.index.runs[index as usize].offset;
            if goal.order.write_at(place, bytes).is_err() {
                state.store(ABSENT, Ordering::Release);
            }
        }
    }
}

/// A run that is not what an index says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostRun {
    payload: u32,
    run: u32,
    /// Where the old space should hold it.
    place: u64,
}

/// A payload, as far as copying has to know it.
struct Goal<'a> {
    index: &'a Index,
    order: Arc<Scatter<&'a dyn Target>>,
    there: Arc<[AtomicU8]>,
}

/// What is left to be copied of old streams, and zeros, in the order of the payloads: it can be made on another
/// thread while what is missing is fetched. Memory: 16 bytes for each run of the payloads, and the
/// longest of them.
pub struct Copies<'a> {
    old: Arc<Have<'a>>,
    hash: HashKind,
    goals: Arc<[Goal<'a>]>,
    list: Vec<LostRun>,
}

impl Copies<'_> {
    /// What goes behind the payloads, and what goes to the payloads themselves.
    pub fn split(mut self) -> (Self, Self) {
        let is_behind = |one: &LostRun| {
            let goal = &self.goals[one.payload as usize];
            let place = goal.order.place_of(goal.index.runs[one.run as usize].offset);
            place >= goal.index.len
        };
        let (behind, list) = self.list.iter().partition(|one| is_behind(one));
        self.list = list;
        let (old, goals) = (Arc::clone(&self.old), Arc::clone(&self.goals));
        (Self { old, hash: self.hash, goals, list: behind }, self)
    }

    fn info(&self, one: &LostRun) -> RunInfo {
        self.goals[one.payload as usize].index.runs[one.run as usize]
    }

    /// Makes them; `pause` is called before each, and may wait. Answers the runs that are not what the index of the
    /// old streams told: they are to be given to [`Assembly::lose`].
    ///
    /// # Errors
    /// [`AssembleError::Write`], [`AssembleError::Cancelled`].
    pub fn make(
        &self,
        pause: &dyn Fn(),
        progress: &dyn Fn(u64) -> bool,
    ) -> Result<Vec<LostRun>, AssembleError> {
        let mut bytes = Vec::new();
        let mut lost = Vec::new();
        for one in &self.list {
            let (goal, info) = (&self.goals[one.payload as usize], self.info(one));
            if !info.is_zeros() {
                bytes.resize(info.len as usize, 0);
                // What cannot be read is not there.
                let is_read = self.old.read_at(one.place, &mut bytes).is_ok();
                if !is_read || RunDigest::of(self.hash, &bytes) != info.digest {
                    lost.push(*one);
                    continue;
                }
            }
            pause();
            let target = goal.order.stream();
            let write = |at, range: Range<usize>| {
                if info.is_zeros() {
                    write_zeros(*target, at, range.len())
                } else {
                    target.write_at(at, &bytes[range])
                }
            };
            goal.order.pieces(info.offset, info.len as usize, write).map_err(AssembleError::Write)?;
            goal.there[one.run as usize].store(WRITTEN, Ordering::Release);
            if !progress(u64::from(info.len)) {
                return Err(AssembleError::Cancelled);
            }
        }
        Ok(lost)
    }
}

impl<'a> Assembly<'a> {
    /// What is wanted of the old streams, to be put in place while they are cut for the first time, as long as
    /// there `has_room`.
    pub fn early<'b>(&self, has_room: &'b (dyn Fn() -> bool + Sync)) -> Early<'b, 'a> {
        let goals = self.payloads.iter().map(Payload::goal).collect();
        Early { wanted: self.wanted_runs(), goals, has_room }
    }

    /// What was found and is not in place yet.
    pub fn copies(&self) -> Copies<'a> {
        let goals = self.payloads.iter().map(Payload::goal).collect();
        let mut list = Vec::new();
        for (number, payload) in self.payloads.iter().enumerate() {
            for (run, (info, &place)) in payload.index.runs.iter().zip(&payload.run_places).enumerate() {
                let is_absent = payload.there[run].load(Ordering::Acquire) == ABSENT;
                if is_absent && (info.is_zeros() || place < IN_PLACE) {
                    list.push(LostRun { payload: number as u32, run: run as u32, place });
                }
            }
        }
        let place = |one: &LostRun| {
            let payload = &self.payloads[one.payload as usize];
            (one.payload, payload.order.place_of(payload.index.runs[one.run as usize].offset))
        };
        list.sort_by_cached_key(place);
        Copies { old: Arc::clone(&self.old), hash: self.hash, goals, list }
    }

    /// Calls `each` with the places in the targets of everything that stood there before.
    ///
    /// # Errors
    /// None in fact: all runs stand in their payloads, as [`Index::read`] has checked.
    pub fn kept(&self, each: &mut dyn FnMut(Range<u64>)) -> io::Result<()> {
        for payload in &self.payloads {
            for (info, state) in payload.index.runs.iter().zip(&*payload.there) {
                if state.load(Ordering::Acquire) == KEPT {
                    payload.order.pieces(info.offset, info.len as usize, |at, range| {
                        each(at..at + range.len() as u64);
                        Ok(())
                    })?;
                }
            }
        }
        Ok(())
    }

    /// The places in a target of all zeros that are not there, in order.
    ///
    /// # Errors
    /// None in fact: all runs stand in their payloads, as [`Index::read`] has checked.
    pub fn zeros(&self, part: usize) -> io::Result<Vec<Range<u64>>> {
        let Some(payload) = self.payloads.get(part) else { return Ok(Vec::new()) };
        let mut ranges = Vec::new();
        for (info, state) in payload.index.runs.iter().zip(&*payload.there) {
            if info.is_zeros() && state.load(Ordering::Acquire) == ABSENT {
                payload.order.pieces(info.offset, info.len as usize, |at, range| {
                    ranges.push(at..at + range.len() as u64);
                    Ok(())
                })?;
            }
        }
        ranges.sort_unstable_by_key(|range| range.start);
        Ok(ranges)
    }

    /// Takes for missing what [`Copies`] did not find. What was fetched until now is there; [`Assembly::pages`]
    /// begins anew.
    pub fn lose(&mut self, lost: &[LostRun]) {
        self.close_window();
        self.next_page = (0, 0);
        for one in lost {
            let payload = &mut self.payloads[one.payload as usize];
            payload.run_places[one.run as usize] = NOWHERE;
            self.tally.found_bytes -= u64::from(payload.index.runs[one.run as usize].len);
            // What has changed may still have chunks of it.
            if let Some(stream) = self.old.stream_at(one.place) {
                self.unchanged_streams[stream] = false;
            }
        }
    }
}

impl<'a> Payload<'a> {
    fn goal(&self) -> Goal<'a> {
        Goal { index: self.index, order: Arc::clone(&self.order), there: Arc::clone(&self.there) }
    }

    /// Whether a run is neither there nor known to be in the old streams.
    pub(super) fn is_missing(&self, run: usize) -> bool {
        self.run_places[run] == NOWHERE
            && !self.index.runs[run].is_zeros()
            && self.there[run].load(Ordering::Acquire) == ABSENT
    }
}

fn write_zeros(target: &dyn Target, offset: u64, len: usize) -> io::Result<()> {
    for at in (0..len).step_by(ZEROS.len()) {
        target.write_at(offset + at as u64, &ZEROS[..ZEROS.len().min(len - at)])?;
    }
    Ok(())
}
