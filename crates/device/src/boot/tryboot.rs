//! Raspberry Pi's `tryboot`: `autoboot.txt` names the boot partition of the default under `[all]`, and the
//! one of the try under `[tryboot]`, which the firmware takes once when the restart had the argument
//! `0 tryboot` (Raspberry Pi documentation, "autoboot.txt", "Example update flow for A/B booting").
//!
//! The firmware keeps the argument in a register that a power cut clears. So a pending try is kept in a file
//! that a restart clears as well (`marker`, below `/run`), and a try is made by [`BootFlow::reboot`] alone.

use std::io;
use std::path::{Path, PathBuf};

use self::autoboot::Autoboot;
use super::write::{read, remove, replace};
use super::{BootError, BootFlow, Change, Choice, Common, damaged, known};
use crate::system::{Group, Groups};

mod autoboot;

pub use autoboot::AUTOBOOT_BYTES_MAX;

/// What the restart is asked for when something is tried: the partition, which `autoboot.txt` chooses, and
/// the flag.
const ARGUMENT: &str = "0 tryboot";

/// `autoboot.txt` and what goes with it.
#[derive(Debug)]
pub(super) struct Tryboot {
    common: Common,
    autoboot: PathBuf,
    /// The boot partition of each group, in the order of the groups.
    partitions: [u32; 2],
    booted: PathBuf,
    marker: PathBuf,
}

impl Tryboot {
    pub(super) fn new(
        common: Common,
        autoboot: PathBuf,
        partitions: [u32; 2],
        booted: PathBuf,
        marker: PathBuf,
    ) -> Self {
        Self { common, autoboot, partitions, booted, marker }
    }

    fn partition(&self, group: &Group) -> u32 {
        self.partitions[usize::from(self.common.groups.first() != group)]
    }

    /// The group of a boot partition that `place` names.
    fn group(&self, place: &Path, partition: u32) -> Result<Group, BootError> {
        let is_it = |group: &&Group| self.partition(group) == partition;
        let unknown = || BootError::UnknownGroup {
            place: place.display().to_string(),
            group: format!("of boot partition {partition}"),
        };
        self.common.groups.iter().find(is_it).cloned().ok_or_else(unknown)
    }

    fn read(&self) -> Result<Autoboot, BootError> {
        let bytes = read(&self.autoboot, AUTOBOOT_BYTES_MAX as u64)?;
        Autoboot::parse(&bytes).map_err(|reason| damaged(&self.autoboot, reason))
    }

    /// Makes a group the default, and the other one what is tried. Nothing is written if that is so already.
    fn write(&self, default: &Group) -> Result<(), BootError> {
        let old = self.read()?;
        let other = self.common.groups.other(default);
        let new = old.with(self.partition(default), self.partition(other));
        if new == old {
            return Ok(());
        }
        let bytes = new.render().ok_or_else(|| BootError::Full { path: self.autoboot.clone() })?;
        replace(&self.autoboot, &bytes)
    }

    fn pending(&self) -> Result<Option<Group>, BootError> {
        let text = match read(&self.marker, AUTOBOOT_BYTES_MAX as u64) {
            Err(BootError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            text => text?,
        };
        let place = self.marker.display().to_string();
        known(&self.common.groups, &place, String::from_utf8_lossy(&text).trim()).map(Some)
    }
}

impl BootFlow for Tryboot {
    fn groups(&self) -> &Groups {
        &self.common.groups
    }

    fn active(&self) -> Result<Group, BootError> {
        self.common.active(|| {
            // A cell of a device tree: four bytes, the highest first.
            let bytes = read(&self.booted, 4)?;
            let cell = bytes.try_into().map_err(|_| damaged(&self.booted, "it has not four bytes"))?;
            self.group(&self.booted, u32::from_be_bytes(cell))
        })
    }

    fn choice(&self) -> Result<Choice, BootError> {
        let default = self.group(&self.autoboot, self.read()?.default_partition())?;
        Ok(Choice::new(default, self.pending()?))
    }

    fn make(&self, change: &Change, result: &Choice) -> Result<(), BootError> {
        match (change, &result.pending) {
            (Change::Commit(group), _) => {
                // In this order: a try of the default is none, so each step alone is the old choice or the
                // new one.
                self.write(group)?;
                remove(&self.marker)
            }
            (_, Some(group)) => {
                self.write(&result.default)?;
                if let Some(folder) = self.marker.parent() {
                    let failed = |source| BootError::Write { path: folder.into(), source };
                    std::fs::create_dir_all(folder).map_err(failed)?;
                }
                replace(&self.marker, group.as_str().as_bytes())
            }
            (_, None) => remove(&self.marker),
        }
    }

    fn reboot(&self) -> Result<(), BootError> {
        let is_try = self.choice()?.pending.is_some();
        self.common.restart.run(is_try.then_some(ARGUMENT))
    }
}
