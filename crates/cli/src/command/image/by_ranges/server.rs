//! A server of static files.

use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::blocking::{Client, Response};
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, RANGE};

use super::multipart::{self, Part};
use crate::fault::{Fault, Kind};

/// A server that takes longer to be reached is given up, and one whose answer takes twice as long.
const SILENCE_MS_MAX: u64 = 30_000;

/// Is given bytes, and where they stand in the file.
pub type Keep<'a> = dyn FnMut(u64, &[u8]) -> Result<(), Fault> + 'a;

/// A try that failed, and whether another one may work.
pub struct Failure {
    pub fault: Fault,
    pub may_retry: bool,
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self { fault, may_retry: false }
    }
}

/// What a server makes of ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It sends them, or some of them.
    Ranges,
    /// It sends the whole file instead, of which nothing was taken.
    WholeFile,
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
    pub fn new(base: &str, connections: usize) -> Result<Self, Fault> {
        // Another part of the program may have chosen it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .timeout(None)
            .pool_max_idle_per_host(connections)
            .connect_timeout(Duration::from_millis(SILENCE_MS_MAX))
            .build()
            .map_err(|error| Fault::new(Kind::Internal, error))?;
        Ok(Self { client, base: base.into() })
    }

    fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.base)
    }

    /// Reads a file, up to `limit` bytes of it.
    pub fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, Failure> {
        let url = self.url(name);
        let response = self.client.get(&url).send().map_err(|error| failed(&url, error.without_url()))?;
        if response.status() != StatusCode::OK {
            return Err(refused(&url, response.status()));
        }
        let mut bytes = Vec::new();
        response.take(limit).read_to_end(&mut bytes).map_err(|error| failed(&url, error))?;
        Ok(bytes)
    }

    /// Takes ranges of a file, which are in order and do not touch. What comes is inside of what was asked
    /// for and between; it may be less than that. `bytes` counts all that comes.
    pub fn take(
        &self,
        name: &str,
        ranges: &[Range<u64>],
        bytes: &AtomicU64,
        keep: &mut Keep<'_>,
    ) -> Result<Answer, Failure> {
        let url = self.url(name);
        let list: Vec<String> =
            ranges.iter().map(|range| format!("{}-{}", range.start, range.end - 1)).collect();
        let request = self.client.get(&url).header(RANGE, format!("bytes={}", list.join(",")));
        // An answer is short. What has come of one that takes longer is kept.
        let request = request.timeout(Duration::from_millis(2 * SILENCE_MS_MAX));
        let response = request.send().map_err(|error| failed(&url, error.without_url()))?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {}
            StatusCode::OK => return Ok(Answer::WholeFile),
            status => return Err(refused(&url, status)),
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
            Err(multipart::Failed::Read(error)) => Err(failed(&url, error)),
            Err(multipart::Failed::Keep(fault)) => Err(fault.into()),
            Err(multipart::Failed::Form) => Err(self.sends_others(name)),
        }
    }

    /// What is to be said of a server that sends the whole file where one range was asked for.
    pub fn knows_no_ranges(&self, name: &str) -> Failure {
        let url = self.url(name);
        let message = format!("{url}: the server sends the whole file where a range was asked for");
        Fault::new(Kind::Io, message).hint("serve the folder with a server that knows range requests").into()
    }

    /// What is to be said of a server that sends what was not asked for.
    pub fn sends_others(&self, name: &str) -> Failure {
        let url = self.url(name);
        Fault::new(Kind::Io, format!("{url}: the server sends other ranges than were asked for")).into()
    }
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

/// The server was not reached, or the connection was cut.
fn failed(url: &str, error: impl std::error::Error) -> Failure {
    let source: &dyn std::error::Error = &error;
    let causes = std::iter::successors(Some(source), |error| error.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    let message = format!("{url}: {}", causes.join(": "));
    let fault = Fault::new(Kind::Io, message).hint("run the same command again: what has come is kept");
    Failure { fault, may_retry: true }
}
