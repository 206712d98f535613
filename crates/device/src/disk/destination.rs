//! NEW: where the result of an apply goes.
//!
//! A file is made under the name `NEW.part` and gets its own name at last; a block device is written
//! in place.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use fluvial_delta::structure::ReadAt as _;
use rustix::fs::{FallocateFlags, OFlags, fallocate, major, minor, statvfs};

use thiserror::Error;

use super::durable::{self, beside, folder_of};
use super::medium::{Identity, Medium};

/// A result cannot be written where it should be.
#[derive(Debug, Error)]
pub enum DestinationError {
    /// Neither a file nor a block device stands there.
    #[error("{} is neither a file nor a block device", path.display())]
    Kind {
        /// Where the result should go.
        path: PathBuf,
    },
    /// Something else than a file stands where the result should be made.
    #[error("{} is not a file", path.display())]
    NotAFile {
        /// Where the result should be made.
        path: PathBuf,
    },
    /// Another program is writing it.
    #[error("{} is being written already", path.display())]
    Busy {
        /// What is written.
        path: PathBuf,
    },
    /// The result would take the place of what it is made from.
    #[error("{} is {what}, and would be overwritten", path.display())]
    Input {
        /// Where the result should be made.
        path: PathBuf,
        /// What stands there.
        what: &'static str,
    },
    /// The device is too small.
    #[error("{} has {have} bytes, the result takes {need}", path.display())]
    SmallDevice {
        /// The device.
        path: PathBuf,
        /// Its length in bytes.
        have: u64,
        /// How many bytes the result has.
        need: u64,
    },
    /// The file system has not enough room.
    #[error("{} has {have} bytes free, {need} are needed", folder.display())]
    NoSpace {
        /// A folder of the file system.
        folder: PathBuf,
        /// How many bytes are free.
        have: u64,
        /// How many are needed.
        need: u64,
    },
    /// Writing failed, or looking at what is written.
    #[error("cannot write {}", path.display())]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// What the system reports.
        source: io::Error,
    },
}

impl DestinationError {
    fn write(path: &Path, source: io::Error) -> Self {
        Self::Write { path: path.into(), source }
    }
}

/// Where the result goes.
#[derive(Debug)]
pub struct Destination {
    new: PathBuf,
    /// What is written: `NEW.part`, or the device or slot itself.
    part: PathBuf,
    file: File,
    /// Whether NEW itself is written.
    is_in_place: bool,
}

impl Destination {
    /// Opens `NEW.part`, or the block device NEW, and locks it. Nothing is written yet.
    ///
    /// # Errors
    /// [`DestinationError::Busy`] where another program writes it, [`DestinationError::Write`] with
    /// [`ErrorKind::ResourceBusy`] where a device is mounted, and whatever the system reports.
    pub fn open(new: &Path) -> Result<Self, DestinationError> {
        let kind = match new.metadata() {
            Ok(metadata) => Some(metadata.file_type()),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(DestinationError::write(new, error)),
        };
        let is_device = kind.is_some_and(|kind| kind.is_block_device());
        if kind.is_some_and(|kind| !kind.is_file() && !kind.is_block_device()) {
            return Err(DestinationError::Kind { path: new.into() });
        }
        let part = if is_device { new.to_owned() } else { beside(new, ".part") };
        Self::open_part(new, part, is_device, is_device)
    }

    /// Opens a slot, a block device or a file, and locks it. It is written in place; a file that is not there
    /// or too short is made as long as the result.
    ///
    /// # Errors
    /// As [`Destination::open`].
    pub fn open_in_place(slot: &Path) -> Result<Self, DestinationError> {
        let kind = match slot.metadata() {
            Ok(metadata) => Some(metadata.file_type()),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(DestinationError::write(slot, error)),
        };
        if kind.is_some_and(|kind| !kind.is_file() && !kind.is_block_device()) {
            return Err(DestinationError::Kind { path: slot.into() });
        }
        let is_device = kind.is_some_and(|kind| kind.is_block_device());
        Self::open_part(slot, slot.to_owned(), is_device, true)
    }

    fn open_part(
        new: &Path,
        part: PathBuf,
        is_device: bool,
        is_in_place: bool,
    ) -> Result<Self, DestinationError> {
        // Exclusive: the kernel refuses a device that is mounted or part of another one. A file is
        // made if it is not there, but no link in its place is followed.
        let flags = if is_device { OFlags::EXCL } else { OFlags::NOFOLLOW | OFlags::NONBLOCK };
        let flags = if is_in_place && !is_device { OFlags::NONBLOCK } else { flags };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(!is_device)
            .truncate(false)
            .custom_flags(flags.bits() as i32)
            .open(&part)
            .map_err(|error| DestinationError::write(&part, error))?;
        let destination = Self { new: new.to_owned(), part, file, is_in_place };
        destination.lock()?;
        Ok(destination)
    }

