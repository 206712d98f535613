//! Targets and temporary storage in memory, with limits.

use std::io;
use std::sync::{Mutex, PoisonError};

use fluvial_delta::apply::Target;
use fluvial_delta::scratch::{Scratch, ScratchStore};
use fluvial_delta::structure::ReadAt;

/// The longest target that is made, in bytes.
pub const TARGET_BYTES_MAX: u64 = 1 << 18;
/// The most that one piece of temporary storage takes, in bytes: as a full disk would.
const SCRATCH_BYTES_MAX: u64 = 8 << 20;

/// A target of fixed length.
pub struct Buffer(Mutex<Vec<u8>>);

impl Buffer {
    /// One of zeros.
    #[must_use]
    pub fn new(len: u64) -> Self {
        Self(Mutex::new(vec![0; len.min(TARGET_BYTES_MAX) as usize]))
    }

    /// What was written.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReadAt for Buffer {
    fn len(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).read_at(offset, buf)
    }
}

impl Target for Buffer {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let end = offset.checked_add(bytes.len() as u64).filter(|&end| end <= buffer.len() as u64);
        let end = end.ok_or(io::ErrorKind::StorageFull)?;
        buffer[offset as usize..end as usize].copy_from_slice(bytes);
        Ok(())
    }
}

/// Temporary storage that fills up.
pub struct SmallScratch;

impl ScratchStore for SmallScratch {
    fn create(&self) -> io::Result<Box<dyn Scratch>> {
        Ok(Box::new(Limited(Vec::new())))
    }
}

struct Limited(Vec<u8>);

impl ReadAt for Limited {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, buf)
    }
}

impl Scratch for Limited {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.len() + bytes.len() as u64 > SCRATCH_BYTES_MAX {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}
