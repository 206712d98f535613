//! Looks for whole runs that are wanted in what the device has.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use fluvial_delta::structure::Extent;

use super::Assembly;
use super::copy::LEFT;
use super::left::is_there;
use crate::error::AssembleError;
use crate::guide::Guide;
use crate::index::{Index, RunDigest, RunInfo};
use crate::notes::Notes;
use crate::pieces::{IN_PLACE, NOWHERE};
use crate::survey::Survey;

impl<'a> Assembly<'a> {
    /// Looks for whole runs in the old streams, on all threads, and puts them in place. Old streams that cannot be
    /// read are passed over. `progress` hears how many more bytes were read, and cancels by answering `false`.
    ///
    /// # Errors
    /// [`AssembleError::Write`], [`AssembleError::Cancelled`].
    pub fn find_runs(&mut self, progress: &dyn Fn(u64) -> bool) -> Result<(), AssembleError> {
        let old = Arc::clone(&self.old);
        let early = self.early(&|| true);
        let (survey, mut notes) = (self.survey(), Notes::default());
        survey.see(old.streams(), &|run, bytes| early.offer(run, bytes), |number, seen| {
            let extent = old.extents()[number];
            // What cannot be read is not there: it is fetched instead.
            let mut is_unchanged = true;
            for run in &seen.runs {
                let place = extent.offset + run.offset;
                is_unchanged &= self.note(&early.wanted, run, place);
                told(progress, run.len as usize)?;
            }
            self.unchanged_streams[number] = is_unchanged;
            if let Some(noted) = seen.noted.filter(|_| !is_unchanged) {
                notes.add(number, noted);
            }
            if seen.is_program {
                self.old_programs.push(extent);
            }
            Ok(())
        })?;
        self.notes = notes;
        self.put_in_place(progress).map(|_| ())
    }

    /// How old streams are looked at for the first time: what is noted is for [`Assembly::take_notes`].
    pub fn survey(&self) -> Survey<'a> {
        let guide = Guide::new(self.payloads.iter().map(|payload| payload.index));
        Survey::guided(self.cutting, self.hash, guide)
    }

    /// Takes what was noted of the old streams, which [`Assembly::note_indexed`] knows: they need not be cut again.
    pub fn take_notes(&mut self, mut notes: Notes) {
        notes.retain(|stream| !self.unchanged_streams.get(stream).is_some_and(|&is_unchanged| is_unchanged));
        self.notes = notes;
    }

    /// As [`Assembly::find_runs`], where an index tells what the old streams held: they are those of its payload.
    /// Only what is wanted of them is read, and nothing of the places that are `absent`: it tells of bytes there that
    /// the old streams do not hold. Answers how many runs are other bytes than it tells: they are
    /// passed over.
    ///
    /// # Errors
    /// As [`Assembly::find_runs`].
    pub fn find_indexed(
        &mut self,
        (index, absent): (&Index, &[Extent]),
        progress: &dyn Fn(u64) -> bool,
    ) -> Result<usize, AssembleError> {
        self.note_indexed(index, absent);
        self.put_in_place(progress)
    }

    /// Notes what is wanted of the old streams, which an index tells: they are those of its payload. They are not
    /// read: what is noted is not believed before [`Assembly::copies`] has read it. What is `absent`, in order and
    /// without overlaps, they do not hold, though the index tells of it: it is no source.
    pub fn note_indexed(&mut self, index: &Index, absent: &[Extent]) {
        let wanted = self.wanted_runs();
        let streams = index.streams();
        let mut stream = 0;
        self.unchanged_streams.fill(true);
        let mut has_absent = vec![false; streams.len()];
        for (run, is_there) in index.runs.iter().zip(is_there(index, absent)) {
            while streams[stream].end() <= run.offset {
                stream += 1;
            }
            if is_there {
                self.unchanged_streams[stream] &= self.note(&wanted, run, run.offset);
            } else {
                has_absent[stream] = true;
            }
        }
        let programs = streams.iter().zip(has_absent).skip(1).zip(&index.programs);
        let programs = programs.filter(|((_, has_absent), is_program)| **is_program && !has_absent);
        self.old_programs.extend(programs.map(|((stream, _), _)| *stream));
    }

    /// Notes that the old space has a run at `place`; answers whether it is wanted.
    fn note(&mut self, wanted: &[WantedRun], run: &RunInfo, place: u64) -> bool {
        if run.is_zeros() {
            return true;
        }
        let like = wanted_like(wanted, run.digest, run.len);
        for &(_, _, payload, index) in like {
            let payload = &mut self.payloads[payload as usize];
            if payload.there[index as usize].load(Ordering::Acquire) == LEFT {
                continue;
            }
            match payload.run_places[index as usize] {
                NOWHERE => self.tally.found_bytes += u64::from(run.len),
                IN_PLACE => {}
                // All that are the same were noted together.
                _ => break,
            }
            payload.run_places[index as usize] = place;
        }
        !like.is_empty()
    }

    /// Copies what was found and is not in place yet; answers how many runs are not what was told of them.
    fn put_in_place(&mut self, progress: &dyn Fn(u64) -> bool) -> Result<usize, AssembleError> {
        let lost = self.copies().make(&|| {}, progress)?;
        self.lose(&lost);
        Ok(lost.len())
    }

    /// All runs that are not zeros, by digest and length.
    pub(super) fn wanted_runs(&self) -> Vec<WantedRun> {
        let mut wanted = Vec::new();
        for (number, payload) in self.payloads.iter().enumerate() {
            let entry = |(index, run): (usize, &RunInfo)| (run.digest, run.len, number as u32, index as u32);
            let runs = payload.index.runs.iter().enumerate().filter(|(_, run)| !run.is_zeros());
            wanted.extend(runs.map(entry));
        }
        wanted.sort_unstable();
        wanted
    }
}

/// A run that is looked for: digest, length, payload, and its number there.
pub(super) type WantedRun = (RunDigest, u32, u32, u32);

/// The wanted runs like this one.
pub(super) fn wanted_like(wanted: &[WantedRun], digest: RunDigest, len: u32) -> &[WantedRun] {
    let from = wanted.partition_point(|one| (one.0, one.1) < (digest, len));
    let count = wanted[from..].iter().take_while(|one| (one.0, one.1) == (digest, len)).count();
    &wanted[from..from + count]
}

/// Tells that so many bytes are done.
pub(super) fn told(progress: &dyn Fn(u64) -> bool, bytes: usize) -> Result<(), AssembleError> {
    if progress(bytes as u64) { Ok(()) } else { Err(AssembleError::Cancelled) }
}
