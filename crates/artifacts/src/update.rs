//! Deltas in the store: `<machine>/<image>/<TO>/updates/from_<FROM>/`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::copy::{self, CopyError};
use crate::delta_info::{DeltaInfo, FileInfo, PartitionUpdate};
use crate::disk::{self, Draft, Temporary};
use crate::document::DocumentError;
use crate::manifest::Manifest;
use crate::name::Name;
use crate::pair::Pair;
use crate::patterns::Patterns;
use crate::store::{ImageId, Store, StoreError, UPDATES};
use crate::version::Version;

/// A delta cannot be put into the store.
#[derive(Debug, Error)]
pub enum UpdateError {
    /// There is one between the two versions.
    #[error("the delta from {from} to {to} is in the store already")]
    Exists {
        /// The base.
        from: Version,
        /// The target.
        to: Version,
    },
    /// The store is being pruned.
    #[error("{0} is in use by another run of fluvial")]
    Busy(ImageId),
    /// A version was removed or replaced since it was checked.
    #[error("{0} is not what it was when it was checked")]
    Changed(Version),
    /// A version cannot be read any more.
    #[error("a version went away")]
    Store(#[from] StoreError),
    /// What the delta is cannot be written down.
    #[error("the delta cannot be described")]
    Document(#[from] DocumentError),
    /// What was told of the delta is not so.
    #[error("what is told of the delta is not so: {0}")]
    NotSo(&'static str),
    /// The package cannot be read, or is not what was told of it.
    #[error("the package {} is not there as it was told", path.display())]
    Package {
        /// Where it should be.
        path: PathBuf,
        /// Why it cannot be read, if it cannot.
        source: Option<io::Error>,
    },
    /// The store cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What becomes of a delta that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and no other is made.
    Kept,
    /// It stays until the new one is finished, which then takes its place at once.
    Replaced,
}

/// The folder of a delta in the making. It is removed unless it is finished.
///
/// Nothing of the image is pruned as long as it lives.
#[derive(Debug)]
pub struct UpdateDraft {
    draft: Draft,
    to: PathBuf,
    pair: Pair,
    existing: Existing,
    /// Held, not used: whoever prunes needs it alone.
    _lock: File,
}

impl Store {
    /// Begins a delta between two versions that were checked. What killed runs have left in the folder is removed.
    ///
    /// # Errors
    /// [`UpdateError`].
    pub fn begin_update(&self, pair: Pair, existing: Existing) -> Result<UpdateDraft, UpdateError> {
        let (from, to) = (pair.base.version.clone(), pair.target.version.clone());
        let folder = self.update_folder(&pair.of, &from, &to);
        let failed = |source| UpdateError::Write { path: folder.clone(), source };
        let lock = disk::lock_folder(&self.image_folder(&pair.of), true)
            .map_err(failed)?
            .ok_or_else(|| UpdateError::Busy(pair.of.clone()))?;
        for manifest in [&pair.base, &pair.target] {
            if self.manifest(&pair.of.version(&manifest.version))? != *manifest {
                return Err(UpdateError::Changed(manifest.version.clone()));
            }
        }
        if existing == Existing::Kept && folder.symlink_metadata().is_ok() {
            return Err(UpdateError::Exists { from, to });
        }
        let updates = self.version_folder(&pair.of.version(&to)).join(UPDATES);
        disk::sweep(&updates).map_err(failed)?;
        let draft = Draft::create(&updates, Temporary::Making).map_err(failed)?;
        Ok(UpdateDraft { draft, to: folder, pair, existing, _lock: lock })
    }

    /// Opens the image of a partition, to read.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn open_image(&self, manifest: &Manifest, partition: &Name) -> Result<File, StoreError> {
        let Manifest { machine, image, version, .. } = manifest;
        let of = ImageId { machine: machine.clone(), image: image.clone() };
        let path = self.version_folder(&of.version(version)).join(crate::manifest::file_name(partition));
        disk::open(&path).map_err(|source| StoreError::Read { path, source })
    }
}

impl UpdateDraft {
    /// Where to put the package and whatever else is made.
    pub fn path(&self) -> &Path {
        self.draft.path()
    }

    /// The two versions.
    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// Writes `delta-info.json` and `build-info.txt`, keeps the package and what the patterns name, removes the rest,
    /// and gives the folder its name once everything is on the disk; answers where it is.
    ///
    /// # Errors
    /// [`UpdateError`]; nothing is left behind then, and what was there is there.
    pub fn finish(self, info: &DeltaInfo, patterns: &Patterns) -> Result<PathBuf, UpdateError> {
        self.check(info)?;
        let document = info.to_bytes()?;
        self.check_package(info)?;
        let folder = self.path().to_owned();
        self.collect(info, patterns).map_err(|source| UpdateError::Write { path: folder.clone(), source })?;
        let failed = |source| UpdateError::Write { path: folder.clone(), source };
        self.draft.write(DeltaInfo::FILE_NAME, &document).map_err(failed)?;
        self.draft.write(Manifest::TEXT_NAME, &info.shell_text()).map_err(failed)?;
        let Self { draft, to, pair, existing, .. } = self;
        let published = match existing {
            Existing::Kept => draft.publish(&to),
            Existing::Replaced => draft.replace(&to),
        };
        match published {
            Ok(()) => Ok(to),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(UpdateError::Exists { from: pair.base.version, to: pair.target.version })
            }
            Err(source) => Err(UpdateError::Write { path: to, source }),
        }
    }

    /// Whether it is told of these two versions.
    fn check(&self, info: &DeltaInfo) -> Result<(), UpdateError> {
        let Pair { of, base, target } = &self.pair;
        if (&info.machine, &info.image) != (&of.machine, &of.image) {
            return Err(UpdateError::NotSo("machine or image"));
        }
        if (&info.from.version, &info.to.version) != (&base.version, &target.version) {
            return Err(UpdateError::NotSo("the versions"));
        }
        let names = |update: &PartitionUpdate| update.name.clone();
        let told: Vec<Name> = info.partitions.iter().map(names).collect();
        let all: Vec<Name> = target.partitions.iter().map(|partition| partition.name.clone()).collect();
        if told != all {
            return Err(UpdateError::NotSo("the partitions"));
        }
        for (update, (base, target)) in
            info.partitions.iter().zip(base.partitions.iter().zip(&target.partitions))
        {
            let of = |size_bytes, sha256| FileInfo { size_bytes, sha256 };
            if update.base != of(base.size_bytes, base.sha256)
                || update.target != of(target.size_bytes, target.sha256)
            {
                return Err(UpdateError::NotSo("the images"));
            }
        }
        Ok(())
    }

    fn check_package(&self, info: &DeltaInfo) -> Result<(), UpdateError> {
        let path = self.path().join(info.swu.name.as_str());
        let measured = disk::open(&path).and_then(|file| {
            copy::measure(&file, &|_| true).map_err(|error| match error {
                CopyError::Read(source) | CopyError::Write(source) => source,
                CopyError::Changed | CopyError::Cancelled => io::ErrorKind::Interrupted.into(),
            })
        });
        match measured {
            Err(source) => Err(UpdateError::Package { path, source: Some(source) }),
            Ok(found) if (found.size_bytes, found.sha256) != (info.swu.size_bytes, info.swu.sha256) => {
                Err(UpdateError::Package { path, source: None })
            }
            Ok(_) => Ok(()),
        }
    }

    /// Removes what is not collected, and sees to it that the rest is on the disk.
    fn collect(&self, info: &DeltaInfo, patterns: &Patterns) -> io::Result<()> {
        for entry in fs::read_dir(self.path())? {
            let entry = entry?;
            let is_collected = entry.file_name().to_str().is_some_and(|name| {
                let is_ours = name == DeltaInfo::FILE_NAME || name == Manifest::TEXT_NAME;
                !is_ours && (name == info.swu.name.as_str() || patterns.match_name(name))
            });
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else if is_collected && entry.file_type()?.is_file() {
                disk::settle(&File::open(entry.path())?)?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}
