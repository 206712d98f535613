//! Other keys for a role (TUF 6.1).

use std::num::{NonZeroU8, NonZeroU64};
use std::path::PathBuf;

use tough::editor::signed::SignedRole;
use tough::schema::Root;

use super::init::{give, make_keys};
use super::key_file::KeyFile;
use super::{KeyError, KeyFolder, ROOT_NAME, check_threshold, failed_to_write, seal};
use crate::disk::{self, Lock};
use crate::limits::ROOTS_MAX;
use crate::metadata::root_name;
use crate::{Role, Timestamp};

/// How a role gets other keys.
#[derive(Debug, Clone, Copy)]
pub struct RotateOptions {
    /// How many there will be; as many as there are, where this says nothing.
    pub keys: Option<NonZeroU8>,
    /// How many will have to sign; as many as now, where this says nothing.
    pub threshold: Option<NonZeroU8>,
    /// What time it is. The new root's life begins then.
    pub now: Timestamp,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// The version of the new root.
    pub root_version: u64,
    /// The files of the new keys.
    pub new_keys: Vec<PathBuf>,
    /// The files of keys that are here and have no meaning any more.
    pub unused_keys: Vec<PathBuf>,
}

impl KeyFolder {
    /// Gives a role new keys instead of those that it has, and makes the next version of the root, which the
    /// old and the new root keys sign: devices follow from the one to the other. What was signed by the old
    /// keys counts no more on devices that know the new root.
    ///
    /// Old key files stay where they are. Whatever is cut, either version of the root is there complete.
    ///
    /// # Errors
    /// [`KeyError::KeysMissing`] where the root's keys are kept elsewhere; [`KeyError::TooManyRoots`];
    /// [`KeyError::Threshold`] and [`KeyError::TooManyKeys`] for options that make no sense;
    /// [`KeyError::File`].
    pub fn rotate(&mut self, role: Role, options: &RotateOptions) -> Result<Rotation, KeyError> {
        let lock = Lock::take(&self.path).map_err(failed_to_write(&self.path))?;
        // Another process may have been here since.
        *self = Self::open(&self.path)?;
        if self.roots.len() >= ROOTS_MAX {
            return Err(KeyError::TooManyRoots);
        }
        let (keys, threshold) = self.sizes(role, options)?;
        let mut root_keys = self.keys_of(Role::Root)?;
        let made = make_keys(&self.folder_of(role), keys)?;
        let mut root = self.root.signed.clone();
        root.version = root.version.checked_add(1).ok_or(KeyError::TooManyRoots)?;
        root.expires = self.lifetimes.expiry(Role::Root, options.now)?;
        give(&mut root, role, &made, threshold);
        if role == Role::Root {
            root_keys.extend(made.iter().cloned());
        }
        let sealed = self.seal_root(&root, &root_keys)?;

        let path = self.path.join(root_name(sealed.signed().signed.version.get()));
        disk::write_new(&path, sealed.buffer(), 0o644).map_err(failed_to_write(&path))?;
        lock.replace(ROOT_NAME, sealed.buffer()).map_err(failed_to_write(&self.path.join(ROOT_NAME)))?;
        *self = Self::open(&self.path)?;
        Ok(Rotation {
            root_version: self.root.signed.version.get(),
            new_keys: made.iter().map(|key| key.path().to_owned()).collect(),
            unused_keys: self.unused_keys(role)?,
        })
    }

    /// How many keys there will be, and how many of them will have to sign.
    fn sizes(&self, role: Role, options: &RotateOptions) -> Result<(NonZeroU8, NonZeroU8), KeyError> {
        let old = self.role_keys(role)?;
        // A root that others made may have more than ours; those are refused below.
        let count =
            |number: u64| u8::try_from(number).ok().and_then(NonZeroU8::new).unwrap_or(NonZeroU8::MAX);
        let keys = options.keys.unwrap_or_else(|| count(old.keyids.len() as u64));
        let threshold = options.threshold.unwrap_or_else(|| count(NonZeroU64::get(old.threshold)));
        check_threshold(role, keys, threshold)?;
        Ok((keys, threshold))
    }

    /// Signs the next root with the keys that the last one names, and with those that it names itself.
    fn seal_root(&self, root: &Root, keys: &[KeyFile]) -> Result<SignedRole<Root>, KeyError> {
        let by_old = seal(root.clone(), &self.root.signed, keys)?;
        let by_new = seal(root.clone(), root, keys)?;
        let sealed = by_new
            .add_old_signatures(by_old.signed().signatures.clone())
            .map_err(|source| KeyError::Sign { role: Role::Root, source: source.into() })?;
        let signed = sealed.signed();
        let unsound = |source| KeyError::Unsound { source: Box::new(source) };
        self.root.signed.verify_role(signed).map_err(unsound)?;
        signed.signed.verify_role(signed).map_err(unsound)?;
        Ok(sealed)
    }
}
