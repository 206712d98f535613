//! Blobs that a patch makes: at any offset and in any order, and kept from one run to the next.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::ops::Deref;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fluvial_delta::apply::Target;
use fluvial_delta::header::Sha256Digest;
use fluvial_delta::structure::ReadAt;
use rustix::fs::{FallocateFlags, fallocate};

use super::ImageError;

/// A blob that is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// Its SHA-256.
    pub sha256: Sha256Digest,
    /// Its length in bytes.
    pub len: u64,
}

/// A blob that a patch writes.
#[derive(Debug)]
pub struct Blob {
    announced: Announced,
    path: PathBuf,
    file: Arc<File>,
    offset: u64,
}

impl ReadAt for Blob {
    fn len(&self) -> u64 {
        self.announced.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.check(offset, buf.len() as u64)?;
        self.file.read_exact_at(buf, self.offset + offset)
    }
}

impl Target for Blob {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.check(offset, bytes.len() as u64)?;
        self.file.write_all_at(bytes, self.offset + offset)
    }
}

impl Blob {
    /// What it shall be.
    pub fn announced(&self) -> Announced {
        self.announced
    }

    /// Where it starts in its file, in bytes.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Gives bytes back to the disk that nobody reads any more: they become zeros. Only whole blocks of the
    /// file system are, and none where it knows no holes.
    pub fn release(&self, offset: u64, len: u64) {
        if self.check(offset, len).is_ok() && len > 0 {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // A disk that stays full for longer is no error.
            let _ = fallocate(&*self.file, flags, self.offset + offset, len);
        }
    }

    /// Gives a blob with a file of its own the name `path`, once it is on the disk.
    pub(super) fn publish(&self, path: &Path) -> Result<(), ImageError> {
        let moved = self.file.sync_all().and_then(|()| fs::rename(&self.path, path));
        moved.map_err(|source| ImageError::Write { path: path.into(), source })
    }

