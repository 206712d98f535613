//! Writing an archive.

use std::collections::HashSet;
use std::io::Write;

use fluvial_delta::structure::ReadAt;

use super::header::Header;
use super::{Checksum, CpioError, TRAILER, check_name, for_each_step, padding};
use crate::limits::{FILE_BYTES_MAX, FILES_MAX};

/// Writes an archive, file by file. Memory: 64 KiB, and the names.
#[derive(Debug)]
pub struct CpioWriter<W> {
    out: W,
    names: HashSet<String>,
}

impl<W: Write> CpioWriter<W> {
    /// Begins an archive.
    pub fn new(out: W) -> Self {
        Self { out, names: HashSet::new() }
    }

    /// Adds a file, whose checksum was made before ([`Checksum::of`]).
    ///
    /// # Errors
    /// [`CpioError::Checksum`] if the content has changed since, names and lengths that no archive has, and
    /// whatever the media report.
    pub fn add(&mut self, name: &str, content: &dyn ReadAt, checksum: Checksum) -> Result<(), CpioError> {
        check_name(name)?;
        if self.names.len() == FILES_MAX {
            return Err(CpioError::TooMany);
        }
        let len = content.len();
        if len > FILE_BYTES_MAX {
            return Err(CpioError::Length { name: name.to_owned(), len });
        }
        if !self.names.insert(name.to_owned()) {
            return Err(CpioError::Duplicate { name: name.to_owned() });
        }
        let header = Header::new(self.names.len() as u32, name, len as u32, checksum.0);
        self.out.write_all(&header.to_bytes(name))?;
        let mut sum = Checksum::default();
        for_each_step(content, |bytes| {
            sum.update(bytes);
            self.out.write_all(bytes)
        })?;
        if sum != checksum {
            return Err(CpioError::Checksum { name: name.to_owned() });
        }
        self.out.write_all(&[0; 3][..padding(len)])?;
        Ok(())
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// Whatever the medium reports.
    pub fn finish(mut self) -> Result<W, CpioError> {
        let trailer = Header { mode: 0, ..Header::new(0, TRAILER, 0, 0) };
        self.out.write_all(&trailer.to_bytes(TRAILER))?;
        self.out.flush()?;
        Ok(self.out)
    }
}
