//! Syncs a result and reads it back while the rest of it is made, on threads of its own: hashing takes as long
//! as copying does, and a slow disk is waited for only once.
//!
//! One thread syncs what is written, in steps; another drops what is on the disk from memory, reads it from there and
//! hashes it. So what is hashed is what the disk holds. Bytes may be written in any order. SHA-256 takes them from the
//! start on: what is ahead stays in memory as long as the system has room, those who make the rest may want to read it.
//! BLAKE3 takes each block as it comes, so that nothing is left to be done when the last one does. Should a byte be
//! written twice, what was hashed may not be what stands there at the end: then, and where an earlier run made an
//! unknown part, no digest is given, and the caller reads everything again.
//!
//! Where nobody else syncs the medium and notes how far it is, runs are gathered to blocks before they are written
//! ([`gather`]): what is gathered is not there for whoever keeps a journal.

mod gather;
mod tree;
mod written;

use std::io::{self, ErrorKind};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use fluvial_delta::apply::Target;
use fluvial_delta::header::{Blake3Digest, Sha256Digest};
use fluvial_delta::structure::ReadAt;
use sha2::{Digest as _, Sha256};

use super::medium::Medium;
use super::pages::Pages;
use gather::Gather;
use tree::Tree;
use written::Written;

/// Bytes that are read at a time: they are still in the processor's cache when they are hashed.
const STEP_BYTES: u64 = 256 << 10;
/// Bytes that are dropped from memory at a time, before they are read, and again behind it: an update does not
/// push out of memory what the device's own programs use.
const RELEASE_BYTES: u64 = 8 << 20;
/// So much is on the disk before it is read back: each time takes the processor, too.
const READY_BYTES: u64 = 512 << 10;
/// So much is written before it is synced.
const SYNC_BYTES: u64 = 8 << 20;
/// Whoever may as well write later waits with so much unsynced.
const ROOM_BYTES: u64 = 32 << 20;
/// Everybody waits with so much unsynced: memory holds no more of it.
const UNSYNCED_BYTES_MAX: u64 = 64 << 20;
/// The buffer is on the heap; a stack needs little.
const STACK_BYTES: usize = 256 << 10;

/// A result that is synced and hashed while it is written.
///
/// Memory: 40 bytes for each of 16,384 blocks, one bit for each page of 4 KiB, 256 KiB, and where runs are gathered 1 MiB;
/// 64 MiB of what the system holds for files.
#[derive(Debug)]
pub struct Verifier {
    shared: Arc<Shared>,
    syncer: Option<JoinHandle<()>>,
    hasher: Option<JoinHandle<io::Result<[u8; 32]>>>,
}

/// The hash of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sha256,
    Blake3,
}

#[derive(Debug)]
struct Shared {
    medium: Medium,
    kind: Kind,
    /// Where all of the result will be written, what is not needs not be read.
    pages: Option<Pages>,
    written: Mutex<Written>,
    /// What is not written yet, where blocks are waited for.
    gather: Option<Gather>,
    /// Hears of everything that somebody may wait for.
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what was gathered.
    fn flush(&self) -> io::Result<()> {
        self.gather.as_ref().map_or(Ok(()), |gather| gather.flush(&|at, bytes| self.write(at, bytes)))
    }

