//! Durable writing: a name holds what it held before, or all of the new bytes, whatever is cut.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A file in the making: bytes go to one temporary name beside `path`, which is removed unless
/// [`Draft::publish`] gives it its name. The name is always the same, and locked, so that what a
/// killed run has left is taken over by the next one, and two runs at a time do not mix.
#[derive(Debug)]
pub struct Draft {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    len: u64,
    is_published: bool,
}

impl Draft {
    /// Begins to write what shall stand at `path`.
    ///
    /// # Errors
    /// Where no file can be made in the folder of `path`, or another run is making this one.
    pub fn create(path: &Path) -> io::Result<Self> {
        let temporary = temporary_of(path)?;
        loop {
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(&temporary)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let message = "another run of fluvial is writing it";
                    return Err(io::Error::new(io::ErrorKind::ResourceBusy, message));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Another run may have published or removed it between our opening and locking it.
            let still_there = match fs::metadata(&temporary) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => false,
                metadata => metadata?.ino() == file.metadata()?.ino(),
            };
            if still_there {
                file.set_len(0)?;
                return Ok(Self { file, temporary, path: path.into(), len: 0, is_published: false });
            }
        }
    }

    /// Gives the file its name, once everything is on the disk.
    ///
    /// # Errors
    /// What the system reports; the old file of that name is then still there.
    pub fn publish(mut self) -> io::Result<()> {
        settle(&self.file, self.len)?;
        fs::rename(&self.temporary, &self.path)?;
        self.is_published = true;
        sync_folder_of(&self.path)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_published {
            // Should it stay, the next run takes it over.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.file.write(bytes)?;
        self.len += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Gives a finished file that stands at `from` the name `to`, in the same folder.
///
/// # Errors
/// As [`Draft::publish`].
pub fn publish(file: &File, len: u64, from: &Path, to: &Path) -> io::Result<()> {
    settle(file, len)?;
    fs::rename(from, to)?;
    sync_folder_of(to)
}

/// Removes a file, and what a killed run has left of a [`Draft`] of it, if they are there, and sees
/// to it that they stay away.
///
/// # Errors
/// What the system reports.
pub fn remove(path: &Path) -> io::Result<()> {
    let mut is_removed = false;
    for path in [path, &temporary_of(path)?] {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(()) => is_removed = true,
        }
    }
    if is_removed { sync_folder_of(path) } else { Ok(()) }
}

/// Where a file is written before it has its name.
fn temporary_of(path: &Path) -> io::Result<PathBuf> {
    let mut name = OsString::from(".");
    name.push(path.file_name().ok_or(io::ErrorKind::IsADirectory)?);
    name.push(".tmp");
    Ok(path.with_file_name(name))
}

/// Sees to it that a file has the length that it should have, and stands on the disk.
fn settle(file: &File, len: u64) -> io::Result<()> {
    let found = file.metadata()?.len();
    if found != len {
        return Err(io::Error::other(format!("{found} bytes arrived of {len}")));
    }
    file.sync_all()
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

/// The folder in which a path stands.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A path with something appended to its file name.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_that_is_dropped_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("patch");
        let mut draft = Draft::create(&path).unwrap();
        draft.write_all(b"half").unwrap();
        drop(draft);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_published_draft_replaces_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("patch");
        fs::write(&path, b"before").unwrap();
        let mut draft = Draft::create(&path).unwrap();
        draft.write_all(b"after").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"before");
        draft.publish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"after");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_of_another_length_gets_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let (part, path) = (folder.path().join("new.part"), folder.path().join("new"));
        fs::write(&part, b"12345").unwrap();
        let file = File::open(&part).unwrap();
        assert!(publish(&file, 6, &part, &path).is_err());
        assert!(!path.exists());
        publish(&file, 5, &part, &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"12345");
    }

    #[test]
    fn removing_what_is_not_there_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        remove(&folder.path().join("nothing")).unwrap();
    }
}
