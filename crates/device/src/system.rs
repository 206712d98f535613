//! What a device is: its hardware, its slots, its two boot groups and its boot flow, from one TOML file.
//!
//! A **slot** is a place that an update writes to. Slots of the two **boot groups** are counterparts of each
//! other: one group runs, the other one is written to. A slot without a group is shared by both.
//! `docs/boot.md` describes the file.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

mod check;
mod error;
mod places;
mod tables;

pub use check::{GROUP_BYTES_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX, SLOTS_MAX, WORDS_MAX};
pub use error::{ConfigError, SystemError};
pub use places::Roots;

/// The longest configuration that is read, in bytes.
pub const CONFIG_BYTES_MAX: u64 = 64 << 10;

/// The name of a boot group: letters, digits, `-` and `_`, [`GROUP_BYTES_MAX`] at most. Boot loaders keep it
/// in variables, and scripts get it as an argument.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(String);

impl Group {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Group {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The two boot groups of a device, in the order in which the configuration names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups([Group; 2]);

impl Groups {
    /// The group of this name.
    pub fn find(&self, name: &str) -> Option<&Group> {
        self.0.iter().find(|group| group.0 == name)
    }

    /// The group that is named first.
    pub fn first(&self) -> &Group {
        &self.0[0]
    }

    /// The other one of the two.
    pub fn other(&self, group: &Group) -> &Group {
        if self.0[0] == *group { &self.0[1] } else { &self.0[0] }
    }

    /// Both.
    pub fn iter(&self) -> impl Iterator<Item = &Group> {
        self.0.iter()
    }
}

/// Where the bytes of a slot stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A block device.
    Device(PathBuf),
    /// A file.
    File(PathBuf),
    /// A partition of a disk.
    Numbered {
        /// The disk.
        disk: PathBuf,
        /// The partition's number, from 1.
        number: u32,
    },
    /// The partition of this UUID (`PARTUUID`), in lower case.
    Uuid(String),
    /// The partition of this label (`PARTLABEL`).
    Label(String),
}

/// A place that updates write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its name, which no other slot has, and which is safe as the name of a file.
    pub name: String,
    /// What releases call it.
    pub role: String,
    /// Its boot group; none if both groups use it.
    pub group: Option<Group>,
    /// Where it stands.
    pub place: Place,
    /// Whether nobody writes to it between updates.
    pub is_immutable: bool,
}

/// A device's configuration, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct System {
    hardware: String,
    slots: Vec<Slot>,
    groups: Groups,
    boot: BootConfig,
}

/// What a boot flow has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootConfig {
    /// Where the running group is told, if not where the flow looks by itself.
    pub active: Option<ActiveSource>,
    /// The program and arguments that restart the device; none for the usual ones.
    pub reboot: Option<Vec<String>>,
    /// The flow.
    pub flow: FlowConfig,
}

/// Where the group that is running is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActiveSource {
    /// A parameter of the kernel's command line, `NAME=GROUP`.
    Parameter {
        /// Its name.
        name: String,
        /// The file that holds the command line, `/proc/cmdline` usually.
        command_line: PathBuf,
    },
    /// A file that holds the group's name.
    File(PathBuf),
}

/// A boot flow and its own keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlowConfig {
    /// GRUB.
    Grub {
        /// Its environment block.
        environment: PathBuf,
    },
    /// U-Boot.
    UBoot {
        /// What tells the tools where the environment stands (`fw_env.config`).
        config: PathBuf,
        /// The program that reads it.
        printenv: PathBuf,
        /// The program that writes it.
        setenv: PathBuf,
    },
    /// systemd-boot.
    SystemdBoot {
        /// The folder of EFI variables.
        variables: PathBuf,
        /// The boot loader's own configuration, which names the default entry until a variable does.
        loader: PathBuf,
        /// The entry of each group, in the order of the groups.
        entries: [String; 2],
    },
    /// Raspberry Pi's `tryboot`.
    Tryboot {
        /// `autoboot.txt`.
        autoboot: PathBuf,
        /// The boot partition of each group, in the order of the groups.
        partitions: [u32; 2],
        /// The file that says which partition was booted from.
        booted: PathBuf,
        /// The file that keeps a pending try until the restart.
        marker: PathBuf,
    },
    /// A program of the device's own.
    Custom {
        /// It.
        program: PathBuf,
        /// How long a call may take, in seconds.
        time_limit_s: u32,
    },
}

impl System {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// [`SystemError::Read`], [`SystemError::TooLong`], [`SystemError::Config`].
    pub fn load(path: &Path) -> Result<Self, SystemError> {
        let failed = |source| SystemError::Read { path: path.into(), source };
        let file = File::open(path).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(CONFIG_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > CONFIG_BYTES_MAX {
            return Err(SystemError::TooLong { path: path.into() });
        }
        let no_text = |error| failed(io::Error::new(io::ErrorKind::InvalidData, error));
        let text = String::from_utf8(bytes).map_err(no_text)?;
        Self::parse(&text).map_err(|source| SystemError::Config { path: path.into(), source })
    }

    /// Checks a configuration.
    ///
    /// # Errors
    /// The first thing in it that cannot be.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        if text.len() as u64 > CONFIG_BYTES_MAX {
            return Err(ConfigError::Limit { what: "bytes of configuration", max: CONFIG_BYTES_MAX });
        }
        tables::read(text)
    }

    /// What this device is: releases name the hardware that they fit.
    pub fn hardware(&self) -> &str {
        &self.hardware
    }

    /// Its slots, in the configuration's order.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Its boot groups.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// What its boot flow has to know.
    pub fn boot(&self) -> &BootConfig {
        &self.boot
    }

    /// The slot of this name.
    pub fn slot(&self, name: &str) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.name == name)
    }

    /// The slot that plays a role while `group` runs: that group's own, or the shared one.
    pub fn slot_of_role(&self, role: &str, group: &Group) -> Option<&Slot> {
        let is_it = |slot: &&Slot| slot.role == role && slot.group.as_ref().is_none_or(|own| own == group);
        self.slots.iter().find(is_it)
    }
}

#[cfg(test)]
mod tests;