    /// Writes, and counts it.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match &self.pages {
            Some(pages) => pages.write_at(&self.medium, offset, bytes)?,
            None => self.medium.write_at(offset, bytes)?,
        }
        let mut written = self.lock();
        let before = written.unsynced_bytes;
        written.add(offset, offset + bytes.len() as u64);
        // The thread waits for whole steps.
        if before < SYNC_BYTES && written.unsynced_bytes >= SYNC_BYTES {
            self.changed.notify_all();
        }
        Ok(())
    }

    fn wait<'a>(&self, written: MutexGuard<'a, Written>) -> MutexGuard<'a, Written> {
        self.changed.wait(written).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until less than so much is unsynced.
    fn wait_for_room(&self, bytes: u64) {
        let mut written = self.lock();
        while written.unsynced_bytes >= bytes && !written.is_over {
            written = self.wait(written);
        }
    }

    /// Syncs what is written until nothing more comes.
    fn sync(&self) {
        let result = self.sync_all();
        let mut written = self.lock();
        written.fault = result.err();
        written.is_over = true;
        self.changed.notify_all();
    }

    fn sync_all(&self) -> io::Result<()> {
        loop {
            let (blocks, bytes, is_last) = {
                let mut written = self.lock();
                while written.unsynced_bytes < SYNC_BYTES && !written.is_closed {
                    written = self.wait(written);
                }
                let is_last = written.is_closed;
                (std::mem::take(&mut written.fresh), written.unsynced_bytes, is_last)
            };
            self.medium.file().sync_data()?;
            let mut written = self.lock();
            written.synced(&blocks, self.kind);
            written.unsynced_bytes -= bytes;
            self.changed.notify_all();
            if is_last {
                return Ok(());
            }
        }
    }

    /// Hashes all of the result as it comes to the disk; what is not there when nothing more comes, is left.
    fn hash(&self) -> io::Result<[u8; 32]> {
        match self.kind {
            Kind::Sha256 => self.sha256(),
            Kind::Blake3 => self.blake3(),
        }
    }

    fn blake3(&self) -> io::Result<Blake3Digest> {
        let (blocks, block_bytes) = {
            let written = self.lock();
            (written.missing.len(), written.block_bytes)
        };
        let mut tree = Tree::new(blocks);
        let mut buf = vec![0; STEP_BYTES as usize];
        loop {
            let range = {
                let mut written = self.lock();
                while written.ready_bytes() < READY_BYTES && !written.is_over {
                    written = self.wait(written);
                }
                if written.is_unknown || written.ready.is_empty() {
                    return Ok(tree.digest());
                }
                written.take_ready(RELEASE_BYTES)
            };
            // Whatever has read it since: it comes from the disk.
            self.medium.release(range.start, range.end);
            let mut hasher = Tree::hasher(range.start);
            for at in range.clone().step_by(STEP_BYTES as usize) {
                let len = (range.end - at).min(STEP_BYTES) as usize;
                self.medium.read_at(at, &mut buf[..len])?;
                let mut done = at;
                // Blocks are longer than what is read at a time, or shorter.
                for part in buf[..len].chunks(block_bytes.min(STEP_BYTES) as usize) {
                    if done.is_multiple_of(block_bytes) {
                        hasher = Tree::hasher(done);
                    }
                    hasher.update(part);
                    done += part.len() as u64;
                    if done.is_multiple_of(block_bytes) || done == range.end {
                        tree.add(((done - 1) / block_bytes) as usize, &hasher);
                    }
                }
            }
            self.medium.release(range.start, range.end);
        }
    }

    fn sha256(&self) -> io::Result<Sha256Digest> {
        let mut hash = Sha256::new();
        let mut buf = vec![0; STEP_BYTES as usize];
        let mut done = 0;
        loop {
            let end = {
                let mut written = self.lock();
                while written.synced_end == done && !written.is_over {
                    written = self.wait(written);
                }
                let end = written.synced_end.min(done + RELEASE_BYTES);
                if written.is_unknown || end == done {
                    return Ok(hash.finalize().into());
                }
                written.hashed_bytes = end;
                end
            };
            // Whatever has read it since: it comes from the disk.
            self.medium.release(done, end);
            let start = done;
            while done < end {
                let len = (end - done).min(STEP_BYTES) as usize;
                self.medium.read_at(done, &mut buf[..len])?;
                hash.update(&buf[..len]);
                done += len as u64;
            }
            self.medium.release(start, end);
        }
    }
}

