//! What the device is, and where its slots are.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use fluvial_console::{Fault, Kind, Progress};
use fluvial_delta::structure::ReadAt;
use fluvial_device::disk::{Identity, Medium, is_at};
use fluvial_swu::description::DeviceChoice;
use fluvial_swu::package::{ContentError, PartitionInfo};
use thiserror::Error;

use crate::arguments::SwuApplyArguments;

/// Where `SWUpdate` looks what the device is: a board and a revision.
const HARDWARE_FILE: &str = "/etc/hwrevision";
/// Bytes of the file that says which versions the device has.
const VERSIONS_BYTES_MAX: u64 = 64 << 10;

/// A base is not what the delta was made from.
#[derive(Debug, Error)]
#[error("base {} of {partition} is not what the delta was made from", path.display())]
struct BaseError {
    partition: String,
    path: PathBuf,
    source: ContentError,
}

/// What the device is, and its revision.
///
/// # Errors
/// [`Kind::Refused`] where nothing tells.
pub(super) fn choice(arguments: &SwuApplyArguments) -> Result<(DeviceChoice, String), Fault> {
    let set_and_mode = arguments.select.clone();
    let (board, revision) = match (&arguments.device_hardware, &arguments.hardware_revision) {
        (Some((board, revision)), _) => (Some(board.clone()), revision.clone()),
        (None, Some(revision)) => (None, revision.clone()),
        (None, None) => {
            let (board, revision) =
                fs::read_to_string(HARDWARE_FILE).ok().and_then(|text| hardware(&text)).ok_or_else(|| {
                    let message = format!("nothing says what this device is: {HARDWARE_FILE} does not");
                    Fault::new(Kind::Refused, message)
                        .hint("give --device-hardware BOARD:REVISION, or --hardware-revision")
                })?;
            (Some(board), revision)
        }
    };
    Ok((DeviceChoice { board, set_and_mode }, revision))
}

/// Which versions of `package` the device says that it has.
///
/// # Errors
/// [`Kind::Io`] where the file that tells is there, and cannot be read.
pub(super) fn installed_versions(arguments: &SwuApplyArguments, package: &str) -> Result<Vec<String>, Fault> {
    if let Some(version) = &arguments.installed_version {
        return Ok(vec![version.clone()]);
    }
    let path = &arguments.versions_file;
    let mut text = String::new();
    match File::open(path).and_then(|file| file.take(VERSIONS_BYTES_MAX + 1).read_to_string(&mut text)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Fault::reading(path, error)),
        Ok(len) if len as u64 > VERSIONS_BYTES_MAX => {
            let message = format!("{} has more than {VERSIONS_BYTES_MAX} bytes", path.display());
            return Err(Fault::new(Kind::Io, message).hint("give --installed-version"));
        }
        Ok(_) => {}
    }
    Ok(versions_of(&text, arguments.versions_name.as_deref().unwrap_or(package)))
}

/// The versions that a text gives for a name.
fn versions_of(text: &str, name: &str) -> Vec<String> {
    let version = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next() == Some(name)).then(|| words.next().unwrap_or_default().to_owned())
    };
    text.lines().filter_map(version).collect()
}

/// Board and revision of a text.
fn hardware(text: &str) -> Option<(String, String)> {
    let mut words = text.split_whitespace();
    Some((words.next()?.to_owned(), words.next()?.to_owned()))
}

/// Where partitions are on this machine, in their order.
pub(super) struct Places {
    pub(super) targets: Vec<PathBuf>,
    bases: Vec<Option<PathBuf>>,
}

