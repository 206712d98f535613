//! The folders in which a storage driver keeps the layers of an image, read as one root file system.
//!
//! Docker's and Podman's `overlay` drivers unpack each layer to a folder of its own, which the kernel mounts
//! one over another (Linux kernel documentation, `filesystems/overlayfs`). Files are read from there: no
//! mount, no copy.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fluvial_delta::structure::ReadAt;
use lru::LruCache;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, lgetxattr, openat, openat2};

/// Files that are held open at a time: programs may open 1,024, and have others.
const OPEN_MAX: NonZeroUsize = NonZeroUsize::new(256).expect("it is not zero");

/// Names in the layers of an image that are listed at most.
const ENTRIES_MAX: usize = 4 << 20;

/// The folders of an image's layers.
#[derive(Debug)]
pub struct LayerFolders {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// The topmost first.
    folders: Vec<Folder>,
    open: Mutex<LruCache<u64, Arc<File>>>,
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    handle: OwnedFd,
}

/// A file of a layer, opened when it is read.
#[derive(Debug)]
pub struct LayerFile {
    shared: Arc<Shared>,
    folder: usize,
    path: PathBuf,
    id: u64,
    len: u64,
}

impl LayerFolders {
    /// Opens the folders, the topmost layer's first.
    ///
    /// # Errors
    /// What the system reports: they are root's.
    pub fn open(folders: &[PathBuf]) -> io::Result<Self> {
        let open = |path: &PathBuf| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let handle = openat(CWD, path, flags, Mode::empty())?;
            Ok(Folder { path: path.clone(), handle })
        };
        let folders = folders.iter().map(open).collect::<io::Result<_>>()?;
        Ok(Self { shared: Arc::new(Shared { folders, open: Mutex::new(LruCache::new(OPEN_MAX)) }) })
    }

    /// All files with content of the root file system, in an order of their own: what a later layer has
    /// replaced or removed is not among them. Memory: the paths of all that the image holds.
    ///
    /// # Errors
    /// What the system reports, and [`io::ErrorKind::InvalidData`] beyond `ENTRIES_MAX`.
    pub fn files(&self) -> io::Result<Vec<LayerFile>> {
        let mut listing = Listing { shared: &self.shared, above: HashMap::new(), files: Vec::new() };
        for folder in 0..self.shared.folders.len() {
            let mut seen = Vec::new();
            listing.walk(folder, &mut seen)?;
            for (path, is_seen_through) in seen {
                // A folder that hides those below stays one that hides.
                let entry = listing.above.entry(path).or_insert(true);
                *entry &= is_seen_through;
            }
            if listing.above.len() > ENTRIES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "too many files"));
            }
        }
        Ok(listing.files)
    }

    /// Finds a file by its path in the root file system. Answers `None` where there is none, or a later
    /// layer has removed it. Names are never followed out of a layer's folder. `id` tells the file from
    /// others of these folders.
    ///
    /// Folders that a later layer replaced as a whole are not hidden: whoever wants a file knows what is in
    /// it.
    ///
    /// # Errors
    /// What the system reports.
    pub fn find(&self, path: &str, id: u64) -> io::Result<Option<LayerFile>> {
        for (index, folder) in self.shared.folders.iter().enumerate() {
            let file = match folder.open(Path::new(path)) {
                Ok(file) => file,
                Err(error) if is_absent(&error) => continue,
                Err(error) => return Err(error),
            };
            let metadata = file.metadata()?;
            let kind = metadata.file_type();
            // A device 0/0 stands for what a layer has removed.
            if kind.is_char_device() && metadata.rdev() == 0 {
                return Ok(None);
            }
            if !kind.is_file() {
                return Ok(None);
            }
            let (shared, path) = (Arc::clone(&self.shared), path.into());
            self.shared.keep(id, Arc::new(file));
            return Ok(Some(LayerFile { shared, folder: index, path, id, len: metadata.len() }));
        }
        Ok(None)
    }
}

/// A walk through all layers.
struct Listing<'a> {
    shared: &'a Arc<Shared>,
    /// What the layers above hold; whether those below are seen through it: they are through a folder.
    above: HashMap<PathBuf, bool>,
    files: Vec<LayerFile>,
}

impl Listing<'_> {
    /// Walks through a layer. `seen` gets all that it holds, and whether those below are seen through it.
    fn walk(&mut self, folder: usize, seen: &mut Vec<(PathBuf, bool)>) -> io::Result<()> {
        let root = self.shared.folders[folder].path.clone();
        let mut left = vec![PathBuf::new()];
        while let Some(parent) = left.pop() {
            for entry in fs::read_dir(root.join(&parent))? {
                let entry = entry?;
                let path = parent.join(entry.file_name());
                // Of the entry itself: links are not followed.
                let metadata = entry.metadata()?;
                let above = self.above.get(&path).copied();
                if above == Some(false) {
                    continue;
                }
                if metadata.is_dir() {
                    seen.push((path.clone(), !is_opaque(&entry.path())));
                    left.push(path);
                    continue;
                }
                if metadata.is_file() && metadata.len() > 0 && above.is_none() {
                    let (shared, id) = (Arc::clone(self.shared), self.files.len() as u64);
                    let path = path.clone();
                    self.files.push(LayerFile { shared, folder, path, id, len: metadata.len() });
                }
                // Devices 0/0 stand for what was removed; they hide like all others.
                seen.push((path, false));
            }
            if seen.len() > ENTRIES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "too many files"));
            }
        }
        Ok(())
    }
}