impl Verifier {
    /// Begins to sync what is written to `medium` through it, and to hash it if all of it will be `whole`: written,
    /// or said to be there by [`Verifier::keep`] before anything is written: bytes that were not may be overwritten.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn begin(medium: Medium, whole: bool) -> io::Result<Self> {
        Self::begin_with(medium, whole, Kind::Sha256, false)
    }

    /// As [`Verifier::begin`], but hashes with BLAKE3: nothing is left to be read when the last byte comes,
    /// in whatever order.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn begin_blake3_ungathered(medium: Medium, whole: bool) -> io::Result<Self> {
        Self::begin_with(medium, whole, Kind::Blake3, false)
    }

    /// As [`Verifier::begin_blake3_ungathered`] with all of it to be written, but gathers runs to blocks.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn begin_blake3(medium: Medium) -> io::Result<Self> {
        Self::begin_with(medium, true, Kind::Blake3, true)
    }

    fn begin_with(medium: Medium, whole: bool, kind: Kind, gathers: bool) -> io::Result<Self> {
        let pages = whole.then(|| Pages::new(medium.len()));
        let written = Mutex::new(Written::new(medium.len(), !whole));
        let gather = gathers.then(|| Gather::new(medium.len()));
        let shared = Arc::new(Shared { medium, kind, pages, written, gather, changed: Condvar::new() });
        let mut verifier = Self { shared: Arc::clone(&shared), syncer: None, hasher: None };
        let thread = |name: &str| Builder::new().name(name.into()).stack_size(STACK_BYTES);
        let syncing = Arc::clone(&shared);
        verifier.syncer = Some(thread("syncer").spawn(move || syncing.sync())?);
        if whole {
            verifier.hasher = Some(thread("verifier").spawn(move || shared.hash())?);
        }
        Ok(verifier)
    }

    /// The bytes from `start` to `end` stand there already, and stay.
    pub fn keep(&self, start: u64, end: u64) {
        if let Some(pages) = &self.shared.pages {
            pages.keep(start, end);
        }
        self.shared.lock().add(start, end);
        self.shared.changed.notify_all();
    }

    /// The ranges, in order, will be written, and are zeros. Once, before anything is written: then what stands beside
    /// them needs not wait for them.
    pub fn foretell_zeros(&self, ranges: Vec<Range<u64>>) {
        if let Some(gather) = &self.shared.gather {
            gather.foretell_zeros(ranges);
        }
    }

    /// Whether the disk keeps up with what is written.
    pub fn has_room(&self) -> bool {
        self.shared.lock().unsynced_bytes < ROOM_BYTES
    }

    /// Waits until the disk keeps up with what is written. For those whose writing can wait: others are held up
    /// later.
    pub fn wait_for_room(&self) {
        self.shared.wait_for_room(ROOM_BYTES);
    }

    /// Everything is written: waits for the rest to be synced and hashed. Answers the SHA-256, or the BLAKE3, and
    /// `None` where it is not known to be that of what the disk holds.
    ///
    /// # Errors
    /// Where the result cannot be synced or read back.
    pub fn finish(mut self) -> io::Result<Option<[u8; 32]>> {
        let flushed = self.shared.flush();
        let digest = self.close();
        flushed?;
        let mut written = self.shared.lock();
        if let Some(fault) = written.fault.take() {
            return Err(fault);
        }
        let Some(digest) = digest else { return Ok(None) };
        let digest = digest?;
        let is_known = !written.is_unknown && written.hashed_bytes == written.len;
        Ok(is_known.then_some(digest))
    }

    fn close(&mut self) -> Option<io::Result<[u8; 32]>> {
        self.shared.lock().is_closed = true;
        self.shared.changed.notify_all();
        let panicked = |_| Err(io::Error::other("the thread that hashes the result panicked"));
        if let Some(syncer) = self.syncer.take()
            && syncer.join().is_err()
        {
            let mut written = self.shared.lock();
            written.fault = Some(io::Error::other("the thread that syncs the result panicked"));
            written.is_over = true;
            self.shared.changed.notify_all();
        }
        self.hasher.take().map(|thread| thread.join().unwrap_or_else(panicked))
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        // After a fault: nobody asks for the digest, but the threads have to end, and the next run looks for what is there.
        self.shared.lock().is_unknown = true;
        let _ = self.shared.flush();
        let _ = self.close();
    }
}

