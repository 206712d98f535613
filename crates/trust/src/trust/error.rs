//! Why metadata is refused.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use thiserror::Error as ThisError;
use tough::TransportErrorKind;
use tough::error::Error as ToughError;
use tough::schema::Error as SchemaError;

use crate::limits::{MANIFEST_BYTES_MAX, METADATA_FILE_BYTES_MAX, ROOT_VERSION_MAX};
use crate::{Role, Timestamp};

/// A root cannot be trusted.
#[derive(Debug, ThisError)]
pub enum TrustError {
    /// It is too long.
    #[error("the root has more than {METADATA_FILE_BYTES_MAX} bytes")]
    Bytes,
    /// It cannot be understood.
    #[error("the root cannot be understood")]
    Malformed {
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Its version is too high.
    #[error("the root has a version above {ROOT_VERSION_MAX}")]
    Version,
    /// It is not signed by enough of the keys that it names.
    #[error("the root is not signed by the keys that it names")]
    Signatures {
        /// What is missing.
        source: Box<SchemaError>,
    },
}

/// What a device has seen cannot be read or kept.
#[derive(Debug, ThisError)]
pub enum StateError {
    /// Reading or writing failed.
    #[error("cannot {action} {}", path.display())]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file was changed by something else.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The file was written by a later version of this program.
    #[error("{} has format {format}, which this version does not know", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// The file was written by a device that trusted another root.
    #[error("{} belongs to another root than this device trusts", path.display())]
    OtherRoot {
        /// The file.
        path: PathBuf,
    },
    /// Another process is writing the file.
    #[error("{} is being written by another process", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// Something was kept since the metadata was verified: it has to be verified again.
    #[error("{} has changed since the metadata was verified", path.display())]
    Stale {
        /// The file.
        path: PathBuf,
    },
}

/// A release is refused.
#[derive(Debug, ThisError)]
pub enum VerifyError {
    /// There is no metadata at all.
    #[error("the release is not signed")]
    Unsigned,
    /// A part of the metadata is not there.
    #[error("{name} is missing")]
    Missing {
        /// The file.
        name: String,
    },
    /// A part of the metadata cannot be understood.
    #[error("{name} cannot be understood")]
    Malformed {
        /// The file.
        name: String,
        /// What is wrong with it.
        source: Box<dyn Error + Send + Sync>,
    },
    /// None of the keys that the device trusts has signed this.
    #[error("{name} is signed by none of the keys that this device trusts for {role}, or was changed since")]
    OtherKeys {
        /// The file.
        name: String,
        /// The role that should have signed.
        role: Role,
    },
    /// Some of the keys have signed, but too few.
    #[error(
        "{name} is signed by {valid} of the keys that this device trusts for {role}, and needs {threshold}"
    )]
    TooFewKeys {
        /// The file.
        name: String,
        /// The role that should have signed.
        role: Role,
        /// How many have.
        valid: u64,
        /// How many have to.
        threshold: u64,
    },
    /// A version of the root does not follow from the one before it.
    #[error("{name} does not follow from the root that this device trusts")]
    RootChain {
        /// The file.
        name: String,
        /// What is missing.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A part has expired.
    #[error("the {role} metadata expired at {at}")]
    Expired {
        /// Which one; the first in the order root, timestamp, snapshot, targets.
        role: Role,
        /// When.
        at: Timestamp,
    },
    /// A part is older than what the device has seen.
    #[error("the {role} metadata has version {offered}, and this device has seen version {seen}")]
    Rollback {
        /// Which one.
        role: Role,
        /// The newest version that was seen.
        seen: u64,
        /// The version that is offered.
        offered: u64,
    },
    /// Parts do not belong together: they are of different releases, or one was changed.
    #[error("{name} is not the one that the rest of the metadata names")]
    Mixed {
        /// The file.
        name: String,
    },
    /// The metadata names no manifest.
    #[error("the metadata names no manifest")]
    NoManifest,
    /// The manifest is not the one that was signed.
    #[error("the manifest is not the one that was signed")]
    Manifest,
    /// The manifest is too long.
    #[error("the manifest has more than {MANIFEST_BYTES_MAX} bytes")]
    ManifestBytes,
    /// What the device has seen cannot be read.
    #[error("what this device has seen so far cannot be read")]
    State(#[from] StateError),
    /// There is no place for temporary files, or no thread to wait with.
    #[error("there is no room to verify the metadata")]
    Scratch {
        /// What the system said.
        source: io::Error,
    },
    /// Something else.
    #[error("{name} cannot be verified")]
    Other {
        /// The file that was read last.
        name: String,
        /// What it is.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl VerifyError {
    pub(super) fn malformed(name: &str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Malformed { name: name.into(), source: source.into() }
    }

    /// What it means that tough has stopped at the file `name`.
    pub(super) fn from_tough(error: ToughError, name: String) -> Self {
        use ToughError as E;
        match error {
            E::Transport { source, .. } if source.kind() == TransportErrorKind::FileNotFound => {
                Self::Missing { name }
            }
            // What another part says of a file's length and hash.
            E::Transport { .. } | E::VersionMismatch { .. } => Self::Mixed { name },
            E::ParseMetadata { source, .. } => Self::Malformed { name, source: source.into() },
            E::VerifyMetadata { role, source, .. } => Self::from_signatures(role.into(), source, name),
            E::OlderMetadata { role, current_version: seen, new_version: offered, .. } => {
                match Role::from(role) {
                    Role::Root => {
                        Self::RootChain { name, source: format!("it is version {offered} inside").into() }
                    }
                    role => Self::Rollback { role, seen, offered },
                }
            }
            E::OlderSnapshotInTimestamp { snapshot_new: offered, snapshot_old: seen, .. } => {
                Self::Rollback { role: Role::Snapshot, seen, offered }
            }
            E::SnapshotRoleRollback { old_role_version: seen, new_role_version: offered, .. } => {
                Self::Rollback { role: Role::Targets, seen, offered }
            }
            E::TimestampMetaLength { .. }
            | E::MissingSnapshotMeta { .. }
            | E::MetaMissing { .. }
            | E::SnapshotTargetsMetaMissing { .. }
            | E::SnapshotRoleMissing { .. }
            | E::DelegatedRolesNotConsistent { .. }
            | E::InvalidPath { .. } => Self::Malformed { name, source: error.into() },
            E::DatastoreInit { source, .. }
            | E::DatastoreCreate { source, .. }
            | E::DatastoreOpen { source, .. }
            | E::DatastoreRemove { source, .. } => Self::Scratch { source },
            error => Self::Other { name, source: error.into() },
        }
    }

    /// What it means that the signatures of the file `name` do not do.
    fn from_signatures(role: Role, error: SchemaError, name: String) -> Self {
        match error {
            // Canonical JSON knows no fractions, and a key signs once.
            SchemaError::JsonSerialization { .. } | SchemaError::DuplicateKeyId { .. } => {
                Self::Malformed { name, source: error.into() }
            }
            error if role == Role::Root => Self::RootChain { name, source: error.into() },
            SchemaError::SignatureThreshold { valid: 0, .. } => Self::OtherKeys { name, role },
            SchemaError::SignatureThreshold { valid, threshold, .. } => {
                Self::TooFewKeys { name, role, valid, threshold }
            }
            error => Self::Other { name, source: error.into() },
        }
    }
}
