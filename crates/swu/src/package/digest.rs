//! What an image holds.

use std::io;

use fluvial_delta::structure::ReadAt;
use sha2::{Digest as _, Sha256};

use super::ContentError;
use crate::cpio::{Checksum, for_each_step};

/// The length and the SHA-256 of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageDigest {
    /// In bytes.
    pub size_bytes: u64,
    /// Of all of it.
    pub sha256: [u8; 32],
}

impl ImageDigest {
    /// Reads an image. Memory: 64 KiB.
    ///
    /// # Errors
    /// Whatever the medium reports.
    pub fn of(image: &dyn ReadAt) -> io::Result<Self> {
        Ok(Self::and_checksum(image)?.0)
    }

    pub(super) fn and_checksum(content: &dyn ReadAt) -> io::Result<(Self, Checksum)> {
        let (mut hash, mut sum) = (Sha256::new(), Checksum::default());
        for_each_step(content, |bytes| {
            hash.update(bytes);
            sum.update(bytes);
            Ok::<_, io::Error>(())
        })?;
        Ok((Self { size_bytes: content.len(), sha256: hash.finalize().into() }, sum))
    }

    /// Checks that a device or a file begins with this image. A device may be longer.
    ///
    /// # Errors
    /// [`ContentError`] with what differs.
    pub fn check_start_of(&self, medium: &dyn ReadAt) -> Result<(), ContentError> {
        if medium.len() < self.size_bytes {
            return Err(ContentError::TooShort { wanted: self.size_bytes, found: medium.len() });
        }
        let found = Self::of(&Start { medium, len: self.size_bytes })?;
        if found == *self {
            return Ok(());
        }
        Err(ContentError::Sha256 { wanted: hex::encode(self.sha256), found: hex::encode(found.sha256) })
    }
}

/// The beginning of a medium.
struct Start<'a> {
    medium: &'a dyn ReadAt,
    len: u64,
}

impl ReadAt for Start<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.medium.read_at(offset, buf)
    }
}
