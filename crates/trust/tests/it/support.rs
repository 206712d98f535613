//! An operator with a folder of keys, and devices.

use std::fs;
use std::num::{NonZeroU8, NonZeroU16, NonZeroU64};
use std::path::PathBuf;

use fluvial_trust::{
    InitOptions, KeyFolder, Lifetimes, Metadata, Policy, Role, RoleOptions, RotateOptions, SignOptions,
    Timestamp, Trust, Verified, VerifyError, sign,
};
use serde_json::Value;
use tempfile::TempDir;

pub const MANIFEST: &[u8] = br#"{"release":"1.2.3"}"#;

/// When keys are made and releases signed.
pub fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

/// So many days later.
pub fn after_days(days: i64) -> Timestamp {
    now() + jiff::SignedDuration::from_hours(24 * days)
}

pub fn strict(now: Timestamp) -> Policy {
    Policy { now, allow_expired: false }
}

/// An operator.
pub struct Operator {
    place: TempDir,
    pub keys: KeyFolder,
}

impl Operator {
    /// With one key for each role.
    pub fn new() -> Self {
        Self::with(&InitOptions::new(now()))
    }

    /// With so many keys for each role, of which so many have to sign.
    pub fn with_keys(keys: u8, threshold: u8) -> Self {
        let role = RoleOptions {
            keys: NonZeroU8::new(keys).unwrap(),
            threshold: NonZeroU8::new(threshold).unwrap(),
        };
        let options = InitOptions::new(now());
        Self::with(&InitOptions { root: role, targets: role, snapshot: role, timestamp: role, ..options })
    }

    pub fn with(options: &InitOptions) -> Self {
        let place = tempfile::tempdir().unwrap();
        let keys = KeyFolder::init(&place.path().join("keys"), options).unwrap();
        Self { place, keys }
    }

    /// Somebody else, who has a copy of all keys as they are now.
    pub fn thief(&self) -> Self {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("keys");
        copy(self.keys.path(), &path);
        Self { place, keys: KeyFolder::open(&path).unwrap() }
    }

    /// Where there is room beside the keys.
    pub fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    pub fn sign(&self, version: u64) -> Metadata {
        self.sign_for(version, self.keys.lifetimes())
    }

    pub fn sign_for(&self, version: u64, lifetimes: Lifetimes) -> Metadata {
        let version = NonZeroU64::new(version).unwrap();
        sign(&self.keys, MANIFEST, &SignOptions { version, lifetimes: Some(lifetimes), now: now() }).unwrap()
    }

    pub fn rotate(&mut self, role: Role) {
        self.keys.rotate(role, &RotateOptions { keys: None, threshold: None, now: now() }).unwrap();
    }

    /// The files of a role's keys, in order.
    pub fn key_files(&self, role: Role) -> Vec<PathBuf> {
        let folder = fs::read_dir(self.keys.path().join(role.name())).unwrap();
        let mut files: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// A device that is given the root as it is now.
    pub fn device(&self) -> Device {
        let state = tempfile::tempdir().unwrap();
        let trust = Trust::new(self.keys.root_json(), Some(&state.path().join("trust"))).unwrap();
        Device { trust, state }
    }
}

/// A device.
pub struct Device {
    pub trust: Trust,
    state: TempDir,
}

impl Device {
    pub fn state_folder(&self) -> PathBuf {
        self.state.path().join("trust")
    }

    pub fn verify(&self, metadata: &Metadata) -> Result<Verified, VerifyError> {
        self.trust.verify(metadata, MANIFEST, &strict(now()))
    }

    /// Takes a release, and remembers it.
    pub fn install(&self, metadata: &Metadata) -> Result<Verified, VerifyError> {
        let verified = self.verify(metadata)?;
        self.trust.remember(&verified).unwrap();
        Ok(verified)
    }
}

/// The same files, with the one of this name changed; left out where `change` answers nothing.
pub fn changed(metadata: &Metadata, name: &str, change: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Metadata {
    let file = |(found, bytes): (&str, &[u8])| {
        let bytes = if found == name { change(bytes)? } else { bytes.to_vec() };
        Some((found.to_owned(), bytes))
    };
    Metadata::from_files(metadata.iter().filter_map(file)).unwrap()
}

/// The same, with the one of this name changed as JSON.
pub fn edited(metadata: &Metadata, name: &str, edit: impl Fn(&mut Value)) -> Metadata {
    changed(metadata, name, |bytes| {
        let mut value = serde_json::from_slice(bytes).unwrap();
        edit(&mut value);
        Some(serde_json::to_vec(&value).unwrap())
    })
}

/// One of the files.
pub fn file<'a>(metadata: &'a Metadata, name: &str) -> &'a [u8] {
    metadata.iter().find(|(found, _)| *found == name).unwrap().1
}

pub fn days(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).unwrap()
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
