//! Where published files come from: a server of static files, or a folder.

mod fetch;

use std::fs::File;
use std::io::{self, Read as _};
use std::ops::{AddAssign, Range};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use backon::{BlockingRetryable as _, ExponentialBuilder};

use crate::error::FetchError;
use crate::server::{Answer, Server};

/// Tries in a row with nothing that came.
const TRIES: usize = 5;
const RETRY_MS_MIN: u64 = 200;
const RETRY_MS_MAX: u64 = 5000;

/// What went over the wire: bytes of files, and what answers with several ranges have between them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Bytes that came.
    pub bytes: u64,
    /// Requests that were sent.
    pub requests: u64,
    /// Requests that were sent again because they failed.
    pub retries: u64,
    /// Answers that were a whole file, where a range of it was asked for.
    pub whole_files: u64,
    /// Groups of ranges of chunks: so many requests they take with a server that answers many ranges at a time.
    pub groups: u64,
    /// Ranges in these groups.
    pub ranges: u64,
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.requests += other.requests;
        self.retries += other.retries;
        self.whole_files += other.whole_files;
        self.groups += other.groups;
        self.ranges += other.ranges;
    }
}

/// A server of static files or a folder, below which published files stand. It may be used by several threads.
pub struct Site {
    place: Place,
    connections: usize,
    /// How many ranges a request may have, as an index of a list of numbers.
    ranges_step: AtomicUsize,
    /// Whether the server was asked for ranges before.
    is_known: AtomicBool,
    /// Whether it answered the whole file where one range was asked for, and whoever asks it meanwhile.
    sends_whole_files: AtomicBool,
    whole_file: Mutex<()>,
    bytes: AtomicU64,
    requests: AtomicU64,
    retries: AtomicU64,
    whole_files: AtomicU64,
    groups: AtomicU64,
    ranges: AtomicU64,
}

enum Place {
    Folder(PathBuf),
    Server(Server),
}

impl Site {
    /// The files below `base`: `http://` or `https://` and what follows, else a folder. At most so many
    /// `connections` are used at a time, at least one. Nothing is connected to yet.
    ///
    /// # Errors
    /// [`FetchError::Client`].
    pub fn open(base: &str, connections: usize) -> Result<Self, FetchError> {
        let place = if base.starts_with("http://") || base.starts_with("https://") {
            Place::Server(Server::new(base.trim_end_matches('/'), connections)?)
        } else {
            Place::Folder(base.into())
        };
        Ok(Self {
            place,
            connections,
            ranges_step: AtomicUsize::new(0),
            is_known: AtomicBool::new(false),
            sends_whole_files: AtomicBool::new(false),
            whole_file: Mutex::new(()),
            bytes: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            whole_files: AtomicU64::new(0),
            groups: AtomicU64::new(0),
            ranges: AtomicU64::new(0),
        })
    }

    /// What went over the wire so far.
    pub fn counters(&self) -> Counters {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            bytes: get(&self.bytes),
            requests: get(&self.requests),
            retries: get(&self.retries),
            whole_files: get(&self.whole_files),
            groups: get(&self.groups),
            ranges: get(&self.ranges),
        }
    }

    /// Reads a whole file of at most `limit` bytes.
    ///
    /// # Errors
    /// [`FetchError`]; [`FetchError::TooLong`] for a longer one.
    pub fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
        let bytes = match &self.place {
            Place::Folder(folder) => read_folder(&folder.join(name), 0..limit.saturating_add(1))?,
            Place::Server(server) => self.with_retries(&mut || {
                self.requests.fetch_add(1, Ordering::Relaxed);
                server.read(name, limit.saturating_add(1))
            })?,
        };
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if bytes.len() as u64 > limit {
            return Err(FetchError::TooLong { name: name.into(), limit });
        }
        Ok(bytes)
    }

    /// Reads a range of a file, of at most `limit` bytes; less of it where the file ends before. A server that
    /// knows no ranges sends the file from its start, as far as the range goes.
    ///
    /// # Errors
    /// [`FetchError`]; [`FetchError::TooLong`] for a longer range, before anything is asked for.
    pub fn read_range(&self, name: &str, range: Range<u64>, limit: u64) -> Result<Vec<u8>, FetchError> {
        let len = range.end.saturating_sub(range.start);
        if len > limit {
            return Err(FetchError::TooLong { name: name.into(), limit });
        }
        let server = match &self.place {
            Place::Server(server) => server,
            Place::Folder(folder) => {
                let bytes = read_folder(&folder.join(name), range)?;
                self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                return Ok(bytes);
            }
        };
        let mut bytes = Vec::new();
        self.with_retries(&mut || {
            // What has come before the connection was cut is not asked for again.
            let missing = range.start + bytes.len() as u64..range.end;
            if missing.is_empty() {
                return Ok(());
            }
            self.requests.fetch_add(1, Ordering::Relaxed);
            let mut keep = |at: u64, part: &[u8]| {
                let skipped = missing.start.saturating_sub(at).min(part.len() as u64);
                if at + skipped == range.start + bytes.len() as u64 {
                    bytes.extend_from_slice(&part[skipped as usize..]);
                    Ok(())
                } else if skipped == part.len() as u64 {
                    Ok(())
                } else {
                    Err(server.sends_others(name))
                }
            };
            match server.take(name, std::slice::from_ref(&missing), &self.bytes, &mut keep)? {
                Answer::Ranges => Ok(()),
                Answer::WholeFile(file) => {
                    self.whole_files.fetch_add(1, Ordering::Relaxed);
                    file.take(missing.end, &mut keep)
                }
            }
        })?;
        Ok(bytes)
    }

    fn with_retries<T>(&self, attempt: &mut dyn FnMut() -> Result<T, FetchError>) -> Result<T, FetchError> {
        let waits = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(RETRY_MS_MIN))
            .with_max_delay(Duration::from_millis(RETRY_MS_MAX))
            .with_max_times(TRIES - 1);
        attempt
            .retry(waits)
            .when(FetchError::may_retry)
            .notify(|_, _| {
                self.retries.fetch_add(1, Ordering::Relaxed);
            })
            .call()
    }
}

/// Reads a range of a file, up to where the file ends.
fn read_folder(path: &Path, range: Range<u64>) -> Result<Vec<u8>, FetchError> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        io::Seek::seek(&mut file, io::SeekFrom::Start(range.start))?;
        let mut bytes = Vec::new();
        file.take(range.end - range.start).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|error| FetchError::read(path, error))
}
