//! `fluvial apply`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use fluvial_console::{Fault, Interrupt, Kind, Progress, open, say};
use fluvial_delta::apply::{ApplyError, Patch, check_sources};
use fluvial_delta::header::Header;
use fluvial_delta::structure::ReadAt;
use fluvial_device::disk::durable::{beside, folder_of};
use fluvial_device::disk::{
    Destination, Journal, Making, Restart, header_sha256, is_at, only_target, patch_bytes,
};
use indicatif::HumanBytes;

use crate::arguments::ApplyArguments;
use crate::source::Old;

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
    check_memory(&header, arguments.memory_limit)?;
    let patch_bytes = patch_bytes(&header, map_start, bytes.len())?;
    let old = Old::open(&arguments.old)?;
    let old_identity = old.identity();
    let sources = old.named(&header.sources)?;
    progress.phase("checking", header.sources.iter().map(|source| source.size).sum());
    let sources: Vec<&dyn ReadAt> = sources.iter().map(|source| &**source).collect();
    check_sources(&sources, &header, &mut |bytes| progress.advance(bytes))?;
    let patch = Patch::open(&bytes)?;
    let target = only_target(&patch.header)?;

    let patch_identity = bytes.identity().ok();
    if is_at(&arguments.new, patch_identity) {
        return Err(Fault::overwriting(&arguments.new, "PATCH"));
    }
    let destination = Destination::open(&arguments.new)?;
    destination.check_distinct(old_identity, "OLD")?;
    destination.check_distinct(patch_identity, "PATCH")?;
    let journal_path = arguments.journal.clone().unwrap_or_else(|| journal_path(arguments, &destination));
    let scratch_folder = folder_of(if destination.is_in_place() { &journal_path } else { &arguments.new });
    let journal = Journal::new(journal_path.clone(), header_sha256(&bytes, map_start)?, destination.inode()?);
    let mut making = Making::begin(&patch, &sources, destination, journal, scratch_folder)?;
    if let Err(error) = making.run(progress) {
        let frame = making.clean_up(&error);
        return Err(explain(error.into(), making.destination(), frame, header.frames.len()));
    }
    let (first_frame, restart) = (making.first_frame(), making.restart().map(Restart::to_string));
    making.publish()?;
    Ok(Outcome {
        new_bytes: target.size,
        new_sha256: hex::encode(target.sha256),
        patch_bytes,
        frames: header.frames.len(),
        first_frame,
        restart,
    })
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
    let stem = if destination.is_in_place() { &arguments.patch } else { destination.part() };
    beside(stem, ".journal")
}

/// Tells what is left after a fault: what the next run goes on from, if there is a frame to go on from.
fn explain(fault: Fault, destination: &Destination, frame: Option<usize>, frames: usize) -> Fault {
    match (frame, fault.kind) {
        (Some(frame), _) => hint_to_resume(fault, destination.part(), frame, frames),
        (None, Kind::Cancelled) => {
            fault.hint("nothing was worth keeping; run the same command to begin again")
        }
        (None, Kind::WrongTarget) if destination.is_in_place() => fault.hint(format!(
            "{} holds no usable image now; check OLD and the storage, then run the same command again",
            destination.part().display()
        )),
        _ => fault,
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
