//! Chunks of payloads are fetched into a store.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use fluvial_bundle::Want;

use super::{Place, Site};
use crate::error::FetchError;
use crate::files::{ChunkFile, PublishedFile};
use crate::observer::FetchObserver;
use crate::ranges::{groups, join};
use crate::server::{Answer, Server};
use crate::store::Store;

/// Ranges with no more bytes between them are one: a part of an answer takes about as many for its headers.
const GAP_BYTES: u64 = 128;
/// The same where a server answers single ranges only: a request and an answer take more.
const GAP_BYTES_ALONE: u64 = 512;
/// Bytes of one request at most, so that all connections have work.
const REQUEST_BYTES_MAX: u64 = 1 << 20;
/// Ranges of one request at most: all at first, and fewer with a server that then sends the whole file.
/// lighttpd takes 10; nginx, Apache and Caddy more; object stores one.
const REQUEST_RANGES_MAX: [usize; 3] = [64, 10, 1];

/// Some ranges of a file, for one request.
struct Group<'a> {
    file: &'a PublishedFile<'a>,
    ranges: Vec<Range<u64>>,
}

impl Group<'_> {
    /// What is still missing of it.
    fn missing(&self) -> Vec<Range<u64>> {
        let missing = |range| self.file.missing(range, REQUEST_BYTES_MAX);
        self.ranges.iter().flat_map(missing).collect()
    }

    /// Keeps bytes that came.
    fn keep(&self, offset: u64, bytes: &[u8], observer: &dyn FetchObserver) -> Result<(), FetchError> {
        self.file.put(offset, bytes)?;
        if observer.advance(bytes.len() as u64) { Ok(()) } else { Err(FetchError::Cancelled) }
    }
}

impl Site {
    /// Fetches what is wanted of payloads into the store, as far as it is not there. `files` tell for each payload
    /// of the store where its chunks were published; ranges of payloads in the same file share requests.
    ///
    /// A server that answers the whole file where one range was asked for is read once: all chunks in that file
    /// are then in the store.
    ///
    /// # Errors
    /// [`FetchError`]. What has come is in the store.
    pub fn fetch(
        &self,
        files: &[ChunkFile],
        wants: &[Want],
        store: &Store,
        observer: &dyn FetchObserver,
    ) -> Result<(), FetchError> {
        for want in wants.iter().filter(|want| want.again) {
            store.forget(want.payload, want.offset..want.offset + want.len);
        }
        let files = PublishedFile::all(files, store);
        let mut work: Vec<Group<'_>> = files.iter().flat_map(|file| self.groups_of(file, wants)).collect();
        work.reverse();
        // One connection finds out how many ranges the server answers.
        if !self.is_known.swap(true, Ordering::Relaxed)
            && let Some(group) = work.pop()
        {
            self.fetch_group(&group, observer)?;
        }
        // One is left for a connection that is opened before the pool gets another back.
        let threads = self.connections.saturating_sub(1).max(1).min(work.len());
        let work = Mutex::new(work);
        let first_error = Mutex::new(None);
        let lock = || first_error.lock().unwrap_or_else(PoisonError::into_inner);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let next = work.lock().unwrap_or_else(PoisonError::into_inner).pop();
                        let Some(group) = next else { return };
                        if lock().is_some() {
                            return;
                        }
                        if let Err(error) = self.fetch_group(&group, observer) {
                            lock().get_or_insert(error);
                            return;
                        }
                    }
                });
            }
        });
        first_error.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    /// What is missing of a file, in requests.
    fn groups_of<'a>(&self, file: &'a PublishedFile<'a>, wants: &[Want]) -> Vec<Group<'a>> {
        let gap = if self.ranges_max() > 1 { GAP_BYTES } else { GAP_BYTES_ALONE };
        let place = |want: &Want| {
            let chunks = file.payloads.iter().find(|(payload, _)| *payload == want.payload);
            chunks.map(|(_, chunks)| chunks.place(want.offset, want.len))
        };
        let missing = |range| file.missing(&range, REQUEST_BYTES_MAX);
        let ranges: Vec<Range<u64>> = wants.iter().filter_map(place).flat_map(missing).collect();
        let ranges = join(ranges, gap, REQUEST_BYTES_MAX);
        self.ranges.fetch_add(ranges.len() as u64, Ordering::Relaxed);
        let groups = groups(ranges, REQUEST_RANGES_MAX[0], REQUEST_BYTES_MAX);
        self.groups.fetch_add(groups.len() as u64, Ordering::Relaxed);
        groups.into_iter().map(|ranges| Group { file, ranges }).collect()
    }

    fn ranges_max(&self) -> usize {
        REQUEST_RANGES_MAX[self.ranges_step.load(Ordering::Relaxed).min(REQUEST_RANGES_MAX.len() - 1)]
    }

    /// Fetches ranges of a file, in as few requests as the server allows.
    fn fetch_group(&self, group: &Group<'_>, observer: &dyn FetchObserver) -> Result<(), FetchError> {
        let server = match &self.place {
            Place::Server(server) => server,
            Place::Folder(folder) => return self.copy_group(&folder.join(group.file.name), group, observer),
        };
        let mut left = group.missing();
        while !left.is_empty() {
            let step = self.ranges_step.load(Ordering::Relaxed);
            let tried = self.with_retries(&mut || self.ask(server, group, step, observer));
            let before = std::mem::replace(&mut left, group.missing());
            let has_come = left != before;
            match tried {
                // A line that is slow or often cut is no fault while anything comes.
                Err(error) if !error.may_retry() || !has_come => return Err(error),
                Ok(()) if !has_come && self.ranges_step.load(Ordering::Relaxed) == step => {
                    return Err(server.sends_others(group.file.name));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn copy_group(
        &self,
        path: &Path,
        group: &Group<'_>,
        observer: &dyn FetchObserver,
    ) -> Result<(), FetchError> {
        let failed = |error| FetchError::read(path, error);
        let file = File::open(path).map_err(failed)?;
        for range in &group.ranges {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            file.read_exact_at(&mut bytes, range.start).map_err(failed)?;
            self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            group.keep(range.start, &bytes, observer)?;
        }
        Ok(())
    }

    /// Asks once for what is missing of a group, or some of it. `step` is where the number of ranges stood.
    fn ask(
        &self,
        server: &Server,
        group: &Group<'_>,
        step: usize,
        observer: &dyn FetchObserver,
    ) -> Result<(), FetchError> {
        let relaxed = Ordering::Relaxed;
        // Whole files come one after another: what comes for one group may be what the next one lacks.
        let _turn = self
            .sends_whole_files
            .load(relaxed)
            .then(|| self.whole_file.lock().unwrap_or_else(PoisonError::into_inner));
        let missing = group.missing();
        let asked = &missing[..missing.len().min(self.ranges_max())];
        if asked.is_empty() {
            return Ok(());
        }
        self.requests.fetch_add(1, relaxed);
        let mut keep = |at: u64, bytes: &[u8]| group.keep(at, bytes, observer);
        match server.take(group.file.name, asked, &self.bytes, &mut keep)? {
            Answer::Ranges => {
                self.sends_whole_files.store(false, relaxed);
                Ok(())
            }
            Answer::WholeFile(file) if asked.len() == 1 => {
                self.sends_whole_files.store(true, relaxed);
                self.whole_files.fetch_add(1, relaxed);
                file.take(group.file.end(), &mut keep)
            }
            // Fewer at a time, unless another connection has just found that out.
            Answer::WholeFile(_) => {
                let _ = self.ranges_step.compare_exchange(step, step + 1, relaxed, relaxed);
                Ok(())
            }
        }
    }
}
