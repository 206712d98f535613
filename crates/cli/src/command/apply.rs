//! `fluvial apply`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fluvial_delta::apply::{
    ApplyError, ApplyObserver, Checkpoint, Patch, Target, check_sources, check_target,
};
use fluvial_delta::header::{Header, HeaderError};
use fluvial_delta::structure::ReadAt;
use indicatif::HumanBytes;
use sha2::{Digest as _, Sha256};

use super::{hex, open, say};
use crate::arguments::ApplyArguments;
use crate::destination::Destination;
use crate::durable::{beside, folder_of};
use crate::fault::{Fault, Kind};
use crate::interrupt::Interrupt;
use crate::journal::{Entry, Journal};
use crate::medium::{Medium, is_at};
use crate::notary::Notary;
use crate::progress::Progress;
use crate::scratch::DiskScratch;
use crate::source::Old;
use crate::verifier::Verifier;

/// What an apply came to.
struct Outcome {
    new_bytes: u64,
    new_sha256: String,
    patch_bytes: u64,
    frames: usize,
    /// The frame at which this run began; 0 where it made everything.
    first_frame: usize,
    /// Why an earlier run's work was thrown away.
    restart: Option<String>,
}

/// Applies a patch.
///
/// # Errors
/// Every way that it fails; NEW is then what it was before, except for a device.
pub fn run(arguments: &ApplyArguments, interrupt: Interrupt) -> Result<(), Fault> {
    let started = Instant::now();
    let progress = Progress::new(interrupt, arguments.json);
    let result = apply(arguments, &progress);
    progress.finish();
    show(arguments, &result?, started.elapsed().as_secs_f64())
}

fn apply(arguments: &ApplyArguments, progress: &Progress) -> Result<Outcome, Fault> {
    let bytes = open(&arguments.patch)?;
    let (header, map_start) = Header::read(&bytes).map_err(ApplyError::Header)?;
    let patch_bytes = check_header(&header, map_start, bytes.len(), arguments)?;
    let old = Old::open(&arguments.old)?;
    let old_identity = old.identity();
    let sources = old.named(&header.sources)?;
    progress.phase("checking", header.sources.iter().map(|source| source.size).sum());
    let sources: Vec<&dyn ReadAt> = sources.iter().map(|source| &**source).collect();
    check_sources(&sources, &header, &mut |bytes| progress.advance(bytes))?;
    let patch = Patch::open(&bytes)?;
    let [target] = patch.header.targets.as_slice() else {
        return Err(ApplyError::Arity { what: "targets", need: patch.header.targets.len(), have: 1 }.into());
    };

    let patch_identity = bytes.identity().ok();
    if is_at(&arguments.new, patch_identity) {
        return Err(Fault::overwriting(&arguments.new, "PATCH"));
    }
    let destination = Destination::open(&arguments.new)?;
    destination.check_distinct(old_identity, "OLD")?;
    destination.check_distinct(patch_identity, "PATCH")?;
    let journal_path = arguments.journal.clone().unwrap_or_else(|| journal_path(arguments, &destination));
    let scratch_folder = folder_of(if destination.is_device() { &journal_path } else { &arguments.new });
    let header_sha256 = read_header_sha256(&bytes, map_start)?;
    let journal = Journal::new(journal_path.clone(), header_sha256, destination.inode()?);
    let (from, restart) = starting_point(&journal, destination.holds(target.size), header.frames.len())?;
    if from == 0 {
        journal.remove().map_err(|error| Fault::writing(journal.path(), error))?;
        destination.clear()?;
    }
    let mut job =
        Job { patch: &patch, sources, scratch: DiskScratch::new(scratch_folder), journal, progress, restart };
    let made = destination
        .reserve(target.size, header.scratch_bytes, scratch_folder)
        .and_then(|medium| job.run(&medium, from));
    if let Err(fault) = made {
        return Err(job.clean_up(&destination, fault));
    }
    destination.publish(target.size)?;
    job.journal.remove().map_err(|error| Fault::writing(job.journal.path(), error))?;
    Ok(Outcome {
        new_bytes: target.size,
        new_sha256: hex(&target.sha256),
        patch_bytes,
        frames: header.frames.len(),
        first_frame: if job.restart.is_some() { 0 } else { from },
        restart: job.restart,
    })
}

