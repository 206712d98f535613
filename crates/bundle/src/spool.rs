//! Bytes that are needed once more, in temporary storage instead of memory. Nothing hangs on them but time: what cannot
//! be kept, or read back, is made again.

use std::io;
use std::sync::{PoisonError, RwLock};

use fluvial_delta::scratch::{Scratch, ScratchStore};
use fluvial_delta::structure::Extent;

/// Bytes are written and read in blocks of this length.
const BLOCK_BYTES: usize = 32 << 10;
/// Bytes that are kept at a time.
const SPOOL_BYTES_MAX: u64 = 256 << 20;

/// Room for strands, which may be written and read on several threads.
#[derive(Default)]
pub(crate) struct Spool<'a> {
    store: Option<&'a dyn ScratchStore>,
    /// Made when it is needed.
    scratch: RwLock<Option<Box<dyn Scratch>>>,
}

/// Bytes that were written one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Strand {
    blocks: Vec<Extent>,
}

/// Writes a strand. Memory: a block, once there is anything.
pub(crate) struct StrandWriter<'b> {
    spool: &'b Spool<'b>,
    buffer: Vec<u8>,
    /// `None` once anything could not be kept.
    strand: Option<Strand>,
}

/// Reads a strand from its start. Memory: a block.
pub(crate) struct StrandReader<'b> {
    spool: &'b Spool<'b>,
    blocks: std::slice::Iter<'b, Extent>,
    buffer: Vec<u8>,
    /// How much of the buffer was read.
    done: usize,
}

impl<'a> Spool<'a> {
    /// Keeps bytes in storage that `store` hands out. Without one, nothing is kept.
    pub(crate) fn new(store: &'a dyn ScratchStore) -> Self {
        Self { store: Some(store), scratch: RwLock::default() }
    }

    /// Forgets everything, and gives the storage back.
    pub(crate) fn clear(&mut self) {
        self.scratch = RwLock::default();
    }

    pub(crate) fn writer(&self) -> StrandWriter<'_> {
        StrandWriter { spool: self, buffer: Vec::new(), strand: self.store.map(|_| Strand::default()) }
    }

    pub(crate) fn reader<'b>(&'b self, strand: &'b Strand) -> StrandReader<'b> {
        StrandReader { spool: self, blocks: strand.blocks.iter(), buffer: Vec::new(), done: 0 }
    }

    /// Puts a block behind the others; `None` if there is no room for it.
    fn append(&self, block: &[u8]) -> Option<Extent> {
        let mut scratch = self.scratch.write().unwrap_or_else(PoisonError::into_inner);
        if scratch.is_none() {
            *scratch = Some(self.store?.create().ok()?);
        }
        let scratch = scratch.as_mut()?;
        let block_extent = Extent { offset: scratch.len(), len: block.len() as u64 };
        if block_extent.end() > SPOOL_BYTES_MAX {
            return None;
        }
        scratch.append(block).ok()?;
        Some(block_extent)
    }

    fn read(&self, block: Extent, bytes: &mut Vec<u8>) -> io::Result<()> {
        let scratch = self.scratch.read().unwrap_or_else(PoisonError::into_inner);
        let scratch = scratch.as_ref().ok_or(io::ErrorKind::NotFound)?;
        bytes.resize(block.len as usize, 0);
        scratch.read_at(block.offset, bytes)
    }
}

impl StrandWriter<'_> {
    /// Puts bytes behind those before.
    pub(crate) fn put(&mut self, mut bytes: &[u8]) {
        while self.strand.is_some() && !bytes.is_empty() {
            self.buffer.reserve_exact(BLOCK_BYTES - self.buffer.len());
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == BLOCK_BYTES {
                self.flush();
            }
        }
    }

    fn flush(&mut self) {
        let Some(strand) = &mut self.strand else { return };
        match self.spool.append(&self.buffer) {
            Some(block) => strand.blocks.push(block),
            None => self.strand = None,
        }
        self.buffer.clear();
    }

    /// What was written, if all of it was kept.
    pub(crate) fn finish(mut self) -> Option<Strand> {
        if !self.buffer.is_empty() {
            self.flush();
        }
        self.strand
    }
}

