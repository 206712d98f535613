//! Applying a patch: sources in, targets out, memory bounded by the number in the header.
//!
//! The order is: header ([`Patch::open`]), sources ([`check_sources`]), then frames one after
//! another ([`Patch::apply`]), at last the whole targets ([`check_target`]). Flattened bytes go to
//! their places as they are made; between frames the caller may note a [`Checkpoint`] and later go
//! on from there.

use std::io;
use std::thread::Builder;

use fluvial_codec::PackError;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::frame::FrameError;
use crate::hash::{HashError, OnBytes, blake3_alone, blake3_of, sha256_of, start_of};
use crate::header::{Blake3Digest, Header, HeaderError, SourceCheck, SourceInfo, StreamInfo};
use crate::layout::{Node, Root};
use crate::limits::STREAM_DICTIONARY_BYTES_MAX;
use crate::map::{MapError, PatchMap, SourceBlock};
use crate::scratch::ScratchStore;
use crate::space::Space;
use crate::stream::read_stream;
use crate::structure::ReadAt;
use crate::wire::WireReader;

mod crew;
mod decoder;
mod packing;
mod pipeline;
mod placer;
mod reads;
mod written;

use crew::Crew;
use decoder::Decoder;
use packing::TargetSink;
use pipeline::{Progress, Stop};
use placer::Placer;
use written::Written;

/// What reading a stream to hash it takes, and other small buffers, in bytes.
const BUFFER_BYTES: usize = 256 << 10;

/// A target: written at any offset, read back where the patch copies from it.
pub trait Target: ReadAt {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// Whatever the medium reports: a full disk, a read-only device.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Whether it holds what it should already: then nothing is packed for it, and nothing written.
    fn is_made(&self) -> bool {
        false
    }
}

/// How far applying has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The first frame that is still to be applied.
    pub frame: usize,
}

/// What the caller is told, and asked, while a patch is applied.
pub trait ApplyObserver {
    /// So many more bytes of the targets are made. Answering `false` cancels.
    fn made(&mut self, _bytes: u64) -> bool {
        true
    }

    /// Everything before `checkpoint` is written. Worth noting once the targets are synced.
    ///
    /// # Errors
    /// Whatever keeps the checkpoint from being noted; applying stops.
    fn checkpoint(&mut self, _checkpoint: Checkpoint) -> io::Result<()> {
        Ok(())
    }
}

