//! `fluvial image apply`.

use std::time::Instant;

use fluvial_console::{Fault, Interrupt, Kind, Progress, open, say};
use fluvial_delta::apply::{ApplyError, Checkpoint, Patch, Target, check_target};
use fluvial_delta::header::Header;
use fluvial_delta::structure::ReadAt;
use fluvial_device::disk::durable::beside;
use fluvial_device::disk::{
    DiskScratch, Entry, Journal, Medium, Notary, Restart, Watch, header_sha256, is_at, patch_bytes,
};
use fluvial_image::oci::{Announced, Blobs, ImageReference, diff_ids_of, digest_text};
use indicatif::HumanBytes;

use super::goal::{Goal, folder_for, has_already};
use super::old::{Access, OldImage};
use super::{CONFIG_TARGET, identity_of};
use crate::arguments::ImageApplyArguments;
use crate::command::apply::{check_memory, hint_to_resume};

/// A config that is read back from what was made at most, in bytes.
pub(super) const CONFIG_BYTES_MAX: u64 = 4 << 20;

/// What an apply came to.
pub(super) struct Outcome {
    pub(super) image_digest: String,
    pub(super) layers: usize,
    pub(super) layers_made: usize,
    pub(super) made_bytes: u64,
    /// The frame at which this run began; 0 where it made everything.
    first_frame: usize,
    frames: usize,
    /// Why an earlier run's work was thrown away.
    restart: Option<String>,
}

impl Outcome {
    fn new(header: &Header, layers: usize) -> Self {
        Self {
            image_digest: digest_text(&header.targets[0].sha256),
            layers,
            layers_made: header.targets.len() - 1,
            made_bytes: header.targets.iter().map(|target| target.size).sum(),
            first_frame: 0,
            frames: header.frames.len(),
            restart: None,
        }
    }
}

/// Makes the new image.
///
/// # Errors
/// Every way that it fails; the image is then not there.
pub fn run(arguments: &ImageApplyArguments, interrupt: Interrupt) -> Result<(), Fault> {
    let started = Instant::now();
    let progress = Progress::new(interrupt, arguments.json);
    let result = apply(arguments, &progress);
    progress.finish();
    show(arguments, &result?, started.elapsed().as_secs_f64())
}

/// Makes the new image, and says nothing.
///
/// # Errors
/// As [`run`].
pub(super) fn apply(arguments: &ImageApplyArguments, progress: &Progress) -> Result<Outcome, Fault> {
    let bytes = open(&arguments.patch)?;
    let (header, map_start) = Header::read(&bytes).map_err(ApplyError::Header)?;
    check_header(&header, map_start, bytes.len(), arguments)?;
    if let Some(to) = arguments.to.path() {
        for (input, what) in [(identity_of(&arguments.old), "OLD"), (bytes.identity().ok(), "PATCH")] {
            if is_at(to, input) {
                return Err(Fault::overwriting(to, what).hint("choose another place with --to"));
            }
        }
    }
    let engine_socket = arguments.access.engine_socket.as_deref();
    if let Some(layers) = has_already(&header.targets[0].sha256, &arguments.to, engine_socket)? {
        return Ok(Outcome { layers_made: 0, made_bytes: 0, ..Outcome::new(&header, layers) });
    }
    let access = Access::new(&arguments.access, folder_for(&arguments.to, &arguments.work_folder), progress);
    let old = OldImage::open(&arguments.old, &access)?;
    apply_to(&old, &bytes, &arguments.to, &access)
}

/// Makes the new image of one that is opened.
///
/// # Errors
/// As [`run`].
pub(super) fn apply_to(
    old: &OldImage<'_>,
    bytes: &Medium,
    to: &ImageReference,
    access: &Access<'_>,
) -> Result<Outcome, Fault> {
    let progress = access.progress;
    let (header, map_start) = Header::read(bytes).map_err(ApplyError::Header)?;
    let files = old.checked_sources(&header)?;
    let sources: Vec<&dyn ReadAt> = files.iter().map(|file| &**file).collect();
    let patch = Patch::open(bytes)?;

    let announced: Vec<Announced> =
        header.targets.iter().map(|target| Announced { sha256: target.sha256, len: target.size }).collect();
    let mut goal = Goal::begin(to, &announced, access)?;
    let journal_path = beside(goal.blobs().path(), ".journal");
    let unseen = |source| Fault::reading(goal.blobs().path(), source);
    let inode = goal.blobs().inode().map_err(unseen)?;
    let journal = Journal::new(journal_path, header_sha256(bytes, map_start)?, inode);
    let (from, restart) = journal
        .starting_point(true, header.frames.len())
        .map_err(|error| Fault::reading(journal.path(), error))?;
    let scratch = DiskScratch::new(access.folder);
    let mut job = Job { patch: &patch, sources, blobs: goal.blobs(), scratch, journal, progress, restart };
    if let Err(fault) = job.run(from) {
        let (fault, is_kept) = job.clean_up(fault);
        if is_kept {
            goal.keep();
        }
        return Err(fault);
    }
    let Job { journal, restart, .. } = job;

    let mut config = vec![0; header.targets[0].size as usize];
    let failed = |source| ApplyError::ReadTarget { name: CONFIG_TARGET.into(), source };
    goal.blobs()[0].read_at(0, &mut config).map_err(failed)?;
    let diff_ids = diff_ids_of(&config)
        .map_err(|reason| Fault::new(Kind::DamagedPatch, format!("the patch makes no image: {reason}")))?;
    // What goes to an engine is given back to the disk on its way: nothing to go on from.
    journal.remove().map_err(|error| Fault::writing(journal.path(), error))?;
    goal.finish(&config, &diff_ids, &mut |wanted| old.layers(wanted), access)?;
    let mut outcome = Outcome::new(&header, diff_ids.len());
    outcome.first_frame = if restart.is_some() { 0 } else { from };
    outcome.restart = restart.map(|restart| restart.to_string());
    Ok(outcome)
}

