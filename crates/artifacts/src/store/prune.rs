//! Removing old versions.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::list::{Entry, Stored, StoredDelta};
use super::{Filter, ImageId, Store, StoreError, UPDATES};
use crate::disk;
use crate::version::Version;

/// What to remove.
#[derive(Debug, Clone, Copy)]
pub struct PruneOptions {
    /// How many of the newest whole versions of each image are kept in any case.
    pub keep: NonZeroUsize,
    /// Whether deltas go, too, that do not lead to one of these.
    pub deltas: bool,
    /// Whether nothing is removed, and only told what would be.
    pub dry_run: bool,
}

/// Why a version is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeepReason {
    /// It is one of the newest.
    Newest,
    /// A delta to this version is made from it.
    BaseOf(Version),
    /// A delta from this version leads to it; `None` where the delta does not tell.
    TargetFrom(Option<Version>),
    /// It is damaged: whoever knows why decides.
    Damaged,
}

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => f.write_str("one of the newest"),
            Self::BaseOf(to) => write!(f, "base of the delta to {to}"),
            Self::TargetFrom(Some(from)) => write!(f, "target of the delta from {from}"),
            Self::TargetFrom(None) => f.write_str("target of a delta that cannot be read"),
            Self::Damaged => f.write_str("damaged, not removed"),
        }
    }
}

/// What happens to a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It stays, for at least one reason.
    Kept(Vec<KeepReason>),
    /// It goes.
    Removed {
        /// The length of its images, in bytes.
        bytes: u64,
    },
}

/// What happens to a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The version.
    pub version: Version,
    /// What happens to it.
    pub fate: Fate,
}

/// A delta that goes while the version to which it leads may stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// The version from which it leads, if it tells.
    pub from: Option<Version>,
    /// The version to which it leads.
    pub to: Version,
    /// Its folder.
    pub path: PathBuf,
}

/// What pruning an image came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageReport {
    /// The image.
    pub id: ImageId,
    /// What happened to each version, from the oldest to the newest.
    pub decisions: Vec<Decision>,
    /// The deltas that went by themselves.
    pub deltas: Vec<Removal>,
    /// How many folders of versions and deltas went that were never finished.
    pub leftovers: usize,
}

impl Store {
    /// Removes old versions of every image that a filter lets through, one image after another. Versions that a delta
    /// names stay, as do damaged ones. Nothing is removed of an image while another process makes a delta of it.
    ///
    /// # Errors
    /// [`StoreError`]: what was removed until then stays so; what was not is whole.
    pub fn prune(&self, filter: &Filter, options: PruneOptions) -> Result<Vec<ImageReport>, StoreError> {
        let images: BTreeSet<ImageId> = self
            .list(&Filter { version: None, ..filter.clone() })?
            .into_iter()
            .filter_map(|entry| self.image_of(&entry))
            .filter(|id| filter.image.as_ref().is_none_or(|image| *image == id.image))
            .collect();
        images.into_iter().map(|id| self.prune_image(id, options)).collect()
    }

    /// The image that something in the store belongs to.
    fn image_of(&self, entry: &Entry) -> Option<ImageId> {
        let path = match entry {
            Entry::Version(stored) => return Some(stored.id.of.clone()),
            Entry::Foreign { .. } => return None,
            Entry::Leftover(path) => path.parent()?.strip_prefix(&self.root).ok()?,
        };
        let mut names = path.iter().map(|name| name.to_str()?.parse().ok());
        Some(ImageId { machine: names.next()??, image: names.next()?? })
    }

