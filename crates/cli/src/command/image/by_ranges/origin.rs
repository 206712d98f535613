//! Where published files come from: a server of static files, or a folder.

use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use backon::{BlockingRetryable as _, ExponentialBuilder};
use fluvial_bundle::Want;
use fluvial_delta::header::Sha256Digest;

use super::ranges::{groups, join};
use super::server::{Answer, Failure, Server};
use super::store::Store;
use crate::command::image::publish::CHUNKS_FILE;
use crate::fault::{Fault, Kind};
use crate::progress::Progress;

/// Ranges with no more bytes between them are one: a part of an answer takes about as many for its headers.
const GAP_BYTES: u64 = 128;
/// The same where a server answers single ranges only: a request and an answer take more.
const GAP_BYTES_ALONE: u64 = 512;
/// Bytes of one request at most, so that all connections have work.
const REQUEST_BYTES_MAX: u64 = 1 << 20;
/// Ranges of one request at most: all at first, and fewer with a server that then sends the whole file.
/// lighttpd takes 10; nginx, Apache and Caddy more; object stores one.
const REQUEST_RANGES_MAX: [usize; 3] = [64, 10, 1];
/// Tries in a row with nothing that came.
const TRIES: usize = 5;
const RETRY_MS_MIN: u64 = 200;
const RETRY_MS_MAX: u64 = 5000;

/// What went over the wire: bytes of files, and what answers with several ranges have between them.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counters {
    pub bytes: u64,
    pub requests: u64,
    pub retries: u64,
}

/// A published folder.
pub struct Origin {
    place: Place,
    connections: usize,
    /// How many ranges a request may have, as an index of [`REQUEST_RANGES_MAX`].
    ranges_step: AtomicUsize,
    /// Whether the server was asked for ranges before.
    is_known: AtomicBool,
    bytes: AtomicU64,
    requests: AtomicU64,
    retries: AtomicU64,
}

enum Place {
    Folder(PathBuf),
    Server(Server),
}

impl Origin {
    /// Takes a folder and a digest apart: `BASE/HEX` or `BASE/sha256:HEX`.
    ///
    /// # Errors
    /// [`Kind::Usage`].
    pub fn open(text: &str, connections: u8) -> Result<(Self, Sha256Digest), Fault> {
        let usage = || {
            let message = format!("{text:?} does not end in an image's digest");
            Fault::new(Kind::Usage, message).hint("`fluvial image publish` tells it")
        };
        let (base, name) = text.trim_end_matches('/').rsplit_once('/').unwrap_or((".", text));
        let digest = digest_of(name.strip_prefix("sha256:").unwrap_or(name)).ok_or_else(usage)?;
        let place = if text.starts_with("http://") || text.starts_with("https://") {
            Place::Server(Server::new(base, usize::from(connections))?)
        } else {
            Place::Folder(base.into())
        };
        let origin = Self {
            place,
            connections: usize::from(connections),
            ranges_step: AtomicUsize::new(0),
            is_known: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            retries: AtomicU64::new(0),
        };
        Ok((origin, digest))
    }

    /// What went over the wire so far.
    pub fn counters(&self) -> Counters {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters { bytes: get(&self.bytes), requests: get(&self.requests), retries: get(&self.retries) }
    }

    /// Reads a whole file of at most `limit` bytes.
    ///
    /// # Errors
    /// [`Kind::Io`]; [`Kind::DamagedPatch`] for a longer one.
    pub fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, Fault> {
        let bytes = match &self.place {
            Place::Folder(folder) => {
                let path = folder.join(name);
                let failed = |error| Fault::reading(&path, error);
                let mut bytes = Vec::new();
                File::open(&path).map_err(failed)?.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
                bytes
            }
            Place::Server(server) => {
                let tried = self.with_retries(&mut || {
                    self.requests.fetch_add(1, Ordering::Relaxed);
                    server.read(name, limit + 1)
                });
                tried.map_err(|failure| failure.fault)?
            }
        };
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if bytes.len() as u64 > limit {
            let message = format!("{name} has more than {limit} bytes");
            return Err(Fault::new(Kind::DamagedPatch, message).hint("publish the image again"));
        }
        Ok(bytes)
    }

