//! A run of a stream, as a stream of its own.

use std::io;
use std::sync::Arc;

use fluvial_delta::header::Sha256Digest;
use fluvial_delta::structure::{Extent, ReadAt};
use sha2::{Digest as _, Sha256};

/// Bytes that are hashed at a time: they are still in the processor's cache when they are.
const STEP_BYTES: u64 = 256 << 10;

/// Shares the stream that it is a part of: a file in a layer, a blob in an archive.
#[derive(Clone)]
pub struct Slice {
    stream: Arc<dyn ReadAt>,
    extent: Extent,
}

impl Slice {
    /// The bytes of `extent`, or those that there are of them.
    pub fn new(stream: Arc<dyn ReadAt>, extent: Extent) -> Self {
        let offset = extent.offset.min(stream.len());
        let len = extent.len.min(stream.len() - offset);
        Self { stream, extent: Extent { offset, len } }
    }

    /// All of a stream.
    pub fn whole(stream: Arc<dyn ReadAt>) -> Self {
        let extent = Extent { offset: 0, len: stream.len() };
        Self { stream, extent }
    }

    /// A part of it.
    #[must_use]
    pub fn part(&self, extent: Extent) -> Self {
        let offset = extent.offset.min(self.extent.len);
        let len = extent.len.min(self.extent.len - offset);
        Self { stream: Arc::clone(&self.stream), extent: Extent { offset: self.extent.offset + offset, len } }
    }

    /// Its SHA-256.
    ///
    /// # Errors
    /// What the system reports.
    pub fn sha256(&self) -> io::Result<Sha256Digest> {
        let mut hash = Sha256::new();
        let mut buf = vec![0; STEP_BYTES as usize];
        let mut at = 0;
        while at < self.len() {
            let step = &mut buf[..(self.len() - at).min(STEP_BYTES) as usize];
            self.read_at(at, step)?;
            hash.update(&*step);
            at += step.len() as u64;
        }
        Ok(hash.finalize().into())
    }

    /// Reads it from its start to its end.
    pub fn reader(&self) -> impl io::Read + '_ {
        Reader { slice: self, at: 0 }
    }
}

impl std::fmt::Debug for Slice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slice").field("extent", &self.extent).finish_non_exhaustive()
    }
}

impl ReadAt for Slice {
    fn len(&self) -> u64 {
        self.extent.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > self.extent.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.stream.read_at(self.extent.offset + offset, buf)
    }
}

struct Reader<'a> {
    slice: &'a Slice,
    at: u64,
}

impl io::Read for Reader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = (self.slice.len() - self.at).min(buf.len() as u64) as usize;
        self.slice.read_at(self.at, &mut buf[..len])?;
        self.at += len as u64;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_part_ends_where_the_whole_does() {
        let stream: Arc<dyn ReadAt> = Arc::new(b"0123456789".to_vec());
        let slice = Slice::new(stream, Extent { offset: 2, len: 5 });
        let mut text = String::new();
        slice.reader().read_to_string(&mut text).unwrap();
        assert_eq!(text, "23456");
        assert_eq!(slice.part(Extent { offset: 3, len: 100 }).len(), 2);
        assert_eq!(slice.part(Extent { offset: 9, len: 1 }).len(), 0);
        assert!(slice.read_at(4, &mut [0; 2]).is_err(), "the bytes behind are not its own");
    }
}
