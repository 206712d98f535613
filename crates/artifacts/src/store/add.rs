//! Adding a version.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use thiserror::Error;

use super::{Store, VersionId};
use crate::build_info::BuildInfo;
use crate::copy::{self, Copied, CopyError};
use crate::creator;
use crate::digest::Sha256Digest;
use crate::disk::{self, Draft, Temporary};
use crate::document::DocumentError;
use crate::manifest::{FORMAT_VERSION, Manifest, Partition, file_name};
use crate::name::Name;

/// A version to be added.
#[derive(Debug, Clone)]
pub struct NewVersion {
    /// Which.
    pub id: VersionId,
    /// The distribution that it is of.
    pub distribution: Option<Name>,
    /// Its images, in the order of the partitions.
    pub images: Vec<NewImage>,
    /// How it was configured.
    pub build_info: BuildInfo,
    /// What else is told of it.
    pub build_notes: BuildInfo,
    /// When it was made, in seconds since 1970, if that shall be told.
    pub time_unix_s: Option<u64>,
}

/// An image to be added.
#[derive(Debug, Clone)]
pub struct NewImage {
    /// The partition that it is for.
    pub name: Name,
    /// The file.
    pub path: PathBuf,
    /// The length of the partition, in bytes; that of the image if not given.
    pub partition_bytes: Option<u64>,
    /// The length of the partition's blocks, in bytes.
    pub block_len_bytes: u32,
}

/// A version cannot be added.
#[derive(Debug, Error)]
pub enum AddError {
    /// It is there already.
    #[error("{0} is in the store already")]
    Exists(VersionId),
    /// An image cannot be read, or is no file.
    #[error("cannot read {}", path.display())]
    Read {
        /// The image.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An image was written to meanwhile.
    #[error("{} has changed while it was copied", .0.display())]
    Changed(PathBuf),
    /// What the version is cannot be written down.
    #[error("{id} cannot be described")]
    Document {
        /// The version.
        id: VersionId,
        /// Why.
        source: DocumentError,
    },
    /// The store cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Whoever asked wants to stop.
    #[error("stopped")]
    Cancelled,
}

impl Store {
    /// Copies images into a new version. It is there at once and complete, and on the disk, or not at all. What
    /// killed runs have left in the folder of the image is removed.
    ///
    /// `observe` is told how many bytes more were copied, and answers whether to go on.
    ///
    /// # Errors
    /// [`AddError`]; nothing is left behind then.
    pub fn add(&self, new: &NewVersion, observe: &dyn Fn(u64) -> bool) -> Result<Manifest, AddError> {
        let folder = self.version_folder(&new.id);
        let failed = |source| AddError::Write { path: folder.clone(), source };
        if folder.symlink_metadata().is_ok() {
            return Err(AddError::Exists(new.id.clone()));
        }
        let sources = new.images.iter().map(Source::open).collect::<Result<Vec<_>, _>>()?;
        let mut manifest = new.manifest(&sources);
        // What cannot be described is not copied for an hour first.
        new.bytes_of(&manifest)?;
        let parent = self.image_folder(&new.id.of);
        disk::sweep(&parent).map_err(failed)?;
        let draft = Draft::create(&parent, Temporary::Adding).map_err(failed)?;
        for (source, partition) in sources.iter().zip(&mut manifest.partitions) {
            let Copied { size_bytes, sha256 } = source.copy(draft.path(), observe)?;
            (partition.size_bytes, partition.sha256) = (size_bytes, sha256);
        }
        draft.write(Manifest::FILE_NAME, &new.bytes_of(&manifest)?).map_err(failed)?;
        draft.write(Manifest::TEXT_NAME, &manifest.shell_text()).map_err(failed)?;
        match draft.publish(&folder) {
            Ok(()) => Ok(manifest),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(AddError::Exists(new.id.clone()))
            }
            Err(source) => Err(failed(source)),
        }
    }
}

impl NewVersion {
    /// The manifest, but for the hashes.
    fn manifest(&self, sources: &[Source<'_>]) -> Manifest {
        let partitions = sources.iter().map(|Source { image, len, .. }| Partition {
            name: image.name.clone(),
            size_bytes: *len,
            sha256: Sha256Digest([0; 32]),
            partition_bytes: image.partition_bytes,
            block_len_bytes: image.block_len_bytes,
        });
        Manifest {
            format_version: FORMAT_VERSION,
            machine: self.id.of.machine.clone(),
            image: self.id.of.image.clone(),
            version: self.id.version.clone(),
            distribution: self.distribution.clone(),
            partitions: partitions.collect(),
            build_info: self.build_info.clone(),
            build_notes: self.build_notes.clone(),
            created_by: creator(),
            time_unix_s: self.time_unix_s,
        }
    }

    fn bytes_of(&self, manifest: &Manifest) -> Result<Vec<u8>, AddError> {
        manifest.to_bytes().map_err(|source| AddError::Document { id: self.id.clone(), source })
    }
}

/// An image that is open.
struct Source<'a> {
    image: &'a NewImage,
    file: File,
    len: u64,
}

impl<'a> Source<'a> {
    fn open(image: &'a NewImage) -> Result<Self, AddError> {
        let open = || {
            // A pipe would be waited for.
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = File::from(rustix::fs::open(&image.path, flags, Mode::empty())?);
            let metadata = file.metadata()?;
            if metadata.is_file() {
                Ok((file, metadata.len()))
            } else {
                Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
            }
        };
        let (file, len) = open().map_err(|source| AddError::Read { path: image.path.clone(), source })?;
        Ok(Self { image, file, len })
    }

    fn copy(&self, folder: &Path, observe: &dyn Fn(u64) -> bool) -> Result<Copied, AddError> {
        let path = folder.join(file_name(&self.image.name));
        let failed = |source| AddError::Write { path: path.clone(), source };
        let file = fs::File::create_new(&path).map_err(failed)?;
        let copied = copy::copy(&self.file, &file, observe).map_err(|error| match error {
            CopyError::Read(source) => AddError::Read { path: self.image.path.clone(), source },
            CopyError::Write(source) => failed(source),
            CopyError::Changed => AddError::Changed(self.image.path.clone()),
            CopyError::Cancelled => AddError::Cancelled,
        })?;
        disk::settle(&file).map_err(failed)?;
        Ok(copied)
    }
}
