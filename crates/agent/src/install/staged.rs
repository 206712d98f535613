//! A patch on its way: a file that grows, and is gone on with after a cut.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use fluvial_bundle::BundlePart;
use fluvial_console::{Fault, Kind, Progress};
use fluvial_device::disk::{Medium, durable};

use crate::bundle::Bundle;

/// Bytes that are fetched at a time.
const STEP_BYTES: u64 = 1 << 20;
/// Bytes that tell one patch from another: a header begins with the digests of what a patch is made from.
const START_BYTES: u64 = 4 << 10;

/// The part of a patch that has come.
pub struct Staged<'a> {
    path: PathBuf,
    file: File,
    len: u64,
    bundle: &'a Bundle,
    part: &'a BundlePart,
}

impl<'a> Staged<'a> {
    /// Goes on with what an earlier run has left in `folder`, if it is of this patch: its start is fetched again
    /// and compared. There may be several patches for the same payload.
    pub fn open(folder: &Path, name: &str, bundle: &'a Bundle, part: &'a BundlePart) -> Result<Self, Fault> {
        let path = folder.join(name);
        let open = || -> io::Result<(File, u64)> {
            std::fs::create_dir_all(folder)?;
            let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
            let len = file.metadata()?.len();
            Ok((file, len))
        };
        let (file, len) = open().map_err(|error| Fault::writing(&path, error))?;
        let mut staged = Self { path, file, len, bundle, part };
        if !staged.is_of_this_patch()? {
            staged.file.set_len(0).map_err(|error| Fault::writing(&staged.path, error))?;
            staged.len = 0;
        }
        Ok(staged)
    }

    fn is_of_this_patch(&self) -> Result<bool, Fault> {
        let len = self.len.min(START_BYTES);
        if len == 0 || self.len > self.whole_len() {
            return Ok(len == 0);
        }
        let start = self.part.range.start;
        let fetched = self.bundle.site.read_range(&self.bundle.name, start..start + len, START_BYTES)?;
        let mut kept = vec![0; len as usize];
        self.file.read_exact_at(&mut kept, 0).map_err(|error| Fault::reading(&self.path, error))?;
        Ok(kept == fetched)
    }

    /// How many bytes the whole patch has.
    pub fn whole_len(&self) -> u64 {
        self.part.range.end - self.part.range.start
    }

    /// How many have come.
    pub fn len(&self) -> u64 {
        self.len.min(self.whole_len())
    }

    /// Fetches up to `len` bytes of it.
    pub fn fetch(&mut self, len: u64, progress: &Progress) -> Result<(), Fault> {
        let len = len.min(self.whole_len());
        while self.len < len {
            let start = self.part.range.start + self.len;
            let end = self.part.range.start + len.min(self.len + STEP_BYTES);
            let bytes = self.bundle.read(start..end, STEP_BYTES)?;
            if bytes.len() as u64 != end - start {
                let message = format!("{} ends before its header says", self.bundle.name);
                return Err(Fault::new(Kind::DamagedBundle, message));
            }
            self.file.write_all_at(&bytes, self.len).map_err(|error| Fault::writing(&self.path, error))?;
            self.len += bytes.len() as u64;
            if !progress.advance(bytes.len() as u64) {
                return Err(Fault::new(Kind::Cancelled, "cancelled").hint("what has come is kept"));
            }
        }
        Ok(())
    }

    /// What has come, to be read.
    pub fn medium(&self) -> Result<Medium, Fault> {
        let medium = self.file.try_clone().and_then(Medium::new);
        Ok(medium.map_err(|error| Fault::reading(&self.path, error))?.shortened(self.whole_len()))
    }

    /// Removes it.
    pub fn remove(&self) -> Result<(), Fault> {
        durable::remove(&self.path).map_err(|error| Fault::writing(&self.path, error))
    }
}
