//! A slot from what the device has and the chunks that it lacks, or from frames of the whole where that is less.

mod fill;
mod in_place;
mod old;

use std::ops::Range;

use fluvial_bundle::{AssembleError, Assembly, Index, Part, Tally};
use fluvial_console::{Fault, Kind};
use fluvial_delta::apply::Target;
use fluvial_delta::structure::ReadAt;
use fluvial_device::disk::{Contents, Destination, DiskScratch, Medium, Verifier};
use indicatif::HumanBytes;

use super::whole;
use super::{Job, Made, Route, Work, read_back};
use crate::arguments::RouteChoice;
use crate::bundle::Bundle;
use crate::slot_index;
use fill::fill;
use old::OldSlot;

/// What is to be fetched, and why so.
struct Choice {
    route: Route,
    reason: String,
    bytes: u64,
}

/// How an attempt to make a slot came out.
struct Attempt {
    choice: Choice,
    tally: Tally,
    /// Whether all of the slot was read back and is what it should be; else it may be where something was believed.
    is_right: bool,
}

/// Makes the slot.
pub fn make(work: &Work<'_>, job: &Job<'_>) -> Result<Made, Fault> {
    let as_a_whole = |bundle: &Bundle, reason, _| whole::make(work, job, bundle, reason);
    with_source(work, job, &as_a_whole, &mut |bundle, index| {
        let before = bundle.site.counters().bytes;
        let destination = Destination::open_in_place(work.device.path(job.target))?;
        let old = OldSlot::open(work, job, index)?;
        destination.check_distinct(old.identity(), "the slot that runs")?;
        let target = destination.reserve(index.len, 0, work.device.folder.path())?;
        let mut attempt = attempt(work, job, (bundle, index), &target, &old, true)?;
        if !attempt.is_right {
            attempt = self::attempt(work, job, (bundle, index), &target, &old, false)?;
        }
        destination.publish(index.len)?;
        // The next update is made from this slot, and everything about it is known.
        let scheme = (index.cutting, index.hash);
        let index_path = slot_index::path_of(work.device.folder.path(), &job.target.name, scheme);
        slot_index::store(&index_path, &target, index)?;
        let fetched_bytes = bundle.site.counters().bytes - before;
        described(job, (bundle, index), attempt.choice, fetched_bytes, attempt.tally)
    })
}

/// Makes the slot, and compares what the disk holds with the manifest. If it `may_believe`, an index that is kept of the
/// target is believed, packed files of the running slot are copied as they are, and what they hold is not made, and what
/// was told of programs is not read back before all of the slot is.
fn attempt(
    work: &Work<'_>,
    job: &Job<'_>,
    (bundle, index): (&Bundle, &Index),
    target: &Medium,
    old: &OldSlot,
    may_believe: bool,
) -> Result<Attempt, Fault> {
    let path = work.device.path(job.target);
    let unread = |error| Fault::reading(path, error);
    let verifier = target.try_clone().and_then(Verifier::begin_blake3).map_err(unread)?;
    let (choice, tally, has_believed) = assemble(work, job, (bundle, index), &verifier, old, may_believe)?;
    work.progress.phase("verifying", 0);
    let digest = verifier.finish().map_err(|error| Fault::writing(path, error))?;
    let is_right = digest == Some(job.payload.blake3)
        || match read_back(work, job, target) {
            Err(fault) if has_believed && fault.kind == Kind::WrongTarget => false,
            result => result.map(|()| true)?,
        };
    Ok(Attempt { choice, tally, is_right })
}

/// Says what making the slot would take. The index is fetched, the slots are read.
pub fn foresee(work: &Work<'_>, job: &Job<'_>) -> Result<Made, Fault> {
    let as_a_whole = |bundle: &Bundle, reason, bytes| Ok(whole::described(job, bundle, reason, bytes));
    with_source(work, job, &as_a_whole, &mut |bundle, index| {
        let old = OldSlot::open(work, job, index)?;
        let target =
            Untouched { slot: fluvial_console::open(work.device.path(job.target)).ok(), len: index.len };
        let bytes = old.bytes();
        let streams = old.streams(&bytes);
        let contents = room(work, index)?;
        let behind = contents.behind(&target);
        let mut assembly = Assembly::new(&[Part { index, target: &behind }], streams.list());
        work.progress.phase("looking", index.len);
        assembly.find_in_place(&|bytes| work.progress.advance(bytes))?;
        let made = old.copy_packed(&contents, &target, index.hash);
        assembly.leave(0, &contents.unneeded(index.len, &made)?);
        old.find(work, &mut assembly)?;
        let choice = choose(work, job, bundle, &assembly)?;
        let bytes = choice.bytes;
        described(job, (bundle, index), choice, bytes, assembly.tally())
    })
}

