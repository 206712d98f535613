//! Targets in memory: for small ones, and for tests.

use std::io;
use std::sync::{Mutex, PoisonError};

use crate::apply::Target;
use crate::structure::ReadAt;

/// A target of fixed length, which it takes as memory.
#[derive(Debug)]
pub struct MemoryTarget(Mutex<Vec<u8>>);

impl MemoryTarget {
    /// One of `len` zeros.
    #[must_use]
    pub fn new(len: usize) -> Self {
        Self(Mutex::new(vec![0; len]))
    }

    /// What it holds.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Vec<u8>> for MemoryTarget {
    /// One that holds these bytes already.
    fn from(bytes: Vec<u8>) -> Self {
        Self(Mutex::new(bytes))
    }
}

impl ReadAt for MemoryTarget {
    fn len(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).read_at(offset, buf)
    }
}

impl Target for MemoryTarget {
    /// Behind the end there is no room: [`io::ErrorKind::StorageFull`].
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let end = offset.checked_add(bytes.len() as u64).filter(|&end| end <= buffer.len() as u64);
        let end = end.ok_or(io::ErrorKind::StorageFull)?;
        buffer[offset as usize..end as usize].copy_from_slice(bytes);
        Ok(())
    }
}