    /// Fetches ranges of chunk files into the store, those that it lacks.
    ///
    /// # Errors
    /// [`Kind::Io`] with the reason, [`Kind::Cancelled`]. What has come is in the store.
    pub fn fetch(&self, wants: &[Want], store: &Store, progress: &Progress) -> Result<(), Fault> {
        let gap = if self.ranges_max() > 1 { GAP_BYTES } else { GAP_BYTES_ALONE };
        let mut work: Vec<(usize, Vec<Range<u64>>)> = Vec::new();
        let layers = wants.iter().map(|want| want.payload + 1).max().unwrap_or(0);
        for layer in 0..layers {
            let mut ranges = Vec::new();
            for want in wants.iter().filter(|want| want.payload == layer) {
                let range = want.offset..want.offset + want.len;
                if want.again {
                    store.forget(layer, range.clone());
                }
                ranges.extend(store.missing(layer, range));
            }
            let ranges = join(ranges, gap, REQUEST_BYTES_MAX);
            let groups = groups(ranges, REQUEST_RANGES_MAX[0], REQUEST_BYTES_MAX);
            work.extend(groups.into_iter().map(|group| (layer, group)));
        }
        work.reverse();
        // One connection finds out how many ranges the server answers.
        if !self.is_known.swap(true, Ordering::Relaxed)
            && let Some((layer, ranges)) = work.pop()
        {
            self.fetch_group(layer, &ranges, store, progress)?;
        }
        // One is left for a connection that is opened before the pool gets another back.
        let threads = self.connections.saturating_sub(1).max(1).min(work.len());
        let work = Mutex::new(work);
        let first_fault = Mutex::new(None);
        let lock = || first_fault.lock().unwrap_or_else(PoisonError::into_inner);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let next = work.lock().unwrap_or_else(PoisonError::into_inner).pop();
                        let Some((layer, ranges)) = next else { return };
                        if lock().is_some() {
                            return;
                        }
                        if let Err(fault) = self.fetch_group(layer, &ranges, store, progress) {
                            lock().get_or_insert(fault);
                            return;
                        }
                    }
                });
            }
        });
        first_fault.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    fn ranges_max(&self) -> usize {
        REQUEST_RANGES_MAX[self.ranges_step.load(Ordering::Relaxed).min(REQUEST_RANGES_MAX.len() - 1)]
    }

    /// Fetches ranges of a layer, in as few requests as the server allows.
    fn fetch_group(
        &self,
        layer: usize,
        ranges: &[Range<u64>],
        store: &Store,
        progress: &Progress,
    ) -> Result<(), Fault> {
        let name = format!("{}/{CHUNKS_FILE}", store.name(layer));
        let keep = |offset: u64, bytes: &[u8]| -> Result<(), Fault> {
            store.put(layer, offset, bytes)?;
            if progress.advance(bytes.len() as u64) {
                Ok(())
            } else {
                Err(Fault::new(Kind::Cancelled, "cancelled"))
            }
        };
        let server = match &self.place {
            Place::Server(server) => server,
            Place::Folder(folder) => {
                let path = folder.join(name);
                let failed = |error| Fault::reading(&path, error);
                let file = File::open(&path).map_err(failed)?;
                for range in ranges {
                    let mut bytes = vec![0; (range.end - range.start) as usize];
                    file.read_exact_at(&mut bytes, range.start).map_err(failed)?;
                    self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    keep(range.start, &bytes)?;
                }
                return Ok(());
            }
        };
        let missing = || -> Vec<Range<u64>> {
            ranges.iter().flat_map(|range| store.missing(layer, range.clone())).collect()
        };
        let mut left = missing();
        while !left.is_empty() {
            let step = self.ranges_step.load(Ordering::Relaxed);
            let tried = self.with_retries(&mut || {
                let missing = missing();
                let asked = &missing[..missing.len().min(self.ranges_max())];
                if asked.is_empty() {
                    return Ok(());
                }
                self.requests.fetch_add(1, Ordering::Relaxed);
                let answer = server.take(&name, asked, &self.bytes, &mut |at, bytes| keep(at, bytes))?;
                if answer == Answer::WholeFile {
                    if asked.len() == 1 {
                        return Err(server.knows_no_ranges(&name));
                    }
                    // Fewer at a time, unless another connection has just found that out.
                    let relaxed = Ordering::Relaxed;
                    let _ = self.ranges_step.compare_exchange(step, step + 1, relaxed, relaxed);
                }
                Ok(())
            });
            let before = std::mem::replace(&mut left, missing());
            let has_come = left != before;
            match tried {
                // A line that is slow or often cut is no fault while anything comes.
                Err(failure) if !failure.may_retry || !has_come => return Err(failure.fault),
                Ok(()) if !has_come && self.ranges_step.load(Ordering::Relaxed) == step => {
                    return Err(server.sends_others(&name).fault);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn with_retries<T>(&self, attempt: &mut dyn FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
        let waits = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(RETRY_MS_MIN))
            .with_max_delay(Duration::from_millis(RETRY_MS_MAX))
            .with_max_times(TRIES - 1);
        attempt
            .retry(waits)
            .when(|failure| failure.may_retry)
            .notify(|_, _| {
                self.retries.fetch_add(1, Ordering::Relaxed);
            })
            .call()
    }
}

fn digest_of(hex: &str) -> Option<Sha256Digest> {
    let mut digest = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase()) {
        return None;
    }
    for (byte, at) in digest.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()?;
    }
    Some(digest)
}
