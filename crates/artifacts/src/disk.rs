//! Folders that appear at once and complete, or not at all.
//!
//! What is made stands in a folder with a telling temporary name, which its maker keeps locked. When everything is on
//! the disk, the folder is renamed. A process that is killed gives its lock back, so whoever finds such a folder
//! unlocked knows that nobody will finish it, and removes it.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// How often a folder that others take away is made again.
const ATTEMPTS_MAX: u32 = 100;
/// Of files that are never written again.
const FILE_MODE: u32 = 0o444;
/// Of folders; the process's mask takes from it what it takes.
const FOLDER_MODE: u32 = 0o777;

/// How temporary folders are named. Names of versions and deltas do not begin with a dot.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Temporary {
    /// A version in the making.
    Adding,
    /// A delta in the making.
    Making,
    /// Something that is on its way out.
    Removing,
}

impl Temporary {
    const ALL: [Self; 3] = [Self::Adding, Self::Making, Self::Removing];

    fn prefix(self) -> &'static str {
        match self {
            Self::Adding => ".adding-",
            Self::Making => ".making-",
            Self::Removing => ".removing-",
        }
    }

    /// Whether a folder is a temporary one.
    pub(crate) fn is(name: &str) -> bool {
        Self::ALL.iter().any(|kind| name.starts_with(kind.prefix()))
    }
}

/// A folder in the making, removed unless it is published.
#[derive(Debug)]
pub(crate) struct Draft {
    path: PathBuf,
    lock: File,
    /// Folders that were made for it, innermost first.
    made: Vec<PathBuf>,
    is_published: bool,
}

impl Draft {
    /// Makes an empty one in a folder, and that folder, and whatever that stands in.
    pub(crate) fn create(parent: &Path, kind: Temporary) -> io::Result<Self> {
        let made = missing_of(parent);
        let mut result = Err(io::ErrorKind::ResourceBusy.into());
        for _ in 0..ATTEMPTS_MAX {
            result = Self::try_create(parent, kind, &made);
            match &result {
                // Another one that failed has removed the folder, or took this one for a leftover.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                _ => break,
            }
        }
        if result.is_err() {
            remove_empty(&made);
        }
        result
    }

    fn try_create(parent: &Path, kind: Temporary, made: &[PathBuf]) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        // Names of new folders are safe once the folders are that they stand in.
        made.iter().try_for_each(|path| sync_folder(folder_of(path)))?;
        let path = tempfile::Builder::new()
            .prefix(kind.prefix())
            .permissions(fs::Permissions::from_mode(FOLDER_MODE))
            .tempdir_in(parent)?
            .keep();
        match lock_of(&path) {
            Ok(Some(lock)) => Ok(Self { path, lock, made: made.to_vec(), is_published: false }),
            Ok(None) => Err(io::ErrorKind::NotFound.into()),
            Err(error) => {
                let _ = fs::remove_dir(&path);
                Err(error)
            }
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file in it.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::options().write(true).create_new(true).open(self.path.join(name))?;
        file.write_all(bytes)?;
        settle(&file)
    }

    /// Gives it its name, once everything in it is on the disk; never over something that is there.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] where something is; what the system reports.
    pub(crate) fn publish(mut self, to: &Path) -> io::Result<()> {
        self.lock.sync_all()?;
        rename_new(&self.path, to)?;
        self.is_published = true;
        sync_folder(folder_of(to))
    }

    /// Gives it its name like [`Self::publish`], at once in the place of what has that name; the old is removed then.
    ///
    /// # Errors
    /// What the system reports.
    pub(crate) fn replace(self, to: &Path) -> io::Result<()> {
        self.lock.sync_all()?;
        match renameat_with(CWD, &self.path, CWD, to, RenameFlags::EXCHANGE) {
            // Where this one stood is the old one now: it is dropped like a draft that came to nothing.
            Ok(()) => sync_folder(folder_of(to)),
            Err(Errno::NOENT) => self.publish(to),
            // A file system that cannot; there is a moment then without either.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                remove_folder(to)?;
                self.publish(to)
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_published {
            // Should it stay, it is a leftover, and the next one removes it.
            let _ = fs::remove_dir_all(&self.path);
            remove_empty(&self.made);
        }
    }
}

/// Renames a folder to a name that nobody has.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that cannot; a plain rename replaces an empty folder at worst.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => match fs::rename(from, to) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                Err(io::ErrorKind::AlreadyExists.into())
            }
            result => result,
        },
        result => Ok(result?),
    }
}

/// A folder's lock; `None` where another process has it, or where the folder is gone.
fn lock_of(path: &Path) -> io::Result<Option<File>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        metadata => Ok((metadata?.ino() == file.metadata()?.ino()).then_some(file)),
    }
}

/// Removes what killed processes have left in a folder; answers how many there were.
pub(crate) fn sweep(folder: &Path) -> io::Result<usize> {
    let mut count = 0;
    for path in leftovers(folder)? {
        if let Some(_lock) = lock_of(&path)? {
            fs::remove_dir_all(&path)?;
            count += 1;
        }
    }
    if count > 0 {
        sync_folder(folder)?;
    }
    Ok(count)
}

/// Temporary folders in a folder: of killed processes, and of those at work.
pub(crate) fn leftovers(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry?;
        let is_temporary = entry.file_name().to_str().is_some_and(Temporary::is);
        if is_temporary && entry.file_type()?.is_dir() {
            paths.push(entry.path());
        }
    }
    Ok(paths)
}

/// Removes a folder: its name is gone at once, its content after that.
pub(crate) fn remove_folder(path: &Path) -> io::Result<()> {
    let parent = folder_of(path);
    let bin = Draft::create(parent, Temporary::Removing)?;
    fs::rename(path, bin.path().join("it"))?;
    sync_folder(parent)?;
    fs::remove_dir_all(bin.path())
}

/// A lock on a folder, shared with others or not; `None` where somebody's lock does not allow it.
pub(crate) fn lock_folder(path: &Path, is_shared: bool) -> io::Result<Option<File>> {
    let file = File::open(path)?;
    match if is_shared { file.try_lock_shared() } else { file.try_lock() } {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Sees to it that a finished file is on the disk, and is not written again by mistake.
pub(crate) fn settle(file: &File) -> io::Result<()> {
    file.set_permissions(fs::Permissions::from_mode(FILE_MODE))?;
    file.sync_all()
}

/// Reads a file of up to so many bytes; `None` where it has more.
pub(crate) fn read(path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= limit).then_some(bytes))
}

/// Opens a file to read. Links out of the store are not followed, and pipes not waited for.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

/// The folders of a path that are not there, innermost first.
fn missing_of(path: &Path) -> Vec<PathBuf> {
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && fs::symlink_metadata(path).is_err();
    path.ancestors().take_while(is_missing).map(Path::to_owned).collect()
}

/// Removes folders that are empty, innermost first.
fn remove_empty(folders: &[PathBuf]) {
    // What is not empty stays.
    let _ = folders.iter().try_for_each(fs::remove_dir);
}

/// Sees to it that the names in a folder are on the disk.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The folder in which a path stands.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
