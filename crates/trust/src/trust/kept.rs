//! What a device has seen, in one file: it is replaced as a whole, so that a power cut leaves the old one or
//! the new one.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tough::Repository;
use tough::schema::{Role as _, Root, Signed, Snapshot, Timestamp};

use super::StateError;
use crate::disk::{self, Lock};
use crate::limits::STATE_BYTES_MAX;

/// The file in the state folder.
const STATE_NAME: &str = "trust.json";
/// The version of its format.
const STATE_FORMAT: u32 = 1;

/// The newest metadata that was seen.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    format: u32,
    /// Counts how often something was kept. Who has seen an older number has verified against older metadata.
    generation: u64,
    /// The SHA-256 of what is signed of each root that was trusted, by version.
    roots: BTreeMap<u64, String>,
    root: Signed<Root>,
    timestamp: Signed<Timestamp>,
    snapshot: Signed<Snapshot>,
}

impl Kept {
    pub(super) fn path_in(folder: &Path) -> PathBuf {
        folder.join(STATE_NAME)
    }

    /// Reads what was kept. Signatures are checked again: a flipped bit is found here, and does not make a
    /// device forget what it has seen.
    pub(super) fn load(folder: &Path) -> Result<Option<Self>, StateError> {
        let path = Self::path_in(folder);
        let bytes = match disk::read(&path, STATE_BYTES_MAX) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                return Err(StateError::Damaged { path, source: "it is too long".into() });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StateError::File { action: "read", path, source }),
        };
        match Self::parse(&bytes) {
            Ok(kept) if kept.format != STATE_FORMAT => Err(StateError::Format { path, format: kept.format }),
            Ok(kept) => Ok(Some(kept)),
            Err(source) => Err(StateError::Damaged { path, source }),
        }
    }

    fn parse(bytes: &[u8]) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let kept: Self = serde_json::from_slice(bytes)?;
        kept.root.signed.verify_role(&kept.root)?;
        kept.root.signed.verify_role(&kept.timestamp)?;
        kept.root.signed.verify_role(&kept.snapshot)?;
        Ok(kept)
    }

    /// Whether the root that a device was given is one of those that were trusted, as far as is known.
    pub(super) fn follows(&self, root: &Signed<Root>) -> bool {
        self.roots.get(&root.signed.version.get()).is_none_or(|known| *known == fingerprint(root))
    }

    /// The newer one of the root that was kept and another.
    pub(super) fn newer_root<'a>(&'a self, given: &'a Signed<Root>) -> &'a Signed<Root> {
        if given.signed.version > self.root.signed.version { given } else { &self.root }
    }

    /// What is to be kept once this was verified.
    pub(super) fn after(kept: Option<&Self>, given: &Signed<Root>, repository: &Repository) -> Self {
        let root = repository.root().clone();
        let mut roots = kept.map(|kept| kept.roots.clone()).unwrap_or_default();
        for root in [given, &root] {
            roots.insert(root.signed.version.get(), fingerprint(root));
        }
        Self {
            format: STATE_FORMAT,
            generation: kept.map_or(0, |kept| kept.generation) + 1,
            roots,
            root,
            timestamp: repository.timestamp().clone(),
            snapshot: repository.snapshot().clone(),
        }
    }

    /// Puts timestamp and snapshot where tough compares new ones with them.
    pub(super) fn unpack(&self, folder: &Path) -> io::Result<()> {
        fs::write(folder.join("timestamp.json"), serde_json::to_vec(&self.timestamp)?)?;
        fs::write(folder.join("snapshot.json"), serde_json::to_vec(&self.snapshot)?)
    }

    /// Replaces what is kept, unless another process has kept something meanwhile.
    pub(super) fn store(&self, folder: &Path) -> Result<(), StateError> {
        let path = Self::path_in(folder);
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::ResourceBusy => StateError::Busy { path: path.clone() },
            _ => StateError::File { action: "write", path: path.clone(), source },
        };
        fs::create_dir_all(folder)
            .and_then(|()| disk::sync_folder(disk::folder_of(folder)))
            .map_err(failed)?;
        let lock = Lock::take(folder).map_err(failed)?;
        let before = Self::load(folder)?.map_or(0, |kept| kept.generation);
        if before + 1 != self.generation {
            return Err(StateError::Stale { path });
        }
        let bytes = serde_json::to_vec(self).map_err(io::Error::from).map_err(failed)?;
        lock.replace(STATE_NAME, &bytes).map_err(failed)
    }
}

/// What tells a root from others: the SHA-256 of what is signed of it.
fn fingerprint(root: &Signed<Root>) -> String {
    // What was read from JSON can be written as JSON.
    hex::encode(Sha256::digest(root.signed.canonical_form().unwrap_or_default()))
}
