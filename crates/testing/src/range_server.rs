//! A server of static files that knows ranges, counts, and misbehaves on demand.

use std::collections::HashSet;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What goes wrong with requests for ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeFault {
    /// Nothing.
    None,
    /// The first requests, so many, get this status.
    Status(u16, usize),
    /// All of them get the whole file.
    WholeFile,
    /// All of them get the whole file, of which the first ones, so many, are cut in the middle.
    WholeFileCut(usize),
    /// Requests for more ranges than this get the whole file.
    RangesMax(usize),
    /// Of several ranges only the first one is sent.
    FirstRange,
    /// The second part of an answer is another range than was asked for.
    OtherRange,
    /// The first ones, so many, are cut in the middle of the answer.
    Cut(usize),
    /// All behind so many are cut before the answer.
    Gone(usize),
    /// The last byte of each answer is flipped.
    LastByteFlipped,
}

/// What is counted.
#[derive(Debug, Default)]
pub struct RangeCounts {
    /// Requests that asked for ranges.
    pub range_requests: AtomicUsize,
    /// Bytes of answers.
    pub body_bytes: AtomicUsize,
    open: AtomicUsize,
    /// Connections at a time, at most.
    pub open_max: AtomicUsize,
    /// Ranges that were answered in full.
    pub answered: Mutex<Vec<(String, u64, u64)>>,
}

/// Serves a folder until the test's process ends.
#[derive(Debug)]
pub struct RangeServer {
    /// Where its files stand.
    pub base: String,
    /// What it has counted so far.
    pub counts: Arc<RangeCounts>,
}

impl RangeServer {
    /// Starts it at a free port of this machine.
    ///
    /// # Errors
    /// Whatever the machine reports.
    pub fn start(folder: &Path, fault: RangeFault) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let base = format!("http://{}", listener.local_addr()?);
        let counts = Arc::new(RangeCounts::default());
        let (shared, folder) = (Arc::clone(&counts), folder.to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (counts, folder) = (Arc::clone(&shared), folder.clone());
                let open = counts.open.fetch_add(1, Ordering::SeqCst) + 1;
                counts.open_max.fetch_max(open, Ordering::SeqCst);
                std::thread::spawn(move || {
                    // A client that goes away ends its connection: that is no fault of the server.
                    let _ = stream.and_then(|stream| serve(&stream, &folder, fault, &counts));
                    counts.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Ok(Self { base, counts })
    }

    /// How many bytes of files were sent.
    pub fn body_bytes(&self) -> usize {
        self.counts.body_bytes.load(Ordering::SeqCst)
    }

    /// Whether a range was answered twice.
    pub fn has_repeated(&self) -> bool {
        let answered = self.counts.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.iter().collect::<HashSet<_>>().len() < answered.len()
    }
}

fn serve(stream: &TcpStream, folder: &Path, fault: RangeFault, counts: &RangeCounts) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut out = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            if header.trim().is_empty() {
                break;
            }
            if let Some(value) = header.to_lowercase().strip_prefix("range: bytes=") {
                let parse = |range: &str| {
                    let (from, to) = range.trim().split_once('-')?;
                    Some((from.parse().ok()?, to.parse().ok()?))
                };
                let wrong = || io::Error::other("a request for what is no range");
                ranges = value.split(',').map(parse).collect::<Option<_>>().ok_or_else(wrong)?;
            }
        }
        let Ok(bytes) = std::fs::read(PathBuf::from(folder).join(&path)) else {
            out.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        };
        let number = (!ranges.is_empty()).then(|| counts.range_requests.fetch_add(1, Ordering::SeqCst));
        match (fault, number) {
            (RangeFault::Status(status, times), Some(number)) if number < times => {
                write!(out, "HTTP/1.1 {status} Fault\r\nContent-Length: 0\r\n\r\n")?;
                continue;
            }
            (RangeFault::Gone(times), Some(number)) if number >= times => return Ok(()),
            _ => {}
        }
        match fault {
            RangeFault::WholeFile | RangeFault::WholeFileCut(_) => ranges.clear(),
            RangeFault::RangesMax(max) if ranges.len() > max => ranges.clear(),
            RangeFault::FirstRange => ranges.truncate(1),
            _ => {}
        }
        // A range may end behind the file (RFC 9110, 14.1.2), and must not begin there.
        for range in &mut ranges {
            range.1 = range.1.min((bytes.len() as u64).saturating_sub(1));
        }
        if ranges.iter().any(|(from, to)| from > to || *from >= bytes.len() as u64) {
            out.write_all(b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        }
        let part = |(from, to): (u64, u64)| &bytes[from as usize..=to as usize];
        let mut body = match ranges[..] {
            [] => bytes.clone(),
            [one] => part(one).to_vec(),
            _ => {
                let mut body = Vec::new();
                for (index, &(from, to)) in ranges.iter().enumerate() {
                    let told =
                        if fault == RangeFault::OtherRange && index == 1 { from + 1_000_000 } else { from };
                    let end = told + to - from;
                    write!(body, "\r\n--part\r\nContent-Range: bytes {told}-{end}/{}\r\n\r\n", bytes.len())?;
                    body.extend_from_slice(part((from, to)));
                }
                body.extend_from_slice(b"\r\n--part--\r\n");
                body
            }
        };
        if fault == RangeFault::LastByteFlipped && !ranges.is_empty() {
            let last = if ranges.len() > 1 { b"\r\n--part--\r\n".len() } else { 0 } + 1;
            let at = body.len() - last;
            body[at] ^= 1;
        }
        match ranges[..] {
            [] => write!(out, "HTTP/1.1 200 OK\r\n")?,
            [(from, to)] => write!(
                out,
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{to}/{}\r\n",
                bytes.len()
            )?,
            _ => write!(
                out,
                "HTTP/1.1 206 Partial Content\r\nContent-Type: multipart/byteranges; boundary=part\r\n"
            )?,
        }
        write!(out, "Content-Length: {}\r\n\r\n", body.len())?;
        let is_cut = matches!(
            (fault, number),
            (RangeFault::Cut(times) | RangeFault::WholeFileCut(times), Some(number)) if number < times
        );
        let sent = if is_cut { &body[..body.len() / 2] } else { &body[..] };
        out.write_all(sent)?;
        counts.body_bytes.fetch_add(sent.len(), Ordering::SeqCst);
        if is_cut {
            return Ok(());
        }
        let answered = ranges.into_iter().map(|(from, to)| (path.clone(), from, to));
        counts.answered.lock().unwrap_or_else(PoisonError::into_inner).extend(answered);
    }
}