/// Checks what can be told from the header alone; answers the patch's length in bytes.
fn check_header(
    header: &Header,
    map_start: u64,
    have: u64,
    arguments: &ApplyArguments,
) -> Result<u64, Fault> {
    check_memory(header, arguments.memory_limit)?;
    check_whole(header, map_start, have)
}

/// Refuses a patch that is cut; answers its length in bytes.
pub(super) fn check_whole(header: &Header, map_start: u64, have: u64) -> Result<u64, Fault> {
    let frames: u64 = header.frames.iter().map(|frame| u64::from(frame.packed_len)).sum();
    let need = map_start + u64::from(header.map_packed_len) + frames;
    if have < need {
        return Err(ApplyError::Truncated { what: "its frames", have, need }.into());
    }
    Ok(need)
}

/// Refuses a patch that takes more memory than `limit` bytes.
pub(super) fn check_memory(header: &Header, limit: u64) -> Result<(), Fault> {
    if header.apply_memory_bytes <= limit {
        return Ok(());
    }
    let message = format!(
        "applying takes {} of memory, {} are allowed",
        HumanBytes(header.apply_memory_bytes),
        HumanBytes(limit)
    );
    Err(Fault::new(Kind::OverMemory, message)
        .hint("raise --memory-limit, or make the patch again with less --apply-memory"))
}

/// A file's journal stands beside it; a device's beside the patch.
fn journal_path(arguments: &ApplyArguments, destination: &Destination) -> PathBuf {
    let stem = if destination.is_device() { &arguments.patch } else { destination.part() };
    beside(stem, ".journal")
}

/// The SHA-256 of a header of `len` bytes.
pub(super) fn read_header_sha256(bytes: &Medium, len: u64) -> Result<[u8; 32], Fault> {
    let mut header = vec![0; len as usize];
    bytes.read_at(0, &mut header).map_err(|error| ApplyError::Header(HeaderError::Read(error)))?;
    Ok(Sha256::digest(&header).into())
}

/// The frame to begin at, and why an earlier run's work cannot be used where there is some. `is_whole` tells
/// whether that has the length that it should have.
pub(super) fn starting_point(
    journal: &Journal,
    is_whole: bool,
    frames: usize,
) -> Result<(usize, Option<String>), Fault> {
    let unusable = |why: &str| {
        let why = format!("{} cannot be used, {why}: starting over", journal.path().display());
        Ok((0, Some(why)))
    };
    match journal.read().map_err(|error| Fault::reading(journal.path(), error))? {
        Entry::None => Ok((0, None)),
        Entry::Unusable(why) => unusable(why),
        Entry::Frames(frame) if frame > frames => unusable("it names a frame that is not there"),
        Entry::Frames(_) if !is_whole => unusable("what it belongs to has another length"),
        Entry::Frames(frame) => Ok((frame, None)),
    }
}

/// One apply, ready to run.
struct Job<'a> {
    patch: &'a Patch<'a>,
    sources: Vec<&'a dyn ReadAt>,
    scratch: DiskScratch,
    journal: Journal,
    progress: &'a Progress,
    restart: Option<String>,
}

