//! Signing a release.

use std::collections::HashMap;
use std::num::NonZeroU64;

use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tough::TargetName;
use tough::editor::signed::SignedRole;
use tough::schema::{Hashes, Metafile, Role as Document, Snapshot, Target, Targets, Timestamp as Stamp};

use crate::keys::{SPEC_VERSION, seal};
use crate::limits::MANIFEST_BYTES_MAX;
use crate::metadata::root_name;
use crate::{
    KeyError, KeyFolder, Lifetimes, Metadata, MetadataError, Policy, Role, Timestamp, Trust, TrustError,
    VerifyError,
};

/// The name under which a manifest is signed.
pub const MANIFEST_NAME: &str = "manifest.json";

/// How a release is signed.
#[derive(Debug, Clone, Copy)]
pub struct SignOptions {
    /// The release's sequence number: the version of targets, snapshot and timestamp. A device that has seen
    /// a higher one refuses the release.
    pub version: NonZeroU64,
    /// How long it lives; as the folder says, where this says nothing. The root's own life has begun before.
    pub lifetimes: Option<Lifetimes>,
    /// What time it is.
    pub now: Timestamp,
}

/// A release cannot be signed.
#[derive(Debug, Error)]
pub enum SignError {
    /// The manifest is too long.
    #[error("the manifest has more than {MANIFEST_BYTES_MAX} bytes")]
    ManifestBytes,
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The files are too many, or too long: there are too many versions of the root.
    #[error("what was signed is too long")]
    Metadata(#[from] MetadataError),
    /// The first root in the folder is none that a device can trust.
    #[error("the folder's first root cannot be trusted")]
    Root(#[from] TrustError),
    /// A device would refuse what was signed: the root has expired, for example.
    #[error("a device would refuse the release")]
    Refused(#[from] VerifyError),
}

/// Signs a manifest. Takes the keys of targets, snapshot and timestamp; the root's stay where they are. What
/// was signed is verified as a device would, from the folder's first root on, before it is given away.
///
/// # Errors
/// [`SignError`]; nothing is written in any case.
pub fn sign(folder: &KeyFolder, manifest: &[u8], options: &SignOptions) -> Result<Metadata, SignError> {
    if manifest.len() > MANIFEST_BYTES_MAX {
        return Err(SignError::ManifestBytes);
    }
    let Some((_, first_root)) = folder.roots().first() else {
        return Err(KeyError::NotAKeyFolder { path: folder.path().into() }.into());
    };
    let mut files: Vec<(String, Bytes)> = Vec::new();
    files.extend(folder.roots().iter().map(|(version, bytes)| (root_name(*version), bytes.clone())));
    files.extend(documents(folder, manifest, options)?);
    let metadata = Metadata::from_files(files)?;

    let policy = Policy { now: options.now, allow_expired: false };
    Trust::new(first_root, None)?.verify(&metadata, manifest, &policy)?;
    Ok(metadata)
}

/// Timestamp, snapshot and targets, signed. Each names the next one by its length and hash.
fn documents(
    folder: &KeyFolder,
    manifest: &[u8],
    options: &SignOptions,
) -> Result<[(String, Bytes); 3], SignError> {
    let lifetimes = options.lifetimes.unwrap_or(folder.lifetimes());
    let expiry = |role| lifetimes.expiry(role, options.now);
    let version = options.version;

    let mut targets = Targets::new(SPEC_VERSION.to_owned(), version, expiry(Role::Targets)?);
    targets.delegations = None;
    targets.targets.insert(manifest_name()?, target_of(manifest));
    let targets = sealed(folder, Role::Targets, targets)?;

    let mut snapshot = Snapshot::new(SPEC_VERSION.to_owned(), version, expiry(Role::Snapshot)?);
    snapshot.meta.insert("targets.json".to_owned(), metafile_of(&targets));
    let snapshot = sealed(folder, Role::Snapshot, snapshot)?;

    let mut stamp = Stamp::new(SPEC_VERSION.to_owned(), version, expiry(Role::Timestamp)?);
    stamp.meta.insert("snapshot.json".to_owned(), metafile_of(&snapshot));
    let stamp = sealed(folder, Role::Timestamp, stamp)?;

    let is_consistent = folder.root().signed.consistent_snapshot;
    Ok([file_of(&stamp, is_consistent), file_of(&snapshot, is_consistent), file_of(&targets, is_consistent)])
}

/// Signs a document with the keys that a role has here.
fn sealed<T>(folder: &KeyFolder, role: Role, document: T) -> Result<SignedRole<T>, KeyError>
where
    T: Document + Serialize,
{
    seal(document, &folder.root().signed, &folder.keys_of(role)?)
}

/// The name that the targets metadata has for the manifest.
pub(crate) fn manifest_name() -> Result<TargetName, KeyError> {
    TargetName::new(MANIFEST_NAME)
        .map_err(|source| KeyError::Sign { role: Role::Targets, source: Box::new(source) })
}

fn target_of(manifest: &[u8]) -> Target {
    Target {
        length: manifest.len() as u64,
        hashes: hashes(Sha256::digest(manifest).as_slice()),
        custom: HashMap::new(),
        _extra: HashMap::new(),
    }
}

fn metafile_of<T: Document + Serialize>(file: &SignedRole<T>) -> Metafile {
    Metafile {
        length: Some(*file.length()),
        hashes: Some(hashes(file.sha256())),
        version: file.signed().signed.version(),
        _extra: HashMap::new(),
    }
}

fn hashes(sha256: &[u8]) -> Hashes {
    Hashes { sha256: sha256.to_vec().into(), _extra: HashMap::new() }
}

fn file_of<T: Document + Serialize>(file: &SignedRole<T>, is_consistent: bool) -> (String, Bytes) {
    (file.signed().signed.filename(is_consistent), file.buffer().clone().into())
}
