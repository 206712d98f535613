//! Making a patch.
//!
//! 1. Both sides are taken apart: files are named, what is packed is opened (`old`, `new`).
//! 2. Content that stands elsewhere byte for byte is found by content-defined chunks (`exact`).
//! 3. The gaps are filled with approximate matches from a suffix array (`search`).
//! 4. Programs are compared again by what their references aim at (`refine`).
//! 5. Covers and literals are encoded in frames (`encode`).
//! 6. The patch is applied, and what it makes is compared with the new side (`verify`).

use std::io;

use fluvial_codec::{Budget, Effort as SearchEffort};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::apply::{ApplyError, base_memory_bytes};
use crate::hash::{HashError, both_of, sha256_of, start_of};
use crate::header::{
    BRIEF_BYTES, Blake3Digest, Header, LargeCheck, Sha256Digest, SourceCheck, SourceInfo, StreamInfo,
    WHOLE_SOURCES_MAX,
};
use crate::limits::CONTEXT_BYTES_MAX;
use crate::map::{PatchMap, SourceBlock};
use crate::scratch::ScratchStore;
use crate::space::Space;
use crate::stream::{AHEAD_MEMORY_BYTES, Effort, write_stream};
use crate::structure::{Dissector, Extent, Opaque, ReadAt};
use crate::wire::WireWriter;

mod approximate;
mod candidates;
mod chunks;
mod compare;
mod encode;
mod exact;
mod flat;
mod lanes;
mod lean;
mod new;
mod often;
mod old;
mod programs;
mod refine;
mod search;
mod seeds;
mod sources;
mod suffix;
mod unchanged;
mod unpacking;
mod verify;
mod windows;

use compare::Comparison;
use encode::{FrameSizes, Frames};
use flat::Flat;
use new::{Opener, Openings};
use sources::Kept;
use unchanged::{InHaste, Unchanged};
use unpacking::Unpacking;

/// A packed stream longer than this, in bytes, is not opened: it would have to be held in memory.
const PACKED_BYTES_MAX: u64 = 256 << 20;
/// A stream that unpacks to more than this, in bytes, is not opened.
const PLAIN_BYTES_MAX: u64 = 512 << 20;
/// Old content that is searched at a time, in bytes: five times as much memory is taken.
const GROUP_BYTES: u64 = 64 << 20;
/// The same for a search in a table of seeds, which is fast as long as the table stays in a cache.
const SEED_GROUP_BYTES: u64 = 4 << 20;

/// Pieces that a device may pack at a time where there is memory for them.
const PACKED_AT_A_TIME: u64 = 4;
/// Streams of a frame that it may unpack ahead.
const UNPACKED_AHEAD: u64 = 3;

/// Sources of so many bytes and more are checked by their start and BLAKE3; for others these are not worth their place
/// in the header.
const LARGE_FROM_BYTES: u64 = 1 << 20;

/// Blocks of a file up to this length, in bytes, are kept together.
const FILE_KEPT_BYTES_MAX: u64 = 64 << 20;

/// How much work goes into a small patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preset {
    /// An answer in seconds.
    Fast,
    /// Small, in minutes for a system image.
    #[default]
    Default,
    /// As small as can be.
    Max,
}

/// How a patch is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffOptions {
    /// How much work goes into it.
    pub preset: Preset,
    /// The most memory that applying may take, in bytes. Contents whose packing would take more stay
    /// packed.
    pub apply_memory_bytes: u64,
    /// Whether the patch is applied before it is given away, so that a fault of this program is found
    /// here and not on devices. Takes as long as applying does.
    pub verify: bool,
    /// What the header tells whoever opens the sources; at most [`CONTEXT_BYTES_MAX`] bytes.
    pub context: Vec<u8>,
}

impl Default for DiffOptions {
    fn default() -> Self {
        Self { preset: Preset::Default, apply_memory_bytes: 64 << 20, verify: true, context: Vec::new() }
    }
}

