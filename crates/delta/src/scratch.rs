//! Temporary storage, handed in by the caller: this crate touches no disk.

use std::io;

use crate::structure::ReadAt;

/// Bytes that are appended once and read at any offset afterwards.
pub trait Scratch: ReadAt {
    /// Appends bytes.
    ///
    /// # Errors
    /// Whatever the medium reports, a full disk among it.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// Hands out temporary storage.
pub trait ScratchStore: Send + Sync {
    /// Opens an empty piece of storage, gone when it is dropped.
    ///
    /// # Errors
    /// Whatever the medium reports.
    fn create(&self) -> io::Result<Box<dyn Scratch>>;
}

impl Scratch for Vec<u8> {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

/// Keeps temporary bytes in memory.
#[derive(Debug, Default, Clone, Copy)]
pub struct MemoryScratch;

impl ScratchStore for MemoryScratch {
    fn create(&self) -> io::Result<Box<dyn Scratch>> {
        Ok(Box::new(Vec::new()))
    }
}
