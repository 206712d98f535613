//! A slot from the image as a whole, where nearly nothing of it is there.
//!
//! Neither index nor chunks are fetched, and nothing is looked for: a table of frames, and the frames that the slot
//! does not hold already because an earlier run was cut.

mod frames;
mod staged;

use fluvial_bundle::{BundlePart, Index, PartKind};
use fluvial_console::{Fault, Kind};
use fluvial_device::disk::{Destination, Verifier};

use super::{Job, Made, Route, Work, read_back};
use crate::arguments::RouteChoice;
use crate::bundle::Bundle;
use crate::slot_index;
use frames::Fetched;
use staged::StagedFrames;

/// Why the image is to be taken as a whole, and how many bytes that takes at most; `None` where chunks may be less, or
/// where nobody can tell without the index.
pub fn is_surely_less(
    work: &Work<'_>,
    job: &Job<'_>,
    bundle: &Bundle,
) -> Result<Option<(String, u64)>, Fault> {
    let Some(full_bytes) = size_bytes(job, bundle) else { return Ok(None) };
    if work.arguments.route == RouteChoice::Full {
        return Ok(Some(("asked for".into(), full_bytes)));
    }
    // A server that knows no ranges sends everything once, if it is asked for chunks.
    if work.arguments.route != RouteChoice::Auto || bundle.site.counters().whole_files > 0 {
        return Ok(None);
    }
    if is_begun(job) {
        // What the slot holds is not known before it is looked at. A run that took the whole goes on with it.
        let is_staged = StagedFrames::new(work, job).is_begun();
        return Ok(is_staged.then(|| ("an earlier run has begun so".into(), full_bytes)));
    }
    let Some(sketch) = bundle.sketch(job.component)? else { return Ok(None) };
    let scheme = (sketch.cutting, sketch.hash);
    let active = slot_index::of_slot(work, job.active, scheme)?;
    let target = slot_index::kept(work, job.target, scheme);
    let have: Vec<&Index> = target.iter().chain([&active]).collect();
    let Some(missing) = sketch.missing(have) else { return Ok(None) };
    // A part of what whole runs lack is found in single chunks, and made from old code: of missing runs no more than
    // of all runs, as these are what differs. It is a rule of thumb, on the side of chunks: with the index it is seen
    // better.
    let missing_share = missing.bytes_min as f64 / (sketch.chunk_bytes.max(1)) as f64;
    let chunk_bytes = (missing.bytes_min as f64 * missing_share) as u64;
    let reason = format!(
        "what is missing takes about {} bytes in chunks, as a sketch tells, {full_bytes} as a whole",
        missing.bytes
    );
    Ok((full_bytes <= chunk_bytes).then_some((reason, full_bytes)))
}

/// Whether an earlier run has begun to write this image to the slot.
fn is_begun(job: &Job<'_>) -> bool {
    job.before.as_ref().is_some_and(|before| before.sha256 == hex::encode(job.payload.sha256))
}

/// Makes the slot.
pub fn make(work: &Work<'_>, job: &Job<'_>, bundle: &Bundle, reason: String) -> Result<Made, Fault> {
    let before = bundle.site.counters().bytes;
    let destination = Destination::open_in_place(work.device.path(job.target))?;
    let active = work.device.source(job.active)?;
    destination.check_distinct(active.identity().ok(), "the slot that runs")?;
    let len = job.payload.size_bytes;
    let target = destination.reserve(len, 0, work.device.folder.path())?;
    let path = work.device.path(job.target);
    let unread = |error| Fault::reading(path, error);
    let verifier = target.try_clone().and_then(Verifier::begin_blake3).map_err(unread)?;
    let in_place_bytes = write(work, job, bundle, &verifier)?;
    work.progress.phase("verifying", 0);
    let digest = verifier.finish().map_err(|error| Fault::writing(path, error))?;
    if digest != Some(job.payload.blake3) {
        read_back(work, job, &target)?;
    }
    destination.publish(len)?;
    let fetched_bytes = bundle.site.counters().bytes - before;
    Ok(Made { in_place_bytes, ..described(job, bundle, reason, fetched_bytes) })
}

/// Says what making the slot would take, without looking at it.
pub fn described(job: &Job<'_>, bundle: &Bundle, reason: String, fetched_bytes: u64) -> Made {
    Made {
        role: job.role.into(),
        slot: job.target.name.clone(),
        route: Route::Full,
        reasons: vec![reason],
        from: bundle.name.clone(),
        fetched_bytes,
        size_bytes: job.payload.size_bytes,
        in_place_bytes: 0,
        memory_bytes: None,
    }
}

/// Fetches and writes the frames that the slot does not hold: nothing else is written to it; answers how many bytes of the image it holds already.
pub fn write(work: &Work<'_>, job: &Job<'_>, bundle: &Bundle, target: &Verifier) -> Result<u64, Fault> {
    let (Some(full), Some(whole)) = (part(job, bundle), bundle.whole(job.component)?) else {
        let message = format!("{} has no image of {:?} as a whole", bundle.name, job.role);
        return Err(Fault::new(Kind::NoRoute, message).hint("take another --route"));
    };
    // What is known of the slot is of its old content.
    slot_index::forget(work.device.folder.path(), &job.target.name)?;
    let staged = StagedFrames::new(work, job);
    staged.begin()?;
    let mut missing = Vec::new();
    let mut in_place_bytes = 0;
    work.progress.phase("looking", if is_begun(job) { whole.len } else { 0 });
    for (number, frame) in whole.frames.iter().enumerate() {
        let len = frame.content.end - frame.content.start;
        // Nothing is looked at in a slot that was not begun.
        let holds = || {
            whole.holds(frame, target).map_err(|error| Fault::reading(work.device.path(job.target), error))
        };
        if is_begun(job) && holds()? {
            in_place_bytes += len;
            target.keep(frame.content.start, frame.content.end);
        } else {
            missing.push(number);
        }
        if !work.progress.advance(if is_begun(job) { len } else { 0 }) {
            return Err(Fault::new(Kind::Cancelled, "cancelled").hint("what was written is found again"));
        }
    }
    let start = full.range.start + job.payload.whole.as_ref().map_or(0, |table| table.size_bytes);
    frames::write(work, &Fetched { bundle, start, whole: &whole, staged: &staged }, &missing, target)?;
    Ok(in_place_bytes)
}

/// How many bytes the image takes as a whole, if a bundle has it so.
pub fn size_bytes(job: &Job<'_>, bundle: &Bundle) -> Option<u64> {
    part(job, bundle).map(|part| part.range.end - part.range.start)
}

fn part<'a>(job: &Job<'_>, bundle: &'a Bundle) -> Option<&'a BundlePart> {
    bundle.header.part(job.component, PartKind::Full)
}
