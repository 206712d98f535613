//! The old address space: every byte that a device has, under one address.
//!
//! The sources stand one behind the other, then what their packed blocks unpack to. A small block
//! is unpacked whenever it is read and kept in a bounded cache; a large one, or one that is read
//! time and again, is unpacked once, to temporary storage.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use fluvial_codec::Format;

use crate::limits::SOURCE_NESTING_MAX;
use crate::map::SourceBlock;
use crate::scratch::{Scratch, ScratchStore};
use crate::structure::{Extent, ReadAt};

/// Bytes of unpacked blocks that are kept. What is read time and again is in temporary storage.
pub const CACHE_BYTES: usize = 2 << 20;
const COPY_BYTES: usize = 256 << 10;

/// The sources and what they unpack to.
pub struct Space<'a> {
    sources: &'a [&'a dyn ReadAt],
    source_starts: Vec<u64>,
    blocks: Vec<SourceBlock>,
    block_starts: Vec<u64>,
    len: u64,
    spooled: Vec<OnceLock<Spooled>>,
    scratch: &'a dyn ScratchStore,
    cache: BlockCache,
}

/// What a space takes for each of its blocks, in bytes.
pub(crate) const BLOCK_MEMORY_BYTES: u64 =
    (size_of::<SourceBlock>() + size_of::<u64>() + size_of::<OnceLock<Spooled>>()) as u64;

/// Where the content of a block stands in temporary storage.
#[derive(Clone)]
struct Spooled {
    scratch: Arc<dyn Scratch>,
    offset: u64,
}

