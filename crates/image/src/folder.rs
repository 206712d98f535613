//! A folder as a root file system.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::source::FileSource;

/// Files of one folder at most.
pub const FOLDER_FILES_MAX: usize = 1 << 22;
/// Folders inside folders at most.
pub const FOLDER_DEPTH_MAX: usize = 256;
/// Bytes of all file paths of one folder at most.
pub const FOLDER_PATHS_BYTES_MAX: usize = 512 << 20;

/// The regular files of a folder, sorted by the bytes of their paths.
///
/// Symbolic links are neither followed nor listed; other file systems mounted inside (`/proc`,
/// `/sys`, a data partition) are left out, since they are not part of the release. Of two names
/// that read the same as lossy UTF-8, the first in order of bytes is kept.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    files: Vec<FolderFile>,
}

/// A regular file in a [`Folder`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderFile {
    path: String,
    raw_path: PathBuf,
    len: u64,
}

impl FolderFile {
    /// Path inside the folder as a part would carry it: no leading slash, lossy UTF-8.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Length in bytes when the folder was read.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the file has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Why a folder could not be read.
#[derive(Debug, Error)]
pub enum FolderError {
    /// A folder or a file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// More files, longer paths or deeper folders than the named limits allow.
    #[error("{} has more than {limit} {what}", path.display())]
    Limit {
        /// The folder that was read.
        path: PathBuf,
        /// Of what there is too much.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// No regular file of that name was there when the folder was read.
    #[error("{} has no file {file:?}", path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
        /// The name that was asked for.
        file: String,
    },
    /// The file is no longer the one that was listed: another kind, length or device.
    #[error("{} changed while it was in use", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

impl FolderError {
    fn read(path: &Path, source: io::Error) -> Self {
        Self::Read { path: path.into(), source }
    }
}

impl Folder {
    /// Lists the files of a folder. Contents are not read. Memory: about 200 bytes per file.
    ///
    /// # Errors
    /// [`FolderError::Read`] where a folder inside cannot be listed (a partial list would make
    /// patches that depend on who ran the command), [`FolderError::Limit`].
    pub fn scan(root: impl AsRef<Path>) -> Result<Self, FolderError> {
        let root = root.as_ref();
        let device = root.metadata().map_err(|error| FolderError::read(root, error))?.dev();
        let mut scan = Scan { root, device, files: Vec::new(), path_bytes: 0 };
        let mut pending = vec![(PathBuf::new(), 0)];
        while let Some((folder, depth)) = pending.pop() {
            scan.folder(&folder, depth, &mut pending)?;
        }
        let mut files = scan.files;
        files.sort_by(|a, b| a.raw_path.as_os_str().as_bytes().cmp(b.raw_path.as_os_str().as_bytes()));
        // Stable, so that of two equal lossy names the first in order of bytes stays.
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files.dedup_by(|later, earlier| later.path == earlier.path);
        Ok(Self { root: root.into(), files })
    }

    /// The files, sorted by path.
    pub fn files(&self) -> &[FolderFile] {
        &self.files
    }

