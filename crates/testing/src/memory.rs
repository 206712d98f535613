//! A target in memory.

use std::io;
use std::sync::{Mutex, PoisonError};

use fluvial_delta::apply::Target;
use fluvial_delta::structure::ReadAt;

/// Bytes that are written at any offset within their length.
#[derive(Debug)]
pub struct Memory(Mutex<Vec<u8>>);

impl Memory {
    /// Begins with these bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Mutex::new(bytes))
    }

    /// What it holds at the end.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReadAt for Memory {
    fn len(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).read_at(offset, buf)
    }
}

impl Target for Memory {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        held.get_mut(start..end).ok_or(io::ErrorKind::UnexpectedEof)?.copy_from_slice(bytes);
        Ok(())
    }
}
