//! EFI variables, through the files that Linux makes of them (Linux, `filesystems/efivarfs.rst`): four bytes
//! of attributes, then the value. One `write` is one call of the firmware's `SetVariable`, which is atomic
//! and durable (UEFI specification, 8.2), so nothing has to be synced.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use rustix::io::Errno;

use super::write::read;
use super::{BootError, damaged};

/// The vendor of the boot loader interface's variables (systemd, "The Boot Loader Interface").
const VENDOR: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// Kept without power, and seen by the boot loader and by the system.
const ATTRIBUTES: u32 = 0x7;
/// The longest value that is read, in bytes.
const VALUE_BYTES_MAX: u64 = 4096;

/// The folder of EFI variables.
#[derive(Debug)]
pub(super) struct Variables {
    folder: PathBuf,
}

impl Variables {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The file of a variable.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}-{VENDOR}"))
    }

    /// The text of a variable; none if there is no such variable.
    ///
    /// # Errors
    /// [`BootError::Read`], [`BootError::Damaged`] where it is no text.
    pub(super) fn get(&self, name: &str) -> Result<Option<String>, BootError> {
        let path = self.path(name);
        let bytes = match read(&path, VALUE_BYTES_MAX) {
            // Without the folder there is no EFI, which is another thing.
            Err(BootError::Read { source, .. })
                if source.kind() == io::ErrorKind::NotFound && self.folder.is_dir() =>
            {
                return Ok(None);
            }
            // What was made, and not written before its maker was killed, is no variable yet.
            Ok(bytes) if bytes.is_empty() => return Ok(None),
            bytes => bytes?,
        };
        text_of(&bytes).map(Some).ok_or_else(|| damaged(&path, "it holds no text"))
    }

    /// Gives a variable a text.
    ///
    /// # Errors
    /// [`BootError::Write`].
    pub(super) fn set(&self, name: &str, text: &str) -> Result<(), BootError> {
        let path = self.path(name);
        let units = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes);
        let bytes: Vec<u8> = ATTRIBUTES.to_le_bytes().into_iter().chain(units).collect();
        let written = || {
            unlock(&path)?;
            let options = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
            // The rest of a value that is cut would be another value.
            if options?.write(&bytes)? == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
        };
        written().map_err(|source| BootError::Write { path: path.clone(), source })
    }

    /// Removes a variable, if it is there.
    ///
    /// # Errors
    /// [`BootError::Write`].
    pub(super) fn remove(&self, name: &str) -> Result<(), BootError> {
        let path = self.path(name);
        let removed = unlock(&path).and_then(|()| match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        });
        removed.map_err(|source| BootError::Write { path, source })
    }
}

/// Lets a variable be changed: the kernel makes them immutable at each start, because machines have been lost
/// by removing some.
fn unlock(path: &Path) -> io::Result<()> {
    let file = match OpenOptions::new().read(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let unlocked = ioctl_getflags(file.as_fd()).and_then(|flags| {
        if flags.contains(IFlags::IMMUTABLE) {
            ioctl_setflags(file.as_fd(), flags - IFlags::IMMUTABLE)
        } else {
            Ok(())
        }
    });
    match unlocked {
        // Kernels before 4.6 have no such flag.
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        unlocked => Ok(unlocked?),
    }
}

/// The text of a variable's bytes: UTF-16, which ends with a zero.
fn text_of(bytes: &[u8]) -> Option<String> {
    let value = bytes.get(ATTRIBUTES.to_le_bytes().len()..)?;
    let (units, rest) = value.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let units = units.iter().map(|&unit| u16::from_le_bytes(unit)).take_while(|&unit| unit != 0);
    char::decode_utf16(units).collect::<Result<_, _>>().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_written_as_the_firmware_keeps_it() {
        let folder = tempfile::tempdir().unwrap();
        let variables = Variables::new(folder.path().into());
        assert_eq!(variables.get("LoaderEntryDefault").unwrap(), None);
        variables.set("LoaderEntryDefault", "a.conf").unwrap();
        let path = folder.path().join("LoaderEntryDefault-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f");
        assert_eq!(fs::read(path).unwrap(), b"\x07\0\0\0a\0.\0c\0o\0n\0f\0\0\0");
        assert_eq!(variables.get("LoaderEntryDefault").unwrap().as_deref(), Some("a.conf"));
        variables.remove("LoaderEntryDefault").unwrap();
        variables.remove("LoaderEntryDefault").unwrap();
        assert_eq!(variables.get("LoaderEntryDefault").unwrap(), None);
    }

    #[test]
    fn a_device_without_efi_is_told() {
        let variables = Variables::new("/nowhere/efivars".into());
        assert!(matches!(variables.get("LoaderEntryDefault"), Err(BootError::Read { .. })));
    }

    #[test]
    fn what_is_no_text_is_refused() {
        assert_eq!(text_of(b"\x07\0\0\0a\0\0\0").as_deref(), Some("a"));
        assert_eq!(text_of(b"\x07\0\0\0").as_deref(), Some(""));
        for bytes in [&b"\x07\0"[..], b"\x07\0\0\0a", b"\x07\0\0\0\x00\xd8a\0"] {
            assert_eq!(text_of(bytes), None, "{bytes:?}");
        }
    }
}
