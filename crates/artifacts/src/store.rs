//! The store: a folder with `<machine>/<image>/<version>/` in it.

mod add;
mod damage;
mod list;
mod prune;
mod verify;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::limits::ENTRIES_MAX;
use crate::manifest::Manifest;
use crate::name::Name;
use crate::version::Version;

pub use add::{AddError, NewImage, NewVersion};
pub use damage::Damage;
pub use list::{Entry, Stored, StoredDelta};
pub use prune::{Decision, Fate, ImageReport, KeepReason, PruneOptions, Removal};
pub use verify::VerifyReport;

/// Where deltas to a version are, in the version's folder.
pub(crate) const UPDATES: &str = "updates";
/// How the folder of a delta begins; the version of its base follows.
pub(crate) const FROM: &str = "from_";

/// A store of versions.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// An image of a machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageId {
    /// The machine.
    pub machine: Name,
    /// The image.
    pub image: Name,
}

/// A version of an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VersionId {
    /// The image.
    pub of: ImageId,
    /// The version.
    pub version: Version,
}

impl ImageId {
    /// A version of it.
    pub fn version(&self, version: &Version) -> VersionId {
        VersionId { of: self.clone(), version: version.clone() }
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.machine, self.image)
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.of, self.version)
    }
}

/// Which part of a store is meant; all of it where nothing is given.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only this machine.
    pub machine: Option<Name>,
    /// Only images of this name.
    pub image: Option<Name>,
    /// Only versions of this name.
    pub version: Option<Version>,
}

impl Filter {
    /// One version.
    pub fn one(id: &VersionId) -> Self {
        Self { version: Some(id.version.clone()), ..Self::image(&id.of) }
    }

    /// One image.
    pub fn image(id: &ImageId) -> Self {
        Self { machine: Some(id.machine.clone()), image: Some(id.image.clone()), version: None }
    }
}

/// The store cannot be read or written, or lacks what was asked for.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file or folder cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A folder has more than [`ENTRIES_MAX`] entries.
    #[error("{} has more than {ENTRIES_MAX} entries", .0.display())]
    TooMany(PathBuf),
    /// There is no such version.
    #[error("the store has no {id}; {}", available(versions))]
    NoVersion {
        /// The version.
        id: VersionId,
        /// The versions of the image that there are.
        versions: Vec<Version>,
    },
    /// What is there cannot be used.
    #[error("{id} is damaged")]
    Damaged {
        /// The version.
        id: VersionId,
        /// How.
        source: Damage,
    },
    /// Another process uses what would be removed.
    #[error("{0} is in use by another run of fluvial")]
    Busy(ImageId),
    /// Whoever asked wants to stop.
    #[error("stopped")]
    Cancelled,
}

/// Which versions there are, in words.
pub(crate) fn available(versions: &[Version]) -> String {
    if versions.is_empty() {
        return "it has no version of that image".to_owned();
    }
    let names: Vec<_> = versions.iter().map(Version::as_str).collect();
    format!("it has {}", names.join(", "))
}

impl Store {
    /// The store in a folder, which need not be there yet.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of an image.
    pub fn image_folder(&self, id: &ImageId) -> PathBuf {
        self.root.join(id.machine.as_str()).join(id.image.as_str())
    }

    /// The folder of a version.
    pub fn version_folder(&self, id: &VersionId) -> PathBuf {
        self.image_folder(&id.of).join(id.version.as_str())
    }

    /// The folder of the delta from one version to another.
    pub fn update_folder(&self, of: &ImageId, from: &Version, to: &Version) -> PathBuf {
        self.version_folder(&of.version(to)).join(UPDATES).join(format!("{FROM}{from}"))
    }

    /// The manifest of a version, where it is.
    ///
    /// # Errors
    /// [`StoreError::NoVersion`], [`StoreError::Damaged`], [`StoreError::Read`].
    pub fn manifest(&self, id: &VersionId) -> Result<Manifest, StoreError> {
        let manifest = self.manifest_anywhere(id)?;
        damage::check_place(&manifest, id)
            .map_err(|source| StoreError::Damaged { id: id.clone(), source })?;
        Ok(manifest)
    }

    /// The manifest in the folder of a version, whatever it says of machine, image and version.
    pub(crate) fn manifest_anywhere(&self, id: &VersionId) -> Result<Manifest, StoreError> {
        let folder = self.version_folder(id);
        match folder.symlink_metadata() {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::NoVersion { id: id.clone(), versions: self.versions(&id.of)? });
            }
            Err(source) => return Err(StoreError::Read { path: folder, source }),
        }
        list::manifest_in(&folder).map_err(|source| StoreError::Damaged { id: id.clone(), source })
    }
}
