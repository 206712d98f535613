//! One target, made from a patch.

use std::io;
use std::path::{Path, PathBuf};

use fluvial_delta::apply::{ApplyError, ApplyObserver, Checkpoint, Patch, Target, check_target};
use fluvial_delta::header::{Blake3Digest, Header, HeaderError, Sha256Digest, StreamInfo};
use fluvial_delta::structure::ReadAt;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::destination::{Destination, DestinationError};
use super::journal::{Entry, Journal, Restart};
use super::medium::Medium;
use super::notary::Notary;
use super::scratch::DiskScratch;
use super::verifier::Verifier;

/// A target cannot be made.
#[derive(Debug, Error)]
pub enum MakeError {
    /// The patch cannot be applied, or the result came out wrong.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The result cannot be written where it should be.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// The journal cannot be read.
    #[error("cannot read {}", path.display())]
    ReadJournal {
        /// Where it stands.
        path: PathBuf,
        /// What the system reports.
        source: io::Error,
    },
    /// The journal cannot be removed.
    #[error("cannot write {}", path.display())]
    RemoveJournal {
        /// Where it stands.
        path: PathBuf,
        /// What the system reports.
        source: io::Error,
    },
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MakePhase {
    /// Frames are applied.
    Apply,
    /// The result is read back, where that could not be done meanwhile.
    Verify,
}

/// Hears how making comes along.
pub trait MakeObserver: Sync {
    /// A phase begins that handles about so many bytes.
    fn begin(&self, phase: MakePhase, bytes: u64);

    /// So many more bytes of the phase are done; answers whether to go on.
    fn advance(&self, bytes: u64) -> bool;
}

/// Tells a [`MakeObserver`] and a [`Notary`] how applying comes along.
pub struct Watch<'a> {
    /// Hears it.
    pub observer: &'a dyn MakeObserver,
    /// Notes it.
    pub notary: Notary,
}

impl ApplyObserver for Watch<'_> {
    fn made(&mut self, bytes: u64) -> bool {
        self.notary.made(bytes);
        self.observer.advance(bytes)
    }

    fn checkpoint(&mut self, checkpoint: Checkpoint) -> io::Result<()> {
        self.notary.checkpoint(checkpoint.frame)
    }
}

/// The length in bytes of the patch with this header, whose map begins at `map_start`; `have` bytes are there.
///
/// # Errors
/// [`ApplyError::Truncated`] where that is fewer.
pub fn patch_bytes(header: &Header, map_start: u64, have: u64) -> Result<u64, ApplyError> {
    let frames: u64 = header.frames.iter().map(|frame| u64::from(frame.packed_len)).sum();
    let need = map_start + u64::from(header.map_packed_len) + frames;
    if have < need {
        return Err(ApplyError::Truncated { what: "its frames", have, need });
    }
    Ok(need)
}

/// The SHA-256 of a patch's header of `len` bytes, which names the patch in a [`Journal`]. `len` comes from
/// [`Header::read`], which has checked it.
///
/// # Errors
/// Where the patch cannot be read.
pub fn header_sha256(patch: &dyn ReadAt, len: u64) -> Result<Sha256Digest, ApplyError> {
    let mut header = vec![0; len as usize];
    patch.read_at(0, &mut header).map_err(|error| ApplyError::Header(HeaderError::Read(error)))?;
    Ok(Sha256::digest(&header).into())
}

/// The target of a patch that makes one.
///
/// # Errors
/// [`ApplyError::Arity`] where it makes none or several.
pub fn only_target(header: &Header) -> Result<&StreamInfo, ApplyError> {
    match header.targets.as_slice() {
        [target] => Ok(target),
        targets => Err(ApplyError::Arity { what: "targets", need: targets.len(), have: 1 }),
    }
}

/// One target in the making: a patch of checked sources is applied to a [`Destination`], from where an earlier
/// run was cut. In this order: [`Making::begin`]; [`Making::run`]; [`Making::publish`], or after an error
/// [`Making::clean_up`].
///
/// Nothing gets its name, and no device is said to be done, before the whole result was compared with the
/// patch's SHA-256, or with a BLAKE3 that is vouched for as it is. A wrong result of what an earlier run has left
/// is made once more from the start.
pub struct Making<'a> {
    patch: &'a Patch<'a>,
    target: &'a StreamInfo,
    blake3: Option<Blake3Digest>,
    sources: &'a [&'a dyn ReadAt],
    destination: Destination,
    journal: Journal,
    scratch_folder: &'a Path,
    first_frame: usize,
    restart: Option<Restart>,
}

