//! What boot loaders read, read and written by us: whole, limited, durable.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;

use super::{BootError, damaged};

/// Reads a file of `bytes_max` bytes at most.
///
/// # Errors
/// [`BootError::Read`], [`BootError::Damaged`] where it is longer.
pub(super) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, BootError> {
    let failed = |source| BootError::Read { path: path.into(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(bytes_max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(damaged(path, &format!("it is longer than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// Puts a new file in the place of an old one: at any time the name leads to one of the two.
///
/// # Errors
/// [`BootError::Write`].
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), BootError> {
    replaced(path, bytes).map_err(|source| BootError::Write { path: path.into(), source })
}

fn replaced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A link stays a link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let folder = path.parent().ok_or(io::ErrorKind::IsADirectory)?;
    let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?.to_string_lossy();
    let temporary = format!(".{name}.tmp");
    // One name, whoever is killed: what is left of it takes no room twice.
    gone(&folder.join(&temporary))?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(&temporary).rand_bytes(0).permissions(Permissions::from_mode(0o644));
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    let file = file.persist(&path).map_err(|error| error.error)?;
    // On FAT the entry of the folder is written with the file that it names.
    file.sync_all()?;
    File::open(folder)?.sync_all()
}

/// Writes over a file of the same length, where it stands on the disk.
///
/// # Errors
/// [`BootError::Write`].
pub(super) fn overwrite(path: &Path, bytes: &[u8]) -> Result<(), BootError> {
    let overwritten = || {
        let file = OpenOptions::new().write(true).open(path)?;
        if file.metadata()?.len() != bytes.len() as u64 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its length has changed"));
        }
        file.write_all_at(bytes, 0)?;
        file.sync_all()
    };
    overwritten().map_err(|source| BootError::Write { path: path.into(), source })
}

/// Removes a file, if it is there, and sees to it that it stays away.
///
/// # Errors
/// [`BootError::Write`].
pub(super) fn remove(path: &Path) -> Result<(), BootError> {
    let removed = || match (gone(path)?, path.parent()) {
        (true, Some(folder)) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    };
    removed().map_err(|source| BootError::Write { path: path.into(), source })
}

/// Removes a file; answers whether it was there.
fn gone(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        removed => removed.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_through_a_link_and_what_a_kill_left_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&path, "old").unwrap();
        fs::write(folder.path().join(".file.tmp"), "half").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        replace(&link, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(link.is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn only_a_file_of_the_same_length_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "four").unwrap();
        assert!(matches!(overwrite(&path, b"seven77"), Err(BootError::Write { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"four");
        overwrite(&path, b"FOUR").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"FOUR");
    }

    #[test]
    fn a_long_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, [b'#'; 9]).unwrap();
        assert!(matches!(read(&path, 8), Err(BootError::Damaged { .. })));
        assert_eq!(read(&path, 9).unwrap().len(), 9);
    }
}
