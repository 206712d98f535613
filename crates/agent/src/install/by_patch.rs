//! A slot by a patch of its counterpart.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use fluvial_bundle::PartKind;
use fluvial_console::{Fault, Kind, Progress, open};
use fluvial_delta::apply::{ApplyError, Patch, check_sources, check_sources_beside, check_starts};
use fluvial_delta::header::{Header, HeaderError, SourceCheck};
use fluvial_delta::structure::ReadAt;
use fluvial_device::disk::{
    Destination, Journal, MakeError, MakeObserver, MakePhase, Making, Medium, durable, header_sha256,
    only_target, patch_bytes,
};
use indicatif::HumanBytes;

use super::staged::Staged;
use super::{Job, Made, Route, Work};

/// What is fetched to see the header, in bytes; if it is longer, as often again.
const HEAD_BYTES: u64 = 16 << 10;

/// A patch whose header was read and fits.
struct Fitting<'a> {
    staged: Staged<'a>,
    header: Header,
    old: Medium,
}

/// Makes the slot.
pub fn make(work: &Work<'_>, job: &Job<'_>) -> Result<Made, Fault> {
    let before = work.bundle.site.counters().bytes;
    let Fitting { mut staged, header, old } = fit(work, job)?;
    let whole_len = staged.whole_len();
    work.progress.phase("fetching", whole_len - staged.len());
    staged.fetch(whole_len, work.progress)?;
    let made = apply(work, job, &staged, &old);
    if let Err(fault) = &made
        && [Kind::DamagedPatch, Kind::WrongTarget].contains(&fault.kind)
    {
        // What is staged may be what is wrong.
        staged.remove()?;
    }
    made?;
    staged.remove()?;
    let fetched_bytes = work.bundle.site.counters().bytes - before;
    Ok(described(work, job, &header, fetched_bytes))
}

/// Says what making the slot would take; only the patch's header is fetched.
pub fn foresee(work: &Work<'_>, job: &Job<'_>) -> Result<Made, Fault> {
    let fitting = fit(work, job)?;
    check(work, &fitting.header, &fitting.old)?;
    Ok(described(work, job, &fitting.header, fitting.staged.whole_len()))
}

fn described(work: &Work<'_>, job: &Job<'_>, header: &Header, fetched_bytes: u64) -> Made {
    Made {
        role: job.role.into(),
        slot: job.target.name.clone(),
        route: Route::Static,
        reasons: vec!["the running slot is what the patch was made from".into()],
        from: work.bundle.name.clone(),
        fetched_bytes,
        size_bytes: job.payload.size_bytes,
        in_place_bytes: 0,
        memory_bytes: Some(header.apply_memory_bytes),
    }
}

/// Fetches the patch's header, and checks what it takes and how long what it is made from is.
fn fit<'a>(work: &Work<'a>, job: &Job<'_>) -> Result<Fitting<'a>, Fault> {
    let Some(part) = work.bundle.header.part(job.component, PartKind::Patch) else {
        let message = format!("{} has no patch for {:?}", work.bundle.name, job.role);
        return Err(Fault::new(Kind::WrongSource, message).hint("take another --route"));
    };
    let folder = work.staging();
    let name = format!("{}.patch", hex::encode(job.payload.sha256));
    let mut staged = Staged::open(&folder, &name, work.bundle, part)?;
    let (header, map_start) = read_header(&mut staged, work)?;
    patch_bytes(&header, map_start, staged.whole_len())?;
    let target = only_target(&header)?;
    if (target.size, target.sha256) != (job.payload.size_bytes, job.payload.sha256) {
        let message = format!("the patch for {:?} makes something else than the release has", job.role);
        return Err(Fault::new(Kind::DamagedPatch, message));
    }
    if header.apply_memory_bytes > work.arguments.memory_limit {
        let (need, limit) = (HumanBytes(header.apply_memory_bytes), HumanBytes(work.arguments.memory_limit));
        let message = format!("it takes {need} of memory, {limit} are allowed");
        return Err(
            Fault::new(Kind::OverMemory, message).hint("raise --memory-limit, or take another --route")
        );
    }
    let old = source(work, job, &header)?;
    Ok(Fitting { staged, header, old })
}

fn read_header(staged: &mut Staged<'_>, work: &Work<'_>) -> Result<(Header, u64), Fault> {
    let mut len = HEAD_BYTES;
    loop {
        staged.fetch(len, work.progress)?;
        match Header::read(&staged.medium()?) {
            Ok(read) => return Ok(read),
            Err(HeaderError::Read(_)) if staged.len() < staged.whole_len() => len *= 4,
            Err(error) => {
                staged.remove()?;
                return Err(ApplyError::Header(error).into());
            }
        }
    }
}

