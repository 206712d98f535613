//! Answers with several ranges: `multipart/byteranges` (RFC 9110, 14.6; RFC 2046, 5.1).

use std::io::{self, BufRead, Read as _};

use crate::error::FetchError;
use crate::server::Keep;

/// A line between parts at most, in bytes.
const LINE_BYTES_MAX: u64 = 1024;
/// Lines between two parts at most.
const LINES_MAX: usize = 32;
/// Bytes that are taken at a time.
const STEP_BYTES: usize = 64 << 10;

/// A range of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub start: u64,
    pub end: u64,
}

impl Part {
    /// Whether all of `other` is in it.
    pub fn holds(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

/// Why an answer could not be taken.
#[derive(Debug)]
pub enum Failed {
    /// The connection.
    Read(io::Error),
    /// What was to be done with the bytes.
    Keep(FetchError),
    /// It is not what was asked for.
    Form,
}

/// The boundary that a `Content-Type` tells, if it is that of several ranges.
pub fn boundary_of(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/byteranges") {
        return None;
    }
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then_some(value.trim().trim_matches('"'))
    })?;
    (!value.is_empty()).then(|| value.into())
}

/// The range that a `Content-Range` tells.
pub fn range_of(content_range: &str) -> Option<Part> {
    let (range, _) = content_range.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (start, last) = (first.trim().parse::<u64>().ok()?, last.trim().parse::<u64>().ok()?);
    let end = last.checked_add(1)?;
    (start < end).then_some(Part { start, end })
}

/// Takes all parts of an answer, which must be in order and inside of `hull`.
pub fn take(body: &mut dyn BufRead, boundary: &str, hull: Part, keep: &mut Keep<'_>) -> Result<(), Failed> {
    let mut at = hull.start;
    while let Some(part) = next_part(body, boundary)? {
        if part.start < at || part.end > hull.end {
            return Err(Failed::Form);
        }
        at = part.end;
        take_part(body, part, keep)?;
    }
    Ok(())
}

/// Takes the bytes of a part.
pub fn take_part(body: &mut dyn BufRead, part: Part, keep: &mut Keep<'_>) -> Result<(), Failed> {
    let mut buf = vec![0; STEP_BYTES.min((part.end - part.start) as usize)];
    let mut at = part.start;
    while at < part.end {
        let len = (part.end - at).min(buf.len() as u64) as usize;
        match body.read(&mut buf[..len]) {
            Ok(0) => return Err(Failed::Read(io::ErrorKind::UnexpectedEof.into())),
            Ok(len) => {
                keep(at, &buf[..len]).map_err(Failed::Keep)?;
                at += len as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failed::Read(error)),
        }
    }
    Ok(())
}

/// Reads up to the bytes of the next part; `None` at the end.
fn next_part(body: &mut dyn BufRead, boundary: &str) -> Result<Option<Part>, Failed> {
    let (mut is_inside, mut part) = (false, None);
    for _ in 0..LINES_MAX {
        let line = line(body)?;
        if !is_inside {
            match line.strip_prefix("--").and_then(|line| line.strip_prefix(boundary)) {
                Some("--") => return Ok(None),
                Some(_) => is_inside = true,
                // A part ends with a line break, and a few words may stand before the first one.
                None => {}
            }
        } else if line.is_empty() {
            return part.map(Some).ok_or(Failed::Form);
        } else if let Some((name, value)) = line.split_once(':')
            && name.trim().eq_ignore_ascii_case("content-range")
        {
            part = range_of(value);
        }
    }
    Err(Failed::Form)
}

/// Reads a line without its end.
fn line(body: &mut dyn BufRead) -> Result<String, Failed> {
    let mut line = Vec::new();
    body.take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(Failed::Read)?;
    match line.pop() {
        None => return Err(Failed::Read(io::ErrorKind::UnexpectedEof.into())),
        // The last line may have no end.
        Some(last) if last != b'\n' => line.push(last),
        Some(_) => {}
    }
    Ok(String::from_utf8_lossy(&line).trim_end().into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BODY: &str = "\r\n--xyz\r\nContent-Type: application/octet-stream\r\ncontent-range: bytes 3-5/99\r\n\r\nabc\r\n--xyz\r\nContent-Range: bytes 8-8/99\r\n\r\n\n\r\n--xyz--\r\n";

    type Taken = Vec<(u64, Vec<u8>)>;

    fn taken(body: &[u8], hull: Part) -> (Taken, Result<(), Failed>) {
        let mut list = Vec::new();
        let mut keep = |at, bytes: &[u8]| {
            list.push((at, bytes.to_vec()));
            Ok(())
        };
        let result = take(&mut &*body, "xyz", hull, &mut keep);
        (list, result)
    }

    #[test]
    fn parts_are_taken_where_they_stand() {
        let (list, result) = taken(BODY.as_bytes(), Part { start: 3, end: 9 });
        assert!(result.is_ok());
        assert_eq!(list, [(3, b"abc".to_vec()), (8, b"\n".to_vec())]);
        let (list, result) = taken(BODY.as_bytes(), Part { start: 3, end: 8 });
        assert!(matches!(result, Err(Failed::Form)));
        assert_eq!(list.len(), 1, "what was asked for is kept");
        let (_, result) = taken(&BODY.as_bytes()[..80], Part { start: 3, end: 9 });
        assert!(matches!(result, Err(Failed::Read(_))));
    }

    #[test]
    fn headers_are_read() {
        assert_eq!(boundary_of("multipart/byteranges; boundary=\"a b\""), Some("a b".into()));
        assert_eq!(boundary_of("Multipart/ByteRanges;x=1;Boundary=ab"), Some("ab".into()));
        assert_eq!(boundary_of("text/plain; boundary=ab"), None);
        assert_eq!(range_of("bytes 0-0/*"), Some(Part { start: 0, end: 1 }));
        for wrong in ["bytes 5-4/9", "bytes */9", "items 0-1/2", "bytes 0-18446744073709551615/1"] {
            assert_eq!(range_of(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_answer_stays_inside(noise: Vec<u8>, at in 0_usize..200, byte: u8) {
            let mut body = BODY.as_bytes().to_vec();
            let at = at % body.len();
            body[at] = byte;
            for body in [&noise, &body] {
                for (at, bytes) in taken(body, Part { start: 3, end: 9 }).0 {
                    prop_assert!(at >= 3 && at + bytes.len() as u64 <= 9);
                }
            }
        }
    }
}