impl<'a> Space<'a> {
    /// A space of these sources, with no blocks yet.
    pub fn new(sources: &'a [&'a dyn ReadAt], scratch: &'a dyn ScratchStore) -> Self {
        let mut len = 0;
        let mut source_starts = Vec::with_capacity(sources.len());
        for source in sources {
            source_starts.push(len);
            len += source.len();
        }
        Self {
            sources,
            source_starts,
            blocks: Vec::new(),
            block_starts: Vec::new(),
            len,
            spooled: Vec::new(),
            scratch,
            cache: BlockCache::new(CACHE_BYTES),
        }
    }

    /// How many sources there are.
    pub fn sources_count(&self) -> usize {
        self.sources.len()
    }

    /// Takes memory for so many blocks more.
    pub fn reserve(&mut self, blocks: usize) {
        self.blocks.reserve_exact(blocks);
        self.block_starts.reserve_exact(blocks);
        self.spooled.reserve_exact(blocks);
    }

    /// Appends what a block unpacks to; answers its address.
    ///
    /// The block must stand inside what the space holds so far; maps are checked for that when
    /// they are read.
    pub fn push(&mut self, block: SourceBlock) -> u64 {
        let start = self.len;
        self.blocks.push(block);
        self.block_starts.push(start);
        self.spooled.push(OnceLock::new());
        self.len += block.plain_len;
        start
    }

    /// Takes over what another space has unpacked of a block: `index` here, `theirs` there.
    pub fn share(&self, index: usize, other: &Self, theirs: usize) {
        if let Some(spooled) = other.spooled[theirs].get() {
            self.spooled[index].get_or_init(|| spooled.clone());
        }
    }

    /// The blocks pushed so far.
    pub fn blocks(&self) -> &[SourceBlock] {
        &self.blocks
    }

    /// The addresses that a block's content takes.
    pub fn block_extent(&self, index: usize) -> Extent {
        Extent { offset: self.block_starts[index], len: self.blocks[index].plain_len }
    }

    /// The block that holds an address, unless it stands in a source.
    pub fn block_at(&self, address: u64) -> Option<usize> {
        (address >= self.sources_len() && address < self.len)
            .then(|| self.block_starts.partition_point(|&start| start <= address) - 1)
    }

    /// Where the first bytes of an extent really stand, as many as stand there in one run: aliases are
    /// followed to what they are aliases of.
    pub fn origin(&self, mut extent: Extent) -> Extent {
        while let Some(index) = self.block_at(extent.offset)
            && self.blocks[index].format == Format::Stored
            && !self.blocks[index].is_zeros()
        {
            let place = self.block_extent(index);
            let inner = extent.offset - place.offset;
            let offset = self.blocks[index].packed.offset + inner;
            extent = Extent { offset, len: extent.len.min(place.len - inner) };
        }
        extent
    }

    /// Length of the sources together: the address of the first block.
    pub fn sources_len(&self) -> u64 {
        self.block_starts.first().copied().unwrap_or(self.len)
    }

    /// Unpacks all blocks that belong there to temporary storage now, not when they are first read: two at a
    /// time, one of which is deflate.
    ///
    /// # Errors
    /// What cannot be read, unpacked or stored.
    pub fn spool_blocks(&self) -> io::Result<()> {
        let mut run: Vec<usize> = Vec::new();
        for (index, block) in self.blocks.iter().enumerate() {
            if !block.is_spooled() || self.spooled[index].get().is_some() {
                continue;
            }
            // What a block stands in must be there before it: storage is read once it is complete.
            let within = self.block_at(block.packed.offset);
            if within.is_some_and(|within| run.first().is_some_and(|&first| within >= first)) {
                self.spool_at_once(&run)?;
                run.clear();
            }
            run.push(index);
        }
        self.spool_at_once(&run)
    }

    /// Unpacks blocks, none of which stands in another, on two threads. What takes much memory is left to
    /// one of them.
    fn spool_at_once(&self, run: &[usize]) -> io::Result<()> {
        let (small, large): (Vec<_>, Vec<_>) =
            run.iter().copied().partition(|&index| self.blocks[index].is_deflate());
        let next = AtomicUsize::new(0);
        let rest = || std::iter::from_fn(|| small.get(next.fetch_add(1, Ordering::Relaxed)).copied());
        let (first, second) = rayon::join(
            || self.spool_all(large.into_iter().chain(rest())),
            || if small.is_empty() { Ok(()) } else { self.spool_all(rest()) },
        );
        first.and(second)
    }

    /// Unpacks blocks to one piece of storage.
    fn spool_all(&self, indices: impl Iterator<Item = usize>) -> io::Result<()> {
        let mut scratch = self.scratch.create()?;
        let mut run = Vec::new();
        for index in indices {
            run.push((index, scratch.len()));
            self.unpack_to(&self.blocks[index], SOURCE_NESTING_MAX, &mut *scratch)?;
        }
        self.keep(run, scratch);
        Ok(())
    }

    /// Notes that blocks stand in `scratch`, at these offsets.
    fn keep(&self, run: Vec<(usize, u64)>, scratch: Box<dyn Scratch>) {
        let scratch: Arc<dyn Scratch> = Arc::from(scratch);
        for (index, offset) in run {
            // Two readers may have unpacked at once; either result will do.
            self.spooled[index].get_or_init(|| Spooled { scratch: Arc::clone(&scratch), offset });
        }
    }

    fn read_source(&self, address: u64, buf: &mut [u8]) -> io::Result<usize> {
        // Empty sources share their start with the next one: the last of them holds the bytes.
        let index = self.source_starts.partition_point(|&start| start <= address) - 1;
        let source = self.sources[index];
        let offset = address - self.source_starts[index];
        let len = source.len().saturating_sub(offset).min(buf.len() as u64) as usize;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        source.read_at(offset, &mut buf[..len])?;
        Ok(len)
    }

    /// `depth` is how many blocks the bytes may stand in, this one included: a hostile map can chain
    /// millions.
    fn read_block(&self, index: usize, address: u64, depth: usize, buf: &mut [u8]) -> io::Result<usize> {
        let too_deep = || io::Error::new(io::ErrorKind::InvalidData, "blocks are nested too deeply");
        let depth = depth.checked_sub(1).ok_or_else(too_deep)?;
        let block = &self.blocks[index];
        let offset = address - self.block_starts[index];
        let len = (block.plain_len - offset).min(buf.len() as u64) as usize;
        let buf = &mut buf[..len];
        if block.is_zeros() {
            buf.fill(0);
        } else if block.format == Format::Stored {
            self.read_nested(block.packed.offset + offset, depth, buf)?;
        } else if block.is_spooled() {
            let spooled = self.spool(index, depth)?;
            spooled.scratch.read_at(spooled.offset + offset, buf)?;
        } else {
            let plain = self.cache.get(index, || self.unpack_block(block, depth))?;
            buf.copy_from_slice(&plain[offset as usize..][..len]);
        }
        Ok(len)
    }

    fn unpack_block(&self, block: &SourceBlock, depth: usize) -> io::Result<Vec<u8>> {
        let mut packed = vec![0; block.packed.len as usize];
        self.read_nested(block.packed.offset, depth, &mut packed)?;
        let mut plain = Vec::new();
        block.format.decode_block(&packed, block.plain_len as usize, &mut plain).map_err(io::Error::other)?;
        if plain.len() as u64 != block.plain_len {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a block unpacks to another length"));
        }
        Ok(plain)
    }

    fn spool(&self, index: usize, depth: usize) -> io::Result<&Spooled> {
        let cell = &self.spooled[index];
        if cell.get().is_none() {
            let mut scratch = self.scratch.create()?;
            self.unpack_to(&self.blocks[index], depth, &mut *scratch)?;
            self.keep(vec![(index, 0)], scratch);
        }
        cell.get().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Appends what a block unpacks to to temporary storage.
    fn unpack_to(&self, block: &SourceBlock, depth: usize, scratch: &mut dyn Scratch) -> io::Result<()> {
        // Whether a damaged stream is refused may depend on how much of it a decoder sees at a time: a block
        // is always unpacked as it was when the patch was made.
        if block.fits_in_memory() {
            return scratch.append(&self.unpack_block(block, depth)?);
        }
        let start = scratch.len();
        let nested = Nested { space: self, depth };
        let packed = Box::new(Range::new(&nested, block.packed));
        // One byte more shows that there is more.
        let mut plain = block.format.reader(packed)?.take(block.plain_len.saturating_add(1));
        let mut buf = vec![0; block.plain_len.saturating_add(1).min(COPY_BYTES as u64) as usize];
        loop {
            let len = plain.read(&mut buf)?;
            if len == 0 {
                break;
            }
            scratch.append(&buf[..len])?;
        }
        if scratch.len() - start != block.plain_len {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a stream unpacks to another length"));
        }
        Ok(())
    }
}

