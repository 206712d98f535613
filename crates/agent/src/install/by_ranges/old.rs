//! The slot that runs, as a source.

use std::path::PathBuf;

use fluvial_bundle::{Assembly, Behind, Index, Scatter, between};
use fluvial_console::Fault;
use fluvial_delta::structure::ReadAt;
use fluvial_device::disk::{Contents, Identity, Medium};

use crate::install::{Job, Work};
use crate::slot_index::{self, Scheme};

/// A slot, and what is known of it.
pub struct OldSlot {
    medium: Medium,
    /// What is packed in it.
    contents: Contents,
    index: Index,
    index_path: PathBuf,
}

impl OldSlot {
    /// Opens the counterpart of the slot that is made; makes its index if there is none.
    pub fn open(work: &Work<'_>, job: &Job<'_>, scheme: Scheme) -> Result<Self, Fault> {
        let medium = work.device.source(job.active)?;
        let index_path = slot_index::path_of(work.device.folder.path(), &job.active.name, scheme);
        let is_to_stay = !work.arguments.dry_run;
        let folder = work.device.folder.path();
        let (index, contents) =
            slot_index::load_or_make(&index_path, &medium, scheme, folder, is_to_stay, work.progress)?;
        Ok(Self { medium, contents, index, index_path })
    }

    /// Which file or device it is.
    pub fn identity(&self) -> Option<Identity> {
        self.medium.identity().ok()
    }

    /// The slot, and what is packed in it behind it.
    pub fn bytes(&self) -> Behind<&Medium, &Medium> {
        self.contents.behind(&self.medium)
    }

    /// Its streams in these `bytes`: what stands between files, and each file; the slot as it is where it is cut to
    /// blocks.
    pub fn streams<'a>(&'a self, bytes: &'a dyn ReadAt) -> Vec<Scatter<&'a dyn ReadAt>> {
        let Index { files, unpacked, .. } = &self.index;
        let between = Scatter::new(bytes, between(files, &unpacked.files, self.index.cut_len()));
        let files = files.iter().map(|file| Scatter::new(bytes, [*file]));
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