    fn prune_image(&self, id: ImageId, options: PruneOptions) -> Result<ImageReport, StoreError> {
        let folder = self.image_folder(&id);
        let _lock = disk::lock_folder(&folder, false)
            .map_err(reading(&folder))?
            .ok_or_else(|| StoreError::Busy(id.clone()))?;
        let versions: Vec<Stored> = self
            .list(&Filter::image(&id))?
            .into_iter()
            .filter_map(|entry| if let Entry::Version(stored) = entry { Some(*stored) } else { None })
            .collect();
        let leftovers = leftovers(&folder, &versions, options.dry_run)?;
        let plan = Plan::of(&versions, options);
        if !options.dry_run {
            for removal in &plan.deltas {
                disk::remove_folder(&removal.path).map_err(writing(&removal.path))?;
            }
            for (stored, decision) in versions.iter().zip(&plan.decisions) {
                if matches!(decision.fate, Fate::Removed { .. }) {
                    disk::remove_folder(&stored.path).map_err(writing(&stored.path))?;
                }
            }
        }
        // Deltas that go with their version are not worth a word.
        let is_removed = |version: &Version| {
            let is_it = |decision: &Decision| {
                decision.version == *version && matches!(decision.fate, Fate::Removed { .. })
            };
            plan.decisions.iter().any(is_it)
        };
        let deltas = plan.deltas.iter().filter(|removal| !is_removed(&removal.to)).cloned().collect();
        Ok(ImageReport { id, decisions: plan.decisions, deltas, leftovers })
    }
}

/// What to remove of an image.
struct Plan {
    decisions: Vec<Decision>,
    deltas: Vec<Removal>,
}

impl Plan {
    /// `versions` are in their order.
    fn of(versions: &[Stored], options: PruneOptions) -> Self {
        let whole = versions.iter().rev().filter(|stored| stored.manifest.is_ok());
        let newest: BTreeSet<&Version> =
            whole.take(options.keep.get()).map(|stored| &stored.id.version).collect();
        let all = versions.iter().flat_map(|to| to.deltas.iter().map(move |delta| (to, delta)));
        // A version that is damaged keeps its deltas: they go when it goes.
        let (gone, kept): (Vec<_>, Vec<_>) = all
            .partition(|(to, _)| options.deltas && to.manifest.is_ok() && !newest.contains(&to.id.version));
        let reasons = reasons_of(versions, &newest, &kept);
        let decisions = versions
            .iter()
            .map(|stored| Decision {
                version: stored.id.version.clone(),
                fate: match (reasons.get(&stored.id.version), &stored.manifest) {
                    (None, Ok(manifest)) => Fate::Removed { bytes: manifest.size_bytes() },
                    (reasons, _) => Fate::Kept(reasons.cloned().unwrap_or_default()),
                },
            })
            .collect();
        let deltas = gone
            .into_iter()
            .map(|(to, delta)| Removal {
                from: delta.base().cloned(),
                to: to.id.version.clone(),
                path: delta.path.clone(),
            })
            .collect();
        Self { decisions, deltas }
    }
}

/// Why each version stays that does.
fn reasons_of(
    versions: &[Stored],
    newest: &BTreeSet<&Version>,
    deltas: &[(&Stored, &StoredDelta)],
) -> BTreeMap<Version, Vec<KeepReason>> {
    let mut reasons: BTreeMap<Version, Vec<KeepReason>> = BTreeMap::new();
    for stored in versions {
        let version = &stored.id.version;
        let mut add = |reason| reasons.entry(version.clone()).or_default().push(reason);
        if stored.manifest.is_err() {
            add(KeepReason::Damaged);
        }
        if newest.contains(version) {
            add(KeepReason::Newest);
        }
        for (to, delta) in deltas {
            if to.id.version == *version {
                add(KeepReason::TargetFrom(delta.base().cloned()));
            } else if delta.names(version) {
                add(KeepReason::BaseOf(to.id.version.clone()));
            }
        }
    }
    reasons
}

/// Removes, or only counts, what killed processes have left of an image.
fn leftovers(image: &Path, versions: &[Stored], dry_run: bool) -> Result<usize, StoreError> {
    let updates = versions.iter().map(|stored| stored.path.join(UPDATES));
    let folders: Vec<PathBuf> = [image.to_owned()].into_iter().chain(updates).collect();
    let mut count = 0;
    for folder in folders {
        count += if dry_run {
            disk::leftovers(&folder).map_err(reading(&folder))?.len()
        } else {
            disk::sweep(&folder).map_err(writing(&folder))?
        };
    }
    Ok(count)
}

fn reading(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    |source| StoreError::Read { path, source }
}

fn writing(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    |source| StoreError::Write { path, source }
}
