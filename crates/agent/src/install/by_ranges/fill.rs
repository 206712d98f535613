//! What is missing is fetched while what the device has is copied.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use fluvial_bundle::{AssembleError, Assembly, Index, LostRun, PartKind};
use fluvial_console::{Fault, Kind, Progress};
use fluvial_device::disk::Verifier;
use fluvial_fetch::{FetchObserver, FetchPhase, Store, complete};

use crate::bundle::Bundle;
use crate::install::{Job, Work};

/// Makes packed files of what they hold; hears whether to go on by telling how many bytes are made.
pub type Pack<'a> = dyn FnMut(&dyn Fn(u64) -> bool) -> Result<(), Fault> + 'a;

/// Lets one of two threads stop the other.
struct Both<'a> {
    progress: &'a Progress,
    is_stopped: AtomicBool,
}

impl Both<'_> {
    fn heard<T, E>(&self, result: Result<T, E>) -> Result<T, E> {
        if result.is_err() {
            self.is_stopped.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl FetchObserver for Both<'_> {
    fn begin(&self, phase: FetchPhase, bytes: u64) {
        FetchObserver::begin(self.progress, phase, bytes);
    }

    fn advance(&self, bytes: u64) -> bool {
        !self.is_stopped.load(Ordering::Relaxed) && self.progress.advance(bytes)
    }
}

/// Copies what was found, and fetches chunks for the rest. What packed files are made of comes first: they are made
/// by `pack` as soon as it is there, while the rest is copied. Answers what was not found after all.
pub fn fill(
    work: &Work<'_>,
    job: &Job<'_>,
    (bundle, index): (&Bundle, &Index),
    assembly: &mut Assembly<'_>,
    target: &Verifier,
    pack: &mut Pack<'_>,
) -> Result<Vec<LostRun>, Fault> {
    let (contents, image) = assembly.copies().split();
    let (has_contents, contents_here) = mpsc::channel();
    let both = Both { progress: work.progress, is_stopped: AtomicBool::new(false) };
    std::thread::scope(|scope| {
        // What is fetched is waited for when the result is read back in order: copying can wait.
        let copying = scope.spawn(|| {
            let pause = || target.wait_for_room();
            let copy = || {
                let mut lost = contents.make(&pause, &|_| both.advance(0))?;
                // Nobody waits for it after a fault.
                let _ = has_contents.send(lost.is_empty());
                lost.extend(image.make(&pause, &|_| both.advance(0))?);
                Ok(lost)
            };
            both.heard(copy())
        });
        let fetched = fetch(work, job, (bundle, index), assembly, &both).and_then(|()| {
            if contents_here.recv() == Ok(true) { pack(&|_| both.advance(0)) } else { Ok(()) }
        });
        let fetched = both.heard(fetched);
        let copied = copying.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (fetched, copied) {
            (Ok(()), copied) => Ok(copied?),
            // One of them was stopped because of the other.
            (Err(fault), Err(error)) if fault.kind == Kind::Cancelled => {
                Err(if matches!(error, AssembleError::Cancelled) { fault } else { error.into() })
            }
            (Err(fault), _) => Err(fault),
        }
    })
}

fn fetch(
    work: &Work<'_>,
    job: &Job<'_>,
    (bundle, index): (&Bundle, &Index),
    assembly: &mut Assembly<'_>,
    observer: &Both<'_>,
) -> Result<(), Fault> {
    let Some(chunks) = bundle.header.part(job.component, PartKind::Chunks) else { return Ok(()) };
    let folder = work.staging().join(hex::encode(index.sha256));
    let store = Store::open(&folder, std::slice::from_ref(index))?;
    complete(assembly, &bundle.site, &[bundle.chunk_file(chunks)], &store, observer)?;
    Ok(store.remove()?)
}
