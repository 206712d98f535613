//! Files, read to a limit and written durably: a name holds what it held before, or all of the new bytes,
//! whatever is cut.

use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Reads a file, of up to `limit` bytes; `None` where it has more.
pub(crate) fn read(path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= limit).then_some(bytes))
}

/// Writes a file that is not there yet.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut draft = tempfile::Builder::new()
        .prefix(".draft-")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder_of(path))?;
    draft.write_all(bytes)?;
    draft.as_file().sync_all()?;
    draft.persist_noclobber(path)?;
    sync_folder(folder_of(path))
}

/// The folder in which a path stands.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Sees to it that the names in a folder stand on the disk.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The right to write in a folder, as long as it lives. A killed process gives it back.
#[derive(Debug)]
pub(crate) struct Lock {
    folder: File,
    path: PathBuf,
}

impl Lock {
    /// Takes it.
    ///
    /// # Errors
    /// [`io::ErrorKind::ResourceBusy`] where another process has it; what the system reports.
    pub(crate) fn take(path: &Path) -> io::Result<Self> {
        let folder = File::open(path)?;
        match folder.try_lock() {
            Ok(()) => Ok(Self { folder, path: path.into() }),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::ResourceBusy.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Writes a file that may be there. Its draft always has the same name: what a killed process has left
    /// is taken over by the next one.
    pub(crate) fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let draft = self.path.join(format!(".{name}.draft"));
        let mut file = File::create(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, self.path.join(name))?;
        self.folder.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn what_is_longer_than_the_limit_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, [1; 10]).unwrap();
        assert_eq!(read(&path, 10).unwrap(), Some(vec![1; 10]));
        assert_eq!(read(&path, 9).unwrap(), None);
    }

    #[test]
    fn what_is_there_is_not_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_new(&path, b"first", 0o600).unwrap();
        assert_eq!(write_new(&path, b"second", 0o600).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn one_at_a_time_replaces_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        // A killed process has left more than there will be.
        fs::write(folder.path().join(".state.json.draft"), "half of something long").unwrap();
        let first = Lock::take(folder.path()).unwrap();
        assert_eq!(Lock::take(folder.path()).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        first.replace("state.json", b"new").unwrap();
        drop(first);
        Lock::take(folder.path()).unwrap().replace("state.json", b"newer").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"newer");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
