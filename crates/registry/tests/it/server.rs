//! A registry of one repository, `app`, that does what a test wants: it serves blobs and manifests, and
//! misbehaves once for each fault that it is given.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use fluvial_registry::{Repository, Settings};
use sha2::{Digest as _, Sha256};

/// How a request for a blob goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends after so many bytes of the body.
    CutAfter(usize),
    /// A status with no body.
    Status(u16),
    /// The whole blob, whatever range was asked for.
    IgnoreRange,
    /// A byte of the body is another one.
    ByteFlipped(usize),
    /// More bytes than there are, with a length.
    LongerBy(usize),
    /// More bytes than there are, with no length.
    LongerUntold(usize),
    /// A partial answer, of another part.
    OtherRange,
}

/// A request, as a test wants to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub path: String,
    pub range: Option<String>,
    pub authorization: Option<String>,
    /// Bytes of the body that were sent.
    pub sent: usize,
}

#[derive(Default)]
struct State {
    blobs: BTreeMap<String, Vec<u8>>,
    /// Other paths: status line and headers, body.
    documents: BTreeMap<String, (String, Vec<u8>)>,
    faults: VecDeque<Fault>,
    seen: Vec<Seen>,
    token: Option<String>,
}

/// The server; it ends with the process.
#[derive(Clone)]
pub struct FaultServer {
    pub host: String,
    state: Arc<Mutex<State>>,
}

pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(bytes))
}

pub fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Bytes that are not the same at any two places.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| byte()).collect()
}

/// Quick, so that tests are.
pub fn hasty(retry_count: u32) -> Settings {
    Settings { retry_count, retry_interval_ms: 8, ..Settings::default() }
}

impl FaultServer {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let server = Self { host, state: Arc::default() };
        let accepting = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = accepting.clone();
                thread::spawn(move || server.serve(&stream));
            }
        });
        server
    }

    pub fn put_blob(&self, bytes: &[u8]) {
        self.state.lock().unwrap().blobs.insert(digest(bytes), bytes.to_vec());
    }

    /// Serves a document below `/v2/app/`.
    pub fn put(&self, path: &str, media_type: &str, headers: &[(&str, &str)], body: &[u8]) {
        let len = body.len();
        let mut head = format!("HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {len}\r\n");
        for (key, value) in headers {
            write!(head, "{key}: {value}\r\n").unwrap();
        }
        let document = (head + "\r\n", body.to_vec());
        self.state.lock().unwrap().documents.insert(format!("/v2/app/{path}"), document);
    }

    /// The next requests for blobs go wrong like this.
    pub fn misbehave(&self, faults: &[Fault]) {
        self.state.lock().unwrap().faults.extend(faults);
    }

    /// From now on, only this token opens.
    pub fn require(&self, token: &str) {
        self.state.lock().unwrap().token = Some(token.into());
    }

    /// What was asked for blobs and documents since the last call.
    pub fn seen(&self) -> Vec<Seen> {
        let mut seen = std::mem::take(&mut self.state.lock().unwrap().seen);
        seen.retain(|one| one.path != "/v2/" && !one.path.starts_with("/token"));
        seen
    }

    pub fn repository(&self, retry_count: u32) -> Repository {
        let reference = format!("{}/app:1", self.host).parse().unwrap();
        Repository::open(&reference, hasty(retry_count)).unwrap()
    }

    fn serve(&self, stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let mut first = String::new();
            reader.read_line(&mut first).ok().filter(|len| *len > 0)?;
            let path = first.split_whitespace().nth(1)?.to_owned();
            let (mut range, mut authorization, mut len) = (None, None, 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).ok()?;
                let Some((key, value)) = line.trim().split_once(':') else { break };
                match key.to_ascii_lowercase().as_str() {
                    "range" => range = Some(value.trim().to_owned()),
                    "authorization" => authorization = Some(value.trim().to_owned()),
                    "content-length" => len = value.trim().parse().ok()?,
                    _ => {}
                }
            }
            reader.read_exact(&mut vec![0; len]).ok()?;
            let (answer, body, is_cut) = self.answer(&path, range.as_deref(), authorization.as_deref());
            let seen = Seen { path, range, authorization, sent: body.len() };
            self.state.lock().unwrap().seen.push(seen);
            let mut stream = stream;
            stream.write_all(answer.as_bytes()).ok()?;
            stream.write_all(&body).ok()?;
            if is_cut {
                stream.shutdown(std::net::Shutdown::Both).ok()?;
                return None;
            }
        }
    }

    /// Status line and headers, body, and whether the connection ends with them.
    fn answer(
        &self,
        path: &str,
        range: Option<&str>,
        authorization: Option<&str>,
    ) -> (String, Vec<u8>, bool) {
        let mut state = self.state.lock().unwrap();
        let plain =
            |status: &str| (format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n"), Vec::new(), false);
        if path.starts_with("/token") {
            let body = format!(r#"{{"token": "{}"}}"#, state.token.clone().unwrap_or_default()).into_bytes();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            return (head, body, false);
        }
        if let Some(token) =
            state.token.clone().filter(|token| authorization != Some(&format!("Bearer {token}")))
        {
            let _ = token;
            let challenge = format!("Bearer realm=\"http://{}/token\",service=\"test\"", self.host);
            let head =
                format!("HTTP/1.1 401 x\r\nWww-Authenticate: {challenge}\r\nContent-Length: 0\r\n\r\n");
            return (head, Vec::new(), false);
        }
        if path == "/v2/" {
            return plain("200");
        }
        let document = path.split('?').next().and_then(|path| state.documents.get(path)).cloned();
        if let Some((head, body)) = document {
            return (head, body, false);
        }
        let blob = path.strip_prefix("/v2/app/blobs/").and_then(|digest| state.blobs.get(digest)).cloned();
        let Some(blob) = blob else { return plain("404") };
        served(&blob, range, state.faults.pop_front())
    }
}

/// A blob, or the range of it that was asked for, with a fault.
fn served(blob: &[u8], range: Option<&str>, fault: Option<Fault>) -> (String, Vec<u8>, bool) {
    if let Some(Fault::Status(status)) = fault {
        return (format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n"), Vec::new(), false);
    }
    let range = range.filter(|_| fault != Some(Fault::IgnoreRange)).map(|range| {
        let (from, to) = range.trim_start_matches("bytes=").split_once('-').unwrap();
        (from.parse().unwrap(), to.parse().map_or(blob.len(), |to: usize| blob.len().min(to + 1)))
    });
    let mut head = "HTTP/1.1 200 OK\r\n".to_owned();
    let mut body = blob.to_vec();
    if let Some((from, to)) = range {
        let told = if fault == Some(Fault::OtherRange) { from - 1 } else { from };
        head = format!("HTTP/1.1 206 x\r\nContent-Range: bytes {told}-{}/{}\r\n", to - 1, blob.len());
        body = blob[from..to].to_vec();
    }
    let mut is_cut = false;
    let mut len = Some(body.len());
    match fault {
        Some(Fault::CutAfter(bytes)) => {
            body.truncate(bytes);
            is_cut = true;
        }
        Some(Fault::ByteFlipped(at)) => body[at] ^= 1,
        Some(Fault::LongerBy(bytes)) => {
            body.extend(vec![0; bytes]);
            len = Some(body.len());
        }
        Some(Fault::LongerUntold(bytes)) => {
            body.extend(vec![0; bytes]);
            (len, is_cut) = (None, true);
        }
        _ => {}
    }
    if let Some(len) = len {
        write!(head, "Content-Length: {len}\r\n").unwrap();
    }
    (head + "\r\n", body, is_cut)
}
