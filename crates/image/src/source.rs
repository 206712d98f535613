//! Files and block devices as streams.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use fluvial_delta::structure::ReadAt;
use thiserror::Error;

/// A file or a block device, read at offsets. Reading moves no cursor, so threads may share it.
#[derive(Debug)]
pub struct FileSource {
    file: File,
    len: u64,
}

/// Why a [`FileSource`] could not be opened.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The file could not be opened, or its length not be found.
    #[error("cannot read {}", path.display())]
    Open {
        /// The file's path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a folder, a pipe, a socket or a terminal: nothing with a length and offsets.
    #[error("{} is neither a file nor a block device", path.display())]
    Kind {
        /// The path.
        path: PathBuf,
    },
}

impl FileSource {
    /// Opens a regular file or a block device. Symbolic links are followed: the path is the
    /// user's own.
    ///
    /// # Errors
    /// [`SourceError`]; a pipe is refused before it is opened, as opening one may wait forever.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, SourceError> {
        use std::os::unix::fs::FileTypeExt as _;

        let path = path.as_ref();
        let failed = |source| SourceError::Open { path: path.into(), source };
        let kind = path.metadata().map_err(failed)?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(SourceError::Kind { path: path.into() });
        }
        Self::from_file(File::open(path).map_err(failed)?).map_err(failed)
    }

    /// Takes an open file or block device.
    ///
    /// # Errors
    /// What the system says when asked for the length.
    pub fn from_file(mut file: File) -> io::Result<Self> {
        // The metadata of a block device state a length of 0; the end of a seek is right for both.
        let len = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, len })
    }
}

impl ReadAt for FileSource {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_at_offsets_and_not_past_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"0123456789").unwrap();
        let source = FileSource::open(&path).unwrap();
        assert_eq!(source.len(), 10);
        let mut bytes = [0; 4];
        source.read_at(6, &mut bytes).unwrap();
        assert_eq!(&bytes, b"6789");
        assert_eq!(source.read_at(7, &mut bytes).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn refuses_what_has_no_length() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path(), Path::new("/dev/null")] {
            assert!(matches!(FileSource::open(path), Err(SourceError::Kind { .. })), "{}", path.display());
        }
        let missing = folder.path().join("missing");
        assert!(matches!(FileSource::open(&missing), Err(SourceError::Open { path, .. }) if path == missing));
    }
}
