//! What can go wrong with keys.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::limits::{KEYS_PER_ROLE_MAX, ROOTS_MAX};
use crate::role::Role;

/// Work with a folder of keys failed.
#[derive(Debug, Error)]
pub enum KeyError {
    /// Keys are made in a folder of their own.
    #[error("{} is there already", path.display())]
    AlreadyThere {
        /// The folder.
        path: PathBuf,
    },
    /// No version of the root is there.
    #[error("{} is no folder of keys: there is no root in it", path.display())]
    NotAKeyFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A version of the root is not there, but later ones are. Devices could not follow.
    #[error("{} is missing, and later versions are there", path.display())]
    Gap {
        /// The version that is missing.
        path: PathBuf,
    },
    /// A file is not what it should be.
    #[error("{} cannot be understood", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A root is of another version than its name says.
    #[error("{} is another version of the root than its name says", path.display())]
    Version {
        /// The file.
        path: PathBuf,
    },
    /// A file is too long.
    #[error("{} has more than {limit} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// How many there may be.
        limit: usize,
    },
    /// There are too many files.
    #[error("{} has more than {limit} files", path.display())]
    TooMany {
        /// The folder.
        path: PathBuf,
        /// How many there may be.
        limit: usize,
    },
    /// A file in the folder of a role is no key.
    #[error("{} is no Ed25519 key in PKCS#8 and PEM", path.display())]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// The root says nothing of a role.
    #[error("{} says nothing of the role {role}", path.display())]
    NoSuchRole {
        /// The role.
        role: Role,
        /// The root.
        path: PathBuf,
    },
    /// The keys of a role are not here.
    #[error("{role} needs {needed} keys to sign, and {found} are in {}", path.display())]
    KeysMissing {
        /// The role.
        role: Role,
        /// How many have to sign.
        needed: u64,
        /// How many there are.
        found: usize,
        /// Where they should be.
        path: PathBuf,
    },
    /// More keys have to sign than there are.
    #[error("{threshold} keys would have to sign for {role}, which has {keys}")]
    Threshold {
        /// The role.
        role: Role,
        /// How many have to sign.
        threshold: u8,
        /// How many there are.
        keys: u8,
    },
    /// Too many keys.
    #[error("{role} cannot have {keys} keys, but up to {KEYS_PER_ROLE_MAX}")]
    TooManyKeys {
        /// The role.
        role: Role,
        /// How many there should be.
        keys: u8,
    },
    /// Devices follow so many versions of the root and no more.
    #[error("there are {ROOTS_MAX} versions of the root already")]
    TooManyRoots,
    /// The time of expiry cannot be written down.
    #[error("what would be signed expires at no time that can be written down")]
    Time {
        /// What is wrong with it.
        source: jiff::Error,
    },
    /// A file or a folder cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no random numbers, or no thread to wait with.
    #[error("keys cannot be used")]
    System {
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The library that signs refuses. That is a fault of ours.
    #[error("{role} cannot be signed")]
    Sign {
        /// The role.
        role: Role,
        /// What it said.
        source: Box<tough::error::Error>,
    },
    /// The new root would not be followed by devices. That is a fault of ours.
    #[error("the new root does not follow from the old one")]
    Unsound {
        /// What is wrong with it.
        source: Box<tough::schema::Error>,
    },
}
