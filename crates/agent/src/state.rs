//! What a device knows of its slots: the slot database.
//!
//! One JSON file, written anew as a whole and durably. It says what was written to which slot, and what is being
//! tried. It is a memory, not a proof: contents are hashed whenever they matter.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use fluvial_bundle::Manifest;
use fluvial_console::{Fault, Kind};
use fluvial_delta::header::StreamInfo;
use fluvial_device::disk::durable::Draft;
use serde::{Deserialize, Serialize};
use thiserror::Error;

const VERSION: u32 = 1;
const FILE_NAME: &str = "slots.json";
const LOCK_NAME: &str = "lock";
/// The file at most, in bytes.
const STATE_BYTES_MAX: u64 = 1 << 20;

/// A release, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseName {
    pub name: String,
    pub version: String,
    pub sequence: u64,
}

impl ReleaseName {
    pub fn of(manifest: &Manifest) -> Self {
        let Manifest { name, version, sequence, .. } = manifest;
        Self { name: name.clone(), version: version.clone(), sequence: *sequence }
    }
}

/// What a slot holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotContent {
    /// The release that it is part of.
    pub release: ReleaseName,
    /// The SHA-256 of its payload, in hex.
    pub sha256: String,
    /// The payload's length in bytes.
    pub size_bytes: u64,
    /// Whether all of it was written and compared; else an installation was cut.
    pub is_whole: bool,
}

impl SlotContent {
    /// What the slot is compared with; `None` where the digest is none.
    pub fn info(&self, name: &str) -> Option<StreamInfo> {
        let mut sha256 = [0; 32];
        hex::decode_to_slice(&self.sha256, &mut sha256).ok()?;
        Some(StreamInfo { name: name.into(), size: self.size_bytes, sha256 })
    }
}

/// A release that waits to be confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    /// The boot group that holds it.
    pub group: String,
    pub release: ReleaseName,
}

/// All that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    format_version: u32,
    /// Grows with every change.
    pub generation: u64,
    /// By the slot's name.
    pub slots: BTreeMap<String, SlotContent>,
    /// The highest sequence that was confirmed: no release with a lower one is taken.
    pub confirmed_sequence: u64,
    pub pending: Option<Pending>,
}

/// The slot database cannot be used.
#[derive(Debug, Error)]
pub enum StateError {
    #[error("cannot {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is damaged", path.display())]
    Damaged { path: PathBuf, source: serde_json::Error },
    #[error("{} is of version {version}, which is not known here", path.display())]
    Version { path: PathBuf, version: u32 },
    #[error("another fluvial-agent is at work in {}", path.display())]
    Busy { path: PathBuf },
}

/// The folder that it is kept in, locked.
#[derive(Debug)]
pub struct StateFolder {
    path: PathBuf,
    _lock: File,
}

impl From<StateError> for Fault {
    fn from(error: StateError) -> Self {
        let kind = match &error {
            StateError::Busy { .. } => Kind::Busy,
            _ => Kind::Device,
        };
        let is_damaged = matches!(error, StateError::Damaged { .. });
        let fault = Self::new(kind, error);
        if is_damaged { fault.hint("remove the file: slots are then taken for unknown") } else { fault }
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            format_version: VERSION,
            generation: 0,
            slots: BTreeMap::new(),
            confirmed_sequence: 0,
            pending: None,
        }
    }
}

impl State {
    /// What is known of a slot that is whole.
    pub fn whole(&self, slot: &str) -> Option<&SlotContent> {
        self.slots.get(slot).filter(|content| content.is_whole)
    }
}

impl StateFolder {
    /// Opens the folder, makes it if it is not there, and keeps other agents out.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let failed = |action| move |source| StateError::Io { action, path: path.into(), source };
        std::fs::create_dir_all(path).map_err(failed("make"))?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK_NAME));
        let lock = lock.map_err(failed("lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.into(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StateError::Busy { path: path.into() }),
            Err(TryLockError::Error(source)) => Err(failed("lock")(source)),
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is kept; nothing was ever installed where there is no file.
    pub fn load(&self) -> Result<State, StateError> {
        let path = self.path.join(FILE_NAME);
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|file| file.take(STATE_BYTES_MAX).read_to_end(&mut bytes)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::default()),
            Err(source) => return Err(StateError::Io { action: "read", path, source }),
        }
        let state: State = match serde_json::from_slice(&bytes) {
            Ok(state) => state,
            Err(source) => return Err(StateError::Damaged { path, source }),
        };
        if state.format_version == VERSION {
            Ok(state)
        } else {
            Err(StateError::Version { path, version: state.format_version })
        }
    }

    /// Keeps a changed state, durably.
    pub fn store(&self, state: &mut State) -> Result<(), StateError> {
        state.generation += 1;
        let path = self.path.join(FILE_NAME);
        let write = || {
            let mut draft = Draft::create(&path)?;
            draft.write_all(&serde_json::to_vec_pretty(state)?)?;
            draft.publish()
        };
        write().map_err(|source| StateError::Io { action: "write", path: path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_loaded_and_counts_up() {
        let folder = tempfile::tempdir().unwrap();
        let kept = StateFolder::open(folder.path()).unwrap();
        let mut state = kept.load().unwrap();
        assert_eq!(state, State::default());
        let release = ReleaseName { name: "demo".into(), version: "1".into(), sequence: 4 };
        let content =
            SlotContent { release: release.clone(), sha256: "00".into(), size_bytes: 5, is_whole: false };
        state.slots.insert("system-a".into(), content);
        state.pending = Some(Pending { group: "a".into(), release });
        kept.store(&mut state).unwrap();
        let loaded = kept.load().unwrap();
        assert_eq!(loaded, state);
        assert_eq!(loaded.generation, 1);
        assert_eq!(loaded.whole("system-a"), None);
    }

    #[test]
    fn a_damaged_file_and_a_second_agent_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let kept = StateFolder::open(folder.path()).unwrap();
        assert!(matches!(StateFolder::open(folder.path()), Err(StateError::Busy { .. })));
        std::fs::write(folder.path().join(FILE_NAME), b"{").unwrap();
        assert!(matches!(kept.load(), Err(StateError::Damaged { .. })));
        let mut newer = serde_json::to_value(State::default()).unwrap();
        newer["format_version"] = 9.into();
        std::fs::write(folder.path().join(FILE_NAME), newer.to_string()).unwrap();
        assert!(matches!(kept.load(), Err(StateError::Version { version: 9, .. })));
    }
}