    fn lock(&self) -> Result<(), DestinationError> {
        let busy = || DestinationError::Busy { path: self.part.clone() };
        match self.file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(busy()),
            Err(TryLockError::Error(error)) => return Err(DestinationError::write(&self.part, error)),
        }
        let failed = |error| DestinationError::write(&self.part, error);
        let ours = self.file.metadata().map_err(failed)?;
        if self.is_in_place {
            return Ok(());
        }
        if !ours.is_file() {
            return Err(DestinationError::NotAFile { path: self.part.clone() });
        }
        // Whoever held the lock may just have given the file its own name: it is no longer ours.
        match fs::symlink_metadata(&self.part) {
            Ok(found) if (found.dev(), found.ino()) == (ours.dev(), ours.ino()) => Ok(()),
            _ => Err(busy()),
        }
    }

    /// Refuses to write over what is being read, which people know as `what`.
    ///
    /// # Errors
    /// [`DestinationError::Input`].
    pub fn check_distinct(
        &self,
        input: Option<Identity>,
        what: &'static str,
    ) -> Result<(), DestinationError> {
        let metadata = self.file.metadata().map_err(|error| DestinationError::write(&self.part, error))?;
        let same = match input {
            Some(Identity::Device(device)) => {
                metadata.file_type().is_block_device() && overlap(device, metadata.rdev())
            }
            Some(Identity::File(device, inode)) => (device, inode) == (metadata.dev(), metadata.ino()),
            None => false,
        };
        if same {
            return Err(DestinationError::Input { path: self.part.clone(), what });
        }
        Ok(())
    }

    /// The inode of `NEW.part`, 0 where NEW itself is written.
    ///
    /// # Errors
    /// What the system reports.
    pub fn inode(&self) -> Result<u64, DestinationError> {
        if self.is_in_place {
            return Ok(0);
        }
        self.file
            .metadata()
            .map(|metadata| metadata.ino())
            .map_err(|error| DestinationError::write(&self.part, error))
    }

    /// Whether NEW itself is written: a block device, or a slot.
    pub fn is_in_place(&self) -> bool {
        self.is_in_place
    }

    /// What is written.
    pub fn part(&self) -> &Path {
        &self.part
    }

    /// Whether an earlier run has left something of this size.
    pub fn holds(&self, size: u64) -> bool {
        self.is_in_place || self.file.metadata().is_ok_and(|metadata| metadata.len() == size)
    }

    /// Throws away what an earlier run has left.
    ///
    /// # Errors
    /// What the system reports.
    pub fn clear(&self) -> Result<(), DestinationError> {
        if self.is_in_place {
            return Ok(());
        }
        self.file.set_len(0).map_err(|error| DestinationError::write(&self.part, error))
    }

    /// Sees to it that `size` bytes fit, and `scratch` bytes beside them, and takes the room for the
    /// result.
    ///
    /// # Errors
    /// [`DestinationError::NoSpace`], [`DestinationError::SmallDevice`], and what the system reports.
    pub fn reserve(
        &self,
        size: u64,
        scratch: u64,
        scratch_folder: &Path,
    ) -> Result<Medium, DestinationError> {
        let failed = |error| DestinationError::write(&self.part, error);
        let medium = Medium::new(self.file.try_clone().map_err(failed)?).map_err(failed)?;
        if self.is_in_place {
            let is_file = self.file.metadata().map_err(failed)?.is_file();
            if medium.len() < size && is_file {
                check_free(folder_of(&self.part), size.saturating_add(scratch))?;
                self.file.set_len(size).map_err(failed)?;
                return Medium::new(self.file.try_clone().map_err(failed)?).map_err(failed);
            }
            if medium.len() < size {
                let (path, have) = (self.part.clone(), medium.len());
                return Err(DestinationError::SmallDevice { path, have, need: size });
            }
            check_free(scratch_folder, scratch)?;
            return Ok(medium.shortened(size));
        }
        let taken = 512 * self.file.metadata().map_err(failed)?.blocks();
        check_free(folder_of(&self.part), size.saturating_sub(taken).saturating_add(scratch))?;
        match fallocate(&self.file, FallocateFlags::empty(), 0, size.max(1)) {
            // Not every file system can.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            Err(error) => return Err(failed(error.into())),
        }
        self.file.set_len(size).map_err(failed)?;
        Medium::new(self.file.try_clone().map_err(failed)?).map_err(failed)
    }

    /// Makes the checked result durable, and gives it its name.
    ///
    /// # Errors
    /// What the system reports.
    pub fn publish(self, size: u64) -> Result<(), DestinationError> {
        let result = if self.is_in_place {
            self.file.sync_all()
        } else {
            durable::publish(&self.file, size, &self.part, &self.new)
        };
        result.map_err(|error| DestinationError::write(&self.new, error))
    }

    /// Removes what was made so far; nothing can be removed from a device.
    ///
    /// # Errors
    /// What the system reports.
    pub fn discard(&self) -> Result<(), DestinationError> {
        if self.is_in_place {
            return Ok(());
        }
        durable::remove(&self.part).map_err(|error| DestinationError::write(&self.part, error))
    }
}

fn check_free(folder: &Path, needed: u64) -> Result<(), DestinationError> {
    let free = statvfs(folder).map_err(|error| DestinationError::write(folder, error.into()))?;
    let available = free.f_bavail.saturating_mul(free.f_frsize);
    // Some file systems on a network do not tell.
    if free.f_blocks > 0 && available < needed {
        return Err(DestinationError::NoSpace { folder: folder.into(), have: available, need: needed });
    }
    Ok(())
}

/// Whether two block devices share bytes: they are the same, or one is a partition of the other.
fn overlap(one: u64, other: u64) -> bool {
    let node = |device| -> io::Result<PathBuf> {
        fs::canonicalize(format!("/sys/dev/block/{}:{}", major(device), minor(device)))
    };
    one == other
        || matches!((node(one), node(other)), (Ok(one), Ok(other)) if one.starts_with(&other) || other.starts_with(&one))
}
