//! A server of static files.

use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::blocking::{Client, Response};
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, RANGE};

use crate::error::FetchError;
use crate::multipart::{self, Part};

/// A server that takes longer to be reached is given up, and one that is silent for twice as long.
const SILENCE_MS_MAX: u64 = 30_000;

/// Bytes that are taken at a time.
const STEP_BYTES: usize = 64 << 10;

/// Is given bytes, and where they stand in the file.
pub type Keep<'a> = dyn FnMut(u64, &[u8]) -> Result<(), FetchError> + 'a;

/// What a server makes of ranges.
pub enum Answer<'a> {
    /// It sends them, or some of them; they were taken.
    Ranges,
    /// It sends the whole file instead, of which nothing was taken yet.
    WholeFile(Box<WholeFile<'a>>),
}

/// A whole file that begins to come.
pub struct WholeFile<'a> {
    url: String,
    body: Counted<'a>,
}

impl WholeFile<'_> {
    /// Takes its bytes up to `end`, or up to its own end.
    pub fn take(mut self, end: u64, keep: &mut Keep<'_>) -> Result<(), FetchError> {
        let mut buf = vec![0; STEP_BYTES];
        let mut at = 0;
        while at < end {
            let len = (end - at).min(buf.len() as u64) as usize;
            match self.body.read(&mut buf[..len]) {
                Ok(0) => break,
                Ok(len) => {
                    keep(at, &buf[..len])?;
                    at += len as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(FetchError::cut(&self.url, error)),
            }
        }
        Ok(())
    }
}

/// A server, and the folder on it.
pub struct Server {
    client: Client,
    base: String,
}

/// Counts what is read.
struct Counted<'a> {
    response: Response,
    bytes: &'a AtomicU64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.response.read(buf)?;
        self.bytes.fetch_add(len as u64, Ordering::Relaxed);
        Ok(len)
    }
}

impl Server {
    /// Connects to nothing yet.
    pub fn new(base: &str, connections: usize) -> Result<Self, FetchError> {
        // Another part of the program may have chosen it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            // Of each wait, not of an answer: a slow line is no fault.
            .timeout(Duration::from_millis(2 * SILENCE_MS_MAX))
            .pool_max_idle_per_host(connections)
            .connect_timeout(Duration::from_millis(SILENCE_MS_MAX))
            .build()
            .map_err(FetchError::Client)?;
        Ok(Self { client, base: base.into() })
    }

    fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.base)
    }

    /// Reads a file, up to `limit` bytes of it.
    pub fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
        let url = self.url(name);
        let response =
            self.client.get(&url).send().map_err(|error| FetchError::cut(&url, error.without_url()))?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Refused { url, status: response.status() });
        }
        let mut bytes = Vec::new();
        response.take(limit).read_to_end(&mut bytes).map_err(|error| FetchError::cut(&url, error))?;
        Ok(bytes)
    }

    /// Takes ranges of a file, which are in order and do not touch. What comes is inside of what was asked
    /// for and between; it may be less than that. `bytes` counts all that comes.
    pub fn take<'a>(
        &self,
        name: &str,
        ranges: &[Range<u64>],
        bytes: &'a AtomicU64,
        keep: &mut Keep<'_>,
    ) -> Result<Answer<'a>, FetchError> {
        let url = self.url(name);
        let list: Vec<String> =
            ranges.iter().map(|range| format!("{}-{}", range.start, range.end - 1)).collect();
        let request = self.client.get(&url).header(RANGE, format!("bytes={}", list.join(",")));
        let response = request.send().map_err(|error| FetchError::cut(&url, error.without_url()))?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {}
            StatusCode::OK => {
                let whole = WholeFile { url, body: Counted { response, bytes } };
                return Ok(Answer::WholeFile(Box::new(whole)));
            }
            status => return Err(FetchError::Refused { url, status }),
        }
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        let boundary = multipart::boundary_of(header(CONTENT_TYPE));
        let only = multipart::range_of(header(CONTENT_RANGE));
        let hull = Part { start: ranges[0].start, end: ranges[ranges.len() - 1].end };
        let mut body = BufReader::new(Counted { response, bytes });
        let taken = match (boundary, only) {
            (Some(boundary), _) => multipart::take(&mut body, &boundary, hull, keep),
            (None, Some(part)) if hull.holds(part) => multipart::take_part(&mut body, part, keep),
            _ => return Err(self.sends_others(name)),
        };
        match taken {
            Ok(()) => {
                // Up to its end: the connection is then free at once, and no other one is opened.
                let _ = body.read(&mut [0; 64]);
                Ok(Answer::Ranges)
            }
            Err(multipart::Failed::Read(error)) => Err(FetchError::cut(&url, error)),
            Err(multipart::Failed::Keep(error)) => Err(error),
            Err(multipart::Failed::Form) => Err(self.sends_others(name)),
        }
    }

    /// What is to be said of a server that sends what was not asked for.
    pub fn sends_others(&self, name: &str) -> FetchError {
        FetchError::OtherRanges { url: self.url(name) }
    }
}
