//! Reads the result back while the rest of it is made, on a thread of its own: hashing takes as
//! long as copying does.
//!
//! Bytes are hashed in order, behind the end of what is written without a gap. Should a patch write
//! any byte twice, what was hashed may not be what stands there at the end: then, and where an
//! earlier run made a part, no digest is given, and the caller reads everything again.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use fluvial_delta::apply::Target;
use fluvial_delta::header::Sha256Digest;
use fluvial_delta::structure::ReadAt;
use sha2::{Digest as _, Sha256};

use super::medium::Medium;

/// Bytes that are read at a time: they are still in the processor's cache when they are hashed.
const STEP_BYTES: u64 = 256 << 10;
/// After so many bytes the system is told that the last [`RELEASE_BYTES`] are not needed in memory. It
/// writes those of them that are not on the disk yet, and drops the others: an update then does not
/// push out of memory what the device's own programs use, and the next bytes go to pages that were
/// just in use, which is faster than to pages that were not for long.
const RELEASE_STEP_BYTES: u64 = 8 << 20;
/// Some steps, since what is being written is dropped by a later one.
const RELEASE_BYTES: u64 = 4 * RELEASE_STEP_BYTES;
/// The buffer is on the heap; a stack needs little.
const STACK_BYTES: usize = 256 << 10;
/// Runs of bytes behind a gap that are kept in mind. Images of heavily fragmented file systems are
/// read again at the end instead.
const RUNS_MAX: usize = 1 << 14;

/// A result that is hashed while it is written.
#[derive(Debug)]
pub struct Verifier {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<io::Result<Sha256Digest>>>,
}

#[derive(Debug)]
struct Shared {
    medium: Medium,
    written: Mutex<Written>,
    grown: Condvar,
}

/// What is written so far.
#[derive(Debug, Default)]
struct Written {
    /// Everything before this offset.
    prefix: u64,
    /// Runs behind it: start and end.
    ahead: BTreeMap<u64, u64>,
    /// Some byte was written twice, or there are too many runs.
    unknown: bool,
    /// Nothing more will come.
    closed: bool,
}

impl Written {
    /// Notes that the bytes from `start` to `end` are written. Answers the run that they belong to where it
    /// stands behind a gap.
    fn add(&mut self, start: u64, end: u64) -> Option<Range<u64>> {
        if start >= end || self.unknown {
            return None;
        }
        let overlaps = start < self.prefix
            || self.ahead.range(..end).next_back().is_some_and(|(_, &run_end)| run_end > start);
        if overlaps || self.ahead.len() >= RUNS_MAX {
            self.unknown = true;
            self.ahead.clear();
            return None;
        }
        if start > self.prefix {
            // Most runs are written from their start to their end.
            if let Some((&run_start, run_end)) = self.ahead.range_mut(..start).next_back()
                && *run_end == start
            {
                *run_end = end;
                return Some(run_start..end);
            }
            self.ahead.insert(start, end);
            return Some(start..end);
        }
        self.prefix = end;
        while let Some(run_end) = self.ahead.remove(&self.prefix) {
            self.prefix = run_end;
        }
        None
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hashes all of the result as it comes; what is not written when nothing more comes, is left.
    fn hash(&self) -> io::Result<Sha256Digest> {
        let mut hash = Sha256::new();
        let mut buf = vec![0; STEP_BYTES as usize];
        let mut done = 0;
        loop {
            let ready = {
                let mut written = self.lock();
                while written.prefix < done + STEP_BYTES && !written.closed {
                    written = self.grown.wait(written).unwrap_or_else(PoisonError::into_inner);
                }
                if written.unknown { done } else { written.prefix }
            };
            let len = (ready - done).min(STEP_BYTES) as usize;
            if len == 0 {
                return Ok(hash.finalize().into());
            }
            self.medium.read_at(done, &mut buf[..len])?;
            hash.update(&buf[..len]);
            done += len as u64;
            if done.is_multiple_of(RELEASE_STEP_BYTES) {
                self.medium.release(done.saturating_sub(RELEASE_BYTES), done);
            }
        }
    }
}

impl Verifier {
    /// Begins to hash what is written to `medium` through it. `whole` says that all of it will be.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn begin(medium: Medium, whole: bool) -> io::Result<Self> {
        let written = Written { unknown: !whole, ..Written::default() };
        let shared = Arc::new(Shared { medium, written: Mutex::new(written), grown: Condvar::new() });
        let thread = if whole {
            let hashing = Arc::clone(&shared);
            let builder = Builder::new().name("verifier".into()).stack_size(STACK_BYTES);
            Some(builder.spawn(move || hashing.hash())?)
        } else {
            None
        };
        Ok(Self { shared, thread })
    }

