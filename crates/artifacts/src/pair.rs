//! Whether a delta may be made between two versions: what is checked before any work.

use std::collections::BTreeSet;
use std::fmt;

use thiserror::Error;

use crate::build_info::Key;
use crate::manifest::{Manifest, Partition};
use crate::name::Name;
use crate::store::{ImageId, Store, StoreError, VersionId, available};
use crate::version::Version;

/// What is allowed between two versions.
#[derive(Debug, Clone, Default)]
pub struct PairOptions {
    /// Whether the target may be older than the base.
    pub downgrade: bool,
    /// Keys of build-info that may differ.
    pub ignored_keys: BTreeSet<Key>,
}

/// Two versions between which a delta may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The image.
    pub of: ImageId,
    /// What devices have.
    pub base: Manifest,
    /// What they shall have.
    pub target: Manifest,
}

/// Which of two versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The one that devices have.
    Base,
    /// The one that they shall have.
    Target,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base => "base",
            Self::Target => "target",
        })
    }
}

/// A key that has another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The key; `DISTRO` for the distribution.
    pub key: String,
    /// The value in the base, if there is one.
    pub base: Option<String>,
    /// The value in the target, if there is one.
    pub target: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, base, target } = self;
        let shown =
            |value: &Option<String>| value.as_ref().map_or("not set".into(), |value| format!("{value:?}"));
        write!(f, "{key} ({}, then {})", shown(base), shown(target))
    }
}

/// How the layouts of two versions differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayoutDifference {
    /// There are others, or they are in another order.
    Partitions {
        /// The partitions of the base.
        base: Vec<Name>,
        /// The partitions of the target.
        target: Vec<Name>,
    },
    /// A partition has another length.
    Size {
        /// The partition.
        partition: Name,
        /// Its length in the base, in bytes.
        base: u64,
        /// Its length in the target, in bytes.
        target: u64,
    },
    /// A partition has blocks of another length.
    BlockLen {
        /// The partition.
        partition: Name,
        /// Their length in the base, in bytes.
        base: u32,
        /// Their length in the target, in bytes.
        target: u32,
    },
}

impl fmt::Display for LayoutDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: &[Name]| names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
        match self {
            Self::Partitions { base, target } => write!(f, "{}, then {}", list(base), list(target)),
            Self::Size { partition, base, target } => {
                write!(f, "{partition} has {base} bytes, then {target}")
            }
            Self::BlockLen { partition, base, target } => {
                write!(f, "{partition} has blocks of {base} bytes, then of {target}")
            }
        }
    }
}

/// No delta may be made between two versions.
#[derive(Debug, Error)]
pub enum PairError {
    /// Both are the same.
    #[error("base and target are both {0}")]
    SameVersion(Version),
    /// One of them is not there.
    #[error("there is no {role} {id}; {}{}", available(versions), told(elsewhere))]
    Missing {
        /// Which of the two.
        role: Role,
        /// The version.
        id: VersionId,
        /// The versions of the image that there are.
        versions: Vec<Version>,
        /// Other machines that have such a version.
        elsewhere: Vec<Name>,
    },
    /// One of them is damaged, or cannot be read.
    #[error("the {role} cannot be used")]
    Store {
        /// Which of the two.
        role: Role,
        /// Why.
        source: StoreError,
    },
    /// One of them is for another machine.
    #[error("the {role} {version} is for the machine {found}, not for {expected}")]
    OtherMachine {
        /// Which of the two.
        role: Role,
        /// The version.
        version: Version,
        /// The machine that it is for.
        found: Name,
        /// The machine that was asked for.
        expected: Name,
    },
    /// One of them is another image, or another version, than its folder says.
    #[error("the {role} {id} says that it is {found}")]
    Misplaced {
        /// Which of the two.
        role: Role,
        /// What was asked for.
        id: VersionId,
        /// What it says.
        found: VersionId,
    },
    /// They were configured otherwise.
    #[error("{from} and {to} were configured otherwise: {}", listed(differences))]
    OtherConfiguration {
        /// The base.
        from: Version,
        /// The target.
        to: Version,
        /// The keys that differ.
        differences: Vec<Difference>,
    },
    /// Their partitions are laid out otherwise.
    #[error("{from} and {to} have other partitions: {}", listed(differences))]
    OtherLayout {
        /// The base.
        from: Version,
        /// The target.
        to: Version,
        /// What differs.
        differences: Vec<LayoutDifference>,
    },
    /// An image ends inside a block.
    #[error(
        "the image of {partition} in {version} has {size_bytes} bytes: not a whole number of blocks of \
         {block_len_bytes}"
    )]
    NotWholeBlocks {
        /// The version.
        version: Version,
        /// The partition.
        partition: Name,
        /// The length of the image, in bytes.
        size_bytes: u64,
        /// The length of a block, in bytes.
        block_len_bytes: u32,
    },
    /// The target is older than the base.
    #[error("{to} is older than {from}")]
    Downgrade {
        /// The base.
        from: Version,
        /// The target.
        to: Version,
    },
}

fn told(elsewhere: &[Name]) -> String {
    let names: Vec<_> = elsewhere.iter().map(Name::as_str).collect();
    if names.is_empty() { String::new() } else { format!(" (there is one for {})", names.join(", ")) }
}

