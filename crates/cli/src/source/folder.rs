//! The regular files below a folder, opened as they are read.
//!
//! A root file system has more files than a process may hold open, so only the last few stay so.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fluvial_console::{Fault, Kind};
use fluvial_delta::structure::ReadAt;
use rustix::fs::{Mode, OFlags, openat};

/// Files that are held open.
const OPEN_FILES_MAX: usize = 64;

/// A folder from which files are read by their relative path. Nothing outside of it is reached,
/// whatever a patch names: no path with `..` or a root is taken, and no symbolic link is followed.
#[derive(Debug)]
pub struct Folder {
    root: OwnedFd,
    path: PathBuf,
    /// The files read last, the most recent one at the back.
    open: Mutex<VecDeque<(String, Arc<File>)>>,
}

impl Folder {
    /// Opens a folder.
    ///
    /// # Errors
    /// What the system reports.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { root: File::open(path)?.into(), path: path.into(), open: Mutex::default() })
    }

    /// Every regular file, by name and length. Files whose name is not UTF-8 are left out: a patch
    /// cannot name them.
    ///
    /// # Errors
    /// Where a folder inside cannot be listed.
    pub fn list(&self) -> Result<Vec<(String, u64)>, Fault> {
        let listing = fluvial_image::Folder::scan(&self.path).map_err(|error| Fault::new(Kind::Io, error))?;
        let named = listing.files().iter().filter(|file| !file.path().contains(char::REPLACEMENT_CHARACTER));
        Ok(named.map(|file| (file.path().to_owned(), file.len())).collect())
    }

    /// The length of a file, which can be read.
    ///
    /// # Errors
    /// What the system reports; [`ErrorKind::InvalidInput`] for a name that leads out of the
    /// folder, or is no regular file.
    pub fn len_of(&self, name: &str) -> io::Result<u64> {
        Ok(self.file(name)?.metadata()?.len())
    }

    fn file(&self, name: &str) -> io::Result<Arc<File>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = open.iter().rposition(|(open, _)| open == name)
            && let Some(entry) = open.remove(index)
        {
            let file = Arc::clone(&entry.1);
            open.push_back(entry);
            return Ok(file);
        }
        let file = Arc::new(open_beneath(&self.root, name)?);
        if open.len() >= OPEN_FILES_MAX {
            open.pop_front();
        }
        open.push_back((name.to_owned(), Arc::clone(&file)));
        Ok(file)
    }
}

/// Opens a regular file by a path below a folder, one step after another: this works on every
/// kernel, where `openat2` does not.
fn open_beneath(root: &OwnedFd, name: &str) -> io::Result<File> {
    let escapes = || io::Error::new(ErrorKind::InvalidInput, "the name leads out of the folder");
    let steps: Vec<_> = Path::new(name)
        .components()
        .map(|component| if let Component::Normal(step) = component { Ok(step) } else { Err(escapes()) })
        .collect::<Result<_, _>>()?;
    let (last, folders) = steps.split_last().ok_or_else(escapes)?;
    let no_link = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut inner: Option<OwnedFd> = None;
    for step in folders {
        let folder = inner.as_ref().map_or(root.as_fd(), AsFd::as_fd);
        inner = Some(openat(folder, *step, no_link | OFlags::DIRECTORY | OFlags::PATH, Mode::empty())?);
    }
    let folder = inner.as_ref().map_or(root.as_fd(), AsFd::as_fd);
    // A pipe in the place of the file must not keep this waiting.
    let flags = no_link | OFlags::RDONLY | OFlags::NONBLOCK;
    let file = File::from(openat(folder, *last, flags, Mode::empty())?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"))
    }
}

/// A file of a folder.
#[derive(Debug)]
pub struct FolderFile {
    folder: Arc<Folder>,
    name: String,
    len: u64,
}

impl FolderFile {
    /// The file `name`, which has `len` bytes.
    pub fn new(folder: Arc<Folder>, name: String, len: u64) -> Self {
        Self { folder, name, len }
    }
}

impl ReadAt for FolderFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.folder.file(&self.name)?.read_exact_at(buf, offset)
    }
}
