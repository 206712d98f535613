//! A blob that comes to be: `DIGEST.part`, which a later process continues.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use fluvial_delta::header::Sha256Digest;
use sha2::{Digest as _, Sha256};

use crate::RegistryError;

const READ_BYTES: usize = 256 << 10;

/// The bytes so far, and their hash.
#[derive(Debug)]
pub(crate) struct Part {
    file: File,
    path: PathBuf,
    len: u64,
    hash: Sha256,
}

impl Part {
    /// Opens what an earlier process has left, or begins anew. Reads what is there once, to hash it.
    pub(crate) fn open(path: &Path, len_max: u64) -> Result<Self, RegistryError> {
        let failed = |source| RegistryError::File { action: "write", path: path.into(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(RegistryError::Busy { path: path.into() }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        // Whoever held the lock may just have given the file its own name.
        let ours = file.metadata().map_err(failed)?;
        if !fs::symlink_metadata(path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (ours.dev(), ours.ino()))
        {
            return Err(RegistryError::Busy { path: path.into() });
        }
        let (mut hash, mut len) = (Sha256::new(), 0);
        if ours.len() <= len_max {
            let mut buf = vec![0; READ_BYTES];
            loop {
                let read = match file.read(&mut buf) {
                    Ok(0) => break,
                    Ok(read) => read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(failed(error)),
                };
                hash.update(&buf[..read]);
                len += read as u64;
            }
        } else {
            file.set_len(0).map_err(failed)?;
        }
        Ok(Self { file, path: path.into(), len, hash })
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), RegistryError> {
        let written = self.file.seek(SeekFrom::Start(self.len)).and_then(|_| self.file.write_all(bytes));
        written.map_err(|source| self.failed(source))?;
        self.hash.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) -> Result<(), RegistryError> {
        self.file.set_len(0).map_err(|source| self.failed(source))?;
        (self.len, self.hash) = (0, Sha256::new());
        Ok(())
    }

    /// The first `len` bytes.
    pub(crate) fn start(&mut self, len: u64) -> Result<Vec<u8>, RegistryError> {
        let mut bytes = vec![0; len.min(self.len) as usize];
        let read = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.read_exact(&mut bytes));
        read.map_err(|source| self.failed(source))?;
        Ok(bytes)
    }

    /// The SHA-256 of what there is.
    pub(crate) fn sha256(&self) -> Sha256Digest {
        self.hash.clone().finalize().into()
    }

    /// Gives the complete blob its name, once it is on the disk.
    pub(crate) fn publish(self, path: &Path) -> Result<(), RegistryError> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let published = self
            .file
            .sync_all()
            .and_then(|()| fs::rename(&self.path, path))
            .and_then(|()| File::open(folder)?.sync_all());
        published.map_err(|source| RegistryError::File { action: "write", path: path.into(), source })
    }

    fn failed(&self, source: io::Error) -> RegistryError {
        RegistryError::File { action: "write", path: self.path.clone(), source }
    }
}
