//! Files and block devices, as the engine reads and writes them.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;

use fluvial_delta::apply::Target;
use fluvial_delta::structure::ReadAt;

/// An open file or block device of a known length.
#[derive(Debug)]
pub struct Medium {
    file: File,
    len: u64,
}

impl Medium {
    /// Takes an open file; asks for its length.
    pub fn new(mut file: File) -> io::Result<Self> {
        // The metadata of a block device say 0; the end of a seek is right for both.
        let len = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, len })
    }
}

impl ReadAt for Medium {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }
}

impl Target for Medium {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }
}
