//! systemd-boot: one entry for each group, and the variables of the boot loader interface (systemd, "The Boot
//! Loader Interface").
//!
//! `LoaderEntryDefault` names the default, `LoaderEntryOneShot` the try: systemd-boot removes it before it
//! boots what it names. Boot counting (`entry+3.conf`) is not used. Counters stand in names of files on FAT,
//! which are renamed at each boot by boot loader and system, and a counter that has run out only matters
//! while no default is set. A variable is one call of the firmware, atomic and durable.

use std::path::{Path, PathBuf};

use super::efi::Variables;
use super::write::read;
use super::{BootError, BootFlow, Change, Choice, Common, damaged};
use crate::system::{Group, Groups};

const DEFAULT: &str = "LoaderEntryDefault";
const ONE_SHOT: &str = "LoaderEntryOneShot";
const SELECTED: &str = "LoaderEntrySelected";
/// The longest `loader.conf` that is read, in bytes.
const LOADER_BYTES_MAX: u64 = 64 << 10;

/// systemd-boot's variables.
#[derive(Debug)]
pub(super) struct SystemdBoot {
    common: Common,
    variables: Variables,
    loader: PathBuf,
    /// The entry of each group, in the order of the groups.
    entries: [String; 2],
}

impl SystemdBoot {
    pub(super) fn new(common: Common, variables: PathBuf, loader: PathBuf, entries: [String; 2]) -> Self {
        Self { common, variables: Variables::new(variables), loader, entries }
    }

    /// The entry of a group.
    fn entry(&self, group: &Group) -> &str {
        &self.entries[usize::from(self.common.groups.first() != group)]
    }

    /// The group whose entry `place` names.
    fn group(&self, place: &Path, entry: &str) -> Result<Group, BootError> {
        let is_it = |group: &&Group| id_of(self.entry(group)) == id_of(entry);
        let unknown = || BootError::UnknownGroup { place: place.display().to_string(), group: entry.into() };
        self.common.groups.iter().find(is_it).cloned().ok_or_else(unknown)
    }

    /// The group whose entry a variable names.
    fn told(&self, name: &str) -> Result<Option<Group>, BootError> {
        let entry = self.variables.get(name)?;
        entry.map(|entry| self.group(&self.variables.path(name), &entry)).transpose()
    }

    /// The default as long as no variable says it.
    fn first_default(&self) -> Result<Group, BootError> {
        let text = read(&self.loader, LOADER_BYTES_MAX)?;
        match default_of(&String::from_utf8_lossy(&text)) {
            Some(entry) => self.group(&self.loader, entry),
            None => Err(damaged(&self.loader, "it has no `default`, and no variable says one")),
        }
    }
}

/// An entry's id, whether written with the suffix or without: versions differ.
fn id_of(entry: &str) -> String {
    let id = entry.to_ascii_lowercase();
    id.strip_suffix(".conf").map_or(id.clone(), str::to_owned)
}

/// The `default` of a `loader.conf`; the last one counts.
fn default_of(text: &str) -> Option<&str> {
    let settings = text.lines().rev().filter_map(|line| line.trim().split_once(char::is_whitespace));
    let mut values = settings.filter_map(|(key, value)| (key == "default").then_some(value));
    values.next().map(str::trim)
}

impl BootFlow for SystemdBoot {
    fn groups(&self) -> &Groups {
        &self.common.groups
    }

    fn active(&self) -> Result<Group, BootError> {
        self.common.active(|| {
            let place = self.variables.path(SELECTED).display().to_string();
            self.told(SELECTED)?.ok_or(BootError::NoActive { place })
        })
    }

    fn choice(&self) -> Result<Choice, BootError> {
        let default = match self.told(DEFAULT)? {
            Some(default) => default,
            None => self.first_default()?,
        };
        Ok(Choice::new(default, self.told(ONE_SHOT)?))
    }

    fn make(&self, change: &Change, result: &Choice) -> Result<(), BootError> {
        match (change, &result.pending) {
            (Change::Commit(group), _) => {
                // In this order: a try of the default is none, so each step alone is the old choice or the
                // new one.
                self.variables.set(DEFAULT, self.entry(group))?;
                self.variables.remove(ONE_SHOT)
            }
            (_, Some(group)) => self.variables.set(ONE_SHOT, self.entry(group)),
            (_, None) => self.variables.remove(ONE_SHOT),
        }
    }

    fn reboot(&self) -> Result<(), BootError> {
        self.common.restart.run(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_default_of_a_loader_counts() {
        assert_eq!(
            default_of("timeout 3\ndefault a.conf\n#default c\n  default\t b.conf \n"),
            Some("b.conf")
        );
        assert_eq!(default_of("defaults a\ndefault\n"), None);
    }

    #[test]
    fn ids_are_the_same_with_and_without_suffix() {
        assert_eq!(id_of("Fluvial-A.conf"), id_of("fluvial-a"));
        assert_ne!(id_of("fluvial-a.efi"), id_of("fluvial-a.conf"));
    }
}
