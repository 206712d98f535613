//! The folders in which a storage driver keeps the layers of an image, read as one root file system.
//!
//! Docker's and Podman's `overlay` drivers unpack each layer to a folder of its own, which the kernel mounts
//! one over another (Linux kernel documentation, `filesystems/overlayfs`). Files are read from there: no
//! mount, no copy.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fluvial_delta::structure::ReadAt;
use fluvial_image::oci::{Metadata, TreeEntry, TreeKind, is_unspeakable};
use lru::LruCache;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, lgetxattr, openat, openat2};

/// Files that are held open at a time: programs may open 1,024, and have others.
const OPEN_MAX: NonZeroUsize = NonZeroUsize::new(256).expect("it is not zero");

/// Names in the layers of an image that are listed at most.
const ENTRIES_MAX: usize = 4 << 20;
/// Folders in folders at most: a path has 4,096 bytes at most.
const DEPTH_MAX: usize = 2048;

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
    /// Files that were found so far: each has a number of its own.
    found: AtomicU64,
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
        Ok(Self {
            shared: Arc::new(Shared {
                folders,
                open: Mutex::new(LruCache::new(OPEN_MAX)),
                found: AtomicU64::new(0),
            }),
        })
    }

    /// Goes through the root file system: folders, files and symbolic links, each folder before what is in
    /// it, names in a folder in the order of their bytes. What a later layer has replaced or removed is not
    /// there, nor are devices, pipes, and names that are not UTF-8. Memory: the names in the folders on the
    /// way to where it is.
    ///
    /// # Errors
    /// What the system reports, and [`io::ErrorKind::InvalidData`] beyond `ENTRIES_MAX` or `DEPTH_MAX`.
    pub fn walk(&self, each: &mut dyn FnMut(TreeEntry<LayerFile>)) -> io::Result<()> {
        let layers = (0..self.shared.folders.len()).collect();
        let mut stack = vec![self.list(Path::new(""), layers)?];
        let mut count = 0;
        while let Some(level) = stack.last_mut() {
            let Some((name, found)) = level.next() else {
                stack.pop();
                continue;
            };
            count += 1;
            if count > ENTRIES_MAX || stack.len() > DEPTH_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "too many files"));
            }
            let Some(name) = name.to_str().filter(|name| !is_unspeakable(name)) else { continue };
            let Found { parent, layers, metadata } = found;
            let path = parent.join(name);
            let text = path.to_string_lossy().into_owned();
            let kind = if metadata.is_dir() {
                TreeKind::Folder
            } else if metadata.is_symlink() {
                let target = fs::read_link(self.shared.folders[layers[0]].path.join(&path))?;
                TreeKind::Link(target.into_os_string().into_encoded_bytes())
            } else if metadata.is_file() {
                let shared = Arc::clone(&self.shared);
                let id = shared.found.fetch_add(1, Ordering::Relaxed);
                let path = path.clone();
                TreeKind::File(LayerFile { shared, folder: layers[0], path, id, len: metadata.len() })
            } else {
                // Devices 0/0 stand for what was removed.
                continue;
            };
            // Layers are counted from the lowest.
            let layer = self.shared.folders.len() - 1 - layers[0];
            let seconds = u64::try_from(metadata.mtime()).unwrap_or(0);
            let (uid, gid) = (metadata.uid().into(), metadata.gid().into());
            let metadata = Metadata { mode: metadata.mode() & 0o7777, uid, gid, modified_s: seconds };
            let is_folder = matches!(kind, TreeKind::Folder);
            each(TreeEntry { path: text, layer, metadata, kind });
            if is_folder {
                stack.push(self.list(&path, layers)?);
            }
        }
        Ok(())
    }

    /// All files with content of the root file system, in the order of [`LayerFolders::walk`].
    ///
    /// # Errors
    /// As [`LayerFolders::walk`].
    pub fn files(&self) -> io::Result<Vec<LayerFile>> {
        let mut files = Vec::new();
        self.walk(&mut |entry| {
            if let TreeKind::File(file) = entry.kind
                && file.len > 0
            {
                files.push(file);
            }
        })?;
        Ok(files)
    }

    /// What stands in a folder of these layers, the topmost first.
    fn list(&self, path: &Path, layers: Vec<usize>) -> io::Result<Level> {
        let mut names: BTreeMap<OsString, Found> = BTreeMap::new();
        // Names that those below are not seen through.
        let mut closed: HashSet<OsString> = HashSet::new();
        for layer in layers {
            let folder = self.shared.folders[layer].path.join(path);
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                let name = entry.file_name();
                if closed.contains(&name) {
                    continue;
                }
                // Of the entry itself: links are not followed.
                let metadata = entry.metadata()?;
                let is_folder = metadata.is_dir();
                if !is_folder || is_opaque(&entry.path()) {
                    closed.insert(name.clone());
                }
                match names.get_mut(&name) {
                    None => {
                        names.insert(name, Found { parent: path.to_owned(), layers: vec![layer], metadata });
                    }
                    Some(found) if is_folder => found.layers.push(layer),
                    // A folder above hides what is none.
                    Some(_) => {}
                }
                if names.len() > ENTRIES_MAX {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "too many files"));
                }
            }
        }
        Ok(names.into_iter())
    }
}

/// What stands at a name of a folder.
struct Found {
    parent: PathBuf,
    /// The layers in which it is, the topmost first: several only for a folder.
    layers: Vec<usize>,
    /// As the topmost has it.
    metadata: fs::Metadata,
}

/// What is left of a folder.
type Level = std::collections::btree_map::IntoIter<OsString, Found>;