impl<'a> Making<'a> {
    /// Looks what an earlier run has left, and throws it away where it cannot be used. Temporary files will
    /// stand in `scratch_folder`.
    ///
    /// # Errors
    /// [`MakeError`]; nothing is made then.
    pub fn begin(
        patch: &'a Patch<'a>,
        sources: &'a [&'a dyn ReadAt],
        destination: Destination,
        journal: Journal,
        scratch_folder: &'a Path,
    ) -> Result<Self, MakeError> {
        let target = only_target(&patch.header)?;
        let frames = patch.header.frames.len();
        let unread = |source| MakeError::ReadJournal { path: journal.path().into(), source };
        let (first_frame, restart) =
            journal.starting_point(destination.holds(target.size), frames).map_err(unread)?;
        let making = Self {
            patch,
            target,
            blake3: None,
            sources,
            destination,
            journal,
            scratch_folder,
            first_frame,
            restart,
        };
        if first_frame == 0 {
            making.remove_journal()?;
            making.destination.clear()?;
        }
        Ok(making)
    }

    /// Compares the result with this BLAKE3 instead of the patch's SHA-256 where all of it is made in one run: whoever
    /// vouches for one vouches for both. SHA-256 waits for the first bytes, which are not made first.
    #[must_use]
    pub fn with_blake3(self, blake3: Blake3Digest) -> Self {
        Self { blake3: Some(blake3), ..self }
    }

    /// Where the result goes.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// The frame at which the work begins, or began; 0 where this run makes everything.
    pub fn first_frame(&self) -> usize {
        self.first_frame
    }

    /// Why an earlier run's work was thrown away, if it was.
    pub fn restart(&self) -> Option<&Restart> {
        self.restart.as_ref()
    }

    /// Takes the room for the result, makes it, and checks it. What an earlier run has left is trusted at
    /// first; where the result then comes out wrong, everything is made again.
    ///
    /// # Errors
    /// [`MakeError`]; what was made so far stays until [`Making::clean_up`].
    pub fn run(&mut self, observer: &dyn MakeObserver) -> Result<(), MakeError> {
        let scratch_bytes = self.patch.header.scratch_bytes;
        let medium = self.destination.reserve(self.target.size, scratch_bytes, self.scratch_folder)?;
        match self.attempt(&medium, observer) {
            Err(ApplyError::WrongTarget { .. } | ApplyError::NoSuchCheckpoint(_)) if self.first_frame > 0 => {
                self.first_frame = 0;
                self.restart = Some(Restart::Damaged);
                self.remove_journal()?;
                Ok(self.attempt(&medium, observer)?)
            }
            result => Ok(result?),
        }
    }

    /// Makes the checked result durable, and gives it its name.
    ///
    /// # Errors
    /// [`MakeError`].
    pub fn publish(self) -> Result<(), MakeError> {
        let Self { destination, target, journal, .. } = self;
        destination.publish(target.size)?;
        journal.remove().map_err(|source| MakeError::RemoveJournal { path: journal.path().into(), source })
    }

    /// After an error of [`Making::run`]: keeps what a later run can go on from, and removes everything else.
    /// Answers the frame from which that run goes on, if anything is kept.
    pub fn clean_up(&self, error: &MakeError) -> Option<usize> {
        if !matches!(error, MakeError::Apply(ApplyError::WrongTarget { .. }))
            && let Ok(Entry::Frames(frame)) = self.journal.read()
        {
            return Some(frame);
        }
        // Should this fail too, the next run starts over: the journal is of no use to it.
        let _ = self.journal.remove();
        let _ = self.destination.discard();
        None
    }

    fn attempt(&self, target: &Medium, observer: &dyn MakeObserver) -> Result<(), ApplyError> {
        let (header, from) = (&self.patch.header, self.first_frame);
        observer.begin(MakePhase::Apply, header.frames[from..].iter().map(|frame| frame.flat_len).sum());
        let file = target.file().try_clone().map_err(ApplyError::WriteTarget)?;
        let notary = Notary::begin(vec![file], self.journal.clone()).map_err(ApplyError::Journal)?;
        let mut watch = Watch { observer, notary };
        let medium = target.try_clone().map_err(ApplyError::WriteTarget)?;
        let is_whole = from == 0;
        let verifier = match self.blake3 {
            Some(_) => Verifier::begin_blake3_ungathered(medium, is_whole),
            None => Verifier::begin(medium, is_whole),
        };
        let verifier = verifier.map_err(ApplyError::WriteTarget)?;
        let targets: [&dyn Target; 1] = [&verifier];
        let scratch = DiskScratch::new(self.scratch_folder);
        let checkpoint = Checkpoint { frame: from };
        let made = self.patch.apply(self.sources, &targets, &scratch, checkpoint, &mut watch);
        let mut notary = watch.notary;
        if let Err(error) = made {
            // The first error tells more than a journal that cannot be written because of it.
            let _ = notary.finish();
            return Err(error);
        }
        // The result goes to the disk while it is read back.
        notary.note(header.frames.len()).map_err(ApplyError::Journal)?;
        let checked = self.check(target, verifier, observer);
        let noted = notary.finish().map_err(ApplyError::Journal);
        checked.and(noted)
    }

    /// Compares the result, read back, with what the header promises.
    fn check(
        &self,
        target: &Medium,
        verifier: Verifier,
        observer: &dyn MakeObserver,
    ) -> Result<(), ApplyError> {
        let unread = |source| ApplyError::ReadTarget { name: self.target.name.clone(), source };
        match verifier.finish().map_err(unread)? {
            Some(digest) if digest == self.blake3.unwrap_or(self.target.sha256) => Ok(()),
            Some(_) => Err(ApplyError::WrongTarget { name: self.target.name.clone() }),
            None => {
                // From the disk, not from memory.
                target.file().sync_data().map_err(ApplyError::WriteTarget)?;
                target.release(0, target.len());
                observer.begin(MakePhase::Verify, target.len());
                check_target(target, self.target, &mut |bytes| observer.advance(bytes))
            }
        }
    }

    fn remove_journal(&self) -> Result<(), MakeError> {
        let failed = |source| MakeError::RemoveJournal { path: self.journal.path().into(), source };
        self.journal.remove().map_err(failed)
    }
}

#[cfg(test)]
mod tests;
