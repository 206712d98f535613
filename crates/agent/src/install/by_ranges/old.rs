//! The slot that runs, as a source.

use std::cell::Cell;
use std::path::PathBuf;

use fluvial_bundle::{Assembly, Index, Offer, Scatter, gaps};
use fluvial_console::Fault;
use fluvial_delta::structure::{Extent, ReadAt as _};
use fluvial_device::disk::{Identity, Medium};

use crate::install::{Job, Work};
use crate::slot_index::{self, Scheme};

/// A slot, and what is known of it.
pub struct OldSlot {
    medium: Medium,
    scheme: Scheme,
    /// Its index, until it was looked at, where one is kept that fits.
    kept: Cell<Option<Index>>,
    files: Vec<Extent>,
    index_path: PathBuf,
}

impl OldSlot {
    /// Opens the counterpart of the slot that is made.
    pub fn open(work: &Work<'_>, job: &Job<'_>, scheme: Scheme) -> Result<Self, Fault> {
        let medium = work.device.source(job.active)?;
        let index_path = slot_index::path_of(work.device.folder.path(), &job.active.name, scheme);
        let kept = slot_index::load(&index_path, &medium, scheme)?;
        let files = match &kept {
            Some(index) => index.files.clone(),
            None => slot_index::files_of(&medium, scheme),
        };
        Ok(Self { medium, scheme, kept: Cell::new(kept), files, index_path })
    }

    /// Which file or device it is.
    pub fn identity(&self) -> Option<Identity> {
        self.medium.identity().ok()
    }

    /// Its streams: what stands between files, and each file; the slot as it is where it is cut to blocks.
    pub fn streams(&self) -> Vec<Scatter<&Medium>> {
        let between = Scatter::new(&self.medium, gaps(&self.files, self.medium.len()));
        let files = self.files.iter().map(|file| Scatter::new(&self.medium, [*file]));
        std::iter::once(between).chain(files).collect()
    }

    /// Looks for what is wanted, reading all of it: nothing is written, nothing is kept.
    pub fn find(&self, work: &Work<'_>, assembly: &mut Assembly<'_>) -> Result<(), Fault> {
        let index = if let Some(index) = self.kept()? { index } else { self.index(work, &|_, _| {})? };
        work.progress.phase("looking", self.medium.len());
        assembly.find_indexed(&index, &|bytes| work.progress.advance(bytes))?;
        Ok(())
    }

    /// Notes what is wanted. Where there is no index it is made and kept, and what is wanted is put in place on the
    /// way, as long as there `has_room`.
    pub fn note(
        &self,
        work: &Work<'_>,
        assembly: &mut Assembly<'_>,
        has_room: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), Fault> {
        if let Some(index) = self.kept()? {
            assembly.note_indexed(&index);
            return Ok(());
        }
        let early = assembly.early(has_room);
        let index = self.index(work, &|run, bytes| early.offer(run, bytes))?;
        slot_index::store(&self.index_path, &self.medium, &index)?;
        assembly.note_indexed(&index);
        Ok(())
    }

    fn kept(&self) -> Result<Option<Index>, Fault> {
        let kept = match self.kept.take() {
            Some(index) => Some(index),
            None => slot_index::load(&self.index_path, &self.medium, self.scheme)?,
        };
        Ok(kept.filter(|index| index.files == self.files))
    }

    fn index(&self, work: &Work<'_>, offer: &Offer<'_>) -> Result<Index, Fault> {
        slot_index::make(&self.medium, &self.files, self.scheme, offer, work.progress)
    }

    /// Forgets its index, which tells what is not there: it is made anew the next time.
    pub fn forget(&self) {
        // Should it stay, it is only of less use.
        let _ = std::fs::remove_file(&self.index_path);
    }
}
