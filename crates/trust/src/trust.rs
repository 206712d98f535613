//! What a device makes of metadata.

mod error;
mod files;
mod kept;

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tough::schema::{Root, Signed};
use tough::{ExpirationEnforcement, Limits, Repository, RepositoryLoader};
use url::Url;

pub use error::{StateError, TrustError, VerifyError};

use crate::limits::{MANIFEST_BYTES_MAX, METADATA_FILE_BYTES_MAX, METADATA_FILES_MAX, ROOT_VERSION_MAX};
use crate::metadata::{root_name, root_version};
use crate::runtime::wait;
use crate::sign::manifest_name;
use crate::{Metadata, Role, Timestamp};
use files::Files;
use kept::Kept;

/// What a device trusts: a root, and what it has seen since.
#[derive(Debug, Clone)]
pub struct Trust {
    root: Signed<Root>,
    state_folder: Option<PathBuf>,
}

/// How metadata is verified.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// What time it is. A clock that runs behind lets expired metadata pass.
    pub now: Timestamp,
    /// Takes what has expired. What is lost: nobody can tell any more whether there is a newer release that
    /// somebody keeps from the device.
    pub allow_expired: bool,
}

/// Metadata that was verified.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The version of the root that counts.
    pub root_version: u64,
    /// The version of the timestamp metadata.
    pub timestamp_version: u64,
    /// The version of the snapshot metadata.
    pub snapshot_version: u64,
    /// The version of the targets metadata: the release's sequence number.
    pub targets_version: u64,
    /// When the first of the four expires.
    pub expires: Timestamp,
    /// Which one that is.
    pub expires_role: Role,
    /// Whether it has expired; only where that is allowed.
    pub is_expired: bool,
    /// What is to be kept.
    next: Box<Kept>,
}

impl Trust {
    /// Trusts a root. In the state folder stands what was seen: newer versions of the root, and the newest
    /// snapshot and timestamp. Without one, a device accepts releases that are older than what it has.
    ///
    /// # Errors
    /// [`TrustError`] where the root cannot be understood, or is not signed by the keys that it names.
    pub fn new(root: &[u8], state_folder: Option<&Path>) -> Result<Self, TrustError> {
        if root.len() > METADATA_FILE_BYTES_MAX {
            return Err(TrustError::Bytes);
        }
        let root: Signed<Root> =
            serde_json::from_slice(root).map_err(|source| TrustError::Malformed { source })?;
        if root.signed.version.get() > ROOT_VERSION_MAX {
            return Err(TrustError::Version);
        }
        root.signed.verify_role(&root).map_err(|source| TrustError::Signatures { source: source.into() })?;
        Ok(Self { root, state_folder: state_folder.map(Path::to_owned) })
    }

    /// Verifies a manifest and its metadata (TUF 5.2 to 5.7). Reads the state folder and changes nothing in
    /// it; temporary files stand elsewhere, for as long as it takes. Takes up to 8 MB of memory, one file at a
    /// time.
    ///
    /// # Errors
    /// [`VerifyError`], one variant for each thing that can be wrong.
    pub fn verify(
        &self,
        metadata: &Metadata,
        manifest: &[u8],
        policy: &Policy,
    ) -> Result<Verified, VerifyError> {
        if manifest.len() > MANIFEST_BYTES_MAX {
            return Err(VerifyError::ManifestBytes);
        } else if metadata.is_empty() {
            return Err(VerifyError::Unsigned);
        }
        let kept = self.kept()?;
        // Whoever could go back to an older root could use keys that were taken from their owners.
        let root = kept.as_ref().map_or(&self.root, |kept| kept.newer_root(&self.root));
        check_roots(metadata, root.signed.version.get())?;
        let repository = load(root, metadata, kept.as_ref())?;
        let next = Kept::after(kept.as_ref(), &self.root, &repository);
        let verified = Verified::new(&repository, next, policy.now);
        if !policy.allow_expired {
            check_expiry(&repository, policy.now)?;
        }
        check_manifest(&repository, manifest)?;
        Ok(verified)
    }

    /// Keeps what was seen, durably: from now on, older metadata is refused. Does nothing where there is no
    /// state folder.
    ///
    /// # Errors
    /// [`StateError`]; what was kept before is kept then.
    pub fn remember(&self, verified: &Verified) -> Result<(), StateError> {
        match &self.state_folder {
            Some(folder) => verified.next.store(folder),
            None => Ok(()),
        }
    }

