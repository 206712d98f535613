//! Targets and temporary storage in memory, with limits.

use std::io;

use fluvial_delta::memory::MemoryTarget;
use fluvial_delta::scratch::{Scratch, ScratchStore};
use fluvial_delta::structure::ReadAt;

/// The longest target that is made, in bytes.
pub const TARGET_BYTES_MAX: u64 = 1 << 18;
/// The most that one piece of temporary storage takes, in bytes: as a full disk would.
const SCRATCH_BYTES_MAX: u64 = 8 << 20;

/// A target of `len` zeros, or of as many as are allowed.
#[must_use]
pub fn target(len: u64) -> MemoryTarget {
    MemoryTarget::new(len.min(TARGET_BYTES_MAX) as usize)
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