/// One apply, ready to run.
struct Job<'a> {
    patch: &'a Patch<'a>,
    sources: Vec<&'a dyn ReadAt>,
    blobs: &'a Blobs,
    scratch: DiskScratch,
    journal: Journal,
    progress: &'a Progress,
    restart: Option<Restart>,
}

impl Job<'_> {
    /// Makes all blobs and checks them. What an earlier run has left is trusted at first; where a blob then
    /// comes out wrong, everything is made again.
    fn run(&mut self, from: usize) -> Result<(), Fault> {
        match self.attempt(from) {
            Err(Failed::Apply(ApplyError::WrongTarget { .. } | ApplyError::NoSuchCheckpoint(_)))
                if from > 0 =>
            {
                self.restart = Some(Restart::Damaged);
                self.attempt(0).map_err(Failed::into)
            }
            result => result.map_err(Failed::into),
        }
    }

    fn attempt(&self, from: usize) -> Result<(), Failed> {
        if from == 0 {
            let removed = self.journal.remove();
            removed.map_err(|error| Failed::Other(Fault::writing(self.journal.path(), error)))?;
            self.blobs.clear().map_err(|error| Failed::Other(error.into()))?;
        }
        let header = &self.patch.header;
        self.progress.phase("applying", header.frames[from..].iter().map(|frame| frame.flat_len).sum());
        let files = self.blobs.files().map_err(ApplyError::WriteTarget)?;
        let notary = Notary::begin(files, self.journal.clone()).map_err(ApplyError::Journal)?;
        let mut watch = Watch { observer: self.progress, notary };
        let targets: Vec<&dyn Target> = self.blobs.iter().map(|blob| blob as &dyn Target).collect();
        let checkpoint = Checkpoint { frame: from };
        let made = self.patch.apply(&self.sources, &targets, &self.scratch, checkpoint, &mut watch);
        // The first error tells more than a journal that cannot be written because of it.
        let noted = watch.notary.finish().map_err(ApplyError::Journal);
        made.and(noted)?;
        self.progress.phase("verifying", header.targets.iter().map(|target| target.size).sum());
        for (blob, info) in self.blobs.iter().zip(&header.targets) {
            check_target(blob, info, &mut |bytes| self.progress.advance(bytes))?;
        }
        Ok(())
    }

    /// After a fault: tells whether the next run can go on from what was made.
    fn clean_up(&self, fault: Fault) -> (Fault, bool) {
        if fault.kind != Kind::WrongTarget
            && let Ok(Entry::Frames(frame)) = self.journal.read()
        {
            let frames = self.patch.header.frames.len();
            return (hint_to_resume(fault, self.blobs.path(), frame, frames), true);
        }
        // Should this fail too, the next run starts over: the journal is of no use to it.
        let _ = self.journal.remove();
        (fault, false)
    }
}

/// Why an attempt failed.
enum Failed {
    Apply(ApplyError),
    Other(Fault),
}

impl From<ApplyError> for Failed {
    fn from(error: ApplyError) -> Self {
        Self::Apply(error)
    }
}

impl From<Failed> for Fault {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Apply(error) => error.into(),
            Failed::Other(fault) => fault,
        }
    }
}

/// Checks what can be told from the header alone.
fn check_header(
    header: &Header,
    map_start: u64,
    have: u64,
    arguments: &ImageApplyArguments,
) -> Result<(), Fault> {
    let is_of_image = header.targets.first().is_some_and(|first| first.name == CONFIG_TARGET);
    if !is_of_image {
        let message = "the patch makes no container image";
        return Err(Fault::new(Kind::WrongSource, message).hint("apply it with `fluvial apply`"));
    }
    if header.targets[0].size > CONFIG_BYTES_MAX {
        let message = format!("the image's config has {} bytes", header.targets[0].size);
        return Err(Fault::new(Kind::DamagedPatch, message));
    }
    patch_bytes(header, map_start, have)?;
    check_memory(header, arguments.memory_limit)
}

fn show(arguments: &ImageApplyArguments, outcome: &Outcome, duration_s: f64) -> Result<(), Fault> {
    let Outcome { image_digest, layers, layers_made, made_bytes, first_frame, frames, restart } = outcome;
    if arguments.json {
        let object = serde_json::json!({
            "image": arguments.to.to_string(),
            "image_digest": image_digest,
            "layers": layers,
            "layers_made": layers_made,
            "made_bytes": made_bytes,
            "frames": frames,
            "first_frame": first_frame,
            "restart": restart,
            "duration_s": duration_s,
        });
        return say(object);
    }
    if let Some(restart) = restart {
        eprintln!("note: {restart}");
    }
    if *first_frame > 0 {
        eprintln!("note: went on from frame {first_frame} of {frames}");
    }
    say(format_args!(
        "{}: {image_digest}, {layers_made} of {layers} layers made ({}), in {duration_s:.1} s",
        arguments.to,
        HumanBytes(*made_bytes),
    ))
}
