//! The archive: cpio "new ASCII" with checksums (`070702`), written and read; without (`070701`), read.
//!
//! Each member has a header of [`HEADER_BYTES`], its name and its content, both filled up to four bytes. The
//! format is that of SVR4 (`cpio(5)`); the checksum is the sum of the content's bytes, modulo 2^32.
//!
//! The crate `cpio` takes names and lengths as they come and checks no checksum, so there would be more code
//! around it than there is here.

mod error;
mod header;
mod reader;
mod writer;

use std::io;

use fluvial_delta::structure::ReadAt;

pub use error::CpioError;
pub use reader::{CpioReader, Member};
pub use writer::CpioWriter;

/// The length of a header in bytes, with its magic.
pub const HEADER_BYTES: usize = 110;
/// The name that ends an archive.
const TRAILER: &str = "TRAILER!!!";
/// Bytes that are read at a time.
const STEP_BYTES: usize = 64 << 10;

/// The sum of bytes, as headers have it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checksum(pub u32);

impl Checksum {
    /// Adds what comes next.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |sum, &byte| sum.wrapping_add(u32::from(byte)));
    }

    /// Sums up a content. Memory: 64 KiB.
    ///
    /// # Errors
    /// Whatever the medium reports.
    pub fn of(content: &dyn ReadAt) -> io::Result<Self> {
        let mut sum = Self::default();
        for_each_step(content, |bytes| {
            sum.update(bytes);
            Ok::<_, io::Error>(())
        })?;
        Ok(sum)
    }
}

/// Reads a content from its start to its end, step by step.
pub(crate) fn for_each_step<E: From<io::Error>>(
    content: &dyn ReadAt,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut buffer = vec![0; STEP_BYTES.min(content.len() as usize)];
    let mut at = 0;
    while at < content.len() {
        let len = (content.len() - at).min(buffer.len() as u64) as usize;
        content.read_at(at, &mut buffer[..len])?;
        each(&buffer[..len])?;
        at += len as u64;
    }
    Ok(())
}

/// Bytes that fill up a length to four.
fn padding(len: u64) -> usize {
    (len.wrapping_neg() % 4) as usize
}

/// Checks what a name may be: one component of a path, readable.
fn check_name(name: &str) -> Result<(), CpioError> {
    let is_wrong = name.is_empty()
        || name.len() > crate::limits::NAME_BYTES_MAX
        || matches!(name, "." | ".." | TRAILER)
        || name.contains('/')
        || name.contains(char::is_control);
    if is_wrong { Err(CpioError::Name { name: name.escape_debug().take(64).collect() }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
