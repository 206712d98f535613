//! Making a patch.
//!
//! 1. Both sides are taken apart: files are named, what is packed is opened (`old`, `new`).
//! 2. Content that stands elsewhere byte for byte is found by content-defined chunks (`exact`).
//! 3. The gaps are filled with approximate matches from a suffix array (`search`).
//! 4. Programs are compared again by what their references aim at (`refine`).
//! 5. Covers and literals are encoded in frames (`encode`).

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;

use fluvial_codec::{Budget, Effort as SearchEffort};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::apply::{HashError, base_memory_bytes, sha256_of};
use crate::frame::Cover;
use crate::header::{Header, StreamInfo};
use crate::map::{PatchMap, SourceBlock};
use crate::scratch::ScratchStore;
use crate::space::Space;
use crate::stream::{Effort, write_stream};
use crate::structure::{Dissector, Extent, ReadAt};
use crate::wire::WireWriter;

mod approximate;
mod candidates;
mod chunks;
mod encode;
mod exact;
mod flat;
mod lanes;
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

use encode::{FrameSizes, Frames, Piece};
use flat::Flat;
use new::Opener;
use old::OldFiles;
use programs::ProgramFinder;
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiffOptions {
    /// How much work goes into it.
    pub preset: Preset,
    /// The most memory that applying may take, in bytes. Contents whose packing would take more stay
    /// packed.
    pub apply_memory_bytes: u64,
}

impl Default for DiffOptions {
    fn default() -> Self {
        Self { preset: Preset::Default, apply_memory_bytes: 64 << 20 }
    }
}

/// A byte stream by name.
#[derive(Clone, Copy)]
pub struct Named<'a> {
    /// Its name: a path in the old root file system, or what the caller calls it.
    pub name: &'a str,
    /// Its bytes.
    pub bytes: &'a dyn ReadAt,
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

/// What of the new content is copied from where in the old one: the whole search.
fn pieces(
    space: &Space<'_>,
    flat: &Flat<'_>,
    files: &OldFiles,
    parts: &[flat::FlatPart],
    unchanged: &Unchanged,
    preset: Preset,
    observer: &dyn DiffObserver,
) -> Result<(Vec<Piece>, Vec<refine::Left>), DiffError> {
    let exact = exact_covers(space, flat, files, parts, unchanged, preset, observer)?;
    let group_bytes = if preset == Preset::Fast { SEED_GROUP_BYTES } else { GROUP_BYTES };
    let groups = candidates::groups(space, &files.parts, parts, &exact, flat.len(), group_bytes);
    let gap_bytes = groups.iter().flat_map(|group| &group.gaps).map(|gap| gap.extent.len).sum();
    observer.begin(Phase::Search, gap_bytes);
    let advance = |bytes| observer.advance(bytes);
    let approximate = search::fill(space, flat, &groups, preset, &advance)?;
    drop(groups);

    observer.begin(Phase::Encode, flat.len());
    let mut pieces: Vec<Piece> = exact.into_iter().map(|cover| Piece { cover, exact: true }).collect();
    pieces.extend(approximate.into_iter().map(|cover| Piece { cover, exact: false }));
    pieces.sort_unstable_by_key(|piece| piece.cover.flat);
    let finder = ProgramFinder::new(space, flat, &files.in_one_run(), preset);
    refine::refine(space, flat, parts, &finder, pieces, preset)
}