/// Applying failed.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// The header cannot be read.
    #[error("the patch's header cannot be read")]
    Header(#[from] HeaderError),
    /// The map is not what was written.
    #[error("the patch's map does not match its checksum")]
    MapCorrupt,
    /// The map cannot be read.
    #[error("the patch's map cannot be read")]
    Map(#[from] MapError),
    /// The map takes more than the header says: nobody has agreed to that.
    #[error("the patch takes {takes} bytes of {what}, its header says {declared}")]
    Undeclared {
        /// Memory or temporary storage.
        what: &'static str,
        /// What the map takes, in bytes.
        takes: u64,
        /// What the header says, in bytes.
        declared: u64,
    },
    /// The patch ends too early.
    #[error("the patch ends inside {what}: {have} of {need} bytes are here")]
    Truncated {
        /// The part in which it ends.
        what: &'static str,
        /// The patch's length in bytes.
        have: u64,
        /// The length it should have, in bytes.
        need: u64,
    },
    /// The header names another number of sources or targets than the caller hands in.
    #[error("the patch needs {need} {what}, {have} given")]
    Arity {
        /// Sources or targets.
        what: &'static str,
        /// How many the header names.
        need: usize,
        /// How many were given.
        have: usize,
    },
    /// A frame's bytes are not those that were written.
    #[error("frame {0} does not match its checksum")]
    FrameCorrupt(usize),
    /// A frame cannot be decoded.
    #[error("frame {frame} cannot be applied")]
    Frame {
        /// The frame's index.
        frame: usize,
        /// Why.
        #[source]
        source: FrameError,
    },
    /// Bytes that are not zero are made for a hole of a file.
    #[error("the frames make bytes for a hole")]
    Hole,
    /// Frames and layout differ in length.
    #[error("the frames make other lengths than the layout takes")]
    Lengths,
    /// A content cannot be packed as its recipe says.
    #[error("a content cannot be packed as the patch says")]
    Pack(#[from] PackError),
    /// What a recipe makes is of another length than the layout says.
    #[error("a packed content has {made} bytes, {expected} expected")]
    PackedLen {
        /// What the recipe made, in bytes, at least.
        made: u64,
        /// What the layout says, in bytes.
        expected: u64,
    },
    /// The patch itself cannot be read.
    #[error("the patch cannot be read")]
    ReadPatch(#[source] io::Error),
    /// A source cannot be read.
    #[error("source '{name}' cannot be read")]
    ReadSource {
        /// The source's name in the patch.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A source is not what the patch was made from.
    #[error("source '{name}' is not the one that this patch was made from: {difference}")]
    WrongSource {
        /// The source's name in the patch.
        name: String,
        /// What differs, in words.
        difference: String,
    },
    /// What is packed in the sources cannot be unpacked to temporary storage.
    #[error("the sources cannot be unpacked to temporary storage")]
    UnpackSource(#[source] io::Error),
    /// A target cannot be written.
    #[error("the target cannot be written")]
    WriteTarget(#[source] io::Error),
    /// A target cannot be read back.
    #[error("target '{name}' cannot be read back")]
    ReadTarget {
        /// The target's name in the patch.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The finished target is not what was promised.
    #[error("target '{name}' came out wrong")]
    WrongTarget {
        /// The target's name in the patch.
        name: String,
    },
    /// A checkpoint could not be noted.
    #[error("progress cannot be noted")]
    Journal(#[source] io::Error),
    /// The checkpoint to go on from is not one of this patch.
    #[error("there is no frame {0} to go on from")]
    NoSuchCheckpoint(usize),
    /// A thread cannot be had.
    #[error("no thread can be started")]
    Thread(#[source] io::Error),
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// A patch whose header and map have been read and checked.
pub struct Patch<'a> {
    bytes: &'a dyn ReadAt,
    /// Its header.
    pub header: Header,
    /// Its map.
    pub map: PatchMap,
    /// Where each frame starts in the patch, and in the flattened target.
    frame_starts: Vec<(u64, u64)>,
}

impl<'a> Patch<'a> {
    /// Reads the header and the map of a patch. The frames are not touched.
    ///
    /// # Errors
    /// [`ApplyError`]: what is damaged, or not understood.
    pub fn open(bytes: &'a dyn ReadAt) -> Result<Self, ApplyError> {
        let (header, header_end) = Header::read(bytes)?;
        let map_end = header_end + u64::from(header.map_packed_len);
        let frames_len: u64 = header.frames.iter().map(|frame| u64::from(frame.packed_len)).sum();
        if map_end + frames_len > bytes.len() {
            let what = if map_end > bytes.len() { "its map" } else { "its frames" };
            // The map is needed for anything at all; a frame that is not here yet is missed later.
            if map_end > bytes.len() {
                return Err(ApplyError::Truncated { what, have: bytes.len(), need: map_end + frames_len });
            }
        }
        let declared = |what, takes: u64, declared: u64| {
            if takes <= declared { Ok(()) } else { Err(ApplyError::Undeclared { what, takes, declared }) }
        };
        declared("memory", u64::from(header.map_len), header.apply_memory_bytes)?;
        let mut packed = vec![0; header.map_packed_len as usize];
        bytes.read_at(header_end, &mut packed).map_err(ApplyError::ReadPatch)?;
        if Sha256::digest(&packed)[..] != header.map_sha256 {
            return Err(ApplyError::MapCorrupt);
        }
        let map = read_map(&packed, &header)?;
        let working_bytes = map.working_memory_bytes.max(map.packing_memory_bytes());
        declared("memory", working_bytes, header.apply_memory_bytes)?;
        declared("temporary storage", map.scratch_bytes(), header.scratch_bytes)?;
        let (mut at, mut flat) = (map_end, 0_u64);
        let mut frame_starts = Vec::with_capacity(header.frames.len());
        for frame in &header.frames {
            frame_starts.push((at, flat));
            at += u64::from(frame.packed_len);
            flat = flat.checked_add(frame.flat_len).ok_or(ApplyError::Lengths)?;
        }
        let laid_out: u64 = map.roots.iter().map(|root| root.node.flat_len()).fold(0, u64::saturating_add);
        if laid_out != flat {
            return Err(ApplyError::Lengths);
        }
        Ok(Self { bytes, header, map, frame_starts })
    }

    /// The patch's whole length in bytes, as its header says.
    pub fn patch_bytes(&self) -> u64 {
        let frames: u64 = self.header.frames.iter().map(|frame| u64::from(frame.packed_len)).sum();
        self.frames_start() + frames
    }

    /// The roots that have bytes behind flattened byte `flat`, each with where it starts.
    fn roots_from(&self, flat: u64) -> impl Iterator<Item = (u64, &Root)> {
        let starts = self.map.roots.iter().scan(0, |end, root| {
            let start = *end;
            *end += root.node.flat_len();
            Some((start, *end, root))
        });
        starts.filter(move |(start, end, _)| *end > flat.max(*start)).map(|(start, _, root)| (start, root))
    }

    fn frames_start(&self) -> u64 {
        self.header.to_bytes().len() as u64 + u64::from(self.header.map_packed_len)
    }

    /// Fetches a frame and checks its hash.
    ///
    /// # Errors
    /// The patch ends before it, cannot be read, or is damaged there.
    pub fn frame(&self, index: usize) -> Result<Vec<u8>, ApplyError> {
        let info = &self.header.frames[index];
        let (start, _) = self.frame_starts[index];
        if start + u64::from(info.packed_len) > self.bytes.len() {
            return Err(ApplyError::Truncated {
                what: "its frames",
                have: self.bytes.len(),
                need: self.patch_bytes(),
            });
        }
        let mut bytes = vec![0; info.packed_len as usize];
        self.bytes.read_at(start, &mut bytes).map_err(ApplyError::ReadPatch)?;
        if Sha256::digest(&bytes)[..] != info.sha256 {
            return Err(ApplyError::FrameCorrupt(index));
        }
        Ok(bytes)
    }

    /// Makes the targets from the sources, beginning at a checkpoint that an earlier run noted, or at
    /// [`Checkpoint::default`]. Sources must have been checked, and targets must be checked after.
    ///
    /// # Errors
    /// [`ApplyError`]; the targets then hold what was made so far.
    pub fn apply(
        &self,
        sources: &[&dyn ReadAt],
        targets: &[&dyn Target],
        scratch: &dyn ScratchStore,
        from: Checkpoint,
        observer: &mut dyn ApplyObserver,
    ) -> Result<(), ApplyError> {
        check_arity("sources", self.header.sources.len(), sources.len())?;
        for (source, info) in sources.iter().zip(&self.header.sources) {
            check_size(source.len(), info)?;
        }
        let mut space = Space::new(sources, scratch);
        space.reserve(self.map.blocks.len());
        for &block in &self.map.blocks {
            space.push(block);
        }
        // Before any packer takes memory.
        space.spool_blocks().map_err(ApplyError::UnpackSource)?;
        self.apply_in(&space, targets, from, observer)
    }

    /// The same for sources whose blocks the space knows already.
    pub(crate) fn apply_in(
        &self,
        space: &Space<'_>,
        targets: &[&dyn Target],
        from: Checkpoint,
        observer: &mut dyn ApplyObserver,
    ) -> Result<(), ApplyError> {
        check_arity("targets", self.header.targets.len(), targets.len())?;
        if from.frame > self.header.frames.len() {
            return Err(ApplyError::NoSuchCheckpoint(from.frame));
        }
        let flat = self.frame_starts.get(from.frame).map_or(u64::MAX, |start| start.1);
        let progress = Progress::default();
        let (filling, using, batch) = pipeline::ring();
        let crew = Crew::new(&self.map, &progress);
        let mut placer = Placer::new(self, &crew, targets, observer, &progress, using, flat);
        let mut written = Written::new(space, &self.map, targets, &progress);
        written.made = flat;
        let decoder = Decoder {
            patch: self,
            space,
            written,
            progress: &progress,
            filling,
            batch,
            crew: &crew,
            next_frame: from.frame,
            reader: None,
            predictor_bytes: 0,
            flat,
        };
        let ends = std::thread::scope(|scope| {
            for _ in 0..crew.workers() {
                let builder = Builder::new().name("packer".into());
                builder.spawn_scoped(scope, || crew.work()).inspect_err(|_| crew.close())?;
            }
            let builder = Builder::new().name("decoder".into());
            let thread =
                builder.spawn_scoped(scope, || decoder.all()).inspect_err(|_: &io::Error| crew.close())?;
            let placing = placer.all();
            drop(placer);
            crew.close();
            let decoding = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok((placing, decoding))
        });
        match ends.map_err(ApplyError::Thread)? {
            (Err(Stop::Fault(error)), _) | (_, Err(Stop::Fault(error))) => Err(error),
            (Ok(()), Ok(())) => Ok(()),
            // One of them ended early without a fault.
            _ => Err(ApplyError::Lengths),
        }
    }
}

fn read_map(packed: &[u8], header: &Header) -> Result<PatchMap, ApplyError> {
    let stream = |source| ApplyError::Map(MapError::Stream(source));
    let mut reader = WireReader::new(packed);
    let bytes = read_stream(&mut reader)
        .map_err(MapError::Field)?
        .read_all(header.map_len as usize)
        .map_err(stream)?;
    reader.finish().map_err(MapError::Field)?;
    let source_len = header.sources.iter().map(|source| source.size).fold(0, u64::saturating_add);
    let target_sizes: Vec<u64> = header.targets.iter().map(|target| target.size).collect();
    Ok(PatchMap::from_bytes(&bytes, source_len, &target_sizes)?)
}

/// Takes made bytes in order.
trait Sink<'a> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ApplyError>;

    /// Whether bytes have a place of their own, and are not packed further.
    fn is_place(&self) -> bool {
        false
    }

    /// Gives the place of the next `len` bytes away, for another thread to write them. `None` where they
    /// have none.
    fn detach(&mut self, _len: u64) -> Option<TargetSink<'a>> {
        None
    }
}

fn check_arity(what: &'static str, need: usize, have: usize) -> Result<(), ApplyError> {
    if need == have { Ok(()) } else { Err(ApplyError::Arity { what, need, have }) }
}

fn check_size(size: u64, info: &SourceInfo) -> Result<(), ApplyError> {
    if size == info.size {
        return Ok(());
    }
    Err(wrong_source(info, format!("it has {size} bytes, the patch needs {}", info.size)))
}

fn wrong_source(info: &SourceInfo, difference: String) -> ApplyError {
    ApplyError::WrongSource { name: info.name.clone(), difference }
}

/// Compares the sizes of sources, and how large ones start, with what the header says: what passes may still be
/// something else, but another version of an image rarely does.
///
/// # Errors
/// [`ApplyError::WrongSource`], [`ApplyError::ReadSource`], [`ApplyError::Arity`].
pub fn check_starts(sources: &[&dyn ReadAt], header: &Header) -> Result<(), ApplyError> {
    check_arity("sources", header.sources.len(), sources.len())?;
    for (source, info) in sources.iter().zip(&header.sources) {
        check_size(source.len(), info)?;
    }
    for (source, info) in sources.iter().zip(&header.sources) {
        let SourceCheck::Whole { large: Some(large), .. } = &info.check else { continue };
        let start =
            start_of(*source).map_err(|source| ApplyError::ReadSource { name: info.name.clone(), source })?;
        if start != large.start {
            return Err(wrong_source(info, "it starts differently, so it is another version".into()));
        }
    }
    Ok(())
}

/// Reads all sources and compares them with what the header says: first as [`check_starts`], then each by its
/// BLAKE3 where that is known. On processors without instructions for SHA-256 this is several times as
/// fast. `progress` hears how many bytes have been read since its last call, and cancels by answering
/// `false`.
///
/// # Errors
/// [`ApplyError::WrongSource`], [`ApplyError::ReadSource`], [`ApplyError::Arity`],
/// [`ApplyError::Cancelled`].
pub fn check_sources(
    sources: &[&dyn ReadAt],
    header: &Header,
    progress: &mut (dyn FnMut(u64) -> bool + Send),
) -> Result<(), ApplyError> {
    compare_sources(sources, header, progress, blake3_of)
}

/// Does the same on the thread that calls alone, while others apply the patch.
///
/// # Errors
/// As [`check_sources`].
pub fn check_sources_beside(
    sources: &[&dyn ReadAt],
    header: &Header,
    progress: &mut (dyn FnMut(u64) -> bool + Send),
) -> Result<(), ApplyError> {
    compare_sources(sources, header, progress, blake3_alone)
}

fn compare_sources(
    sources: &[&dyn ReadAt],
    header: &Header,
    progress: &mut (dyn FnMut(u64) -> bool + Send),
    blake3_of: fn(&dyn ReadAt, OnBytes<'_>) -> Result<Blake3Digest, HashError>,
) -> Result<(), ApplyError> {
    check_starts(sources, header)?;
    let mut all = blake3::Hasher::new();
    for (source, info) in sources.iter().zip(&header.sources) {
        let failed = |error| match error {
            HashError::Cancelled => ApplyError::Cancelled,
            HashError::Read(source) => ApplyError::ReadSource { name: info.name.clone(), source },
        };
        let (is_right, hash) = match &info.check {
            SourceCheck::Whole { large: Some(large), .. } => {
                (blake3_of(*source, progress).map_err(failed)? == large.blake3, "BLAKE3")
            }
            SourceCheck::Whole { sha256, large: None } => {
                (sha256_of(*source, progress).map_err(failed)? == *sha256, "SHA-256")
            }
            SourceCheck::Brief(brief) => {
                let blake3 = blake3_of(*source, progress).map_err(failed)?;
                all.update(&blake3);
                (blake3.starts_with(brief), "BLAKE3")
            }
        };
        if !is_right {
            return Err(wrong_source(
                info,
                format!("its {hash} differs, so it was changed or is another version"),
            ));
        }
    }
    if header.sources_blake3.is_some_and(|blake3| *all.finalize().as_bytes() != blake3) {
        let name = format!("one of {}", header.sources.len());
        let difference = "their BLAKE3 together differs".to_owned();
        return Err(ApplyError::WrongSource { name, difference });
    }
    Ok(())
}

/// Reads a finished target back and compares it with what the header promises.
///
/// # Errors
/// [`ApplyError::WrongTarget`], [`ApplyError::ReadTarget`], [`ApplyError::Cancelled`].
pub fn check_target(
    target: &dyn ReadAt,
    info: &StreamInfo,
    progress: &mut (dyn FnMut(u64) -> bool + Send),
) -> Result<(), ApplyError> {
    let wrong = || ApplyError::WrongTarget { name: info.name.clone() };
    if target.len() != info.size {
        return Err(wrong());
    }
    let digest = sha256_of(target, progress).map_err(|source| match source {
        HashError::Cancelled => ApplyError::Cancelled,
        HashError::Read(source) => ApplyError::ReadTarget { name: info.name.clone(), source },
    })?;
    if digest == info.sha256 { Ok(()) } else { Err(wrong()) }
}

/// What applying takes beside frames and packers, in bytes: the program itself, its buffers, the
/// map, the caches of unpacked blocks.
pub(crate) fn base_memory_bytes(map: &PatchMap, map_len: u64) -> u64 {
    /// Code, static data, stacks and the allocator's slack, measured.
    const PROGRAM_BYTES: u64 = 7 << 20;
    let cache = |plain_lens: &mut dyn Iterator<Item = u64>, bytes_max: usize| -> u64 {
        let (mut sum, mut max) = (0, 0);
        for len in plain_lens {
            sum += len;
            max = max.max(len);
        }
        sum.min(bytes_max as u64) + max
    };
    let is_cached =
        |block: &&SourceBlock| block.format != fluvial_codec::Format::Stored && !block.is_spooled();
    let old = cache(
        &mut map.blocks.iter().filter(is_cached).map(|block| block.plain_len),
        crate::space::CACHE_BYTES,
    );
    let new = cache(
        &mut map
            .roots
            .iter()
            .flat_map(|root| match &root.node {
                Node::Packed(packed) if packed.is_readable() => packed.pieces.as_slice(),
                _ => &[],
            })
            .map(|piece| piece.plain_len),
        written::CACHE_BYTES,
    );
    let segments: usize = map.roots.iter().map(|root| 1 + root.node.pieces_len()).sum();
    PROGRAM_BYTES
        + map_len
        + map.memory_bytes()
        + map.blocks.len() as u64 * crate::space::BLOCK_MEMORY_BYTES
        + segments as u64 * written::SEGMENT_MEMORY_BYTES
        + old
        + new
        + (pipeline::BATCHES * pipeline::BATCH_BYTES + BUFFER_BYTES) as u64
}

const _: () = assert!(STREAM_DICTIONARY_BYTES_MAX.is_power_of_two());
