//! Temporary storage on disk, beside the result: `/tmp` is memory on many devices.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use fluvial_delta::scratch::{Scratch, ScratchStore};
use fluvial_delta::structure::ReadAt;

/// Makes temporary files in a folder. They have no name: nothing is left behind, however the
/// program ends.
#[derive(Debug)]
pub struct DiskScratch {
    folder: PathBuf,
}

impl DiskScratch {
    /// Makes its files in `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }
}

impl ScratchStore for DiskScratch {
    fn create(&self) -> io::Result<Box<dyn Scratch>> {
        Ok(Box::new(ScratchFile { file: tempfile::tempfile_in(&self.folder)?, len: 0 }))
    }
}

struct ScratchFile {
    file: File,
    len: u64,
}

impl ReadAt for ScratchFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }
}

impl Scratch for ScratchFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.len)?;
        self.len += bytes.len() as u64;
        Ok(())
    }
}