impl Places {
    /// What the package says, but for what the command line says otherwise.
    ///
    /// # Errors
    /// [`Kind::Usage`] where it names what is not there, or nothing says where.
    pub(super) fn of(arguments: &SwuApplyArguments, partitions: &[PartitionInfo<'_>]) -> Result<Self, Fault> {
        let wrong = |message: String| Err(Fault::new(Kind::Usage, message));
        for (name, _) in arguments.base.iter().chain(&arguments.target) {
            if !partitions.iter().any(|partition| partition.name == name) {
                return wrong(format!("the package has no partition {name}"));
            }
        }
        for (index, partition) in partitions.iter().enumerate() {
            let is_alike = |other: &PartitionInfo<'_>| {
                other.name == partition.name || other.filename == partition.filename
            };
            if partitions[..index].iter().any(is_alike) {
                let message = format!("two partitions have the name or the file of {}", partition.name);
                return Err(Fault::new(Kind::Refused, message).hint("install it with SWUpdate"));
            }
        }
        let given = |list: &[(String, PathBuf)], name: &str| {
            list.iter().rev().find(|(other, _)| other == name).map(|(_, path)| path.clone())
        };
        let target = |partition: &PartitionInfo<'_>| {
            given(&arguments.target, partition.name).unwrap_or_else(|| partition.device.into())
        };
        let base = |partition: &PartitionInfo<'_>| {
            let base = partition.base.as_ref()?;
            Some(given(&arguments.base, partition.name).unwrap_or_else(|| base.device.into()))
        };
        let targets = partitions.iter().map(target).collect();
        Ok(Self { targets, bases: partitions.iter().map(base).collect() })
    }

    /// Opens the bases, and compares each with what the delta was made from. A device may be longer.
    ///
    /// # Errors
    /// [`Kind::WrongSource`]; [`Kind::Cancelled`].
    pub(super) fn check_bases(
        &self,
        partitions: &[PartitionInfo<'_>],
        progress: &Progress,
    ) -> Result<Vec<Option<Medium>>, Fault> {
        let bases = || partitions.iter().filter_map(|partition| partition.base.as_ref());
        progress.phase("checking", bases().map(|base| base.image.size_bytes).sum());
        let mut media = Vec::new();
        for (partition, path) in partitions.iter().zip(&self.bases) {
            let (Some(base), Some(path)) = (&partition.base, path) else {
                media.push(None);
                continue;
            };
            let medium = Medium::open(path).map_err(|error| Fault::wrong_source(path, error).hint(HINT))?;
            let wrong = |source| wrong_base(partition.name, path, source);
            let is_file = medium.identity().is_ok_and(|identity| matches!(identity, Identity::File(..)));
            let (wanted, found) = (base.image.size_bytes, medium.len());
            if is_file && found > wanted {
                let message = format!("{} has {found} bytes, the base has {wanted}", path.display());
                return Err(Fault::new(Kind::WrongSource, message).hint(HINT));
            }
            let watched = Watched { medium: &medium, progress };
            base.image.check_start_of(&watched).map_err(wrong)?;
            media.push(Some(medium));
        }
        Ok(media)
    }

    /// Refuses targets that are bases or the package, and devices that are not there.
    ///
    /// # Errors
    /// [`Kind::Usage`].
    pub(super) fn check_targets(
        &self,
        bases: &[Option<Medium>],
        package: Option<Identity>,
    ) -> Result<(), Fault> {
        for target in &self.targets {
            let bases = bases.iter().flatten().map(|base| (base.identity().ok(), "a base"));
            for (identity, what) in bases.chain([(package, "the package")]) {
                if is_at(target, identity) {
                    return Err(Fault::overwriting(target, what).hint("choose another place with --target"));
                }
            }
            let is_device = || target.metadata().is_ok_and(|metadata| metadata.file_type().is_block_device());
            // Else a file would be made where a device is missing.
            if Path::new(target).starts_with("/dev") && !is_device() {
                let message = format!("{} is not a device", target.display());
                return Err(Fault::new(Kind::Usage, message).hint("choose another place with --target"));
            }
        }
        Ok(())
    }
}

const HINT: &str = "`fluvial swu inspect` shows length and SHA-256 of the base; --base names another one";

fn wrong_base(partition: &str, path: &Path, source: ContentError) -> Fault {
    match source {
        ContentError::Io(error) => Fault::reading(path, error),
        source => {
            let (partition, path) = (partition.to_owned(), path.to_owned());
            Fault::new(Kind::WrongSource, BaseError { partition, path, source }).hint(HINT)
        }
    }
}

/// A medium that tells how much of it was read, and stops when asked to.
struct Watched<'a> {
    medium: &'a Medium,
    progress: &'a Progress,
}

impl ReadAt for Watched<'_> {
    fn len(&self) -> u64 {
        self.medium.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.medium.read_at(offset, buf)?;
        if self.progress.advance(buf.len() as u64) { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_device_has_its_board_and_its_revision() {
        assert_eq!(hardware("demo-board 1.0\n"), Some(("demo-board".into(), "1.0".into())));
        assert_eq!(hardware("demo-board\n"), None);
        assert_eq!(hardware(""), None);
    }

    #[test]
    fn the_versions_of_a_name_are_told_in_lines() {
        let text = "# prod 9\nother 0.1\n  prod\t1.2  \nproduct 3\nprod\nprod 1.3 of today";
        assert_eq!(versions_of(text, "prod"), ["1.2", "", "1.3"]);
        assert!(versions_of(text, "none").is_empty());
    }
}