fn listed(differences: &[impl fmt::Display]) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Store {
    /// Checks that a delta may be made from one version of an image to another. Only manifests are read; whether the
    /// images are still what was added tells [`Store::verify`], or whoever reads them.
    ///
    /// # Errors
    /// [`PairError`], in the order of its variants.
    pub fn pair(
        &self,
        of: &ImageId,
        from: &Version,
        to: &Version,
        options: &PairOptions,
    ) -> Result<Pair, PairError> {
        if from == to {
            return Err(PairError::SameVersion(from.clone()));
        }
        let base = self.one_of_pair(Role::Base, &of.version(from))?;
        let target = self.one_of_pair(Role::Target, &of.version(to))?;
        check_place(Role::Base, &base, &of.version(from))?;
        check_place(Role::Target, &target, &of.version(to))?;
        let pair = Pair { of: of.clone(), base, target };
        pair.check_configuration(options)?;
        pair.check_layout()?;
        check_blocks(&pair.base)?;
        check_blocks(&pair.target)?;
        if to < from && !options.downgrade {
            return Err(PairError::Downgrade { from: from.clone(), to: to.clone() });
        }
        Ok(pair)
    }

    fn one_of_pair(&self, role: Role, id: &VersionId) -> Result<Manifest, PairError> {
        match self.manifest_anywhere(id) {
            Err(StoreError::NoVersion { id, versions }) => {
                // It is a help only: that machines cannot be listed is no news here.
                let elsewhere = self.elsewhere(&id).unwrap_or_default();
                Err(PairError::Missing { role, id, versions, elsewhere })
            }
            manifest => manifest.map_err(|source| PairError::Store { role, source }),
        }
    }
}

impl Pair {
    fn check_configuration(&self, options: &PairOptions) -> Result<(), PairError> {
        let Self { base, target, .. } = self;
        let mut differences = Vec::new();
        let mut compare = |key: &str, base: Option<&str>, target: Option<&str>| {
            let is_ignored = options.ignored_keys.iter().any(|ignored| ignored.as_str() == key);
            if base != target && !is_ignored {
                let (base, target) = (base.map(str::to_owned), target.map(str::to_owned));
                differences.push(Difference { key: key.into(), base, target });
            }
        };
        let name = |name: &'_ Option<Name>| name.as_ref().map(|name| name.as_str().to_owned());
        compare("DISTRO", name(&base.distribution).as_deref(), name(&target.distribution).as_deref());
        let keys: BTreeSet<&Key> =
            base.build_info.iter().chain(target.build_info.iter()).map(|(key, _)| key).collect();
        for key in keys {
            let key = key.as_str();
            compare(key, base.build_info.get(key), target.build_info.get(key));
        }
        if differences.is_empty() {
            return Ok(());
        }
        let (from, to) = (base.version.clone(), target.version.clone());
        Err(PairError::OtherConfiguration { from, to, differences })
    }

    fn check_layout(&self) -> Result<(), PairError> {
        let Self { base, target, .. } = self;
        let names = |manifest: &Manifest| -> Vec<Name> {
            manifest.partitions.iter().map(|partition| partition.name.clone()).collect()
        };
        let mut differences = Vec::new();
        if names(base) == names(target) {
            for (base, target) in base.partitions.iter().zip(&target.partitions) {
                differences.extend(size_difference(base, target));
                differences.extend(block_difference(base, target));
            }
        } else {
            differences.push(LayoutDifference::Partitions { base: names(base), target: names(target) });
        }
        if differences.is_empty() {
            return Ok(());
        }
        let (from, to) = (base.version.clone(), target.version.clone());
        Err(PairError::OtherLayout { from, to, differences })
    }
}

fn size_difference(base: &Partition, target: &Partition) -> Option<LayoutDifference> {
    let (partition, base, target) = (base.name.clone(), base.room_bytes(), target.room_bytes());
    (base != target).then_some(LayoutDifference::Size { partition, base, target })
}

fn block_difference(base: &Partition, target: &Partition) -> Option<LayoutDifference> {
    let (partition, base, target) = (base.name.clone(), base.block_len_bytes, target.block_len_bytes);
    (base != target).then_some(LayoutDifference::BlockLen { partition, base, target })
}

fn check_place(role: Role, manifest: &Manifest, id: &VersionId) -> Result<(), PairError> {
    let Manifest { machine, image, version, .. } = manifest;
    if *machine != id.of.machine {
        let (found, expected) = (machine.clone(), id.of.machine.clone());
        return Err(PairError::OtherMachine { role, version: id.version.clone(), found, expected });
    }
    if *image != id.of.image || *version != id.version {
        let of = ImageId { machine: machine.clone(), image: image.clone() };
        return Err(PairError::Misplaced { role, id: id.clone(), found: of.version(version) });
    }
    Ok(())
}

fn check_blocks(manifest: &Manifest) -> Result<(), PairError> {
    for partition in &manifest.partitions {
        let (size_bytes, block_len_bytes) = (partition.size_bytes, partition.block_len_bytes);
        if !size_bytes.is_multiple_of(u64::from(block_len_bytes)) {
            let (version, partition) = (manifest.version.clone(), partition.name.clone());
            return Err(PairError::NotWholeBlocks { version, partition, size_bytes, block_len_bytes });
        }
    }
    Ok(())
}