/// A byte stream by name.
#[derive(Clone, Copy)]
pub struct Named<'a> {
    /// Its name: a path in the old root file system, or what the caller calls it.
    pub name: &'a str,
    /// Its bytes.
    pub bytes: &'a dyn ReadAt,
    /// Of an old stream: the files that stand in it, in order; if none, it is itself the file of that name.
    pub files: &'a [FileIn],
}

/// A file that stands in an old stream, with more around it as a tar has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileIn {
    /// Its path.
    pub path: String,
    /// Where its bytes stand.
    pub extent: Extent,
}

impl<'a> Named<'a> {
    /// A stream that is a file and nothing else.
    pub fn new(name: &'a str, bytes: &'a dyn ReadAt) -> Self {
        Self { name, bytes, files: &[] }
    }
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Both sides are hashed.
    Hash,
    /// Both sides are taken apart.
    Open,
    /// Equal content is looked for.
    Match,
    /// Similar content is looked for.
    Search,
    /// The patch is encoded.
    Encode,
    /// The patch is applied.
    Verify,
}

/// What the caller is told while a patch is made; called from several threads.
pub trait DiffObserver: Sync {
    /// A phase begins that handles about so many bytes.
    fn begin(&self, _phase: Phase, _bytes: u64) {}

    /// So many more bytes of the phase are done. Answering `false` cancels.
    fn advance(&self, _bytes: u64) -> bool {
        true
    }
}

/// Hears nothing, cancels nothing.
pub struct Unobserved;

impl DiffObserver for Unobserved {}
impl crate::apply::ApplyObserver for Unobserved {}