/// Makes a patch from `old` to `new`, and writes it.
///
/// Memory: five bytes for each byte of old content that is searched at a time (64 MiB, one group for
/// each thread of the current rayon pool), up to ten bytes for each byte of a changed program (of at
/// most about 1.4 GiB, and of 384 MiB where several are searched at a time), the longest packed stream
/// that is opened, unpacked and packed again, and about 100 MiB.
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
    let total = |streams: &[Named<'_>]| streams.iter().map(|stream| stream.bytes.len()).sum::<u64>();
    let bytes = total(old) + total(new);
    observer.begin(Phase::Hash, bytes);
    let (sources, targets) =
        rayon::join(|| infos(old, observer, DiffError::ReadOld), || infos(new, observer, DiffError::ReadNew));
    let (sources, targets) = (sources?, targets?);

    observer.begin(Phase::Open, bytes);
    let old_streams: Vec<&dyn ReadAt> = old.iter().map(|stream| stream.bytes).collect();
    let new_streams: Vec<&dyn ReadAt> = new.iter().map(|stream| stream.bytes).collect();
    let mut space = Space::new(&old_streams, scratch);
    let mut files = OldFiles::default();
    let same = sources.len() == targets.len()
        && sources.iter().zip(&targets).all(|(source, target)| source.sha256 == target.sha256);
    let nothing = Nothing;
    // Equal sides need no look inside.
    let dissector: &dyn Dissector = if same { &nothing } else { dissector };
    let unchanged = Unchanged::find(old, new, &sources, &targets, dissector)?;
    let in_haste = InHaste { dissector, unchanged: &unchanged };
    let dissector: &dyn Dissector = if options.preset == Preset::Fast { &in_haste } else { dissector };
    let memory_bytes_max = budget(options).memory_bytes;
    let mut start = 0;
    for stream in old {
        let extent = Extent { offset: start, len: stream.bytes.len() };
        old::explore(&mut space, extent, stream.name, dissector, &unchanged, memory_bytes_max, &mut files)?;
        start = extent.end();
    }
    let opener = Opener {
        dissector,
        unchanged: &unchanged,
        old: &files,
        budget: budget(options),
        packings: Mutex::default(),
        spool: Mutex::new(scratch.create().map_err(DiffError::Scratch)?),
    };
    let mut built = Vec::new();
    for (index, stream) in new.iter().enumerate() {
        built.extend(opener.open(index as u32, stream.bytes, stream.name)?);
    }
    let packings = opener.packings.into_inner().map_err(|_| DiffError::Internal("a thread panicked"))?;
    let spool = opener.spool.into_inner().map_err(|_| DiffError::Internal("a thread panicked"))?;
    let flat = Flat::new(built, &new_streams, &*spool);

    let parts = flat.parts();
    let (mut pieces, left) = pieces(&space, &flat, &files, &parts, &unchanged, options.preset, observer)?;
    let (mut lean, mut blocks, mut old_files) =
        keep_used_blocks(&space, &old_streams, scratch, &files, &mut pieces);
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
    let mut map = PatchMap { blocks, packings, roots: flat.roots.clone(), costs: Vec::new() };
    let unpacking = Unpacking::of(&map, &lean, &new_streams)?;
    let encode = |sizes| encode::encode(&lean, &flat, &old_files, &pieces, &left, sizes, options.preset);
    let Fitted { frames, map_len, packed_map, needed } =
        fit(&mut map, &unpacking, options.apply_memory_bytes, &encode)?;
    let header = Header {
        sources,
        targets,
        apply_memory_bytes: needed,
        scratch_bytes: map.scratch_bytes(),
        map_packed_len: packed_map.len() as u32,
        map_len,
        map_sha256: Sha256::digest(&packed_map).into(),
        frames: frames.infos,
    };
    let mut patch_bytes = 0;
    for bytes in [header.to_bytes(), packed_map].iter().chain(&frames.bytes) {
        patch.write_all(bytes).map_err(DiffError::Write)?;
        patch_bytes += bytes.len() as u64;
    }
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
    map: &mut PatchMap,
    unpacking: &Unpacking,
    allowed: u64,
    encode: &dyn Fn(FrameSizes) -> Result<Frames, DiffError>,
) -> Result<Fitted, DiffError> {
    let mut sizes = FrameSizes::within(allowed);
    loop {
        let mut frames = encode(sizes)?;
        map.costs = std::mem::take(&mut frames.costs);
        let map_bytes = map.to_bytes();
        let map_len = map_bytes.len() as u32;
        let mut packed_map = WireWriter::default();
        write_stream(&map_bytes, Effort::Smallest, &mut packed_map);
        // Large blocks of the sources are unpacked before the first frame is opened.
        let needed = base_memory_bytes(map, u64::from(map_len))
            + (frames.memory_bytes + map.packing_memory_bytes() + unpacking.reading_bytes)
                .max(unpacking.spooling_bytes);
        if needed <= allowed {
            return Ok(Fitted { frames, map_len, packed_map: packed_map.bytes, needed });
        }
        if sizes == FrameSizes::SMALL {
            return Err(DiffError::OverBudget { needed, allowed });
        }
        sizes = FrameSizes::SMALL;
    }
}

/// Knows no containers.
struct Nothing;