/// What is done with a bundle of which the image is taken as a whole: why so, and how many bytes that is at most.
type AsAWhole<'a> = dyn Fn(&Bundle, String, u64) -> Result<Made, Fault> + 'a;
/// What is done with one that has an index.
type ByIndex<'a> = dyn FnMut(&Bundle, &Index) -> Result<Made, Fault> + 'a;

/// Finds the bundle that has the component's chunks: this one, or the one that stands beside it. Its index is
/// fetched only if the whole is not surely less.
fn with_source(
    work: &Work<'_>,
    job: &Job<'_>,
    as_a_whole: &AsAWhole<'_>,
    by_index: &mut ByIndex<'_>,
) -> Result<Made, Fault> {
    let mut go = |bundle: &Bundle| -> Result<Option<Made>, Fault> {
        if let Some((reason, bytes)) = whole::is_surely_less(work, job, bundle)? {
            return as_a_whole(bundle, reason, bytes).map(Some);
        }
        let Some(index) = bundle.index(job.component)? else { return Ok(None) };
        if let Err(fault) = check_memory(work, &index) {
            return match whole::size_bytes(job, bundle) {
                Some(bytes) if work.arguments.route == RouteChoice::Auto => {
                    as_a_whole(bundle, fault.text(), bytes).map(Some)
                }
                _ => Err(fault),
            };
        }
        by_index(bundle, &index).map(Some)
    };
    if let Some(made) = go(work.bundle)? {
        return Ok(made);
    }
    let arguments = work.arguments;
    let full = work.bundle.open_full(&arguments.bundle, arguments.connections)?;
    if let Some(full) = full
        && let Some(made) = go(&full).transpose()
    {
        let mut beside = work.beside.get();
        beside += full.site.counters();
        work.beside.set(beside);
        return made;
    }
    let message = format!("{} has neither a patch that fits nor chunks for {:?}", work.bundle.name, job.role);
    Err(Fault::new(Kind::NoRoute, message))
}

fn described(
    job: &Job<'_>,
    (bundle, index): (&Bundle, &Index),
    choice: Choice,
    fetched_bytes: u64,
    tally: Tally,
) -> Result<Made, Fault> {
    let packing_bytes = Contents::packing_memory_bytes(&index.unpacked)?;
    let is_packed = choice.route != Route::Full && packing_bytes > 0;
    Ok(Made {
        role: job.role.into(),
        slot: job.target.name.clone(),
        route: choice.route,
        reasons: vec![choice.reason],
        from: bundle.name.clone(),
        fetched_bytes,
        size_bytes: job.payload.size_bytes,
        in_place_bytes: tally.in_place_bytes,
        memory_bytes: is_packed.then_some(packing_bytes),
    })
}

/// Chunks, or frames of the whole: whichever is surely less.
fn choose(work: &Work<'_>, job: &Job<'_>, bundle: &Bundle, assembly: &Assembly<'_>) -> Result<Choice, Fault> {
    let chunk_bytes = assembly.chunk_bytes_max();
    let full_bytes = whole::size_bytes(job, bundle);
    let choice = |route, reason: String, bytes| Ok(Choice { route, reason, bytes });
    let chunks = |reason| choice(Route::Dynamic, reason, chunk_bytes);
    if chunk_bytes == 0 {
        return choice(Route::None, "everything is there".into(), 0);
    }
    match (work.arguments.route, full_bytes) {
        (RouteChoice::Full, Some(bytes)) => choice(Route::Full, "asked for".into(), bytes),
        (RouteChoice::Full, None) => {
            let message = format!("{} has no image of {:?} as a whole", bundle.name, job.role);
            Err(Fault::new(Kind::NoRoute, message).hint("take another --route"))
        }
        (RouteChoice::Dynamic, _) => chunks("asked for".into()),
        // A server that knows no ranges sends everything once.
        (_, Some(_)) if bundle.site.counters().whole_files > 0 => chunks("the server knows no ranges".into()),
        (_, Some(bytes)) if bytes < chunk_bytes => {
            let reason =
                format!("what is missing takes up to {chunk_bytes} bytes in chunks, {bytes} as a whole");
            choice(Route::Full, reason, bytes)
        }
        _ => chunks(format!("what is missing takes up to {chunk_bytes} bytes in chunks")),
    }
}