/// A patch could not be made.
#[derive(Debug, Error)]
pub enum DiffError {
    /// An old stream cannot be read.
    #[error("the old side cannot be read")]
    ReadOld(#[source] io::Error),
    /// A new stream cannot be read.
    #[error("the new side cannot be read")]
    ReadNew(#[source] io::Error),
    /// Temporary storage failed.
    #[error("temporary storage failed")]
    Scratch(#[source] io::Error),
    /// The patch cannot be written.
    #[error("the patch cannot be written")]
    Write(#[source] io::Error),
    /// A suffix array does not fit into memory.
    #[error("not enough memory to search the old side")]
    Memory,
    /// Applying would take more memory than allowed.
    #[error("applying would take {needed} bytes of memory, {allowed} are allowed")]
    OverBudget {
        /// What it would take, in bytes.
        needed: u64,
        /// What is allowed, in bytes.
        allowed: u64,
    },
    /// A fault of this program.
    #[error("internal error: {0}")]
    Internal(&'static str),
    /// A fault of this program, found by applying the patch.
    #[error("internal error: the patch does not make the new side")]
    Unsound(#[source] ApplyError),
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// What a patch came to.
#[derive(Debug, Clone)]
pub struct DiffReport {
    /// The header, as it stands in the patch.
    pub header: Header,
    /// The patch's length in bytes.
    pub patch_bytes: u64,
}

/// Makes a patch from `old` to `new`, and writes it.
///
/// Memory: five bytes for each byte of old content that is searched at a time (64 MiB, one group for
/// each thread of the current rayon pool), up to ten bytes for each byte of a changed program (of at
/// most about 1.4 GiB, larger programs are searched in parts, and of 384 MiB where several are searched at
/// a time), the longest packed stream that is opened, unpacked and packed again, and about 100 MiB.
///
/// # Errors
/// [`DiffError`].
pub fn diff(
    old: &[Named<'_>],
    new: &[Named<'_>],
    dissector: &dyn Dissector,
    scratch: &dyn ScratchStore,
    options: &DiffOptions,
    observer: &dyn DiffObserver,
    patch: &mut dyn io::Write,
) -> Result<DiffReport, DiffError> {
    if options.context.len() > CONTEXT_BYTES_MAX {
        return Err(DiffError::Internal("the context is too long"));
    }
    let total = |streams: &[Named<'_>]| streams.iter().map(|stream| stream.bytes.len()).sum::<u64>();
    let bytes = total(old) + total(new);
    observer.begin(Phase::Hash, bytes);
    let (sources, targets) = rayon::join(|| source_infos(old, observer), || target_infos(new, observer));
    let (sources, targets) = (sources?, targets?);

    observer.begin(Phase::Open, bytes);
    let old_streams: Vec<&dyn ReadAt> = old.iter().map(|stream| stream.bytes).collect();
    let new_streams: Vec<&dyn ReadAt> = new.iter().map(|stream| stream.bytes).collect();
    let mut space = Space::new(&old_streams, scratch);
    // Packers may not take what the sources may come to take.
    let sources_bytes_max = sources_memory_bytes(&sources);
    let same = sources.len() == targets.len()
        && sources.iter().zip(&targets).all(|(source, target)| source.sha256 == target.sha256);
    // Equal sides need no look inside.
    let dissector: &dyn Dissector = if same { &Opaque } else { dissector };
    let unchanged = Unchanged::find(old, new, &sources, &targets, dissector)?;
    let in_haste = InHaste { dissector, unchanged: &unchanged };
    let dissector: &dyn Dissector = if options.preset == Preset::Fast { &in_haste } else { dissector };
    let memory_bytes_max = budget(options, sources_bytes_max).memory_bytes;
    let files = old::explore_all(&mut space, old, dissector, &unchanged, memory_bytes_max)?;
    let spool = scratch.create().map_err(DiffError::Scratch)?;
    let opener = Opener::new(dissector, &unchanged, &files, budget(options, sources_bytes_max), spool);
    let Openings { built, packings, spool } = opener.open_all(new)?;
    let flat = Flat::new(built, &new_streams, &*spool);

    let parts = flat.parts();
    let comparison = Comparison {
        space: &space,
        flat: &flat,
        old_files: &files,
        parts: &parts,
        unchanged: &unchanged,
        preset: options.preset,
        observer,
    };
    let (mut pieces, left) = comparison.pieces()?;
    sources::drop_weak_blocks(&space, &mut pieces);
    if old.len() > WHOLE_SOURCES_MAX {
        sources::drop_weak(&space, &old_streams, &mut pieces);
    }
    let (mut lean, mut blocks, mut old_files) =
        lean::keep_used_blocks(&space, &old_streams, scratch, &files, &mut pieces);
    let kept = Kept::new(&old_streams, &blocks, &pieces);
    let mut sources = sources;
    let mut old_streams: &[&dyn ReadAt] = &old_streams;
    let kept_streams;
    // A single source stays, read or not: it is what the caller calls OLD.
    if old.len() > 1 && !kept.is_all() {
        sources = kept.of(sources);
        kept_streams = kept.of(old_streams.to_vec());
        old_streams = &kept_streams;
        let missing = || DiffError::Internal("a source that is read is left out");
        for piece in &mut pieces {
            piece.cover.address = kept.address(piece.cover.address).ok_or_else(missing)?;
        }
        for block in blocks.iter_mut().filter(|block| !block.is_zeros()) {
            block.packed.offset = kept.address(block.packed.offset).ok_or_else(missing)?;
        }
        old_files.retain_mut(|file| kept.address(file.offset).map(|offset| file.offset = offset).is_some());
        lean = space_of(old_streams, &blocks, scratch, &lean);
    }
    often::mark(&lean, &pieces, &mut blocks);
    let lean = space_of(old_streams, &blocks, scratch, &lean);
    lean.spool_blocks().map_err(DiffError::Scratch)?;
    let mut map = PatchMap { blocks, packings, roots: flat.roots.clone(), ..PatchMap::default() };
    let unpacking = Unpacking::of(&map, &lean, &new_streams)?;
    let covered = encode::Covered {
        space: &lean,
        flat: &flat,
        old_files: &old_files,
        pieces: &pieces,
        left: &left,
        preset: options.preset,
    };
    let sources_bytes = sources_memory_bytes(&sources);
    let allowed = options.apply_memory_bytes.saturating_sub(sources_bytes);
    let Fitted { frames, map_len, packed_map, needed } = fit(&covered, &mut map, &unpacking, allowed)?;
    let (sources, sources_blake3) = named(sources);
    let header = Header {
        context: options.context.clone(),
        sources,
        sources_blake3,
        targets,
        apply_memory_bytes: needed + sources_bytes,
        scratch_bytes: map.scratch_bytes(),
        map_packed_len: packed_map.len() as u32,
        map_len,
        map_sha256: Sha256::digest(&packed_map).into(),
        frames: frames.infos,
    };
    let mut parts = vec![header.to_bytes(), packed_map];
    parts.extend(frames.bytes);
    if options.verify {
        verify::verify(&parts, &lean, &new_streams, observer)?;
    }
    for bytes in &parts {
        patch.write_all(bytes).map_err(DiffError::Write)?;
    }
    let patch_bytes = parts.iter().map(|bytes| bytes.len() as u64).sum();
    Ok(DiffReport { header, patch_bytes })
}

/// What stands in a patch, and what applying it takes.
struct Fitted {
    frames: Frames,
    map_len: u32,
    packed_map: Vec<u8>,
    /// Bytes of memory.
    needed: u64,
}

/// Encodes the frames, and once more with smaller ones where applying would take more memory than
/// `allowed`.
fn fit(
    covered: &encode::Covered<'_>,
    map: &mut PatchMap,
    unpacking: &Unpacking,
    allowed: u64,
) -> Result<Fitted, DiffError> {
    let beside_frames = map.packing_memory_bytes() + unpacking.reading_bytes;
    // Large blocks of the sources are unpacked before the first frame is opened.
    let needed = |base: u64, at_once: u64| base + at_once.max(unpacking.spooling_bytes);
    let base_of = |map: &PatchMap, map_bytes: &[u8]| base_memory_bytes(map, map_bytes.len() as u64);
    map.working_memory_bytes = allowed;
    let room = allowed.saturating_sub(base_of(map, &map.to_bytes()) + beside_frames);
    let full = if allowed < FrameSizes::FULL_FROM_BYTES {
        None
    } else {
        encode::encode(covered, FrameSizes::FULL, room)?
    };
    let frames = match full {
        Some(frames) => Some(frames),
        None => encode::encode(covered, FrameSizes::SMALL, u64::MAX)?,
    };
    let mut frames = frames.ok_or(DiffError::Internal("no frame takes that much memory"))?;
    map.costs = std::mem::take(&mut frames.costs);
    let alone = frames.memory_bytes + beside_frames;
    let mut map_bytes = map.to_bytes();
    if needed(base_of(map, &map_bytes), alone) > allowed {
        // Names are worth less than a patch.
        map.costs.clear();
        map_bytes = map.to_bytes();
    }
    let base = base_of(map, &map_bytes);
    if needed(base, alone) > allowed {
        return Err(DiffError::OverBudget { needed: needed(base, alone), allowed });
    }
    // What is left lets several threads work.
    let packing =
        (PACKED_AT_A_TIME * map.block_memory_bytes_max()).saturating_sub(map.packing_memory_bytes());
    let wanted = packing + UNPACKED_AHEAD * AHEAD_MEMORY_BYTES;
    let at_once = alone + wanted.min(allowed - base - alone);
    map.working_memory_bytes = at_once - unpacking.reading_bytes;
    let map_bytes = map.to_bytes();
    let needed = needed(base, at_once);
    let mut packed_map = WireWriter::default();
    write_stream(&map_bytes, Effort::Smallest, &mut packed_map);
    Ok(Fitted { frames, map_len: map_bytes.len() as u32, packed_map: packed_map.bytes, needed })
}

/// A space of the same blocks, which may stand elsewhere or be marked otherwise; what was unpacked of
/// them in `before` is taken over.
fn space_of<'a>(
    sources: &'a [&'a dyn ReadAt],
    blocks: &[SourceBlock],
    scratch: &'a dyn ScratchStore,
    before: &Space<'a>,
) -> Space<'a> {
    let mut space = Space::new(sources, scratch);
    for (index, &block) in blocks.iter().enumerate() {
        space.push(block);
        space.share(index, before, index);
    }
    space
}

/// A source and what its content hashes to.
struct Hashed {
    name: String,
    size: u64,
    sha256: Sha256Digest,
    large: LargeCheck,
}

fn source_infos(old: &[Named<'_>], observer: &dyn DiffObserver) -> Result<Vec<Hashed>, DiffError> {
    let info = |stream: &Named<'_>| {
        let advance = &mut |bytes| observer.advance(bytes);
        let (sha256, blake3) =
            both_of(stream.bytes, advance).map_err(|error| hashing(error, DiffError::ReadOld))?;
        let large = LargeCheck { start: start_of(stream.bytes).map_err(DiffError::ReadOld)?, blake3 };
        Ok(Hashed { name: stream.name.to_owned(), size: stream.bytes.len(), sha256, large })
    };
    old.iter().map(info).collect()
}

/// What whoever opens one of many sources keeps of it, in bytes, besides its name.
const OPENER_BYTES: usize = 160;

/// What many sources take while a patch is applied, in bytes: in the header, and with whoever opens them.
fn sources_memory_bytes(sources: &[Hashed]) -> u64 {
    if sources.len() <= WHOLE_SOURCES_MAX {
        return 0;
    }
    sources.iter().map(|source| (size_of::<SourceInfo>() + OPENER_BYTES + 2 * source.name.len()) as u64).sum()
}

/// Sources as a header names them.
fn named(sources: Vec<Hashed>) -> (Vec<SourceInfo>, Option<Blake3Digest>) {
    let are_many = sources.len() > WHOLE_SOURCES_MAX;
    let mut all = blake3::Hasher::new();
    let info = |Hashed { name, size, sha256, large }| {
        all.update(&large.blake3);
        let mut brief = [0; BRIEF_BYTES];
        brief.copy_from_slice(&large.blake3[..BRIEF_BYTES]);
        let large = (size >= LARGE_FROM_BYTES).then_some(large);
        let check = if are_many { SourceCheck::Brief(brief) } else { SourceCheck::Whole { sha256, large } };
        SourceInfo { name, size, check }
    };
    let sources = sources.into_iter().map(info).collect();
    (sources, are_many.then(|| all.finalize().into()))
}

fn target_infos(new: &[Named<'_>], observer: &dyn DiffObserver) -> Result<Vec<StreamInfo>, DiffError> {
    let info = |stream: &Named<'_>| {
        let sha256 = sha256_of(stream.bytes, &mut |bytes| observer.advance(bytes))
            .map_err(|error| hashing(error, DiffError::ReadNew))?;
        Ok(StreamInfo { name: stream.name.to_owned(), size: stream.bytes.len(), sha256 })
    };
    new.iter().map(info).collect()
}

fn hashing(error: HashError, reading: fn(io::Error) -> DiffError) -> DiffError {
    match error {
        HashError::Cancelled => DiffError::Cancelled,
        HashError::Read(source) => reading(source),
    }
}

fn budget(options: &DiffOptions, sources_bytes: u64) -> Budget {
    // What applying takes besides packing, at most: see the parts that are added up in `diff`.
    const OTHER_BYTES: u64 = 27 << 20;
    Budget {
        memory_bytes: options.apply_memory_bytes.saturating_sub(OTHER_BYTES + sources_bytes),
        plain_bytes_max: PLAIN_BYTES_MAX,
        effort: match options.preset {
            Preset::Fast => SearchEffort::Fast,
            Preset::Default => SearchEffort::Default,
            Preset::Max => SearchEffort::Max,
        },
    }
}
