//! What is in the store. What is damaged or not ours is told, and stops nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::damage::{Damage, check_place};
use super::{FROM, Filter, ImageId, Store, StoreError, UPDATES, VersionId};
use crate::delta_info::DeltaInfo;
use crate::disk::{self, Temporary};
use crate::limits::{DOCUMENT_BYTES_MAX, ENTRIES_MAX};
use crate::manifest::Manifest;
use crate::name::{Name, NameError};
use crate::version::Version;

/// Something in the store.
#[derive(Debug)]
pub enum Entry {
    /// A version, whole or not.
    Version(Box<Stored>),
    /// Something else.
    Foreign {
        /// Where it is.
        path: PathBuf,
        /// Why it is no version.
        damage: Damage,
    },
    /// The folder of a version or delta that was never finished, or is in the making.
    Leftover(PathBuf),
}

/// A version.
#[derive(Debug)]
pub struct Stored {
    /// Which.
    pub id: VersionId,
    /// Its folder.
    pub path: PathBuf,
    /// What it says of itself.
    pub manifest: Result<Manifest, Damage>,
    /// The deltas that lead to it, in the order of their bases.
    pub deltas: Vec<StoredDelta>,
}

/// A delta.
#[derive(Debug)]
pub struct StoredDelta {
    /// Its folder.
    pub path: PathBuf,
    /// Its base, as the folder says.
    pub from: Result<Version, Damage>,
    /// What it says of itself.
    pub info: Result<DeltaInfo, Damage>,
}

impl StoredDelta {
    /// The version that it needs, as its folder or else its document says.
    pub fn base(&self) -> Option<&Version> {
        self.from.as_ref().ok().or_else(|| self.info.as_ref().ok().map(|info| &info.from.version))
    }

    /// Whether it names a version, in whatever place.
    pub fn names(&self, version: &Version) -> bool {
        let in_folder = self.from.as_ref().ok() == Some(version);
        let in_info =
            self.info.as_ref().is_ok_and(|info| info.from.version == *version || info.to.version == *version);
        in_folder || in_info
    }
}

impl Store {
    /// Everything in the store that a filter lets through, by machine and image, versions from the oldest to the
    /// newest. What is no version is listed where no filter tells what is meant.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::TooMany`].
    pub fn list(&self, filter: &Filter) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        for (machine, path) in named::<Name>(&self.root, &mut entries)? {
            if filter.machine.as_ref().is_some_and(|wanted| *wanted != machine) {
                continue;
            }
            for (image, path) in named::<Name>(&path, &mut entries)? {
                if filter.image.as_ref().is_some_and(|wanted| *wanted != image) {
                    continue;
                }
                let of = ImageId { machine: machine.clone(), image };
                for (version, path) in named::<Version>(&path, &mut entries)? {
                    if filter.version.as_ref().is_none_or(|wanted| *wanted == version) {
                        let stored = Stored::read(of.version(&version), path)?;
                        entries.push(Entry::Version(Box::new(stored)));
                    }
                }
            }
        }
        if filter.version.is_some() {
            entries.retain(|entry| matches!(entry, Entry::Version(_)));
        }
        Ok(entries)
    }

    /// One version.
    ///
    /// # Errors
    /// [`StoreError::NoVersion`], [`StoreError::Read`].
    pub fn version(&self, id: &VersionId) -> Result<Stored, StoreError> {
        let path = self.version_folder(id);
        if path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
            return Stored::read(id.clone(), path);
        }
        Err(StoreError::NoVersion { id: id.clone(), versions: self.versions(&id.of)? })
    }

    /// The versions of an image, from the oldest to the newest; none where there is no such image.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::TooMany`].
    pub fn versions(&self, of: &ImageId) -> Result<Vec<Version>, StoreError> {
        match named::<Version>(&self.image_folder(of), &mut Vec::new()) {
            Err(StoreError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(Vec::new())
            }
            versions => Ok(versions?.into_iter().map(|(version, _)| version).collect()),
        }
    }

    /// The other machines that have a version of an image of the same name.
    ///
    /// # Errors
    /// As [`Store::versions`].
    pub fn elsewhere(&self, id: &VersionId) -> Result<Vec<Name>, StoreError> {
        let mut machines: Vec<Name> =
            named(&self.root, &mut Vec::new())?.into_iter().map(|(machine, _)| machine).collect();
        machines.retain(|machine| {
            let of = ImageId { machine: machine.clone(), image: id.of.image.clone() };
            *machine != id.of.machine && self.version_folder(&of.version(&id.version)).is_dir()
        });
        Ok(machines)
    }
}

