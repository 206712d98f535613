//! What can be wrong with something in the store.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::VersionId;
use crate::document::DocumentError;
use crate::manifest::Manifest;
use crate::name::{Name, NameError};
use crate::version::Version;

/// What is wrong with a version, a delta, or something else in the store.
#[derive(Debug, Error)]
pub enum Damage {
    /// It is a file or a link where a folder should be.
    #[error("it is no folder")]
    NotAFolder,
    /// Its name is none.
    #[error("its name is none of ours")]
    Name(#[from] NameError),
    /// The name is not UTF-8.
    #[error("its name is not UTF-8")]
    NotText,
    /// A document that should be there is not.
    #[error("there is no {0}")]
    Missing(&'static str),
    /// A document cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A document is not as it should be.
    #[error("{name} cannot be used")]
    Document {
        /// Which.
        name: &'static str,
        /// Why.
        source: DocumentError,
    },
    /// It says that it belongs elsewhere.
    #[error("it says that it is {found}")]
    Misplaced {
        /// What it says.
        found: String,
    },
    /// The image of a partition cannot be read.
    #[error("cannot read the image of {partition}")]
    Image {
        /// The partition.
        partition: Name,
        /// Why.
        source: io::Error,
    },
    /// The image of a partition has another length.
    #[error("the image of {partition} has {found} bytes, {expected} were added")]
    Size {
        /// The partition.
        partition: Name,
        /// How many there are.
        found: u64,
        /// How many there should be.
        expected: u64,
    },
    /// The image of a partition has another hash.
    #[error("the image of {partition} is not what was added: its SHA-256 is another")]
    Digest {
        /// The partition.
        partition: Name,
    },
    /// `build-info.txt` does not say what the document says.
    #[error("build-info.txt does not say what {0} says")]
    Text(&'static str),
    /// The package of a delta cannot be read.
    #[error("cannot read the package {name}")]
    Package {
        /// The package.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The package of a delta is another.
    #[error("the package {name} is not what was made: size or SHA-256 is another")]
    OtherPackage {
        /// The package.
        name: String,
    },
    /// A delta's base or target is not what the version has.
    #[error("{partition} is not the one of {version}")]
    OtherImage {
        /// The partition.
        partition: Name,
        /// The version.
        version: Version,
    },
    /// A delta's base is not there any more, or damaged.
    #[error("its base {0} is not there")]
    NoBase(Version),
}

impl Damage {
    /// A document could not be read.
    pub(super) fn of_document(path: PathBuf, name: &'static str, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::NotFound {
            Self::Missing(name)
        } else {
            Self::Read { path, source }
        }
    }

    /// A document is too long to be read.
    pub(super) fn too_long(name: &'static str) -> Self {
        Self::Document { name, source: DocumentError::TooLong }
    }
}

/// Whether a manifest stands where it says.
pub(super) fn check_place(manifest: &Manifest, id: &VersionId) -> Result<(), Damage> {
    let is_here =
        manifest.machine == id.of.machine && manifest.image == id.of.image && manifest.version == id.version;
    if is_here {
        return Ok(());
    }
    let found = format!("{}/{}/{}", manifest.machine, manifest.image, manifest.version);
    Err(Damage::Misplaced { found })
}
