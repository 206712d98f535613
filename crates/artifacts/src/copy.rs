//! Copies of images: hashed on the way, holes kept, never sharing blocks with what they were copied from.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use crate::digest::Sha256Digest;

/// Bytes that are read at a time.
const BUFFER_BYTES: usize = 1 << 20;
/// Blocks of zeros of this length become holes: that of a page, and of a block of most file systems.
const HOLE_BYTES: usize = 4096;

/// Where copying stopped.
#[derive(Debug)]
pub(crate) enum CopyError {
    Read(io::Error),
    Write(io::Error),
    /// Bytes came or went, or the time of the last change is another.
    Changed,
    Cancelled,
}

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Copied {
    pub size_bytes: u64,
    pub sha256: Sha256Digest,
}

/// Copies a file to an empty one. The bytes are read and written here: `copy_file_range`, which `std::io::copy` uses,
/// would let both share blocks where the file system can. Zeros are not written, so the copy has a hole wherever the
/// original has one.
pub(crate) fn copy(from: &File, to: &File, observe: &dyn Fn(u64) -> bool) -> Result<Copied, CopyError> {
    let before = state_of(from).map_err(CopyError::Read)?;
    let mut to = to;
    let (size_bytes, sha256) = read_all(from, observe, |bytes| {
        for block in bytes.chunks(HOLE_BYTES) {
            if is_zero(block) {
                to.seek(SeekFrom::Current(block.len() as i64))?;
            } else {
                to.write_all(block)?;
            }
        }
        Ok(())
    })?;
    to.set_len(size_bytes).map_err(CopyError::Write)?;
    let after = state_of(from).map_err(CopyError::Read)?;
    if before != after || before.0 != size_bytes {
        return Err(CopyError::Changed);
    }
    Ok(Copied { size_bytes, sha256 })
}

/// Length and digest of a file.
pub(crate) fn measure(file: &File, observe: &dyn Fn(u64) -> bool) -> Result<Copied, CopyError> {
    let (size_bytes, sha256) = read_all(file, observe, |_| Ok(()))?;
    Ok(Copied { size_bytes, sha256 })
}

fn read_all(
    mut file: &File,
    observe: &dyn Fn(u64) -> bool,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(u64, Sha256Digest), CopyError> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut len, mut hasher) = (0, Sha256::new());
    loop {
        let have = fill(&mut file, &mut buffer).map_err(CopyError::Read)?;
        if have == 0 {
            return Ok((len, Sha256Digest(hasher.finalize().into())));
        }
        hasher.update(&buffer[..have]);
        take(&buffer[..have]).map_err(CopyError::Write)?;
        len += have as u64;
        if !observe(have as u64) {
            return Err(CopyError::Cancelled);
        }
    }
}

/// Reads until the buffer is full or the file at its end, so that blocks stay where they are in the file.
fn fill(file: &mut &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut have = 0;
    while have < buffer.len() {
        match file.read(&mut buffer[have..]) {
            Ok(0) => break,
            Ok(len) => have += len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(have)
}

fn is_zero(block: &[u8]) -> bool {
    // Comparing a slice with itself, moved by one, is what compilers make fast.
    block[0] == 0 && block[..block.len() - 1] == block[1..]
}

fn state_of(file: &File) -> io::Result<(u64, SystemTime)> {
    let metadata = file.metadata()?;
    Ok((metadata.len(), metadata.modified()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn holes_are_kept_and_every_byte_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let mut file = File::create(&from).unwrap();
        file.write_all(b"start").unwrap();
        file.seek(SeekFrom::Start(5_000_000)).unwrap();
        file.write_all(b"middle").unwrap();
        file.set_len(9_000_001).unwrap();
        let copied = copy(&File::open(&from).unwrap(), &File::create(&to).unwrap(), &|_| true).unwrap();
        assert_eq!(copied.size_bytes, 9_000_001);
        let bytes = std::fs::read(&to).unwrap();
        assert!(bytes == std::fs::read(&from).unwrap());
        assert_eq!(copied.sha256.0, <[u8; 32]>::from(Sha256::digest(&bytes)));
        assert_eq!(measure(&File::open(&to).unwrap(), &|_| true).unwrap(), copied);
        let blocks = |path| std::fs::metadata(path).unwrap().blocks();
        assert!(blocks(&to) <= 2 * HOLE_BYTES as u64 / 512, "{} of {}", blocks(&to), blocks(&from));
    }

    #[test]
    fn a_source_that_changes_meanwhile_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("from");
        std::fs::write(&path, vec![1; 3 * BUFFER_BYTES]).unwrap();
        let writer = File::options().append(true).open(&path).unwrap();
        let grow = |_| (&writer).write_all(b"x").is_ok();
        let copied = copy(&File::open(&path).unwrap(), &tempfile::tempfile().unwrap(), &|bytes| {
            bytes == BUFFER_BYTES as u64 && grow(bytes) || bytes < BUFFER_BYTES as u64
        });
        assert!(matches!(copied, Err(CopyError::Changed)), "{copied:?}");
    }

    #[test]
    fn copying_can_be_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("from");
        std::fs::write(&path, [1; 10]).unwrap();
        let copied = copy(&File::open(&path).unwrap(), &tempfile::tempfile().unwrap(), &|_| false);
        assert!(matches!(copied, Err(CopyError::Cancelled)), "{copied:?}");
    }
}