/// Answers also whether something was believed: an index of the target, the digests of packed files, the checks of
/// chunks.
fn assemble(
    work: &Work<'_>,
    job: &Job<'_>,
    (bundle, index): (&Bundle, &Index),
    target: &Verifier,
    old: &OldSlot,
    may_believe: bool,
) -> Result<(Choice, Tally, bool), Fault> {
    let bytes = old.bytes();
    let streams = old.streams(&bytes);
    let contents = room(work, index)?;
    let behind = contents.behind(target);
    let parts = [Part { index, target: &behind }];
    let scratch = DiskScratch::new(work.device.folder.path());
    let mut assembly = Assembly::new(&parts, streams.list()).with_scratch(&scratch);
    if may_believe {
        assembly = assembly.compared_as_a_whole();
    }
    let scheme = (index.cutting, index.hash);
    let has_believed = in_place::find(work, job, scheme, &mut assembly, may_believe)?;
    let mut keep = |range: Range<u64>| target.keep(range.start.min(index.len), range.end.min(index.len));
    assembly.kept(&mut keep).map_err(AssembleError::ReadTarget)?;
    let mut zeros = assembly.zeros(0).map_err(AssembleError::Write)?;
    // Those behind the image stand elsewhere.
    zeros.truncate(zeros.partition_point(|zeros| zeros.end <= index.len));
    target.foretell_zeros(zeros);
    // Frames are written as a whole: nothing else writes where they go.
    let is_whole = work.arguments.route == RouteChoice::Full;
    let may_copy = may_believe && !is_whole;
    let made = if may_copy { old.copy_packed(&contents, target, index.hash) } else { Vec::new() };
    let left = contents.unneeded(index.len, &made)?;
    assembly.leave(0, &left);
    let has_room = || !is_whole && target.has_room();
    old.note(work, &mut assembly, &has_room)?;
    let mut choice = choose(work, job, bundle, &assembly)?;
    if choice.route == Route::Full {
        let tally = assembly.tally();
        drop(assembly);
        whole::write(work, job, bundle, target)?;
        return Ok((choice, tally, false));
    }
    let mut is_packed = false;
    let folder = work.device.folder.path();
    let mut pack = |progress: &dyn Fn(u64) -> bool| {
        if !std::mem::replace(&mut is_packed, true) {
            contents.pack(target, &made, folder, progress)?;
        }
        Ok(())
    };
    loop {
        let lost = fill(work, job, (bundle, index), &mut assembly, target, &mut pack)?;
        if lost.is_empty() {
            break;
        }
        old.forget();
        assembly.lose(&lost);
        if choice.route == Route::None {
            let reason = "the running slot lacks what its index tells of".into();
            choice = Choice { route: Route::Dynamic, reason, bytes: assembly.chunk_bytes_max() };
        }
    }
    let tally = assembly.tally();
    let has_believed = has_believed || made.contains(&true) || (may_believe && tally.predicted_bytes > 0);
    Ok((choice, tally, has_believed))
}

/// Room for what the payload's packed files are made of.
fn room(work: &Work<'_>, index: &Index) -> Result<Contents, Fault> {
    let folder = work.device.folder.path();
    Contents::room(&index.unpacked, folder).map_err(|error| Fault::writing(folder, error))
}

/// Refuses to pack in more memory than is allowed.
fn check_memory(work: &Work<'_>, index: &Index) -> Result<(), Fault> {
    let (need, limit) = (Contents::packing_memory_bytes(&index.unpacked)?, work.arguments.memory_limit);
    if need > limit {
        let message =
            format!("packing takes {} of memory, {} are allowed", HumanBytes(need), HumanBytes(limit));
        return Err(Fault::new(Kind::OverMemory, message).hint("raise --memory-limit, or take --route full"));
    }
    Ok(())
}

/// A slot that is only looked at.
struct Untouched {
    slot: Option<Medium>,
    len: u64,
}

impl ReadAt for Untouched {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        let slot = self.slot.as_ref().filter(|slot| offset + buf.len() as u64 <= slot.len());
        if let Some(slot) = slot {
            return slot.read_at(offset, buf);
        }
        // A slot that is not there, or too short, holds nothing.
        buf.fill(0);
        Ok(())
    }
}

impl Target for Untouched {
    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> std::io::Result<()> {
        Ok(())
    }
}
