//! Writes the result on a thread of its own, so that the next bytes are made meanwhile: on two cores
//! copying into the page cache takes a quarter of the time otherwise.
//!
//! Bytes that wait are bounded. A read waits for the bytes that it asks for, and a fault is told at the
//! next call.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use fluvial_delta::apply::Target;
use fluvial_delta::structure::ReadAt;

/// So many bytes wait at most, or one call's.
const WAITING_BYTES_MAX: usize = 2 << 20;
/// Bytes that go on where the last ones end are written with them, up to this length.
const JOINED_BYTES_MAX: usize = 256 << 10;
const STACK_BYTES: usize = 256 << 10;

/// A target that is written in the background.
#[derive(Debug)]
pub struct Writer<T> {
    shared: Arc<Shared<T>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared<T> {
    target: T,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Run>,
    waiting_bytes: usize,
    /// What is being written.
    busy: Option<Range<u64>>,
    /// Why nothing more is written, and whether that was told.
    fault: Option<io::Error>,
    failed: bool,
    closed: bool,
}

#[derive(Debug)]
struct Run {
    offset: u64,
    bytes: Vec<u8>,
}

impl Run {
    fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.bytes.len() as u64
    }
}

impl Queue {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.busy.is_none()
    }

    /// Whether some bytes of a range are not written yet.
    fn holds(&self, range: &Range<u64>) -> bool {
        let overlaps = |other: &Range<u64>| other.start < range.end && range.start < other.end;
        self.busy.as_ref().is_some_and(overlaps) || self.waiting.iter().any(|run| overlaps(&run.range()))
    }

    fn push(&mut self, offset: u64, bytes: &[u8]) {
        self.waiting_bytes += bytes.len();
        match self.waiting.back_mut() {
            Some(last)
                if last.range().end == offset && last.bytes.len() + bytes.len() <= JOINED_BYTES_MAX =>
            {
                last.bytes.extend_from_slice(bytes);
            }
            _ => self.waiting.push_back(Run { offset, bytes: bytes.to_vec() }),
        }
    }

    fn fail(&mut self, error: io::Error) {
        self.fault.get_or_insert(error);
        self.failed = true;
        self.waiting.clear();
        self.waiting_bytes = 0;
    }

    fn check(&mut self) -> io::Result<()> {
        match self.fault.take() {
            Some(error) => Err(error),
            None if self.failed => Err(io::Error::other("an earlier write failed")),
            None => Ok(()),
        }
    }
}

impl<T: Target> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut queue = self.lock();
        loop {
            let Some(run) = queue.waiting.pop_front() else {
                if queue.closed {
                    return;
                }
                queue = self.wait(queue);
                continue;
            };
            queue.busy = Some(run.range());
            drop(queue);
            let written = self.target.write_at(run.offset, &run.bytes);
            queue = self.lock();
            queue.busy = None;
            queue.waiting_bytes = queue.waiting_bytes.saturating_sub(run.bytes.len());
            if let Err(error) = written {
                queue.fail(error);
            }
            self.changed.notify_all();
        }
    }
}

impl<T: Target + 'static> Writer<T> {
    /// Begins to write to `target`.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn begin(target: T) -> io::Result<Self> {
        let shared = Arc::new(Shared { target, queue: Mutex::default(), changed: Condvar::new() });
        let working = Arc::clone(&shared);
        let builder = Builder::new().name("writer".into()).stack_size(STACK_BYTES);
        let thread = Some(builder.spawn(move || working.work())?);
        Ok(Self { shared, thread })
    }

    /// Waits until nothing is left to write; answers whether everything was written. A fault is told by
    /// the next call that can tell it.
    pub fn settle(&self) -> bool {
        !self.idle().failed
    }

    fn idle(&self) -> MutexGuard<'_, Queue> {
        let mut queue = self.shared.lock();
        while !queue.is_idle() {
            queue = self.shared.wait(queue);
        }
        queue
    }

    /// Waits until everything is written, and gives the target back.
    ///
    /// # Errors
    /// Why something could not be written.
    pub fn finish(mut self) -> io::Result<T> {
        self.idle().check()?;
        self.close();
        let shared = Arc::clone(&self.shared);
        drop(self);
        let shared = Arc::into_inner(shared).ok_or_else(|| io::Error::other("the writer still runs"))?;
        Ok(shared.target)
    }
}

impl<T> Writer<T> {
    fn close(&mut self) {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread shows as bytes that are missing when the result is hashed.
            let _ = thread.join();
        }
    }
}

impl<T> Drop for Writer<T> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<T: Target> ReadAt for Writer<T> {
    fn len(&self) -> u64 {
        self.shared.target.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let range = offset..offset + buf.len() as u64;
        let mut queue = self.shared.lock();
        while queue.holds(&range) {
            queue = self.shared.wait(queue);
        }
        queue.check()?;
        drop(queue);
        self.shared.target.read_at(offset, buf)
    }
}

impl<T: Target> Target for Writer<T> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut queue = self.shared.lock();
        while queue.waiting_bytes + bytes.len() > WAITING_BYTES_MAX && !queue.is_idle() {
            queue = self.shared.wait(queue);
        }
        queue.check()?;
        queue.push(offset, bytes);
        drop(queue);
        self.shared.changed.notify_all();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use fluvial_delta::memory::MemoryTarget;

    use super::*;

    #[test]
    fn bytes_are_read_as_they_were_written_last() {
        let writer = Writer::begin(MemoryTarget::new(3_000_000)).unwrap();
        let mut expected = vec![0; 3_000_000];
        let mut state = 1_usize;
        for step in 0..2000 {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            let (offset, len) = ((state >> 33) % 2_900_000, 1 + (state >> 20) % 90_000);
            let len = len.min(3_000_000 - offset);
            expected[offset..offset + len].fill(step as u8);
            writer.write_at(offset as u64, &expected[offset..offset + len]).unwrap();
            if step % 7 == 0 {
                let mut read = vec![0; 50_000];
                let from = offset.saturating_sub(10_000).min(2_950_000);
                writer.read_at(from as u64, &mut read).unwrap();
                assert!(read == expected[from..from + 50_000], "step {step}");
            }
        }
        assert!(writer.finish().unwrap().into_bytes() == expected);
    }

    #[test]
    fn a_fault_is_told_and_nothing_is_written_behind_it() {
        let writer = Writer::begin(MemoryTarget::new(1000)).unwrap();
        writer.write_at(0, &[1; 500]).unwrap();
        writer.write_at(900, &[2; 200]).unwrap();
        assert!(!writer.settle());
        let error = writer.write_at(500, &[3; 100]).expect_err("there was no room");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(writer.write_at(500, &[3; 100]).is_err(), "it stays failed");
        assert!(writer.read_at(0, &mut [0; 10]).is_err());
        assert!(writer.finish().is_err());
    }

    #[test]
    fn a_writer_that_is_dropped_ends() {
        let writer = Writer::begin(MemoryTarget::new(1000)).unwrap();
        writer.write_at(0, &[1; 500]).unwrap();
        drop(writer);
    }
}