impl ReadAt for Verifier {
    fn len(&self) -> u64 {
        self.shared.medium.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let medium = &self.shared.medium;
        let Some(gather) = &self.shared.gather else { return medium.read_at(offset, buf) };
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > medium.len()) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let missing = gather.read(offset, buf);
        missing.into_iter().try_for_each(|range| medium.read_at(offset + range.start as u64, &mut buf[range]))
    }
}

impl Target for Verifier {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.shared.wait_for_room(UNSYNCED_BYTES_MAX);
        match &self.shared.gather {
            Some(gather) => gather.put(offset, bytes, &|at, bytes| self.shared.write(at, bytes)),
            None => self.shared.write(offset, bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEN: usize = 3_000_000;

    fn medium() -> Medium {
        let file = tempfile::tempfile().unwrap();
        file.set_len(LEN as u64).unwrap();
        Medium::new(file).unwrap()
    }

    fn begin(whole: bool) -> Verifier {
        Verifier::begin(medium(), whole).unwrap()
    }

    fn begin_blake3() -> Verifier {
        Verifier::begin_blake3(medium()).unwrap()
    }

    /// Nobody else is told of it.
    fn wait_until_hashed(verifier: &Verifier, bytes: u64) {
        while verifier.shared.lock().hashed_bytes < bytes {
            std::thread::yield_now();
        }
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
            let sha256: Sha256Digest = Sha256::digest(&content).into();
            let blake3 = *blake3::hash(&content).as_bytes();
            let ungathered = Verifier::begin_blake3_ungathered(medium(), true).unwrap();
            for (verifier, expected) in
                [(begin(true), sha256), (begin_blake3(), blake3), (ungathered, blake3)]
            {
                for run in &runs {
                    verifier.write_at(run.start as u64, &content[run.clone()]).unwrap();
                }
                prop_assert_eq!(verifier.finish().unwrap(), Some(expected));
            }
        }
    }

    #[test]
    fn no_digest_is_given_where_it_could_be_wrong() {
        let content = content();
        for begin in [|| begin(true), begin_blake3] {
            let verifier = begin();
            verifier.write_at(0, &content[..LEN - 1]).unwrap();
            assert_eq!(verifier.finish().unwrap(), None, "one byte is missing");

            let verifier = begin();
            verifier.write_at(0, &content).unwrap();
            verifier.write_at(1000, b"again").unwrap();
            assert_eq!(verifier.finish().unwrap(), None, "bytes were written twice");

            let verifier = begin();
            verifier.write_at(2_000_000, &content[2_000_000..]).unwrap();
            verifier.write_at(1_000_000, &content[1_000_000..2_000_001]).unwrap();
            verifier.write_at(0, &content[..1_000_000]).unwrap();
            assert_eq!(verifier.finish().unwrap(), None, "a byte ahead was written twice");
        }

        let verifier = begin(false);
        verifier.write_at(0, &content).unwrap();
        assert_eq!(verifier.finish().unwrap(), None, "an earlier run made a part");
    }

    #[test]
    fn what_stood_there_is_hashed_with_what_is_written() {
        let content = content();
        let verifier = begin(true);
        verifier.shared.medium.write_at(700_001, &content[700_001..2_000_000]).unwrap();
        verifier.keep(700_001, 2_000_000);
        verifier.write_at(2_000_000, &content[2_000_000..]).unwrap();
        verifier.write_at(0, &content[..700_001]).unwrap();
        let expected: Sha256Digest = Sha256::digest(&content).into();
        assert_eq!(verifier.finish().unwrap(), Some(expected));
    }

    #[test]
    fn nothing_and_one_block_have_digests() {
        for len in [0, 1, 64 << 10] {
            let content = vec![5; len];
            let file = tempfile::tempfile().unwrap();
            file.set_len(len as u64).unwrap();
            let verifier = Verifier::begin_blake3(Medium::new(file).unwrap()).unwrap();
            verifier.write_at(0, &content).unwrap();
            assert_eq!(verifier.finish().unwrap(), Some(*blake3::hash(&content).as_bytes()), "{len}");
        }
    }

    #[test]
    fn what_is_gathered_can_be_read_and_is_written_at_the_end() {
        let content = content();
        let file = tempfile::tempfile().unwrap();
        file.set_len(LEN as u64).unwrap();
        let written = || {
            let mut bytes = vec![0; LEN];
            Medium::new(file.try_clone().unwrap()).unwrap().read_at(0, &mut bytes).unwrap();
            bytes
        };
        let begin = || Verifier::begin_blake3(Medium::new(file.try_clone().unwrap()).unwrap());
        let verifier = begin().unwrap();
        verifier.write_at(100, &content[100..200]).unwrap();
        verifier.write_at(250, &content[250..100_000]).unwrap();
        let mut part = vec![1; 200];
        verifier.read_at(90, &mut part).unwrap();
        let mut expected = content[90..290].to_vec();
        expected[..10].fill(0);
        expected[110..160].fill(0);
        assert_eq!(part, expected);
        assert!(verifier.read_at(LEN as u64 - 1, &mut [0; 2]).is_err());
        // Whoever gives up leaves what there is to the next run.
        drop(verifier);
        assert_eq!(written()[250..100_000], content[250..100_000]);

        let verifier = begin().unwrap();
        verifier.write_at(1, &content[1..]).unwrap();
        verifier.write_at(0, &content[..1]).unwrap();
        assert_eq!(verifier.finish().unwrap(), Some(*blake3::hash(&content).as_bytes()));
        assert!(written() == content);
    }

    #[test]
    fn a_block_is_hashed_before_those_that_stand_before_it() {
        let content = content();
        let verifier = begin_blake3();
        verifier.write_at(1 << 20, &content[1 << 20..]).unwrap();
        verifier.shared.lock().unsynced_bytes += SYNC_BYTES;
        verifier.shared.changed.notify_all();
        wait_until_hashed(&verifier, (LEN - (1 << 20)) as u64);
        verifier.write_at(0, &content[..1 << 20]).unwrap();
        assert_eq!(verifier.finish().unwrap(), Some(*blake3::hash(&content).as_bytes()));
    }

    #[test]
    fn a_slow_disk_is_waited_for_and_hashed_meanwhile() {
        let file = tempfile::tempfile().unwrap();
        let len = UNSYNCED_BYTES_MAX + 3 * SYNC_BYTES;
        file.set_len(len).unwrap();
        let verifier = Verifier::begin(Medium::new(file).unwrap(), true).unwrap();
        let step = vec![7; 1 << 20];
        let mut expected = Sha256::new();
        for at in (0..len).step_by(step.len()) {
            verifier.wait_for_room();
            verifier.write_at(at, &step).unwrap();
            expected.update(&step);
            assert!(verifier.shared.lock().unsynced_bytes <= ROOM_BYTES + step.len() as u64);
        }
        // Of what is synced some is hashed before the end.
        wait_until_hashed(&verifier, 1);
        assert_eq!(verifier.finish().unwrap(), Some(expected.finalize().into()));
    }

    #[test]
    fn a_large_result_takes_no_more_memory() {
        let written = Written::new(64 << 30, false);
        assert_eq!(written.missing.len(), 1 << 14);
        assert_eq!(written.block_bytes, 4 << 20);
        assert_eq!(Written::new(100, false).missing, [100]);
        assert!(Written::new(0, false).missing.is_empty());
    }

    #[test]
    fn a_verifier_that_is_dropped_ends() {
        let verifier = begin(true);
        verifier.write_at(0, &content()).unwrap();
        drop(verifier);
    }
}
