//! What an operator keeps: a folder with keys, and every version of the root.
//!
//! ```text
//! 1.root.json ... N.root.json   every version; the last one counts
//! root.json                     the last one again: what devices are given
//! lifetimes.json                how long what is signed lives
//! root/KEY.pem                  the keys of each role, each in a file that its owner alone may read
//! targets/KEY.pem
//! snapshot/KEY.pem
//! timestamp/KEY.pem
//! ```
//!
//! `root/` and `targets/` may be kept elsewhere, and put back when they are needed.

mod document;
mod error;
mod init;
mod key_file;
mod overview;
mod rotate;

use std::num::{NonZeroU8, NonZeroU16};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tough::schema::{RoleKeys, Root, Signed};

pub use error::KeyError;
pub use init::{InitOptions, RoleOptions};
pub use overview::{KeyInfo, Overview, RoleInfo};
pub use rotate::{RotateOptions, Rotation};

use crate::limits::METADATA_FILE_BYTES_MAX;
use crate::metadata::root_name;
use crate::{Role, Timestamp, disk};

pub(crate) use document::{SPEC_VERSION, seal};
use key_file::KeyFile;

const ROOT_NAME: &str = "root.json";
const LIFETIMES_NAME: &str = "lifetimes.json";

/// A folder of keys.
#[derive(Debug)]
pub struct KeyFolder {
    path: PathBuf,
    /// In order; the last one counts.
    roots: Vec<(u64, Bytes)>,
    root: Signed<Root>,
    lifetimes: Lifetimes,
}

/// How long what is signed lives, in days. What has expired is refused: the shorter, the sooner a device
/// knows that it is kept from newer releases, and the more often an operator has to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lifetimes {
    /// Of a root, from when it is made.
    pub root_days: NonZeroU16,
    /// Of a release's targets metadata.
    pub targets_days: NonZeroU16,
    /// Of a release's snapshot metadata.
    pub snapshot_days: NonZeroU16,
    /// Of a release's timestamp metadata. No bundle can be installed for longer.
    pub timestamp_days: NonZeroU16,
}

impl KeyFolder {
    /// Opens a folder. Keys are read when they are needed.
    ///
    /// # Errors
    /// [`KeyError::NotAKeyFolder`] where there is no root; [`KeyError::File`], [`KeyError::TooLong`] and
    /// [`KeyError::Malformed`] for what cannot be read.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        let roots = document::roots_in(path)?;
        let Some((version, last)) = roots.last() else {
            return Err(KeyError::NotAKeyFolder { path: path.into() });
        };
        let root = document::parse::<Signed<Root>>(&path.join(root_name(*version)), last)?;
        let name = path.join(LIFETIMES_NAME);
        let lifetimes = document::parse(&name, &read(&name, METADATA_FILE_BYTES_MAX)?)?;
        Ok(Self { path: path.into(), roots, root, lifetimes })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What devices are given: the root that counts, as bytes.
    pub fn root_json(&self) -> &[u8] {
        // A folder without a root is not opened.
        self.roots.last().map_or(&[], |(_, bytes)| bytes)
    }

    /// How long what is signed lives.
    pub fn lifetimes(&self) -> Lifetimes {
        self.lifetimes
    }

    /// Every version of the root, in order.
    pub(crate) fn roots(&self) -> &[(u64, Bytes)] {
        &self.roots
    }

    /// The root that counts.
    pub(crate) fn root(&self) -> &Signed<Root> {
        &self.root
    }

    /// The keys of a role that are here, as many as it takes at least.
    pub(crate) fn keys_of(&self, role: Role) -> Result<Vec<KeyFile>, KeyError> {
        let needed = self.role_keys(role)?;
        let mut keys = KeyFile::all_in(&self.folder_of(role))?;
        keys.retain(|key| needed.keyids.contains(key.id()));
        if (keys.len() as u64) < needed.threshold.get() {
            let (needed, found) = (needed.threshold.get(), keys.len());
            return Err(KeyError::KeysMissing { role, needed, found, path: self.folder_of(role) });
        }
        Ok(keys)
    }

    /// What the root says of a role.
    fn role_keys(&self, role: Role) -> Result<&RoleKeys, KeyError> {
        let root = &self.root.signed;
        let found = root.roles.get(&role.kind());
        found
            .ok_or_else(|| KeyError::NoSuchRole { role, path: self.path.join(root_name(root.version.get())) })
    }

    fn folder_of(&self, role: Role) -> PathBuf {
        self.path.join(role.name())
    }
}

impl Lifetimes {
    /// When what is signed now expires.
    pub(crate) fn expiry(self, role: Role, now: Timestamp) -> Result<Timestamp, KeyError> {
        let days = match role {
            Role::Root => self.root_days,
            Role::Targets => self.targets_days,
            Role::Snapshot => self.snapshot_days,
            Role::Timestamp => self.timestamp_days,
        };
        let hours = jiff::SignedDuration::from_hours(i64::from(days.get()) * 24);
        // Whole seconds, as the specification writes them (TUF 4.2).
        let now = Timestamp::from_second(now.as_second());
        now.and_then(|now| now.checked_add(hours)).map_err(|source| KeyError::Time { source })
    }
}

/// Reads one of the folder's files.
fn read(path: &Path, limit: usize) -> Result<Vec<u8>, KeyError> {
    let read = disk::read(path, limit).map_err(|source| KeyError::File {
        action: "read",
        path: path.into(),
        source,
    })?;
    read.ok_or_else(|| KeyError::TooLong { path: path.into(), limit })
}

fn failed_to_write(path: &Path) -> impl FnOnce(std::io::Error) -> KeyError {
    move |source| KeyError::File { action: "write", path: path.into(), source }
}

/// How many keys, and how many of them have to sign.
fn check_threshold(role: Role, keys: NonZeroU8, threshold: NonZeroU8) -> Result<(), KeyError> {
    if keys.get() > crate::KEYS_PER_ROLE_MAX {
        return Err(KeyError::TooManyKeys { role, keys: keys.get() });
    } else if threshold > keys {
        return Err(KeyError::Threshold { role, threshold: threshold.get(), keys: keys.get() });
    }
    Ok(())
}