impl StrandReader<'_> {
    /// Whether everything was read.
    pub(crate) fn is_at_end(&self) -> bool {
        self.done == self.buffer.len() && self.blocks.as_slice().is_empty()
    }

    /// Fills `bytes` with those that come next.
    ///
    /// # Errors
    /// What the storage reports, or that there are no more.
    pub(crate) fn fill(&mut self, mut bytes: &mut [u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.done == self.buffer.len() {
                let block = *self.blocks.next().ok_or(io::ErrorKind::UnexpectedEof)?;
                self.done = 0;
                self.buffer.clear();
                self.spool.read(block, &mut self.buffer)?;
            }
            let rest = &self.buffer[self.done..];
            let (now, later) = bytes.split_at_mut(bytes.len().min(rest.len()));
            now.copy_from_slice(&rest[..now.len()]);
            self.done += now.len();
            bytes = later;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use fluvial_delta::scratch::MemoryScratch;
    use fluvial_delta::structure::ReadAt;

    use super::*;

    /// A scratch that is full behind so many bytes.
    struct FullScratch {
        bytes: Vec<u8>,
        bytes_max: usize,
    }

    /// Hands out storage of so many bytes.
    struct ShortStore(usize);

    impl ScratchStore for ShortStore {
        fn create(&self) -> io::Result<Box<dyn Scratch>> {
            Ok(Box::new(FullScratch { bytes: Vec::new(), bytes_max: self.0 }))
        }
    }

    impl ReadAt for FullScratch {
        fn len(&self) -> u64 {
            self.bytes.len() as u64
        }

        fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
            self.bytes.read_at(offset, buf)
        }
    }

    impl Scratch for FullScratch {
        fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
            if self.bytes.len() + bytes.len() > self.bytes_max {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.bytes.extend_from_slice(bytes);
            Ok(())
        }
    }

    #[test]
    fn strands_that_are_written_in_turn_come_back() {
        let spool = Spool::new(&MemoryScratch);
        let parts: Vec<Vec<u8>> = (0..40_usize).map(|index| vec![index as u8; index * 937]).collect();
        let (mut even, mut odd) = (spool.writer(), spool.writer());
        for pair in parts.chunks(2) {
            even.put(&pair[0]);
            odd.put(&pair[1]);
        }
        let (even, odd) = (even.finish().unwrap(), odd.finish().unwrap());
        for (first, strand) in [(0, even), (1, odd)] {
            let mut reader = spool.reader(&strand);
            for part in parts.iter().skip(first).step_by(2) {
                let mut bytes = vec![0xff; part.len()];
                reader.fill(&mut bytes).unwrap();
                assert!(bytes == *part);
            }
            assert!(reader.is_at_end());
            assert!(reader.fill(&mut [0]).is_err());
        }
    }

    #[test]
    fn what_does_not_fit_is_no_strand_and_what_did_is_one() {
        let store = ShortStore(BLOCK_BYTES + 10);
        let spool = Spool::new(&store);
        let (mut fits, mut too_long) = (spool.writer(), spool.writer());
        too_long.put(&vec![1; BLOCK_BYTES]);
        fits.put(&[2; 10]);
        too_long.put(&[1; 11]);
        assert!(too_long.finish().is_none());
        let strand = fits.finish().unwrap();
        let mut bytes = [0; 10];
        spool.reader(&strand).fill(&mut bytes).unwrap();
        assert_eq!(bytes, [2; 10]);
        assert!(Spool::default().writer().finish().is_none(), "without storage");
    }

    #[test]
    fn what_was_forgotten_is_an_error() {
        let mut spool = Spool::new(&MemoryScratch);
        let mut writer = spool.writer();
        writer.put(&[1, 2, 3]);
        let strand = writer.finish().unwrap();
        spool.clear();
        assert!(spool.reader(&strand).fill(&mut [0; 3]).is_err());
    }
}
