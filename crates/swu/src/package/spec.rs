//! What a package is to be made of.

use std::collections::HashSet;

use fluvial_delta::structure::ReadAt;

use super::write::SCRIPT_PREFIX;
use super::{DESCRIPTION_NAME, ImageDigest, SIGNATURE_NAME, VersionOrder, WriteError, compare_versions};
use crate::description::{Compression, Variable};
use crate::limits::{CHOICES_MAX, PARTITION_BYTES_MAX, PARTITIONS_MAX};

/// A package.
#[derive(Clone)]
pub struct PackageSpec<'a> {
    /// The version that it installs.
    pub version: String,
    /// The name of the software; may be empty.
    pub name: String,
    /// For people; may be empty.
    pub text: String,
    /// Which devices it is for.
    pub hardware: Hardware,
    /// What is installed.
    pub partitions: Vec<Partition<'a>>,
    /// Where, for each of a device's slots. One without a name for devices that have no choice.
    pub choices: Vec<Choice>,
    /// What happens on a device that has a newer version.
    pub downgrade: Downgrade,
}

/// Which devices a package is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hardware {
    /// The name of the board. Without, the revision alone decides.
    pub board: Option<String>,
    /// Revisions, one at least.
    pub revisions: Vec<String>,
}

/// What a partition gets.
#[derive(Clone)]
pub struct Partition<'a> {
    /// Its name, for people: letters, digits, dots, `-` and `_`.
    pub name: String,
    /// What is packed: a delta, or the image itself.
    pub file: FileSpec<'a>,
    /// What the slot holds in the end.
    pub target: ImageDigest,
    /// What the delta was made from; nothing where the image itself is packed.
    pub base: Option<ImageDigest>,
}

/// A file that is packed.
#[derive(Clone)]
pub struct FileSpec<'a> {
    /// Its name in the archive: as those of partitions.
    pub name: String,
    /// Its bytes, which are read twice.
    pub content: &'a dyn ReadAt,
    /// How it is packed.
    pub compression: Option<Compression>,
}

/// A choice of slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Software set and mode, as in `-e stable,copy2`.
    pub set_and_mode: Option<(String, String)>,
    /// Where each partition goes, in their order.
    pub places: Vec<Place>,
    /// What the boot loader is told in the end.
    pub bootenv: Vec<Variable>,
}

/// Where a partition goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The device or file that is written to.
    pub target: String,
    /// The device or file that the delta is applied to.
    pub base: Option<String>,
}

/// What happens on a device that has a newer version. `SWUpdate` itself refuses one only where it was started
/// with `-N`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Downgrade {
    /// The script refuses if the device says what it has.
    Refused {
        /// The file in which it says so, lines with a name and a version: `/etc/sw-versions`.
        versions_file: String,
        /// The name that counts there.
        component: String,
    },
    /// It is installed.
    Allowed,
}

impl PackageSpec<'_> {
    /// Checks all that a caller could get wrong.
    pub(super) fn check(&self) -> Result<(), WriteError> {
        if !(1..=PARTITIONS_MAX).contains(&self.partitions.len()) {
            return Err(WriteError::Partitions);
        }
        if !(1..=CHOICES_MAX).contains(&self.choices.len()) {
            return Err(WriteError::Choices);
        }
        let revisions = &self.hardware.revisions;
        if revisions.is_empty() || revisions.iter().any(|one| one.is_empty() || one.starts_with("#RE:")) {
            return Err(WriteError::Hardware);
        }
        if let Downgrade::Refused { versions_file, component } = &self.downgrade {
            check_path(versions_file)?;
            check_name(component)?;
            if compare_versions(&self.version, &self.version) == VersionOrder::Unknown {
                return Err(WriteError::Version { version: self.version.clone() });
            }
        }
        self.check_partitions()?;
        self.choices.iter().try_for_each(|choice| self.check_choice(choice))
    }

    fn check_partitions(&self) -> Result<(), WriteError> {
        let mut names = HashSet::new();
        let mut files = HashSet::from([DESCRIPTION_NAME, SIGNATURE_NAME]);
        for partition in &self.partitions {
            check_name(&partition.name)?;
            check_name(&partition.file.name)?;
            for name in [(&mut names, &partition.name), (&mut files, &partition.file.name)] {
                if !name.0.insert(name.1) {
                    return Err(WriteError::Duplicate { name: name.1.clone() });
                }
            }
            if partition.file.name.starts_with(SCRIPT_PREFIX) {
                return Err(WriteError::Duplicate { name: partition.file.name.clone() });
            }
            let images = std::iter::once(&partition.target).chain(&partition.base);
            if images.into_iter().any(|image| !(1..=PARTITION_BYTES_MAX).contains(&image.size_bytes)) {
                return Err(WriteError::Length { partition: partition.name.clone() });
            }
        }
        Ok(())
    }

    fn check_choice(&self, choice: &Choice) -> Result<(), WriteError> {
        if choice.set_and_mode.is_none() && self.choices.len() > 1 {
            return Err(WriteError::Unnamed);
        }
        if choice.places.len() != self.partitions.len() {
            let (wanted, found) = (self.partitions.len(), choice.places.len());
            return Err(WriteError::Places { wanted, found });
        }
        let mut targets = HashSet::new();
        for (partition, place) in self.partitions.iter().zip(&choice.places) {
            if partition.base.is_some() != place.base.is_some() {
                return Err(WriteError::Base { partition: partition.name.clone() });
            }
            check_path(&place.target)?;
            if !targets.insert(&place.target) {
                return Err(WriteError::Device { device: place.target.clone() });
            }
        }
        for base in choice.places.iter().filter_map(|place| place.base.as_ref()) {
            check_path(base)?;
            // Whatever is written to is no base any more.
            if targets.contains(base) {
                return Err(WriteError::Device { device: base.clone() });
            }
        }
        Ok(())
    }
}

/// Names stand in the shell's command lines as they are.
pub(super) fn check_name(name: &str) -> Result<(), WriteError> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte);
    let is_name =
        name.bytes().all(is_part) && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if is_name { Ok(()) } else { Err(WriteError::Name { name: name.escape_debug().take(64).collect() }) }
}

fn check_path(path: &str) -> Result<(), WriteError> {
    let is_path = path.starts_with('/') && !path.contains(char::is_control);
    if is_path { Ok(()) } else { Err(WriteError::Device { device: path.escape_debug().collect() }) }
}