impl Stored {
    fn read(id: VersionId, path: PathBuf) -> Result<Self, StoreError> {
        let manifest = manifest_in(&path).and_then(|manifest| check_place(&manifest, &id).map(|()| manifest));
        let deltas = deltas_in(&path.join(UPDATES))?;
        Ok(Self { id, path, manifest, deltas })
    }
}

/// The manifest in a folder.
pub(super) fn manifest_in(folder: &Path) -> Result<Manifest, Damage> {
    let bytes = document_in(folder, Manifest::FILE_NAME)?;
    Manifest::read(&bytes).map_err(|source| Damage::Document { name: Manifest::FILE_NAME, source })
}

fn document_in(folder: &Path, name: &'static str) -> Result<Vec<u8>, Damage> {
    let path = folder.join(name);
    match disk::read(&path, DOCUMENT_BYTES_MAX) {
        Ok(bytes) => bytes.ok_or_else(|| Damage::too_long(name)),
        Err(source) => Err(Damage::of_document(path, name, source)),
    }
}

/// The deltas in an `updates` folder, which need not be there.
fn deltas_in(folder: &Path) -> Result<Vec<StoredDelta>, StoreError> {
    let entries = match entries_of(folder) {
        Err(StoreError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(Vec::new());
        }
        entries => entries?,
    };
    let mut deltas = Vec::new();
    for Found { path, name, is_folder } in entries {
        let Some(name) = name.filter(|name| is_folder && !Temporary::is(name)) else { continue };
        let Some(from) = name.strip_prefix(FROM) else { continue };
        let from = from.parse().map_err(Damage::Name);
        let info = document_in(&path, DeltaInfo::FILE_NAME).and_then(|bytes| {
            DeltaInfo::read(&bytes).map_err(|source| Damage::Document { name: DeltaInfo::FILE_NAME, source })
        });
        deltas.push(StoredDelta { path, from, info });
    }
    deltas.sort_by(|a, b| a.base().cmp(&b.base()));
    Ok(deltas)
}

/// Something in a folder.
struct Found {
    path: PathBuf,
    /// Its name, if it is text.
    name: Option<String>,
    is_folder: bool,
}

/// What is in a folder, in any order.
fn entries_of(folder: &Path) -> Result<Vec<Found>, StoreError> {
    let failed = |source| StoreError::Read { path: folder.into(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        if found.len() >= ENTRIES_MAX {
            return Err(StoreError::TooMany(folder.into()));
        }
        let entry = entry.map_err(failed)?;
        let is_folder = entry.file_type().map_err(failed)?.is_dir();
        found.push(Found { path: entry.path(), name: entry.file_name().into_string().ok(), is_folder });
    }
    Ok(found)
}

/// The folders in a folder whose names are of a kind, in the order of that kind. Whatever else is there is told.
fn named<N>(folder: &Path, others: &mut Vec<Entry>) -> Result<Vec<(N, PathBuf)>, StoreError>
where
    N: Ord + TryFrom<String, Error = NameError>,
{
    let mut folders = Vec::new();
    let mut foreign = Vec::new();
    for Found { path, name, is_folder } in entries_of(folder)? {
        let damage = match name {
            None => Damage::NotText,
            Some(name) if is_folder && Temporary::is(&name) => {
                others.push(Entry::Leftover(path));
                continue;
            }
            Some(_) if !is_folder => Damage::NotAFolder,
            Some(name) => match N::try_from(name) {
                Ok(name) => {
                    folders.push((name, path));
                    continue;
                }
                Err(error) => Damage::Name(error),
            },
        };
        foreign.push((path, damage));
    }
    folders.sort_by(|a, b| a.0.cmp(&b.0));
    foreign.sort_by(|a, b| a.0.cmp(&b.0));
    others.extend(foreign.into_iter().map(|(path, damage)| Entry::Foreign { path, damage }));
    Ok(folders)
}