/// Whether a folder hides the one below it (Linux kernel documentation, `filesystems/overlayfs`).
fn is_opaque(path: &Path) -> bool {
    // What cannot be read is not there: engines of users write the second name.
    ["trusted.overlay.opaque", "user.overlay.opaque"].iter().any(|name| {
        let mut value = [0; 2];
        lgetxattr(path, *name, &mut value).is_ok_and(|len| value[..len] == *b"y")
    })
}

/// Whether a layer just does not have it: not at all, or what would be its folder is none there.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        // Symbolic links are not followed.
        || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

impl Folder {
    fn open(&self, path: &Path) -> io::Result<File> {
        // Not blocking: what stands there may be a pipe.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        match openat2(&self.handle, path, flags, Mode::empty(), resolve) {
            Ok(handle) => Ok(handle.into()),
            // A device that stands for what was removed cannot be opened.
            Err(error) if error == rustix::io::Errno::NXIO => {
                let handle =
                    openat2(&self.handle, path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty(), resolve)?;
                Ok(handle.into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Shared {
    fn keep(&self, id: u64, file: Arc<File>) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).put(id, file);
    }
}

impl LayerFile {
    fn file(&self) -> io::Result<Arc<File>> {
        let open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner).get(&self.id).cloned();
        if let Some(file) = open {
            return Ok(file);
        }
        let folder = &self.shared.folders[self.folder];
        let file = folder.open(&self.path).map_err(|error| {
            let path = folder.path.join(&self.path);
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?;
        let file = Arc::new(file);
        self.shared.keep(self.id, Arc::clone(&file));
        Ok(file)
    }
}

impl ReadAt for LayerFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file()?.read_exact_at(buf, offset)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Two layers: the lower one has all, the upper one changes it.
    fn folders(work: &tempfile::TempDir) -> LayerFolders {
        let [upper, lower] = ["upper", "lower"].map(|name| work.path().join(name));
        fs::create_dir_all(upper.join("etc")).unwrap();
        fs::create_dir_all(lower.join("etc/ssl")).unwrap();
        fs::write(upper.join("etc/a"), "new").unwrap();
        fs::write(lower.join("etc/a"), "old").unwrap();
        fs::write(lower.join("etc/b"), "below").unwrap();
        fs::write(lower.join("etc/ssl/cert"), "cert").unwrap();
        fs::write(work.path().join("secret"), "secret").unwrap();
        symlink(work.path(), upper.join("etc/ssl")).unwrap();
        symlink(work.path().join("secret"), upper.join("link")).unwrap();
        LayerFolders::open(&[upper, lower]).unwrap()
    }

    fn text(file: &LayerFile) -> String {
        let mut bytes = vec![0; file.len() as usize];
        file.read_at(0, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_topmost_file_is_found() {
        let work = tempfile::tempdir().unwrap();
        let folders = folders(&work);
        let found = |path: &str| folders.find(path, 0).unwrap().as_ref().map(text);
        assert_eq!(found("etc/a").as_deref(), Some("new"));
        assert_eq!(found("etc/b").as_deref(), Some("below"));
        assert_eq!(found("etc/c"), None);
        assert_eq!(found("etc"), None, "a folder is no file");
    }

    #[test]
    fn what_is_hidden_is_not_listed() {
        let work = tempfile::tempdir().unwrap();
        let [upper, lower] = ["upper", "lower"].map(|name| work.path().join(name));
        for (path, content) in [
            (upper.join("etc/a"), "new"),
            (upper.join("was-folder"), "file"),
            (upper.join("was-file/inside"), "folder"),
            (lower.join("etc/a"), "old"),
            (lower.join("etc/b"), "below"),
            (lower.join("etc/empty"), ""),
            (lower.join("was-folder/inside"), "hidden"),
            (lower.join("was-file"), "hidden"),
        ] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        symlink("b", lower.join("etc/link")).unwrap();
        let mut texts: Vec<String> =
            LayerFolders::open(&[upper, lower]).unwrap().files().unwrap().iter().map(text).collect();
        texts.sort();
        assert_eq!(texts, ["below", "file", "folder", "new"]);
    }

    #[test]
    fn nothing_leads_out_of_a_layer() {
        let work = tempfile::tempdir().unwrap();
        let folders = folders(&work);
        for path in ["link", "etc/ssl/secret"] {
            assert!(folders.find(path, 0).unwrap().is_none(), "{path}");
        }
        assert!(folders.find("../secret", 0).is_err());
        let cert = folders.find("etc/ssl/cert", 1).unwrap().unwrap();
        assert_eq!(text(&cert), "cert", "the link of the upper layer is not followed");
    }

    #[test]
    fn more_files_are_read_than_are_held_open() {
        let work = tempfile::tempdir().unwrap();
        let count = OPEN_MAX.get() as u64 + 40;
        for index in 0..count {
            fs::write(work.path().join(index.to_string()), index.to_string()).unwrap();
        }
        let folders = LayerFolders::open(&[work.path().into()]).unwrap();
        let files: Vec<_> =
            (0..count).map(|index| folders.find(&index.to_string(), index).unwrap().unwrap()).collect();
        for (index, file) in files.iter().enumerate() {
            assert_eq!(text(file), index.to_string());
        }
        fs::remove_file(work.path().join("0")).unwrap();
        let error = files[0].read_at(0, &mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "it is no longer held open");
    }
}