    /// Its neighbours in the file are out of reach.
    fn check(&self, offset: u64, len: u64) -> io::Result<()> {
        let is_inside = offset.checked_add(len).is_some_and(|end| end <= self.announced.len);
        if is_inside { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// The blobs of an image, in the order in which they were announced. Their files are locked, and removed
/// when this is dropped unless they are kept.
#[derive(Debug)]
pub struct Blobs {
    list: Vec<Blob>,
    is_kept: bool,
}

impl Deref for Blobs {
    type Target = [Blob];

    fn deref(&self) -> &[Blob] {
        &self.list
    }
}

impl Blobs {
    /// Blobs one behind another in the file at `path`, each at a multiple of `spacing` bytes with room for
    /// as many in front of it.
    ///
    /// # Errors
    /// [`ImageError::Write`], and [`ImageError::Busy`] while another run writes there.
    pub fn in_one_file(path: &Path, announced: &[Announced], spacing: u64) -> Result<Self, ImageError> {
        let file = Arc::new(open(path)?);
        let mut end = 0;
        let mut list = Vec::with_capacity(announced.len());
        for &one in announced {
            let offset = end + spacing;
            end = (offset + one.len).next_multiple_of(spacing);
            list.push(Blob { announced: one, path: path.into(), file: Arc::clone(&file), offset });
        }
        let blobs = Self { list, is_kept: false };
        blobs.stretch()?;
        Ok(blobs)
    }

    /// Blobs that each have a file, whose path `part` tells.
    pub(super) fn in_files_of_their_own(
        announced: &[Announced],
        part: impl Fn(&Announced) -> PathBuf,
    ) -> Result<Self, ImageError> {
        let mut blobs = Self { list: Vec::with_capacity(announced.len()), is_kept: false };
        for &one in announced {
            let path = part(&one);
            let file = Arc::new(open(&path)?);
            blobs.list.push(Blob { announced: one, path, file, offset: 0 });
        }
        blobs.stretch()?;
        Ok(blobs)
    }

    /// The first blob's file.
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.list[0].file)
    }

    /// The path of the first blob's file.
    pub fn path(&self) -> &Path {
        &self.list[0].path
    }

    /// What tells these files from others that had their names, made of their inodes.
    ///
    /// # Errors
    /// What the system reports.
    pub fn inode(&self) -> io::Result<u64> {
        let inode = |blob: &Blob| blob.file.metadata().map(|metadata| metadata.ino());
        self.list.iter().try_fold(0, |all: u64, blob| Ok(all.rotate_left(1) ^ inode(blob)?))
    }

    /// The files, to sync them.
    ///
    /// # Errors
    /// What the system reports.
    pub fn files(&self) -> io::Result<Vec<File>> {
        let is_other =
            |index: &usize| *index == 0 || !Arc::ptr_eq(&self.list[*index].file, &self.list[0].file);
        (0..self.list.len()).filter(is_other).map(|index| self.list[index].file.try_clone()).collect()
    }

    /// Throws away what an earlier run has made.
    ///
    /// # Errors
    /// [`ImageError::Write`].
    pub fn clear(&self) -> Result<(), ImageError> {
        for blob in &self.list {
            blob.file.set_len(0).map_err(|source| ImageError::Write { path: blob.path.clone(), source })?;
        }
        self.stretch()
    }

    /// Lets the files stay when this is dropped.
    pub fn keep(&mut self) {
        self.is_kept = true;
    }

    fn stretch(&self) -> Result<(), ImageError> {
        for blob in &self.list {
            let end = blob.offset + blob.announced.len;
            let failed = |source| ImageError::Write { path: blob.path.clone(), source };
            if blob.file.metadata().map_err(failed)?.len() < end {
                blob.file.set_len(end).map_err(failed)?;
            }
        }
        Ok(())
    }
}

impl Drop for Blobs {
    fn drop(&mut self) {
        if !self.is_kept {
            // What has its name already is no longer found; should something stay, the next run takes it
            // over.
            for blob in &self.list {
                let _ = fs::remove_file(&blob.path);
            }
        }
    }
}

/// Opens a file that can be written and read back, empty unless an earlier run has kept it, and locks it.
fn open(path: &Path) -> Result<File, ImageError> {
    let failed = |source| ImageError::Write { path: path.into(), source };
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ImageError::Busy { path: path.into() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// A path with something appended to its file name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNOUNCED: [Announced; 2] =
        [Announced { sha256: [1; 32], len: 5 }, Announced { sha256: [2; 32], len: 100_000 }];

    #[test]
    fn neighbours_are_out_of_reach() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::in_one_file(&folder.path().join("part"), &ANNOUNCED, 512).unwrap();
        blobs[0].write_at(0, b"12345").unwrap();
        assert!(blobs[0].write_at(1, b"12345").is_err());
        assert!(blobs[0].read_at(5, &mut [0]).is_err());
        let mut bytes = [9; 3];
        blobs[1].read_at(0, &mut bytes).unwrap();
        assert_eq!(bytes, [0; 3]);
    }

    #[test]
    fn what_is_kept_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part");
        let mut blobs = Blobs::in_one_file(&path, &ANNOUNCED, 512).unwrap();
        assert!(matches!(Blobs::in_one_file(&path, &ANNOUNCED, 512), Err(ImageError::Busy { .. })));
        blobs[1].write_at(99_998, b"ab").unwrap();
        let inode = blobs.inode().unwrap();
        blobs.keep();
        drop(blobs);
        let blobs = Blobs::in_one_file(&path, &ANNOUNCED, 512).unwrap();
        assert_eq!(blobs.inode().unwrap(), inode);
        let mut bytes = [0; 2];
        blobs[1].read_at(99_998, &mut bytes).unwrap();
        assert_eq!(&bytes, b"ab");
        blobs.clear().unwrap();
        blobs[1].read_at(99_998, &mut bytes).unwrap();
        assert_eq!(bytes, [0; 2], "cleared");
        drop(blobs);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_released_leaves_the_disk() {
        let folder = tempfile::tempdir_in(".").unwrap();
        let announced = [Announced { sha256: [1; 32], len: 1 << 20 }];
        let blobs = Blobs::in_one_file(&folder.path().join("part"), &announced, 512).unwrap();
        blobs[0].write_at(0, &vec![7; 1 << 20]).unwrap();
        blobs[0].file.sync_all().unwrap();
        let blocks = |blobs: &Blobs| blobs[0].file.metadata().unwrap().blocks();
        let before = blocks(&blobs);
        blobs[0].release(0, 1 << 19);
        assert!(blocks(&blobs) <= before / 2 + 16, "{} of {before}", blocks(&blobs));
        let mut byte = [0];
        blobs[0].read_at(1 << 19, &mut byte).unwrap();
        assert_eq!(byte, [7]);
    }
}
