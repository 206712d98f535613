//! Where published files come from: a server of static files, or a folder.

use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use backon::{BlockingRetryable as _, ExponentialBuilder};
use fluvial_bundle::Want;
use fluvial_delta::header::Sha256Digest;
use reqwest::StatusCode;
use reqwest::blocking::{Client, Response};
use reqwest::header::{CONTENT_RANGE, RANGE};

use super::ranges::requests;
use super::store::Store;
use crate::command::image::publish::CHUNKS_FILE;
use crate::fault::{Fault, Kind};
use crate::progress::Progress;

/// Ranges with fewer bytes between them are one request: its headers and the answer's take about as many.
const GAP_BYTES: u64 = 512;
/// Bytes of one request at most, so that all connections have work.
const REQUEST_BYTES_MAX: u64 = 1 << 20;
/// Bytes that are taken at a time.
const STEP_BYTES: usize = 64 << 10;
const TRIES: usize = 5;
const RETRY_MS_MIN: u64 = 200;
const RETRY_MS_MAX: u64 = 5000;
/// A server that sends nothing for so long is given up.
const SILENCE_MS_MAX: u64 = 30_000;

/// What went over the wire.
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
    bytes: AtomicU64,
    requests: AtomicU64,
    retries: AtomicU64,
}

enum Place {
    Folder(PathBuf),
    Server { client: Client, base: String },
}

/// A try that failed, and whether another one may work.
struct Failure {
    fault: Fault,
    may_retry: bool,
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self { fault, may_retry: false }
    }
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
            Place::Server { client: client()?, base: base.into() }
        } else {
            Place::Folder(base.into())
        };
        let zero = || AtomicU64::new(0);
        let connections = usize::from(connections);
        Ok((Self { place, connections, bytes: zero(), requests: zero(), retries: zero() }, digest))
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
        let too_long = || {
            let message = format!("{name} has more than {limit} bytes");
            Fault::new(Kind::DamagedPatch, message).hint("publish the image again")
        };
        let bytes = match &self.place {
            Place::Folder(folder) => {
                let path = folder.join(name);
                let failed = |error| Fault::reading(&path, error);
                let mut bytes = Vec::new();
                File::open(&path).map_err(failed)?.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
                bytes
            }
            Place::Server { client, base } => self.with_retries(&mut || {
                let url = format!("{base}/{name}");
                self.requests.fetch_add(1, Ordering::Relaxed);
                let response = client.get(&url).send().map_err(|error| unreachable(&url, error))?;
                if response.status() != StatusCode::OK {
                    return Err(refused(&url, response.status()));
                }
                let mut bytes = Vec::new();
                response.take(limit + 1).read_to_end(&mut bytes).map_err(|error| broken(&url, error))?;
                Ok(bytes)
            })?,
        };
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if bytes.len() as u64 > limit { Err(too_long()) } else { Ok(bytes) }
    }

    /// Fetches ranges of chunk files into the store, those that it lacks.
    ///
    /// # Errors
    /// [`Kind::Io`] with the reason, [`Kind::Cancelled`]. What has come is in the store.
    pub fn fetch(&self, wants: &[Want], store: &Store, progress: &Progress) -> Result<(), Fault> {
        let mut work: Vec<(usize, Range<u64>)> = Vec::new();
        let layers = wants.iter().map(|want| want.payload + 1).max().unwrap_or(0);
        for layer in 0..layers {
            let mut ranges = Vec::new();
            for want in wants.iter().filter(|want| want.payload == layer) {
                let range = want.offset..want.offset + want.len;
                ranges.extend(if want.again { vec![range] } else { store.missing(layer, range) });
            }
            let longest = REQUEST_BYTES_MAX;
            work.extend(requests(ranges, GAP_BYTES, longest).into_iter().map(|range| (layer, range)));
        }
        work.reverse();
        let threads = self.connections.min(work.len());
        let work = Mutex::new(work);
        let first_fault = Mutex::new(None);
        let lock = || first_fault.lock().unwrap_or_else(PoisonError::into_inner);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let next = work.lock().unwrap_or_else(PoisonError::into_inner).pop();
                        let Some((layer, range)) = next else { return };
                        if lock().is_some() {
                            return;
                        }
                        if let Err(fault) = self.fetch_range(layer, range, store, progress) {
                            lock().get_or_insert(fault);
                            return;
                        }
                    }
                });
            }
        });
        first_fault.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    fn fetch_range(
        &self,
        layer: usize,
        range: Range<u64>,
        store: &Store,
        progress: &Progress,
    ) -> Result<(), Fault> {
        let name = format!("{}/{CHUNKS_FILE}", store.name(layer));
        let mut at = range.start;
        let mut keep = |bytes: &[u8]| -> Result<(), Fault> {
            store.put(layer, at, bytes)?;
            at += bytes.len() as u64;
            self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            if progress.advance(bytes.len() as u64) {
                Ok(())
            } else {
                Err(Fault::new(Kind::Cancelled, "cancelled"))
            }
        };
        match &self.place {
            Place::Folder(folder) => {
                let path = folder.join(name);
                let mut bytes = vec![0; (range.end - range.start) as usize];
                let read = File::open(&path).and_then(|file| file.read_exact_at(&mut bytes, range.start));
                read.map_err(|error| Fault::reading(&path, error))?;
                keep(&bytes)
            }
            Place::Server { client, base } => {
                let url = format!("{base}/{name}");
                let mut done = 0;
                self.with_retries(&mut || {
                    self.requests.fetch_add(1, Ordering::Relaxed);
                    take_range(client, &url, range.start + done..range.end, &mut |bytes| {
                        keep(bytes)?;
                        done += bytes.len() as u64;
                        Ok(())
                    })
                })
            }
        }
    }

    fn with_retries<T>(&self, attempt: &mut dyn FnMut() -> Result<T, Failure>) -> Result<T, Fault> {
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
            .map_err(|failure| failure.fault)
    }
}

