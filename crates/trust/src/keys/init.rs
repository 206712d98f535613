//! The first keys.

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::io;
use std::num::{NonZeroU8, NonZeroU16, NonZeroU64};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tough::schema::{RoleKeys, Root};

use super::key_file::KeyFile;
use super::{
    KeyError, KeyFolder, LIFETIMES_NAME, Lifetimes, ROOT_NAME, SPEC_VERSION, check_threshold,
    failed_to_write, seal,
};
use crate::metadata::root_name;
use crate::role::Role;
use crate::{Timestamp, disk};

/// How keys are made.
#[derive(Debug, Clone, Copy)]
pub struct InitOptions {
    /// Keys of the root.
    pub root: RoleOptions,
    /// Keys that sign manifests.
    pub targets: RoleOptions,
    /// Keys that sign snapshots.
    pub snapshot: RoleOptions,
    /// Keys that sign timestamps.
    pub timestamp: RoleOptions,
    /// How long what is signed lives.
    pub lifetimes: Lifetimes,
    /// What time it is.
    pub now: Timestamp,
}

/// The keys of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleOptions {
    /// How many there are, up to [`KEYS_PER_ROLE_MAX`](crate::KEYS_PER_ROLE_MAX).
    pub keys: NonZeroU8,
    /// How many of them have to sign.
    pub threshold: NonZeroU8,
}

impl InitOptions {
    /// One key for each role, and the usual lifetimes.
    pub fn new(now: Timestamp) -> Self {
        let (root, lifetimes) = (RoleOptions::default(), Lifetimes::default());
        Self { root, targets: root, snapshot: root, timestamp: root, lifetimes, now }
    }

    fn of(&self, role: Role) -> RoleOptions {
        match role {
            Role::Root => self.root,
            Role::Targets => self.targets,
            Role::Snapshot => self.snapshot,
            Role::Timestamp => self.timestamp,
        }
    }
}

impl Default for RoleOptions {
    /// One key.
    fn default() -> Self {
        Self { keys: NonZeroU8::MIN, threshold: NonZeroU8::MIN }
    }
}

impl Default for Lifetimes {
    /// Ten years for the root, a year for targets and snapshot, 90 days for the timestamp, because a bundle
    /// on a stick takes its time.
    fn default() -> Self {
        let days = |count| NonZeroU16::new(count).unwrap_or(NonZeroU16::MIN);
        Self {
            root_days: days(3650),
            targets_days: days(365),
            snapshot_days: days(365),
            timestamp_days: days(90),
        }
    }
}

impl KeyFolder {
    /// Makes a folder with new keys and the first version of the root. It appears at once and complete, or
    /// not at all.
    ///
    /// # Errors
    /// [`KeyError::AlreadyThere`] where there is anything but an empty folder; [`KeyError::Threshold`] and
    /// [`KeyError::TooManyKeys`] for options that make no sense; [`KeyError::File`].
    pub fn init(path: &Path, options: &InitOptions) -> Result<Self, KeyError> {
        for role in Role::ALL {
            let RoleOptions { keys, threshold } = options.of(role);
            check_threshold(role, keys, threshold)?;
        }
        let parent = disk::folder_of(path);
        let draft = tempfile::Builder::new()
            .prefix(".keys-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)
            .map_err(failed_to_write(parent))?;
        fill(draft.path(), options)?;
        match fs::rename(draft.path(), path) {
            Err(error) if is_taken(&error) => return Err(KeyError::AlreadyThere { path: path.into() }),
            renamed => renamed.map_err(failed_to_write(path))?,
        }
        // It has its name now: there is nothing to remove.
        let _ = draft.keep();
        disk::sync_folder(parent).map_err(failed_to_write(parent))?;
        Self::open(path)
    }
}

/// Only an empty folder gives way to another one.
fn is_taken(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, NotADirectory, ResourceBusy};
    matches!(error.kind(), AlreadyExists | DirectoryNotEmpty | NotADirectory | ResourceBusy)
}

fn fill(folder: &Path, options: &InitOptions) -> Result<(), KeyError> {
    let mut root = Root {
        spec_version: SPEC_VERSION.to_owned(),
        consistent_snapshot: false,
        version: NonZeroU64::MIN,
        expires: options.lifetimes.expiry(Role::Root, options.now)?,
        keys: HashMap::new(),
        roles: HashMap::new(),
        _extra: HashMap::new(),
    };
    let mut root_keys = Vec::new();
    for role in Role::ALL {
        let RoleOptions { keys, threshold } = options.of(role);
        let made = make_keys(&folder.join(role.name()), keys)?;
        give(&mut root, role, &made, threshold);
        if role == Role::Root {
            root_keys = made;
        }
    }
    let sealed = seal(root.clone(), &root, &root_keys)?;
    let lifetimes = serde_json::to_vec_pretty(&options.lifetimes)
        .map_err(|source| KeyError::Malformed { path: LIFETIMES_NAME.into(), source })?;
    let name = root_name(1);
    for (name, bytes) in
        [(&*name, sealed.buffer()), (ROOT_NAME, sealed.buffer()), (LIFETIMES_NAME, &lifetimes)]
    {
        let path = folder.join(name);
        disk::write_new(&path, bytes, 0o644).map_err(failed_to_write(&path))?;
    }
    Ok(())
}

/// Makes keys, and the folder for them.
pub(super) fn make_keys(folder: &Path, count: NonZeroU8) -> Result<Vec<KeyFile>, KeyError> {
    fs::create_dir_all(folder).map_err(failed_to_write(folder))?;
    let made: Vec<_> = (0..count.get()).map(|_| KeyFile::generate(folder)).collect::<Result<_, _>>()?;
    made.iter().try_for_each(KeyFile::write)?;
    Ok(made)
}

/// Gives a role these keys and no others. Keys that no role has any more are forgotten.
pub(super) fn give(root: &mut Root, role: Role, keys: &[KeyFile], threshold: NonZeroU8) {
    let keyids = keys.iter().map(|key| key.id().clone()).collect();
    let role_keys = RoleKeys { keyids, threshold: NonZeroU64::from(threshold), _extra: HashMap::new() };
    root.roles.insert(role.kind(), role_keys);
    root.keys.extend(keys.iter().map(|key| (key.id().clone(), key.public().clone())));
    let roles = &root.roles;
    root.keys.retain(|id, _| roles.values().any(|role| role.keyids.contains(id)));
}
