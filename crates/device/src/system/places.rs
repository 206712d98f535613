//! Where slots stand on this device. Nothing is opened.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Place, Slot, System, SystemError};

/// Entries that are looked through below a disk at most.
const ENTRIES_MAX: usize = 1024;

/// The folders in which the system tells of devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// Device files, `/dev`.
    pub dev: PathBuf,
    /// What the kernel tells of devices, `/sys`.
    pub sys: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { dev: "/dev".into(), sys: "/sys".into() }
    }
}

impl System {
    /// The path of every slot, by its name.
    ///
    /// # Errors
    /// As [`Slot::path`], and [`SystemError::SamePlace`] where two slots lead to the same device or file.
    pub fn paths(&self, roots: &Roots) -> Result<BTreeMap<&str, PathBuf>, SystemError> {
        let mut paths = BTreeMap::new();
        let mut taken: BTreeMap<PathBuf, &str> = BTreeMap::new();
        for slot in self.slots() {
            let path = slot.path(roots)?;
            // What is not there yet is nobody else's.
            let real = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
            if let Some(first) = taken.insert(real, &slot.name) {
                let (first, second) = (first.into(), slot.name.clone());
                return Err(SystemError::SamePlace { first, second, path });
            }
            paths.insert(slot.name.as_str(), path);
        }
        Ok(paths)
    }
}

impl Slot {
    /// Its path. A partition's number is looked up in sysfs, and put behind the disk's name where sysfs does
    /// not know the disk; a UUID and a label are looked up in the links that udev makes.
    ///
    /// # Errors
    /// [`SystemError::Missing`], [`SystemError::NoPartition`].
    pub fn path(&self, roots: &Roots) -> Result<PathBuf, SystemError> {
        match &self.place {
            Place::Device(path) | Place::File(path) => Ok(path.clone()),
            Place::Numbered { disk, number } => self.partition(disk, *number, roots),
            Place::Uuid(uuid) => self.real(&roots.dev.join("disk/by-partuuid").join(uuid)),
            Place::Label(label) => self.real(&roots.dev.join("disk/by-partlabel").join(udev_name(label))),
        }
    }

    fn partition(&self, disk: &Path, number: u32, roots: &Roots) -> Result<PathBuf, SystemError> {
        let disk = self.real(disk)?;
        let missing = |source| SystemError::Missing { slot: self.name.clone(), path: disk.clone(), source };
        let name = disk.file_name().ok_or_else(|| missing(io::ErrorKind::IsADirectory.into()))?;
        let Ok(entries) = fs::read_dir(roots.sys.join("class/block").join(name)) else {
            return Ok(numbered_path(&disk, number));
        };
        for entry in entries.take(ENTRIES_MAX) {
            let entry = entry.map_err(missing)?;
            let told = fs::read_to_string(entry.path().join("partition")).unwrap_or_default();
            if told.trim().parse() == Ok(number) {
                return Ok(roots.dev.join(entry.file_name()));
            }
        }
        Err(SystemError::NoPartition { slot: self.name.clone(), disk, number })
    }

    /// What a link leads to.
    fn real(&self, path: &Path) -> Result<PathBuf, SystemError> {
        let missing = |source| SystemError::Missing { slot: self.name.clone(), path: path.into(), source };
        fs::canonicalize(path).map_err(missing)
    }
}

/// A partition's path as the kernel forms it: the number behind the disk's name, after a `p` where that ends
/// with a digit (Linux, `block/partitions/core.c`).
pub(super) fn numbered_path(disk: &Path, number: u32) -> PathBuf {
    let mut path = disk.components().collect::<PathBuf>().into_os_string();
    if path.as_encoded_bytes().last().is_some_and(u8::is_ascii_digit) {
        path.push("p");
    }
    path.push(number.to_string());
    path.into()
}

/// A label as udev writes it in the name of a link: what could mislead a shell stands as `\x` and two digits
/// (systemd, `encode_devnode_name`).
fn udev_name(label: &str) -> String {
    let mut name = String::new();
    for character in label.chars() {
        let is_plain =
            !character.is_ascii() || character.is_ascii_alphanumeric() || "#+-.:=@_".contains(character);
        if is_plain {
            name.push(character);
        } else {
            // Writing to a string does not fail.
            let _ = write!(name, "\\x{:02x}", character as u32);
        }
    }
    name
}
