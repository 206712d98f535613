//! Files and block devices, as the engine reads and writes them.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Seek as _, SeekFrom};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use fluvial_delta::apply::Target;
use fluvial_delta::structure::ReadAt;
use rustix::fs::{Advice, fadvise};

/// An open file or block device of a known length. Reading moves no cursor, so threads share it.
#[derive(Debug)]
pub struct Medium {
    file: File,
    len: u64,
}

/// What tells one file or device from another, however it is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// A file: its file system and its inode.
    File(u64, u64),
    /// A block device: its number.
    Device(u64),
}

impl Medium {
    /// Opens a file or a block device to be read.
    ///
    /// # Errors
    /// What the system reports; [`ErrorKind::InvalidInput`] for anything else than a file or a
    /// block device, before it is opened: opening a pipe may wait forever.
    pub fn open(path: &Path) -> io::Result<Self> {
        let kind = path.metadata()?.file_type();
        if kind.is_dir() {
            return Err(ErrorKind::IsADirectory.into());
        }
        if !kind.is_file() && !kind.is_block_device() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "neither a file nor a block device"));
        }
        Self::new(OpenOptions::new().read(true).open(path)?)
    }

    /// Takes an open file; asks for its length.
    ///
    /// # Errors
    /// What the system reports.
    pub fn new(mut file: File) -> io::Result<Self> {
        // The metadata of a block device state a length of 0; the end of a seek is right for both.
        let len = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, len })
    }

    /// Shows only the first `len` bytes.
    #[must_use]
    pub fn shortened(self, len: u64) -> Self {
        Self { len: self.len.min(len), ..self }
    }

    /// The file itself.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Tells the system that the bytes from `start` to `end` need not stay in memory.
    pub fn release(&self, start: u64, end: u64) {
        // Advice: where it is not taken, nothing is lost.
        let _ = fadvise(&self.file, start, NonZeroU64::new(end.saturating_sub(start)), Advice::DontNeed);
    }

    /// The same file or device once more.
    ///
    /// # Errors
    /// What the system reports.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { file: self.file.try_clone()?, len: self.len })
    }

    /// Which file or device it is.
    ///
    /// # Errors
    /// What the system reports.
    pub fn identity(&self) -> io::Result<Identity> {
        let metadata = self.file.metadata()?;
        Ok(if metadata.file_type().is_block_device() {
            Identity::Device(metadata.rdev())
        } else {
            Identity::File(metadata.dev(), metadata.ino())
        })
    }
}

impl ReadAt for Medium {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > self.len) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.file.read_exact_at(buf, offset)
    }

    fn prefetch(&self, offset: u64, len: u64) {
        // Advice, as above; a length of 0 would mean all that is behind.
        if let Some(len) = NonZeroU64::new(len) {
            let _ = fadvise(&self.file, offset, Some(len), Advice::WillNeed);
        }
    }
}

impl Target for Medium {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > self.len) {
            return Err(io::Error::new(ErrorKind::InvalidInput, "a write behind the end of the result"));
        }
        self.file.write_all_at(bytes, offset)
    }
}

/// Whether the file or device at `path` is the one of this identity.
pub fn is_at(path: &Path, identity: Option<Identity>) -> bool {
    identity.is_some() && Medium::open(path).and_then(|medium| medium.identity()).ok() == identity
}
