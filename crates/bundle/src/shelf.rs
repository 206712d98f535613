//! Where what was fetched is kept.

use std::io;

/// Bytes of published chunk files that were fetched, by where they stand there.
pub trait Shelf: Sync {
    /// Fills `buf` with the bytes at `offset` of a payload's chunk file.
    ///
    /// # Errors
    /// Whatever the medium reports. What was never fetched may come as an error or as any bytes: all that
    /// comes is checked.
    fn read(&self, payload: usize, offset: u64, buf: &mut [u8]) -> io::Result<()>;
}