    /// Everything is written: waits for the rest to be hashed. Answers `None` where the digest is
    /// not known to be that of the result.
    ///
    /// # Errors
    /// Where the result cannot be read back.
    pub fn finish(mut self) -> io::Result<Option<Sha256Digest>> {
        let Some(digest) = self.close() else { return Ok(None) };
        let digest = digest?;
        let written = self.shared.lock();
        let whole = !written.unknown && written.prefix == self.shared.medium.len();
        Ok(whole.then_some(digest))
    }

    fn close(&mut self) -> Option<io::Result<Sha256Digest>> {
        self.shared.lock().closed = true;
        self.shared.grown.notify_one();
        let panicked = |_| Err(io::Error::other("the thread that hashes the result panicked"));
        self.thread.take().map(|thread| thread.join().unwrap_or_else(panicked))
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        // After a fault: nobody asks for the digest, but the thread has to end.
        self.shared.lock().unknown = true;
        let _ = self.close();
    }
}

impl ReadAt for Verifier {
    fn len(&self) -> u64 {
        self.shared.medium.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.shared.medium.read_at(offset, buf)
    }
}

impl Target for Verifier {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.shared.medium.write_at(offset, bytes)?;
        let end = offset + bytes.len() as u64;
        let run = {
            let mut written = self.shared.lock();
            let before = written.prefix;
            let run = written.add(offset, end);
            // The thread waits for whole steps.
            if before / STEP_BYTES != written.prefix / STEP_BYTES {
                self.shared.grown.notify_one();
            }
            run
        };
        // What the thread cannot hash yet is not kept for it: it is read from where it was written.
        if let Some(run) = run
            && offset / RELEASE_STEP_BYTES != end / RELEASE_STEP_BYTES
        {
            self.shared.medium.release(run.start.max(end.saturating_sub(RELEASE_BYTES)), end);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEN: usize = 3_000_000;

    fn begin(whole: bool) -> Verifier {
        let file = tempfile::tempfile().unwrap();
        file.set_len(LEN as u64).unwrap();
        Verifier::begin(Medium::new(file).unwrap(), whole).unwrap()
    }

    fn content() -> Vec<u8> {
        (0..LEN).map(|index| (index / 7) as u8).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn any_order_gives_the_same_digest(
            mut cuts in prop::collection::vec(0..LEN, 0..40),
            seed: u64,
        ) {
            let content = content();
            cuts.extend([0, LEN]);
            cuts.sort_unstable();
            let mut runs: Vec<_> = cuts.windows(2).map(|pair| pair[0]..pair[1]).collect();
            runs.sort_by_key(|run| (run.start as u64 ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let verifier = begin(true);
            for run in runs {
                verifier.write_at(run.start as u64, &content[run]).unwrap();
            }
            let expected: Sha256Digest = Sha256::digest(&content).into();
            prop_assert_eq!(verifier.finish().unwrap(), Some(expected));
        }
    }

    #[test]
    fn no_digest_is_given_where_it_could_be_wrong() {
        let content = content();
        let verifier = begin(true);
        verifier.write_at(0, &content[..LEN - 1]).unwrap();
        assert_eq!(verifier.finish().unwrap(), None, "one byte is missing");

        let verifier = begin(true);
        verifier.write_at(0, &content).unwrap();
        verifier.write_at(1000, b"again").unwrap();
        assert_eq!(verifier.finish().unwrap(), None, "bytes were written twice");

        let verifier = begin(true);
        verifier.write_at(2_000_000, &content[2_000_000..]).unwrap();
        verifier.write_at(1_000_000, &content[1_000_000..2_000_001]).unwrap();
        verifier.write_at(0, &content[..1_000_000]).unwrap();
        assert_eq!(verifier.finish().unwrap(), None, "a byte ahead was written twice");

        let verifier = begin(false);
        verifier.write_at(0, &content).unwrap();
        assert_eq!(verifier.finish().unwrap(), None, "an earlier run made a part");
    }

    #[test]
    fn a_verifier_that_is_dropped_ends() {
        let verifier = begin(true);
        verifier.write_at(0, &content()).unwrap();
        drop(verifier);
    }
}