    /// Opens a listed file by its path. Only names that [`Folder::scan`] found are opened, so a
    /// name out of a patch (`../../etc/shadow`) reaches nothing else.
    ///
    /// # Errors
    /// [`FolderError::Missing`], [`FolderError::Read`], and [`FolderError::Changed`] where the
    /// name now leads elsewhere: to a link, a pipe, or a file of another length.
    pub fn open(&self, path: &str) -> Result<FileSource, FolderError> {
        /// `O_NOFOLLOW | O_NONBLOCK` of the target: a link or a pipe put in the file's place after
        /// the scan is not followed and not waited for.
        const OPEN_FLAGS: i32 =
            (rustix::fs::OFlags::NOFOLLOW.bits() | rustix::fs::OFlags::NONBLOCK.bits()) as i32;

        let index = self
            .files
            .binary_search_by(|file| file.path.as_str().cmp(path))
            .map_err(|_| FolderError::Missing { path: self.root.clone(), file: path.into() })?;
        let listed = &self.files[index];
        let full = self.root.join(&listed.raw_path);
        let failed = |error| FolderError::read(&full, error);
        let file: File =
            OpenOptions::new().read(true).custom_flags(OPEN_FLAGS).open(&full).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() || metadata.len() != listed.len {
            return Err(FolderError::Changed { path: full });
        }
        FileSource::from_file(file).map_err(failed)
    }
}

struct Scan<'a> {
    root: &'a Path,
    device: u64,
    files: Vec<FolderFile>,
    path_bytes: usize,
}

impl Scan<'_> {
    /// Lists one folder; the folders in it go to `pending`.
    fn folder(
        &mut self,
        folder: &Path,
        depth: usize,
        pending: &mut Vec<(PathBuf, usize)>,
    ) -> Result<(), FolderError> {
        let full = self.root.join(folder);
        for entry in fs::read_dir(&full).map_err(|error| FolderError::read(&full, error))? {
            let entry = entry.map_err(|error| FolderError::read(&full, error))?;
            // Of the entry itself, not of what a link leads to.
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(FolderError::read(&entry.path(), error)),
            };
            let raw_path = folder.join(entry.file_name());
            if metadata.is_dir() {
                // The device of folders only: overlayfs reports that of a lower layer for files.
                if metadata.dev() == self.device {
                    self.within("levels of folders", FOLDER_DEPTH_MAX, depth + 1)?;
                    pending.push((raw_path, depth + 1));
                    self.within("folders", FOLDER_FILES_MAX, pending.len())?;
                }
            } else if metadata.is_file() {
                self.path_bytes += raw_path.as_os_str().len();
                self.within("files", FOLDER_FILES_MAX, self.files.len() + 1)?;
                self.within("bytes of file names", FOLDER_PATHS_BYTES_MAX, self.path_bytes)?;
                let path = raw_path.to_string_lossy().into_owned();
                self.files.push(FolderFile { path, raw_path, len: metadata.len() });
            }
        }
        Ok(())
    }

    fn within(&self, what: &'static str, limit: usize, count: usize) -> Result<(), FolderError> {
        if count <= limit {
            return Ok(());
        }
        Err(FolderError::Limit { path: self.root.into(), what, limit })
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::fs::symlink;

    use fluvial_delta::structure::ReadAt as _;

    use super::*;

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("usr/lib")).unwrap();
        fs::write(root.path().join("usr/lib/a"), b"first").unwrap();
        fs::write(root.path().join("usr/lib-b"), b"second one").unwrap();
        fs::write(root.path().join("empty"), b"").unwrap();
        fs::write(root.path().join(OsStr::from_bytes(b"odd-\xfe")), b"1").unwrap();
        fs::write(root.path().join(OsStr::from_bytes(b"odd-\xff")), b"22").unwrap();
        symlink("/etc/passwd", root.path().join("link")).unwrap();
        symlink("/", root.path().join("usr/slash")).unwrap();
        root
    }

    #[test]
    fn lists_regular_files_only_and_sorted() {
        let root = tree();
        let folder = Folder::scan(root.path()).unwrap();
        let listed: Vec<_> = folder.files().iter().map(|file| (file.path(), file.len())).collect();
        let expected = [("empty", 0), ("odd-\u{fffd}", 1), ("usr/lib-b", 10), ("usr/lib/a", 5)];
        assert_eq!(listed, expected);
    }

    #[test]
    fn opens_what_it_listed_and_nothing_else() {
        let root = tree();
        let folder = Folder::scan(root.path()).unwrap();
        let file = folder.open("usr/lib/a").unwrap();
        let mut bytes = [0; 4];
        file.read_at(1, &mut bytes).unwrap();
        assert_eq!(&bytes, b"irst");
        assert_eq!(folder.open("odd-\u{fffd}").unwrap().len(), 1);
        for name in ["../../etc/passwd", "/etc/passwd", "link", "usr", "", "usr/slash/etc/passwd"] {
            assert!(matches!(folder.open(name), Err(FolderError::Missing { .. })), "{name}");
        }
    }

    #[test]
    fn a_file_swapped_after_the_scan_is_refused() {
        let root = tree();
        let folder = Folder::scan(root.path()).unwrap();
        fs::write(root.path().join("usr/lib-b"), b"grown by now").unwrap();
        assert!(matches!(folder.open("usr/lib-b"), Err(FolderError::Changed { .. })));
        fs::remove_file(root.path().join("usr/lib/a")).unwrap();
        symlink("/etc/hostname", root.path().join("usr/lib/a")).unwrap();
        assert!(matches!(folder.open("usr/lib/a"), Err(FolderError::Read { .. })));
    }

    #[test]
    fn too_deep_a_folder_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let mut deep = root.path().to_path_buf();
        for _ in 0..=FOLDER_DEPTH_MAX {
            deep.push("d");
        }
        fs::create_dir_all(deep).unwrap();
        assert!(matches!(Folder::scan(root.path()), Err(FolderError::Limit { limit: FOLDER_DEPTH_MAX, .. })));
    }
}
