//! The two images, read from front to back.

use std::io::{self, Read};

use fluvial_bundle::Chunker;
use fluvial_delta::structure::ReadAt;

use crate::error::{Side, SimulateError};

/// Hears how many more bytes are done, and answers whether to go on.
pub type Watch<'a> = &'a (dyn Fn(u64) -> bool + Sync);

/// What devices have, and what they shall have.
#[derive(Clone, Copy)]
pub struct Pair<'a> {
    /// What they have.
    pub old: &'a dyn ReadAt,
    /// What they shall have.
    pub new: &'a dyn ReadAt,
    /// Hears of every byte that is read in order.
    pub watch: Watch<'a>,
}

impl<'a> Pair<'a> {
    pub(crate) fn side(&self, side: Side) -> &'a dyn ReadAt {
        match side {
            Side::Old => self.old,
            Side::New => self.new,
        }
    }

    /// One of them, to be read from front to back.
    pub(crate) fn stream(&self, side: Side) -> Stream<'a> {
        Stream { bytes: self.side(side), at: 0, watch: self.watch }
    }

    /// Reads a part of one of them.
    pub(crate) fn read(&self, side: Side, offset: u64, len: usize) -> Result<Vec<u8>, SimulateError> {
        let mut bytes = vec![0; len];
        self.side(side).read_at(offset, &mut bytes).map_err(|source| SimulateError::Read { side, source })?;
        Ok(bytes)
    }

    /// Cuts one of them.
    pub(crate) fn cut(&self, side: Side, chunker: Chunker) -> Result<Vec<Piece>, SimulateError> {
        cut(self.stream(side), chunker).map_err(|error| failed(side, error))
    }
}

/// A chunk: where it stands, and the BLAKE3 digest of its bytes. Digests of other systems are as long, and
/// tell the same chunks apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Where it stands in its stream, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u32,
    pub digest: [u8; 32],
}

/// Cuts a stream. Memory: 48 bytes for each chunk.
pub fn cut(stream: impl Read, chunker: Chunker) -> io::Result<Vec<Piece>> {
    let mut chunks = chunker.chunks(stream);
    let (mut pieces, mut offset) = (Vec::new(), 0);
    while let Some(bytes) = chunks.next_chunk()? {
        pieces.push(Piece { offset, len: bytes.len() as u32, digest: *blake3::hash(bytes).as_bytes() });
        offset += bytes.len() as u64;
    }
    Ok(pieces)
}

/// A stream from its start to its end, that tells how reading goes on.
pub struct Stream<'a> {
    bytes: &'a dyn ReadAt,
    at: u64,
    watch: Watch<'a>,
}

impl<'a> Stream<'a> {
    pub fn new(bytes: &'a dyn ReadAt, watch: Watch<'a>) -> Self {
        Self { bytes, at: 0, watch }
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = (self.bytes.len() - self.at).min(buf.len() as u64) as usize;
        self.bytes.read_at(self.at, &mut buf[..len])?;
        self.at += len as u64;
        // Asking again after this error would go on.
        if (self.watch)(len as u64) { Ok(len) } else { Err(io::ErrorKind::ConnectionAborted.into()) }
    }
}

/// What a [`Stream`] that is read reports, told apart.
pub fn failed(side: Side, source: io::Error) -> SimulateError {
    if source.kind() == io::ErrorKind::ConnectionAborted {
        SimulateError::Cancelled
    } else {
        SimulateError::Read { side, source }
    }
}