    /// What was seen; nothing yet where there is no such file.
    fn kept(&self) -> Result<Option<Kept>, StateError> {
        let Some(folder) = &self.state_folder else { return Ok(None) };
        let kept = Kept::load(folder)?;
        if kept.as_ref().is_some_and(|kept| !kept.follows(&self.root)) {
            return Err(StateError::OtherRoot { path: Kept::path_in(folder) });
        }
        Ok(kept)
    }
}

impl Verified {
    fn new(repository: &Repository, next: Kept, now: Timestamp) -> Self {
        let mut dates = expiries(repository);
        dates.sort_by_key(|(_, expires)| *expires);
        let (expires_role, expires) = dates[0];
        Self {
            root_version: repository.root().signed.version.get(),
            timestamp_version: repository.timestamp().signed.version.get(),
            snapshot_version: repository.snapshot().signed.version.get(),
            targets_version: repository.targets().signed.version.get(),
            expires,
            expires_role,
            is_expired: has_expired(expires, now),
            next: Box::new(next),
        }
    }
}

/// Has tough verify metadata. It keeps what it has seen in a folder, step by step, and takes the time from
/// the system: so it gets a temporary folder, and looks at no expiry. Both are done by the caller.
fn load(root: &Signed<Root>, metadata: &Metadata, kept: Option<&Kept>) -> Result<Repository, VerifyError> {
    let no_scratch = |source| VerifyError::Scratch { source };
    let scratch = tempfile::tempdir().map_err(no_scratch)?;
    if let Some(kept) = kept {
        kept.unpack(scratch.path()).map_err(no_scratch)?;
    }
    let root = serde_json::to_vec(root).map_err(|source| VerifyError::malformed("root.json", source))?;
    let base = Url::parse("metadata:///").map_err(|source| VerifyError::malformed("the metadata", source))?;
    let files = Files::new(metadata.clone());
    let len = METADATA_FILE_BYTES_MAX as u64;
    let limits = Limits {
        max_root_size: len,
        max_targets_size: len,
        max_timestamp_size: len,
        max_snapshot_size: len,
        max_root_updates: METADATA_FILES_MAX as u64 + 1,
    };
    let loader = RepositoryLoader::new(&root, base.clone(), base)
        .transport(files.clone())
        .limits(limits)
        .datastore(scratch.path())
        .expiration_enforcement(ExpirationEnforcement::Unsafe);
    let repository = wait(loader.load()).map_err(no_scratch)?;
    repository.map_err(|error| VerifyError::from_tough(error, files.last_name()))
}

/// Versions of the root that follow the trusted one must be there without a gap: somebody has taken one
/// out, who would rather have older keys count (TUF 5.3.3).
fn check_roots(metadata: &Metadata, trusted: u64) -> Result<(), VerifyError> {
    let mut newer: Vec<_> = metadata
        .iter()
        .filter_map(|(name, _)| root_version(name))
        .filter(|version| *version > trusted)
        .collect();
    newer.sort_unstable();
    let missing = (trusted + 1..).zip(newer).find(|(expected, found)| expected != found);
    missing.map_or(Ok(()), |(name, _)| Err(VerifyError::Missing { name: root_name(name) }))
}

/// Nothing may have expired (TUF 5.3.10, 5.4.4, 5.5.6, 5.6.5).
fn check_expiry(repository: &Repository, now: Timestamp) -> Result<(), VerifyError> {
    let expired = expiries(repository).into_iter().find(|(_, expires)| has_expired(*expires, now));
    expired.map_or(Ok(()), |(role, at)| Err(VerifyError::Expired { role, at }))
}

/// When each part expires, in the order in which they are looked at.
fn expiries(repository: &Repository) -> [(Role, Timestamp); 4] {
    [
        (Role::Root, repository.root().signed.expires),
        (Role::Timestamp, repository.timestamp().signed.expires),
        (Role::Snapshot, repository.snapshot().signed.expires),
        (Role::Targets, repository.targets().signed.expires),
    ]
}

fn has_expired(expires: Timestamp, now: Timestamp) -> bool {
    expires <= now
}

/// The manifest must be the one that the targets metadata names itself; nobody is delegated to (TUF 5.7).
fn check_manifest(repository: &Repository, manifest: &[u8]) -> Result<(), VerifyError> {
    let name = manifest_name().map_err(|error| VerifyError::malformed("targets.json", error))?;
    let Some(target) = repository.targets().signed.targets.get(&name) else {
        return Err(VerifyError::NoManifest);
    };
    let is_signed =
        target.length == manifest.len() as u64 && target.hashes.sha256[..] == Sha256::digest(manifest)[..];
    if is_signed { Ok(()) } else { Err(VerifyError::Manifest) }
}
