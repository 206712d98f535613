//! Memory that a disk takes without a copy.

use std::io;
use std::os::unix::fs::FileExt as _;

use super::super::medium::Medium;

/// What a direct write or read begins and ends with: the page of most systems, and no disk's sector is longer.
pub const ALIGN_BYTES: u64 = 4096;

/// Bytes that stand where direct writing and reading want them.
#[derive(Debug)]
pub struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    len: usize,
}

impl Buffer {
    /// Zeros. Memory: [`ALIGN_BYTES`] more than they are.
    pub fn new(len: usize) -> Self {
        let bytes = vec![0; len + ALIGN_BYTES as usize].into_boxed_slice();
        let start = bytes.as_ptr().align_offset(ALIGN_BYTES as usize).min(ALIGN_BYTES as usize);
        Self { bytes, start, len }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }

    /// The bytes, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
}

/// Reads the first `len` bytes of a buffer from the disk, past the system's memory where the medium can do that.
///
/// # Errors
/// What the medium reports.
pub fn read(medium: &Medium, offset: u64, buffer: &mut Buffer, len: usize) -> io::Result<()> {
    use fluvial_delta::structure::ReadAt as _;
    let bytes = &mut buffer.bytes_mut()[..len];
    if let Some(file) = medium.direct()
        && offset.is_multiple_of(ALIGN_BYTES)
        && (len as u64).is_multiple_of(ALIGN_BYTES)
        && file.read_exact_at(bytes, offset).is_ok()
    {
        return Ok(());
    }
    medium.read_at(offset, bytes)
}
