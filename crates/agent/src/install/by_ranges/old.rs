//! The slot that runs, as a source.

use std::path::PathBuf;

use fluvial_bundle::{Assembly, Index, Scatter, gaps};
use fluvial_console::Fault;
use fluvial_delta::structure::ReadAt as _;
use fluvial_device::disk::{Identity, Medium};

use crate::install::{Job, Work};
use crate::slot_index::{self, Scheme};

/// A slot, and what is known of it.
pub struct OldSlot {
    medium: Medium,
    index: Index,
    index_path: PathBuf,
}

impl OldSlot {
    /// Opens the counterpart of the slot that is made; makes its index if there is none.
    pub fn open(work: &Work<'_>, job: &Job<'_>, scheme: Scheme) -> Result<Self, Fault> {
        let medium = work.device.source(job.active)?;
        let index_path = slot_index::path_of(work.device.folder.path(), &job.active.name, scheme);
        let is_to_stay = !work.arguments.dry_run;
        let index = slot_index::load_or_make(&index_path, &medium, scheme, is_to_stay, work.progress)?;
        Ok(Self { medium, index, index_path })
    }

    /// Which file or device it is.
    pub fn identity(&self) -> Option<Identity> {
        self.medium.identity().ok()
    }

    /// Its streams: what stands between files, and each file; the slot as it is where it is cut to blocks.
    pub fn streams(&self) -> Vec<Scatter<&Medium>> {
        let files = &self.index.files;
        let between = Scatter::new(&self.medium, gaps(files, self.medium.len()));
        let files = files.iter().map(|file| Scatter::new(&self.medium, [*file]));
        std::iter::once(between).chain(files).collect()
    }

    /// Looks for what is wanted. Where the slot is not what its index tells, the index is made anew the next
    /// time. Answers how many runs differ.
    pub fn find(&self, work: &Work<'_>, assembly: &mut Assembly<'_>) -> Result<usize, Fault> {
        work.progress.phase("looking", self.medium.len());
        let changed = assembly.find_indexed(&self.index, &|bytes| work.progress.advance(bytes))?;
        if changed > 0 && !work.arguments.dry_run {
            // Should it stay, it is only of less use.
            let _ = std::fs::remove_file(&self.index_path);
        }
        Ok(changed)
    }
}
