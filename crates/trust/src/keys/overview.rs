//! What is in a folder of keys.

use std::path::PathBuf;

use super::key_file::KeyFile;
use super::{KeyError, KeyFolder};
use crate::{Lifetimes, Role, Timestamp};

/// All that a folder of keys holds, but for the secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// The version of the root that counts.
    pub root_version: u64,
    /// When that root expires.
    pub root_expires: Timestamp,
    /// How long what is signed lives.
    pub lifetimes: Lifetimes,
    /// Root, targets, snapshot and timestamp, in this order.
    pub roles: Vec<RoleInfo>,
}

/// A role's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleInfo {
    /// The role.
    pub role: Role,
    /// How many keys have to sign.
    pub threshold: u64,
    /// The keys that the root names.
    pub keys: Vec<KeyInfo>,
    /// Files of keys that are here and have no meaning any more.
    pub unused_keys: Vec<PathBuf>,
}

/// A key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// The SHA-256 of its public half in hexadecimal digits (TUF 4.2).
    pub id: String,
    /// Its file; nothing where it is kept elsewhere.
    pub path: Option<PathBuf>,
}

impl KeyFolder {
    /// Shows what is in the folder.
    ///
    /// # Errors
    /// As [`KeyFolder::open`]; [`KeyError::Key`] for a file that is no key.
    pub fn show(&self) -> Result<Overview, KeyError> {
        let root = &self.root.signed;
        Ok(Overview {
            root_version: root.version.get(),
            root_expires: root.expires,
            lifetimes: self.lifetimes,
            roles: Role::ALL.into_iter().map(|role| self.show_role(role)).collect::<Result<_, _>>()?,
        })
    }

    fn show_role(&self, role: Role) -> Result<RoleInfo, KeyError> {
        let named = self.role_keys(role)?;
        let here = KeyFile::all_in(&self.folder_of(role))?;
        let file_of = |id| here.iter().find(|key| key.id() == id).map(|key| key.path().to_owned());
        let keys = named.keyids.iter().map(|id| KeyInfo { id: hex::encode(id), path: file_of(id) });
        Ok(RoleInfo {
            role,
            threshold: named.threshold.get(),
            keys: keys.collect(),
            unused_keys: self.unused_keys(role)?,
        })
    }

    /// Files of keys that the root does not give the role.
    pub(super) fn unused_keys(&self, role: Role) -> Result<Vec<PathBuf>, KeyError> {
        let named = self.role_keys(role)?;
        let here = KeyFile::all_in(&self.folder_of(role))?;
        let unused = here.iter().filter(|key| !named.keyids.contains(key.id()));
        Ok(unused.map(|key| key.path().to_owned()).collect())
    }
}