fn client() -> Result<Client, Fault> {
    // Another part of the program may have chosen it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .timeout(None)
        .connect_timeout(Duration::from_millis(SILENCE_MS_MAX))
        .build()
        .map_err(|error| Fault::new(Kind::Internal, error))
}

/// Takes a range of a file; `keep` is given the bytes as they come.
fn take_range(
    client: &Client,
    url: &str,
    range: Range<u64>,
    keep: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
) -> Result<(), Failure> {
    let header = format!("bytes={}-{}", range.start, range.end - 1);
    // One request is short: a whole minute for it means that the line is dead.
    let request = client.get(url).header(RANGE, header).timeout(Duration::from_millis(2 * SILENCE_MS_MAX));
    let mut response = request.send().map_err(|error| unreachable(url, error))?;
    match response.status() {
        StatusCode::PARTIAL_CONTENT => check_range(url, &response, &range)?,
        StatusCode::OK => {
            let message = format!("{url}: the server sends the whole file where a range was asked for");
            return Err(Fault::new(Kind::Io, message)
                .hint("serve the folder with a server that knows range requests")
                .into());
        }
        status => return Err(refused(url, status)),
    }
    let mut left = range.end - range.start;
    let mut buf = vec![0; STEP_BYTES];
    while left > 0 {
        let len = left.min(STEP_BYTES as u64) as usize;
        match response.read(&mut buf[..len]) {
            Ok(0) => return Err(broken(url, io::ErrorKind::UnexpectedEof.into())),
            Ok(len) => {
                keep(&buf[..len])?;
                left -= len as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(broken(url, error)),
        }
    }
    Ok(())
}

/// Sees to it that the range which comes is the one that was asked for.
fn check_range(url: &str, response: &Response, range: &Range<u64>) -> Result<(), Failure> {
    let given = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or("");
    if given.starts_with(&format!("bytes {}-{}/", range.start, range.end - 1)) {
        return Ok(());
    }
    let message = format!("{url}: the server sends {given:?} where {range:?} was asked for");
    Err(Fault::new(Kind::Io, message).into())
}

/// What a status other than success means.
fn refused(url: &str, status: StatusCode) -> Failure {
    let may_retry = status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT;
    let fault = Fault::new(Kind::Io, format!("{url}: the server answers {status}"));
    let fault = match status {
        StatusCode::NOT_FOUND => fault.hint("publish the image to this folder, and ask for its digest"),
        StatusCode::RANGE_NOT_SATISFIABLE => fault.hint("the published file is cut: publish the image again"),
        _ if may_retry => fault.hint("run the same command again later: what has come is kept"),
        _ => fault,
    };
    Failure { fault, may_retry }
}

fn unreachable(url: &str, error: reqwest::Error) -> Failure {
    failed(url, error.without_url())
}

/// The connection was cut.
fn broken(url: &str, error: io::Error) -> Failure {
    failed(url, error)
}

fn failed(url: &str, error: impl std::error::Error) -> Failure {
    let source: &dyn std::error::Error = &error;
    let causes = std::iter::successors(Some(source), |error| error.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    let message = format!("{url}: {}", causes.join(": "));
    let fault = Fault::new(Kind::Io, message).hint("run the same command again: what has come is kept");
    Failure { fault, may_retry: true }
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
