//! What is missing is fetched while what the device has is copied.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};

use fluvial_bundle::{Assembly, Index, LostRun, PartKind};
use fluvial_console::{Fault, Kind, Progress};
use fluvial_device::disk::Verifier;
use fluvial_fetch::{FetchObserver, FetchPhase, Store, complete};

use crate::bundle::Bundle;
use crate::install::{Job, Work};

/// Makes packed files of what they hold; hears whether to go on by telling how many bytes are made.
pub type Pack<'a> = dyn FnMut(&dyn Fn(u64) -> bool) -> Result<(), Fault> + Send + 'a;

/// Lets one of three threads stop the others, and go on.
struct Together<'a> {
    progress: &'a Progress,
    is_stopped: AtomicBool,
    /// Hears whether what packed files hold is fetched.
    fetched: Sender<bool>,
}

impl Together<'_> {
    fn heard<T, E>(&self, result: Result<T, E>) -> Result<T, E> {
        if result.is_err() {
            self.is_stopped.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl FetchObserver for Together<'_> {
    fn begin(&self, phase: FetchPhase, bytes: u64) {
        FetchObserver::begin(self.progress, phase, bytes);
    }

    fn advance(&self, bytes: u64) -> bool {
        !self.is_stopped.load(Ordering::Relaxed) && self.progress.advance(bytes)
    }

    fn behind_is_made(&self) {
        // Nobody waits for it after a fault.
        let _ = self.fetched.send(true);
    }
}

/// Copies what was found, and fetches chunks for the rest. What packed files are made of comes first: they are made
/// by `pack` as soon as it is there, while the rest is copied, told and fetched. Answers what was not found after all.
pub fn fill(
    work: &Work<'_>,
    job: &Job<'_>,
    (bundle, index): (&Bundle, &Index),
    assembly: &mut Assembly<'_>,
    target: &Verifier,
    pack: &mut Pack<'_>,
) -> Result<Vec<LostRun>, Fault> {
    let (contents, image) = assembly.copies().split();
    let (has_copied, copied_here) = channel();
    let (has_fetched, fetched_here) = channel();
    let together =
        Together { progress: work.progress, is_stopped: AtomicBool::new(false), fetched: has_fetched };
    let together = &together;
    std::thread::scope(|scope| {
        // What is fetched is waited for when the result is read back in order: copying can wait.
        let copying = scope.spawn(move || {
            let pause = || target.wait_for_room();
            let made = contents.make(&pause, &|_| together.advance(0));
            // Nobody waits for it after a fault.
            let _ = has_copied.send(made.as_ref().is_ok_and(Vec::is_empty));
            let made = made.and_then(|mut lost| {
                lost.extend(image.make(&pause, &|_| together.advance(0))?);
                Ok(lost)
            });
            together.heard(made.map_err(Fault::from))
        });
        let packing = scope.spawn(move || {
            let is_there = fetched_here.recv() == Ok(true) && copied_here.recv() == Ok(true);
            together.heard(if is_there { pack(&|_| together.advance(0)) } else { Ok(()) })
        });
        let fetched = together.heard(fetch(work, job, (bundle, index), assembly, together));
        let _ = together.fetched.send(fetched.is_ok());
        let packed = packing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let copied = copying.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let (lost, fault) = match copied {
            Ok(lost) => (lost, None),
            Err(fault) => (Vec::new(), Some(fault)),
        };
        let mut faults: Vec<Fault> = [fetched.err(), packed.err(), fault].into_iter().flatten().collect();
        // Others were stopped because of the first.
        faults.sort_by_key(|fault| fault.kind == Kind::Cancelled);
        faults.into_iter().next().map_or(Ok(lost), Err)
    })
}

fn fetch(
    work: &Work<'_>,
    job: &Job<'_>,
    (bundle, index): (&Bundle, &Index),
    assembly: &mut Assembly<'_>,
    observer: &Together<'_>,
) -> Result<(), Fault> {
    let Some(chunks) = bundle.header.part(job.component, PartKind::Chunks) else { return Ok(()) };
    let folder = work.staging().join(hex::encode(index.sha256));
    let store = Store::open(&folder, std::slice::from_ref(index))?;
    complete(assembly, &bundle.site, &[bundle.chunk_file(chunks)], &store, observer)?;
    Ok(store.remove()?)
}
