//! Documents: read, and signed.

use std::fs;
use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tough::editor::signed::SignedRole;
use tough::schema::{KeyHolder, Role as Document, Root, Signed};

use super::key_file::KeyFile;
use super::{KeyError, read};
use crate::limits::{METADATA_FILE_BYTES_MAX, ROOTS_MAX};
use crate::metadata::{root_name, root_version};
use crate::role::Role;
use crate::runtime::wait;

/// The version of the specification that documents name. Tough writes this one, and clients compare its first
/// number only (TUF 4.3).
pub(crate) const SPEC_VERSION: &str = "1.0.0";

/// Signs a document for a role, with the keys among these that `root` gives the role.
pub(crate) fn seal<T>(document: T, root: &Root, keys: &[KeyFile]) -> Result<SignedRole<T>, KeyError>
where
    T: Document + Serialize,
{
    let holder = KeyHolder::Root(root.clone());
    let sources: Vec<_> = keys.iter().map(KeyFile::source).collect();
    let random = SystemRandom::new();
    let sealed = wait(SignedRole::new(document, &holder, &sources, &random))
        .map_err(|error| KeyError::System { source: error.into() })?;
    sealed.map_err(|source| KeyError::Sign { role: Role::from(T::TYPE), source: source.into() })
}

/// Understands a document.
pub(super) fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, KeyError> {
    serde_json::from_slice(bytes).map_err(|source| KeyError::Malformed { path: path.into(), source })
}

/// Every version of the root in a folder, in order.
pub(super) fn roots_in(folder: &Path) -> Result<Vec<(u64, Bytes)>, KeyError> {
    let failed = |source| KeyError::File { action: "read", path: folder.into(), source };
    let mut versions = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        versions.extend(name.to_str().and_then(root_version));
        if versions.len() > ROOTS_MAX {
            return Err(KeyError::TooMany { path: folder.into(), limit: ROOTS_MAX });
        }
    }
    versions.sort_unstable();
    if let Some(pair) = versions.windows(2).find(|pair| pair[0] + 1 != pair[1]) {
        return Err(KeyError::Gap { path: folder.join(root_name(pair[0] + 1)) });
    }
    versions.into_iter().map(|version| Ok((version, root_in(folder, version)?))).collect()
}

fn root_in(folder: &Path, version: u64) -> Result<Bytes, KeyError> {
    let path = folder.join(root_name(version));
    let bytes = read(&path, METADATA_FILE_BYTES_MAX)?;
    let root: Signed<Root> = parse(&path, &bytes)?;
    if root.signed.version.get() != version {
        return Err(KeyError::Version { path });
    }
    Ok(bytes.into())
}