impl Dissector for Nothing {
    fn dissect(&self, _: &dyn ReadAt, _: &str) -> Option<crate::structure::Structure> {
        None
    }
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

fn infos(
    streams: &[Named<'_>],
    observer: &dyn DiffObserver,
    error: fn(io::Error) -> DiffError,
) -> Result<Vec<StreamInfo>, DiffError> {
    let info = |stream: &Named<'_>| {
        let sha256 =
            sha256_of(stream.bytes, &mut |bytes| observer.advance(bytes)).map_err(|why| match why {
                HashError::Cancelled => DiffError::Cancelled,
                HashError::Read(source) => error(source),
            })?;
        Ok(StreamInfo { name: stream.name.to_owned(), size: stream.bytes.len(), sha256 })
    };
    streams.iter().map(info).collect()
}

fn budget(options: &DiffOptions) -> Budget {
    // What applying takes besides packing, at most: see the parts that are added up in `diff`.
    const OTHER_BYTES: u64 = 27 << 20;
    Budget {
        memory_bytes: options.apply_memory_bytes.saturating_sub(OTHER_BYTES),
        plain_bytes_max: PLAIN_BYTES_MAX,
        effort: match options.preset {
            Preset::Fast => SearchEffort::Fast,
            Preset::Default => SearchEffort::Default,
            Preset::Max => SearchEffort::Max,
        },
    }
}

fn exact_covers(
    space: &Space<'_>,
    flat: &Flat<'_>,
    files: &OldFiles,
    parts: &[flat::FlatPart],
    unchanged: &Unchanged,
    preset: Preset,
    observer: &dyn DiffObserver,
) -> Result<Vec<Cover>, DiffError> {
    observer.begin(Phase::Match, flat.len());
    let blocks = (0..space.blocks().len()).map(|index| space.block_extent(index));
    let old_extents = files.parts.iter().flat_map(|part| part.extents.iter().copied());
    let shadowed_extents = files.shadowed.iter().copied();
    let mut old_cuts = exact::cuts(space.len(), old_extents.chain(blocks).chain(shadowed_extents));
    let shadowed = candidates::union(files.shadowed.clone());
    old_cuts.retain(|cut| !candidates::is_inside(*cut, &shadowed));
    let mut new_cuts = exact::cuts(flat.len(), parts.iter().map(|part| part.extent));
    let known = exact::same_files(space, flat, &files.parts, parts, unchanged)?;
    let known_in = |from: fn(&Cover) -> u64| {
        candidates::union(known.iter().map(|cover| Extent { offset: from(cover), len: cover.len }).collect())
    };
    let known_new = known_in(|cover| cover.flat);
    new_cuts.retain(|cut| !candidates::is_inside(*cut, &known_new));
    if preset == Preset::Fast {
        // What stays where it is seldom is elsewhere too.
        let known_old = known_in(|cover| cover.address);
        old_cuts.retain(|cut| !candidates::is_inside(*cut, &known_old));
    }
    let (old_chunks, new_chunks) =
        rayon::join(|| exact::chunks_of(space, &old_cuts), || exact::chunks_of(flat, &new_cuts));
    let old_chunks = old_chunks.map_err(DiffError::ReadOld)?;
    let new_chunks = new_chunks.map_err(DiffError::ReadNew)?;
    exact::find(space, flat, &known, &old_chunks, &new_chunks, &|bytes| observer.advance(bytes))
}

/// A space with only the blocks that covers use, directly or through other blocks; covers are moved
/// to its addresses.
fn keep_used_blocks<'a>(
    space: &Space<'a>,
    sources: &'a [&'a dyn ReadAt],
    scratch: &'a dyn ScratchStore,
    files: &OldFiles,
    pieces: &mut [Piece],
) -> (Space<'a>, Vec<SourceBlock>, Vec<Extent>) {
    let mut used = vec![false; space.blocks().len()];
    let mark = |extent: Extent, used: &mut Vec<bool>| {
        let mut address = extent.offset;
        while address < extent.end() {
            match space.block_at(address) {
                Some(index) => {
                    used[index] = true;
                    address = space.block_extent(index).end();
                }
                None => address = extent.end().min(space.sources_len()).max(address + 1),
            }
        }
    };
    for piece in pieces.iter().filter(|piece| piece.cover.address < space.len()) {
        mark(Extent { offset: piece.cover.address, len: piece.cover.len }, &mut used);
    }
    // Files are kept whole: their heads tell how to read the rest.
    for part in &files.parts {
        if let [extent] = part.extents[..]
            && extent.len <= FILE_KEPT_BYTES_MAX
            && let (Some(first), Some(last)) =
                (space.block_at(extent.offset), space.block_at(extent.end().saturating_sub(1)))
            && used[first..=last].contains(&true)
        {
            used[first..=last].fill(true);
        }
    }
    for index in (0..used.len()).rev() {
        if used[index] {
            mark(space.blocks()[index].packed, &mut used);
        }
    }
    let mut lean = Space::new(sources, scratch);
    // Where each used block's addresses move, down by so much.
    let mut moved: BTreeMap<u64, u64> = BTreeMap::new();
    let new_address = |address: u64, moved: &BTreeMap<u64, u64>| {
        moved.range(..=address).next_back().map_or(address, |(_, shift)| address - shift)
    };
    for (index, block) in space.blocks().iter().enumerate().filter(|(index, _)| used[*index]) {
        let offset = new_address(block.packed.offset, &moved);
        let block = SourceBlock { packed: Extent { offset, ..block.packed }, ..*block };
        let start = lean.push(block);
        lean.share(lean.blocks().len() - 1, space, index);
        let old_start = space.block_extent(index).offset;
        moved.insert(old_start, old_start - start);
    }
    moved.insert(space.len(), space.len() - lean.len());
    for piece in pieces {
        piece.cover.address = new_address(piece.cover.address, &moved);
    }
    let kept = |extent: &Extent| match space.block_at(extent.offset) {
        Some(first) => space
            .block_at(extent.end().saturating_sub(1))
            .is_some_and(|last| last >= first && used[first..=last].iter().all(|&used| used)),
        None => extent.end() <= space.sources_len(),
    };
    let old_files = files
        .in_one_run()
        .into_iter()
        .filter(kept)
        .map(|extent| Extent { offset: new_address(extent.offset, &moved), len: extent.len })
        .collect();
    let blocks = lean.blocks().to_vec();
    (lean, blocks, old_files)
}