impl Job<'_> {
    /// Makes the result and checks it. What an earlier run has left is trusted at first; where the
    /// result then comes out wrong, everything is made again.
    fn run(&mut self, target: &Medium, from: usize) -> Result<(), Fault> {
        match self.attempt(target, from) {
            Err(ApplyError::WrongTarget { .. } | ApplyError::NoSuchCheckpoint(_)) if from > 0 => {
                self.restart = Some("what an earlier run has left is damaged: starting over".into());
                self.journal.remove().map_err(|error| Fault::writing(self.journal.path(), error))?;
                self.attempt(target, 0).map_err(Fault::from)
            }
            result => result.map_err(Fault::from),
        }
    }

    fn attempt(&self, target: &Medium, from: usize) -> Result<(), ApplyError> {
        let header = &self.patch.header;
        let flat_bytes = header.frames[from..].iter().map(|frame| frame.flat_len).sum();
        self.progress.phase("applying", flat_bytes);
        let file = target.file().try_clone().map_err(ApplyError::WriteTarget)?;
        let notary = Notary::begin(vec![file], self.journal.clone()).map_err(ApplyError::Journal)?;
        let mut watch = Watch { progress: self.progress, notary };
        let medium = target.try_clone().map_err(ApplyError::WriteTarget)?;
        let verifier = Verifier::begin(medium, from == 0).map_err(ApplyError::WriteTarget)?;
        let targets: [&dyn Target; 1] = [&verifier];
        let checkpoint = Checkpoint { frame: from };
        let made = self.patch.apply(&self.sources, &targets, &self.scratch, checkpoint, &mut watch);
        let mut notary = watch.notary;
        if let Err(error) = made {
            // The first error tells more than a journal that cannot be written because of it.
            let _ = notary.finish();
            return Err(error);
        }
        // The result goes to the disk while it is read back.
        notary.note(header.frames.len()).map_err(ApplyError::Journal)?;
        let checked = self.check(target, verifier);
        let noted = notary.finish().map_err(ApplyError::Journal);
        checked.and(noted)
    }

    /// Compares the result, read back, with what the header promises.
    fn check(&self, target: &Medium, verifier: Verifier) -> Result<(), ApplyError> {
        let info = &self.patch.header.targets[0];
        let unread = |source| ApplyError::ReadTarget { name: info.name.clone(), source };
        match verifier.finish().map_err(unread)? {
            Some(digest) if digest == info.sha256 => Ok(()),
            Some(_) => Err(ApplyError::WrongTarget { name: info.name.clone() }),
            None => {
                self.progress.phase("verifying", target.len());
                check_target(target, info, &mut |bytes| self.progress.advance(bytes))
            }
        }
    }

    /// After a fault: keeps what the next run can go on from, removes everything else.
    fn clean_up(&self, destination: &Destination, fault: Fault) -> Fault {
        let frames = self.patch.header.frames.len();
        let Some(frame) = frame_to_resume(&self.journal, fault.kind) else {
            // Should this fail too, the next run starts over: the journal is of no use to it.
            let _ = self.journal.remove();
            let _ = destination.discard();
            return match fault.kind {
                Kind::Cancelled => fault.hint("nothing was worth keeping; run the same command to begin again"),
                Kind::WrongTarget if destination.is_device() => fault.hint(format!(
                    "{} holds no usable image now; check OLD and the storage, then run the same command again",
                    destination.part().display()
                )),
                _ => fault,
            };
        };
        hint_to_resume(fault, destination.part(), frame, frames)
    }
}

/// The frame from which a later run goes on after a fault, if what was made is worth keeping.
pub(super) fn frame_to_resume(journal: &Journal, kind: Kind) -> Option<usize> {
    match journal.read() {
        Ok(Entry::Frames(frame)) if kind != Kind::WrongTarget => Some(frame),
        _ => None,
    }
}

/// Tells that what was made stays at `part`.
pub(super) fn hint_to_resume(fault: Fault, part: &Path, frame: usize, frames: usize) -> Fault {
    let resume =
        format!("{} is kept: the same command goes on from frame {frame} of {frames}", part.display());
    match fault.kind {
        Kind::Cancelled | Kind::Io => fault.hint(resume),
        Kind::DamagedPatch => fault.hint(format!("fetch the patch again; {resume}")),
        Kind::NoSpace => fault.hint(format!("free some space; {resume}")),
        _ => fault,
    }
}

/// Hears how applying comes along.
pub(super) struct Watch<'a> {
    pub(super) progress: &'a Progress,
    pub(super) notary: Notary,
}

impl ApplyObserver for Watch<'_> {
    fn made(&mut self, bytes: u64) -> bool {
        self.notary.made(bytes);
        self.progress.advance(bytes)
    }

    fn checkpoint(&mut self, checkpoint: Checkpoint) -> io::Result<()> {
        self.notary.checkpoint(checkpoint.frame)
    }
}

fn show(arguments: &ApplyArguments, outcome: &Outcome, duration_s: f64) -> Result<(), Fault> {
    if arguments.json {
        let object = serde_json::json!({
            "new": arguments.new,
            "new_bytes": outcome.new_bytes,
            "new_sha256": outcome.new_sha256,
            "patch_bytes": outcome.patch_bytes,
            "frames": outcome.frames,
            "first_frame": outcome.first_frame,
            "restart": outcome.restart,
            "duration_s": duration_s,
        });
        return say(object);
    }
    if let Some(restart) = &outcome.restart {
        eprintln!("note: {restart}");
    }
    if outcome.first_frame > 0 {
        eprintln!("note: went on from frame {} of {}", outcome.first_frame, outcome.frames);
    }
    say(format_args!(
        "{}: {} bytes ({}) in {duration_s:.1} s, SHA-256 {}",
        arguments.new.display(),
        outcome.new_bytes,
        HumanBytes(outcome.new_bytes),
        outcome.new_sha256,
    ))
}