impl ReadAt for Space<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, address: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read_nested(address, SOURCE_NESTING_MAX, buf)
    }
}

impl Space<'_> {
    fn read_nested(&self, mut address: u64, depth: usize, mut buf: &mut [u8]) -> io::Result<()> {
        if address.checked_add(buf.len() as u64).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while !buf.is_empty() {
            let len = match self.block_at(address) {
                Some(index) => self.read_block(index, address, depth, buf)?,
                None => self.read_source(address, buf)?,
            };
            address += len as u64;
            buf = &mut buf[len..];
        }
        Ok(())
    }
}

/// The space as blocks see it that stand in other blocks.
struct Nested<'a, 's> {
    space: &'a Space<'s>,
    depth: usize,
}

impl ReadAt for Nested<'_, '_> {
    fn len(&self) -> u64 {
        self.space.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.space.read_nested(offset, self.depth, buf)
    }
}

/// Reads an extent of a stream from its start to its end.
pub struct Range<'a> {
    stream: &'a dyn ReadAt,
    rest: Extent,
}

impl<'a> Range<'a> {
    /// Reads `extent` of `stream`.
    pub fn new(stream: &'a dyn ReadAt, extent: Extent) -> Self {
        Self { stream, rest: extent }
    }
}

impl Read for Range<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.rest.len.min(buf.len() as u64) as usize;
        self.stream.read_at(self.rest.offset, &mut buf[..len])?;
        self.rest = Extent { offset: self.rest.offset + len as u64, len: self.rest.len - len as u64 };
        Ok(len)
    }
}

/// Unpacked blocks, the least recently used dropped first.
pub struct BlockCache {
    bytes_max: usize,
    entries: Mutex<VecDeque<(usize, Arc<Vec<u8>>)>>,
}

impl BlockCache {
    /// A cache of at most so many bytes, or of one block.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, entries: Mutex::default() }
    }

    /// The content of block `index`: from the cache, or made by `unpack`.
    ///
    /// # Errors
    /// Those of `unpack`.
    pub fn get(
        &self,
        index: usize,
        unpack: impl FnOnce() -> io::Result<Vec<u8>>,
    ) -> io::Result<Arc<Vec<u8>>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = entries.iter().position(|(key, _)| *key == index) {
            let entry = entries.remove(at).ok_or(io::ErrorKind::NotFound)?;
            let plain = Arc::clone(&entry.1);
            entries.push_back(entry);
            return Ok(plain);
        }
        // Unpacking reads the space again when streams are nested: the lock must not be held.
        drop(entries);
        let plain = Arc::new(unpack()?);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push_back((index, Arc::clone(&plain)));
        let mut held: usize = entries.iter().map(|(_, plain)| plain.len()).sum();
        while held > self.bytes_max && entries.len() > 1 {
            held -= entries.pop_front().map_or(0, |(_, plain)| plain.len());
        }
        Ok(plain)
    }
}