/// Whether a folder hides the one below it (Linux kernel documentation, `filesystems/overlayfs`).
fn is_opaque(path: &Path) -> bool {
    // What cannot be read is not there: engines of users write the second name.
    ["trusted.overlay.opaque", "user.overlay.opaque"].iter().any(|name| {
        let mut value = [0; 2];
        lgetxattr(path, *name, &mut value).is_ok_and(|len| value[..len] == *b"y")
    })
}

impl Folder {
    /// Opens a regular file. Names are never followed out of the folder, nor through links.
    fn open(&self, path: &Path) -> io::Result<File> {
        // Not blocking: what stands there may be a pipe.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let file = File::from(openat2(&self.handle, path, flags, Mode::empty(), resolve)?);
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no file any more")) }
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
    use std::os::unix::ffi::OsStringExt as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

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

    /// All entries: path, layer, and what each is.
    fn listed(folders: &LayerFolders) -> Vec<(String, usize, String)> {
        let mut entries = Vec::new();
        let mut each = |entry: TreeEntry<LayerFile>| {
            let what = match &entry.kind {
                TreeKind::File(file) => text(file),
                TreeKind::Folder => "/".into(),
                TreeKind::Link(target) => format!("-> {}", String::from_utf8_lossy(target)),
                TreeKind::Scattered => unreachable!("folders have files in one piece"),
            };
            entries.push((entry.path, entry.layer, what));
        };
        folders.walk(&mut each).unwrap();
        entries
    }

    fn expected(list: &[(&str, usize, &str)]) -> Vec<(String, usize, String)> {
        list.iter().map(|(path, layer, what)| ((*path).into(), *layer, (*what).into())).collect()
    }

    #[test]
    fn what_is_hidden_is_not_there() {
        let work = tempfile::tempdir().unwrap();
        let [upper, lower] = ["upper", "lower"].map(|name| work.path().join(name));
        for (path, content) in [
            (upper.join("etc/a"), "new"),
            (upper.join("was-folder"), "file"),
            (upper.join("was-file/inside"), "folder"),
            (lower.join("etc/a"), "old"),
            (lower.join("etc/b"), "below"),
            (lower.join("etc/empty"), ""),
            (lower.join("etc-not/c"), "c"),
            (lower.join("was-folder/inside"), "hidden"),
            (lower.join("was-file"), "hidden"),
        ] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        symlink("b", lower.join("etc/link")).unwrap();
        // A name that nobody can write down is left out.
        fs::write(lower.join(OsString::from_vec(b"etc/\xff".to_vec())), "x").unwrap();
        let folders = LayerFolders::open(&[upper, lower]).unwrap();
        let entries = [
            ("etc", 1, "/"),
            ("etc/a", 1, "new"),
            ("etc/b", 0, "below"),
            ("etc/empty", 0, ""),
            ("etc/link", 0, "-> b"),
            ("etc-not", 0, "/"),
            ("etc-not/c", 0, "c"),
            ("was-file", 1, "/"),
            ("was-file/inside", 1, "folder"),
            ("was-folder", 1, "file"),
        ];
        assert_eq!(listed(&folders), expected(&entries));
        let texts: Vec<String> = folders.files().unwrap().iter().map(text).collect();
        assert_eq!(texts, ["new", "below", "c", "folder", "file"]);
    }

    #[test]
    fn nothing_leads_out_of_a_layer() {
        let work = tempfile::tempdir().unwrap();
        let folders = folders(&work);
        let outside = format!("-> {}", work.path().display());
        let secret = format!("{outside}/secret");
        let entries = [
            ("etc", 1, "/"),
            ("etc/a", 1, "new"),
            ("etc/b", 0, "below"),
            ("etc/ssl", 1, outside.as_str()),
            ("link", 1, secret.as_str()),
        ];
        assert_eq!(listed(&folders), expected(&entries), "links are not followed, and hide what is below");
        // A file that becomes something else after it was found is not read.
        let files = folders.files().unwrap();
        let path = work.path().join("lower/etc/b");
        fs::remove_file(&path).unwrap();
        symlink(work.path().join("secret"), &path).unwrap();
        assert!(files[1].read_at(0, &mut [0]).is_err());
        fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(CWD, &path, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert!(files[1].read_at(0, &mut [0]).is_err());
    }

    #[test]
    fn what_a_file_system_says_is_told() {
        let work = tempfile::tempdir().unwrap();
        let path = work.path().join("program");
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o4751)).unwrap();
        let when = std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_700_000_000_900);
        File::options().write(true).open(&path).unwrap().set_modified(when).unwrap();
        let own = fs::metadata(&path).unwrap();
        let mut found = Vec::new();
        let folders = LayerFolders::open(&[work.path().into()]).unwrap();
        folders.walk(&mut |entry| found.push(entry.metadata)).unwrap();
        let (uid, gid) = (own.uid().into(), own.gid().into());
        assert_eq!(found, [Metadata { mode: 0o4751, uid, gid, modified_s: 1_700_000_000 }]);
    }

    #[test]
    fn more_files_are_read_than_are_held_open() {
        let work = tempfile::tempdir().unwrap();
        let count = OPEN_MAX.get() + 40;
        for index in 0..count {
            fs::write(work.path().join(format!("{index:04}")), index.to_string()).unwrap();
        }
        let files = LayerFolders::open(&[work.path().into()]).unwrap().files().unwrap();
        for (index, file) in files.iter().enumerate() {
            assert_eq!(text(file), index.to_string());
        }
        fs::remove_file(work.path().join("0000")).unwrap();
        let error = files[0].read_at(0, &mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "it is no longer held open");
    }
}
