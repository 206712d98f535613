//! The slot that runs, as a source.

use std::cell::Cell;
use std::path::PathBuf;

use fluvial_bundle::{Assembly, Behind, HashKind, Index, Notes, Offer, Scatter, Survey, between};
use fluvial_console::Fault;
use fluvial_delta::apply::Target;
use fluvial_delta::structure::{Files, Gathered, ReadAt};
use fluvial_device::disk::{Contents, Identity, Medium};

use crate::install::{Job, Work};
use crate::slot_index::{self, Scheme};

/// A slot, and what is known of it.
pub struct OldSlot {
    medium: Medium,
    scheme: Scheme,
    /// Its index, until it was looked at, where one is kept that fits.
    kept: Cell<Option<Index>>,
    /// What is packed in it.
    contents: Contents,
    files: Files,
    index_path: PathBuf,
}

/// The streams of a slot.
pub struct Streams<'a> {
    /// What stands between files.
    between: Scatter<&'a dyn ReadAt>,
    files: Vec<Gathered<'a>>,
}

impl Streams<'_> {
    /// All of them, in order.
    pub fn list(&self) -> Vec<&dyn ReadAt> {
        let files = self.files.iter().map(|file| file as &dyn ReadAt);
        std::iter::once(&self.between as &dyn ReadAt).chain(files).collect()
    }
}

impl OldSlot {
    /// Opens the counterpart of the slot that is made, and unpacks what is packed in it, but for files that the release
    /// has as they are, and is not likely to make others of.
    pub fn open(work: &Work<'_>, job: &Job<'_>, release: &Index) -> Result<Self, Fault> {
        let scheme = (release.cutting, release.hash);
        let medium = work.device.source(job.active)?;
        let folder = work.device.folder.path();
        let index_path = slot_index::path_of(folder, &job.active.name, scheme);
        let kept = slot_index::load(&index_path, &medium, scheme)?;
        work.progress.phase("unpacking", 0);
        // Where it is another slot by now, or the index was made for another release, everything is done anew.
        if let Some(index) = kept
            && let Ok(contents) = Contents::of_index(&medium, folder, &index, release)
        {
            let files = index.files.clone();
            return Ok(Self { medium, scheme, kept: Cell::new(Some(index)), contents, files, index_path });
        }
        let (contents, files) = slot_index::look(&medium, scheme, folder, Some(release))?;
        Ok(Self { medium, scheme, kept: Cell::new(None), contents, files, index_path })
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
    pub fn streams<'a>(&'a self, bytes: &'a dyn ReadAt) -> Streams<'a> {
        let between = between(&self.files, &self.contents.unpacked.files, bytes.len());
        let files = self.files.iter().map(|file| Gathered::new(bytes, file));
        Streams { between: Scatter::new(bytes, between), files: files.collect() }
    }

    /// Looks for what is wanted, reading all of it: nothing is written, nothing is kept.
    pub fn find(&self, work: &Work<'_>, assembly: &mut Assembly<'_>) -> Result<(), Fault> {
        let survey = assembly.survey().without_notes();
        let index =
            if let Some(index) = self.kept()? { index } else { self.index(work, &survey, &|_, _| {})?.0 };
        work.progress.phase("looking", self.medium.len());
        assembly.find_indexed((&index, self.contents.absent()), &|bytes| work.progress.advance(bytes))?;
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
            assembly.note_indexed(&index, self.contents.absent());
            return Ok(());
        }
        let early = assembly.early(has_room);
        let (index, notes) = self.index(work, &assembly.survey(), &|run, bytes| early.offer(run, bytes))?;
        // It would tell that there are zeros where in truth nothing was unpacked.
        if self.contents.absent().is_empty() {
            slot_index::store(&self.index_path, &self.medium, &index)?;
        }
        assembly.note_indexed(&index, &[]);
        assembly.take_notes(notes);
        Ok(())
    }

    fn kept(&self) -> Result<Option<Index>, Fault> {
        let kept = match self.kept.take() {
            Some(index) => Some(index),
            None => slot_index::load(&self.index_path, &self.medium, self.scheme)?,
        };
        let unpacked = &self.contents.unpacked;
        let is_same = |index: &Index| {
            (&index.files, &index.unpacked.files, &index.unpacked.lens)
                == (&self.files, &unpacked.files, &unpacked.lens)
        };
        Ok(kept.filter(is_same))
    }

    fn index(
        &self,
        work: &Work<'_>,
        survey: &Survey<'_>,
        offer: &Offer<'_>,
    ) -> Result<(Index, Notes), Fault> {
        let slot = (&self.medium, &self.contents, &self.files);
        slot_index::make(slot, survey, offer, work.progress)
    }

    /// Copies the packed files that it has as they are; answers which.
    pub fn copy_packed(&self, wanted: &Contents, target: &dyn Target, hash: HashKind) -> Vec<bool> {
        wanted.copy_packed((&self.contents.unpacked, &self.medium), target, hash)
    }

    /// Forgets its index, which tells what is not there: it is made anew the next time.
    pub fn forget(&self) {
        // Should it stay, it is only of less use.
        let _ = std::fs::remove_file(&self.index_path);
    }
}
