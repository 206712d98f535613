//! Every way that packages are not made, not opened, or not for a device.

use std::io;

use crate::cpio::CpioError;
use crate::description::DescriptionError;
use crate::limits::{CHOICES_MAX, PARTITION_BYTES_MAX, PARTITIONS_MAX};
use crate::sign::{SignError, VerifyError};

/// Why a package was not made.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A file cannot be read.
    #[error("what is packed cannot be read")]
    Io(#[from] io::Error),
    /// The archive cannot be written.
    #[error("the package could not be put together")]
    Archive(#[from] CpioError),
    /// The description cannot be written.
    #[error("the package could not be described")]
    Description(#[from] DescriptionError),
    /// It could not be signed.
    #[error("the package could not be signed")]
    Sign(#[from] SignError),
    /// Nothing is to be installed, or too much.
    #[error("a package has from 1 to {PARTITIONS_MAX} partitions")]
    Partitions,
    /// There are no slots to choose from, or too many.
    #[error("a package has from 1 to {CHOICES_MAX} choices of slots")]
    Choices,
    /// It would fit no hardware.
    #[error("a package names at least one revision of hardware; none is a pattern (#RE:)")]
    Hardware,
    /// A choice does not say where each partition goes.
    #[error("a choice of slots names {found} places for {wanted} partitions")]
    Places {
        /// How many partitions there are.
        wanted: usize,
        /// How many places.
        found: usize,
    },
    /// A choice without a name stands beside others.
    #[error("choices of slots need names where there is more than one")]
    Unnamed,
    /// A delta needs a base, and nothing else has one.
    #[error("partition {partition}: a delta needs the device of its base, and only a delta has one")]
    Base {
        /// Its name.
        partition: String,
    },
    /// A device is named twice in one choice, or not by an absolute path.
    #[error("{device} is not an absolute path, or is written to and used otherwise by one choice")]
    Device {
        /// The device.
        device: String,
    },
    /// A name would not be safe in a shell or an archive.
    #[error("\"{name}\" is not made of letters, digits, dots, - and _ alone")]
    Name {
        /// The name.
        name: String,
    },
    /// Two partitions or files have one name.
    #[error("{name} is named twice")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// An image is empty or too long.
    #[error("partition {partition}: an image has from 1 to {PARTITION_BYTES_MAX} bytes")]
    Length {
        /// Its name.
        partition: String,
    },
    /// The version cannot be compared with that of a device.
    #[error("version {version} cannot be compared: it must be numbers with dots, then maybe - or + and more")]
    Version {
        /// The version.
        version: String,
    },
}

/// Why a package is not opened, or not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The archive is damaged or cannot be read.
    #[error("the package is damaged")]
    Archive(#[from] CpioError),
    /// The description is wrong.
    #[error("the package's description is wrong")]
    Description(#[from] DescriptionError),
    /// The signature is refused.
    #[error("the package's signature is refused")]
    Signature(#[from] VerifyError),
    /// It does not begin with a description.
    #[error("the package does not begin with sw-description")]
    NoDescription,
    /// The description or the signature is too long.
    #[error("{name} in the package is too long")]
    TooLong {
        /// Which.
        name: &'static str,
    },
    /// There is no signature where one must be.
    #[error("the package is not signed")]
    Unsigned,
    /// A file is not described.
    #[error("the package has a file {name} that its description does not name")]
    Unknown {
        /// Its name.
        name: String,
    },
    /// A file is described and not there.
    #[error("the package lacks {name}")]
    Missing {
        /// Its name.
        name: String,
    },
    /// A file has no hash, or two that differ.
    #[error("the package's description has no SHA-256 for {name}, or several")]
    NoHash {
        /// Its name.
        name: String,
    },
    /// A file is not what is described.
    #[error("{name} in the package is not what was described: its SHA-256 differs")]
    Hash {
        /// Its name.
        name: String,
    },
}

impl OpenError {
    /// Takes it out of what [`PackedFile`](super::PackedFile) reports as a reader.
    pub fn from_reader(error: io::Error) -> Self {
        error.downcast::<Self>().unwrap_or_else(|error| Self::Archive(CpioError::from_reader(error)))
    }
}

fn hardware(fits: &str) -> String {
    if fits.is_empty() { "other boards".into() } else { format!("hardware {fits}") }
}

/// Why a package is not for a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefusalError {
    /// It fits other hardware.
    #[error("the package is for {}, this is {revision}", hardware(fits))]
    Hardware {
        /// What it fits; empty where it names nothing for this board.
        fits: String,
        /// What the device is.
        revision: String,
    },
    /// It has nothing for this choice of slots.
    #[error("the package has nothing for this board and choice of slots")]
    Choice,
    /// It is older than what is installed.
    #[error("version {offered} is older than {installed}, which is installed")]
    Downgrade {
        /// The package's.
        offered: String,
        /// The device's.
        installed: String,
    },
    /// The versions cannot be compared.
    #[error("version {offered} cannot be compared with {installed}, which is installed")]
    Versions {
        /// The package's.
        offered: String,
        /// The device's.
        installed: String,
    },
    /// It lacks what would tell a wrong base or a wrong result.
    #[error("{filename} is not guarded: {lacks}")]
    Unguarded {
        /// The file.
        filename: String,
        /// What is not there.
        lacks: &'static str,
    },
}

/// How a device differs from what it should hold.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// It cannot be read.
    #[error("the image cannot be read")]
    Io(#[from] io::Error),
    /// It is too short.
    #[error("the image has {found} bytes, not {wanted}")]
    TooShort {
        /// In bytes.
        wanted: u64,
        /// In bytes.
        found: u64,
    },
    /// It holds something else.
    #[error("the image has the SHA-256 {found}, not {wanted}")]
    Sha256 {
        /// In hexadecimal digits.
        wanted: String,
        /// In hexadecimal digits.
        found: String,
    },
}