/// The running slot, as long as what the patch was made from, and starting like it.
fn source(work: &Work<'_>, job: &Job<'_>, header: &Header) -> Result<Medium, Fault> {
    let [source] = header.sources.as_slice() else {
        return Err(Fault::new(Kind::WrongSource, "the patch is made of other things than one slot"));
    };
    let old = open(work.device.path(job.active))?;
    if old.len() < source.size {
        let message = format!("{} is shorter than what the patch was made from", job.active.name);
        return Err(Fault::new(Kind::WrongSource, message));
    }
    let old = old.shortened(source.size);
    // Of another version this is seen at once, and nothing is fetched.
    match source.check {
        SourceCheck::Whole { large: Some(_), .. } => check_starts(&[&old as &dyn ReadAt], header)?,
        _ => check(work, header, &old)?,
    }
    Ok(old)
}

/// Compares the running slot with what the patch was made from.
fn check(work: &Work<'_>, header: &Header, old: &Medium) -> Result<(), Fault> {
    work.progress.phase("checking", old.len());
    Ok(check_sources(&[old as &dyn ReadAt], header, &mut |bytes| work.progress.advance(bytes))?)
}

/// Stops applying where the source turns out to be something else.
struct Checking<'a> {
    progress: &'a Progress,
    is_wrong: AtomicBool,
}

impl MakeObserver for Checking<'_> {
    fn begin(&self, phase: MakePhase, bytes: u64) {
        MakeObserver::begin(self.progress, phase, bytes);
    }

    fn advance(&self, bytes: u64) -> bool {
        self.progress.advance(bytes) && !self.is_wrong.load(Ordering::Relaxed)
    }
}

/// Applies the patch, and compares what it is made from meanwhile. Its start was seen to be right: should the rest be
/// something else after all, some time is lost, and what other routes would have found in the slot that is written.
fn run_checking(
    work: &Work<'_>,
    making: &mut Making<'_>,
    header: &Header,
    old: &Medium,
) -> Result<(), MakeError> {
    let checking = Checking { progress: work.progress, is_wrong: AtomicBool::new(false) };
    std::thread::scope(|scope| {
        let check = scope.spawn(|| {
            let result =
                check_sources_beside(&[old as &dyn ReadAt], header, &mut |_| work.progress.advance(0));
            checking.is_wrong.store(result.is_err(), Ordering::Relaxed);
            result
        });
        let made = making.run(&checking);
        match check.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
            // Whatever came of it was made from something else.
            Err(error) if !matches!(error, ApplyError::Cancelled) => Err(error.into()),
            _ => made,
        }
    })
}

/// Where it is noted how far a patch was applied to the slot.
fn journal_path(work: &Work<'_>, job: &Job<'_>) -> PathBuf {
    work.device.folder.path().join(format!("{}.journal", job.target.name))
}

/// Forgets how far a patch was applied: the slot is about to be written by another route.
pub fn forget_progress(work: &Work<'_>, job: &Job<'_>) -> Result<(), Fault> {
    let path = journal_path(work, job);
    durable::remove(&path).map_err(|error| Fault::writing(&path, error))
}

fn apply(work: &Work<'_>, job: &Job<'_>, staged: &Staged<'_>, old: &Medium) -> Result<(), Fault> {
    let bytes = staged.medium()?;
    let (_, map_start) = Header::read(&bytes).map_err(ApplyError::Header)?;
    let patch = Patch::open(&bytes)?;
    let destination = Destination::open_in_place(work.device.path(job.target))?;
    destination.check_distinct(old.identity().ok(), "the slot that runs")?;
    let folder = work.device.folder.path();
    let journal =
        Journal::new(journal_path(work, job), header_sha256(&bytes, map_start)?, destination.inode()?);
    let sources: [&dyn ReadAt; 1] = [old];
    let making = Making::begin(&patch, &sources, destination, journal, folder)?;
    let mut making = making.with_blake3(job.payload.blake3);
    if let Err(error) = run_checking(work, &mut making, &patch.header, old) {
        let frame = making.clean_up(&error);
        if matches!(&error, MakeError::Apply(ApplyError::WrongSource { .. })) {
            // What was made of a wrong source is nothing to go on from.
            forget_progress(work, job)?;
            return Err(error.into());
        }
        let is_damaged = matches!(&error, MakeError::Apply(ApplyError::WrongTarget { .. }));
        let fault = Fault::from(error);
        return Err(match frame {
            Some(_) if !is_damaged => fault.hint("what is made is kept: the same command goes on from there"),
            _ => fault,
        });
    }
    Ok(making.publish()?)
}
