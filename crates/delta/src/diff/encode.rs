//! From covers to the bytes of a patch.

use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::flat::{Flat, FlatPart};
use super::programs::ProgramFinder;
use super::refine::Left;
use super::{DiffError, Preset};
use crate::frame::{Cover, FrameBuilder, PackedFrame, Programs};
use crate::header::FrameInfo;
use crate::limits::{FRAME_COVERS_MAX, FRAME_PACKED_BYTES_MAX};
use crate::map::{COSTS_MAX, FileCost};
use crate::predict::HEAD_BYTES;
use crate::space::Space;
use crate::stream::Effort;
use crate::structure::{Extent, ReadAt};

/// How large frames grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameSizes {
    /// A frame is ended at the next start of a file once its guessed size passes this, in bytes.
    weight: u64,
    /// And wherever it is once it passes this.
    weight_max: u64,
    /// It holds at most so many bytes before they are packed, as far as they can be told beforehand.
    raw_bytes_max: usize,
    /// It holds at most so many covers.
    covers_max: usize,
}

impl FrameSizes {
    pub(super) const FULL: Self =
        Self { weight: 1 << 20, weight_max: 3 << 20, raw_bytes_max: 5 << 20, covers_max: FRAME_COVERS_MAX };
    /// For devices with little memory.
    pub(super) const SMALL: Self = Self {
        weight: 1 << 20,
        weight_max: 3 << 19,
        raw_bytes_max: 3 << 20,
        covers_max: FRAME_COVERS_MAX / 4,
    };
    /// With less memory than this for applying, in bytes, frames of full size are not tried.
    pub(super) const FULL_FROM_BYTES: u64 = 48 << 20;
}

const STEP_BYTES: usize = 256 << 10;
/// Of the bytes of a program that differ, one in so many is taken to be left by prediction at least.
const TOLD_PART_MIN: u64 = 8;

/// A cover, and whether it is known to match byte for byte.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) cover: Cover,
    pub(super) exact: bool,
}

/// The frames of a patch, packed.
#[derive(Debug, Default)]
pub(super) struct Frames {
    pub(super) infos: Vec<FrameInfo>,
    pub(super) bytes: Vec<Vec<u8>>,
    /// The most memory that one of them takes while it is decoded, in bytes, its packed bytes included.
    pub(super) memory_bytes: u64,
    pub(super) costs: Vec<FileCost>,
}

impl Preset {
    fn effort(self) -> Effort {
        match self {
            Self::Fast => Effort::Zstd(3),
            Self::Default | Self::Max => Effort::Smallest,
        }
    }
}

/// A flattened target, and what it is copied from.
pub(super) struct Covered<'a> {
    pub(super) space: &'a Space<'a>,
    pub(super) flat: &'a Flat<'a>,
    /// Files of the old space that stand in one piece.
    pub(super) old_files: &'a [Extent],
    /// In flattened order, without overlaps.
    pub(super) pieces: &'a [Piece],
    /// What prediction leaves of some programs, in flattened order.
    pub(super) left: &'a [Left],
    pub(super) preset: Preset,
}

/// Encodes all flattened bytes. Answers `None`, as soon as that shows, where a frame would take more than
/// `memory_bytes_max` to decode.
pub(super) fn encode(
    covered: &Covered<'_>,
    sizes: FrameSizes,
    memory_bytes_max: u64,
) -> Result<Option<Frames>, DiffError> {
    let Covered { space, flat, old_files, pieces, left, preset } = *covered;
    let parts = &flat.parts();
    let programs = ProgramFinder::new(space, flat, old_files, preset);
    let mut encoder = Encoder {
        sizes,
        space,
        flat,
        programs: &programs,
        frame: FrameBuilder::new(space.len(), 0),
        frame_start: 0,
        new_programs: Vec::new(),
        finished: Vec::new(),
        weights: Vec::new(),
        part_index: 0,
        weighed: 0,
        corrections: flat.corrections.iter().peekable(),
        left,
        told: (1, 1),
        old: vec![0; STEP_BYTES],
        new: vec![0; STEP_BYTES],
    };
    let mut pieces = pieces.iter().copied().peekable();
    for (index, part) in parts.iter().enumerate() {
        // What stands before all else is text most often, and packs worse together with programs.
        if encoder.frame.weight() >= sizes.weight || part.extent.offset == flat.fronts_end {
            encoder.end_frame(None);
        }
        encoder.part_index = index;
        encoder.weighed = encoder.frame.weight();
        encoder.part(part, &mut pieces)?;
        encoder.weigh();
    }
    encoder.end_frame(None);
    let Encoder { finished, weights, .. } = encoder;
    let covers = finished.iter().flat_map(|finished| finished.frame.covers());
    if !covers.into_iter().all(|cover| cover.can_be_read(space.len())) {
        return Err(DiffError::Internal("a copy of what is not there yet"));
    }
    let packed = pack(space, flat, &finished, memory_bytes_max, preset)?;
    packed.map(|packed| assemble(packed, &finished, &weights, parts)).transpose()
}

/// A frame that has all its operations.
struct Finished {
    frame: FrameBuilder,
    flat_len: u64,
    programs: Programs,
}

struct Encoder<'a, 'c> {
    sizes: FrameSizes,
    space: &'a Space<'a>,
    flat: &'a Flat<'a>,
    programs: &'a ProgramFinder<'a>,
    frame: FrameBuilder,
    frame_start: u64,
    /// The programs that have bytes in this frame.
    new_programs: Vec<Extent>,
    finished: Vec<Finished>,
    /// Frame, part and how much the frame's weight grew.
    weights: Vec<(usize, usize, u64)>,
    /// The part that is encoded, and the frame's weight before it.
    part_index: usize,
    weighed: u64,
    corrections: std::iter::Peekable<std::slice::Iter<'c, (u64, Vec<u8>)>>,
    left: &'a [Left],
    /// Of the bytes that differ in the present part, so many have to be told, of so many.
    told: (u64, u64),
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Encoder<'_, '_> {
    fn part(
        &mut self,
        part: &FlatPart,
        pieces: &mut std::iter::Peekable<impl Iterator<Item = Piece>>,
    ) -> Result<(), DiffError> {
        let end = part.extent.end();
        let unchanged = pieces.peek().is_some_and(|piece| {
            piece.exact && piece.cover.flat <= part.extent.offset && piece.cover.flat_end() >= end
        });
        let program = (!unchanged && self.programs.is_program(part)?).then_some(part.extent);
        let left = self.left.binary_search_by_key(&part.extent.offset, |left| left.program.offset);
        self.told = left.map_or((1, 1), |index| (self.left[index].unpredicted, self.left[index].differing));
        if program.is_some() {
            self.frame.cut();
            self.new_programs.extend(program);
        }
        while self.frame.at() < end {
            if self.is_full() {
                self.end_frame(program);
            }
            self.take_corrections();
            let at = self.frame.at();
            // A piece may run over several parts: it is cut, and joined again by the frame.
            let Some(piece) = pieces.peek_mut() else {
                self.literal(end)?;
                continue;
            };
            if piece.cover.flat > at {
                self.literal(piece.cover.flat.min(end))?;
                continue;
            }
            // Corrections belong to the frame in which their content starts: stop there.
            let stop = self.corrections.peek().map_or(end, |(at, _)| *at).min(end);
            let mut len = piece.cover.len.min(stop - at);
            if !piece.exact {
                len = len.min(STEP_BYTES as u64);
            }
            let now = Piece { cover: Cover { len, ..piece.cover }, exact: piece.exact };
            piece.cover = Cover {
                flat: piece.cover.flat + len,
                address: piece.cover.address + len,
                len: piece.cover.len - len,
            };
            if piece.cover.len == 0 {
                pieces.next();
            }
            self.cover(now)?;
        }
        if program.is_some() {
            self.frame.cut();
        }
        Ok(())
    }

    /// Whether the next step could pass a limit, or the frame has grown large.
    fn is_full(&mut self) -> bool {
        let step = 2 * STEP_BYTES + self.corrections.peek().map_or(0, |(_, bytes)| bytes.len());
        self.frame.weight() >= self.sizes.weight_max
            || self.frame.covers().len() >= self.sizes.covers_max
            || self.frame.raw_len() + step > self.sizes.raw_bytes_max
    }

    /// Corrections of contents that start at the next byte.
    fn take_corrections(&mut self) {
        let here = self.frame.at();
        while let Some((_, bytes)) = self.corrections.next_if(|(at, _)| *at == here) {
            self.frame.corrections(bytes);
        }
    }

    fn literal(&mut self, mut end: u64) -> Result<(), DiffError> {
        let at = self.frame.at();
        end = self.corrections.peek().map_or(end, |(at, _)| end.min(*at));
        end = end.min(at + STEP_BYTES as u64);
        let bytes = &mut self.new[..(end - at) as usize];
        self.flat.read_at(at, bytes).map_err(DiffError::ReadNew)?;
        self.frame.literal(bytes);
        Ok(())
    }

    fn cover(&mut self, piece: Piece) -> Result<(), DiffError> {
        let Piece { cover, exact } = piece;
        if exact {
            self.frame.equal_cover(cover.address, cover.len);
            return Ok(());
        }
        let (old, new) = (&mut self.old[..cover.len as usize], &mut self.new[..cover.len as usize]);
        self.space.read_at(cover.address, old).map_err(DiffError::ReadOld)?;
        self.flat.read_at(cover.flat, new).map_err(DiffError::ReadNew)?;
        let differing = old.iter().zip(&*new).filter(|(old, new)| old != new).count() as u64;
        let (told, of) = self.told;
        // As far as is known, prediction tells the others; where it fails, the frame must not burst.
        let told = (differing * told / of.max(1)).clamp(differing / TOLD_PART_MIN, differing);
        self.frame.cover(cover.address, cover.len, told);
        Ok(())
    }

    /// Notes how much the present part has added to the present frame.
    fn weigh(&mut self) {
        let weight = self.frame.weight();
        self.weights.push((self.finished.len(), self.part_index, weight.saturating_sub(self.weighed)));
        self.weighed = weight;
    }

    /// Ends the frame, in the middle of `program` where there is one.
    fn end_frame(&mut self, program: Option<Extent>) {
        let at = self.frame.at();
        if at == self.frame_start {
            return;
        }
        self.weigh();
        self.weighed = 0;
        let frame = std::mem::replace(&mut self.frame, FrameBuilder::new(self.space.len(), at));
        // The rest of a program is predicted by its head, which must be readable by then.
        let settled = self.flat.settled_end(at);
        let head_is_settled = |program: &Extent| {
            let head_end = at.min(program.offset.saturating_add(HEAD_BYTES));
            let readable = self.flat.readable_around(program.offset);
            readable.is_some_and(|readable| head_end <= settled.min(readable.end))
        };
        let next = program.filter(head_is_settled).into_iter().collect();
        let new = std::mem::replace(&mut self.new_programs, next);
        let old = self.programs.old_programs(frame.covers(), &new);
        let programs = Programs { old, new };
        self.finished.push(Finished { frame, flat_len: at - self.frame_start, programs });
        self.frame_start = at;
    }
}

/// Packs the frames, the heaviest first: so all threads end at about the same time, and a frame that takes
/// too much memory shows early.
fn pack(
    space: &Space<'_>,
    flat: &Flat<'_>,
    finished: &[Finished],
    memory_bytes_max: u64,
    preset: Preset,
) -> Result<Option<Vec<PackedFrame>>, DiffError> {
    let mut order: Vec<usize> = (0..finished.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(finished[index].frame.weight()));
    let is_over = AtomicBool::new(false);
    let packed: Vec<Option<(usize, PackedFrame)>> = order
        .into_par_iter()
        .with_max_len(1)
        .map(|index| {
            if is_over.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let Finished { frame, programs, .. } = &finished[index];
            let packed = frame.finish(space, flat, programs, preset.effort(), memory_bytes_max)?;
            is_over.fetch_or(packed.is_none(), Ordering::Relaxed);
            Ok(packed.map(|packed| (index, packed)))
        })
        .collect::<Result<_, _>>()
        .map_err(DiffError::ReadOld)?;
    let Some(mut packed) = packed.into_iter().collect::<Option<Vec<_>>>() else { return Ok(None) };
    packed.sort_by_key(|(index, _)| *index);
    Ok(Some(packed.into_iter().map(|(_, packed)| packed).collect()))
}

/// Puts packed frames together, and shares their sizes out among the files.
fn assemble(
    packed: Vec<PackedFrame>,
    finished: &[Finished],
    weights: &[(usize, usize, u64)],
    parts: &[FlatPart],
) -> Result<Frames, DiffError> {
    let memory_bytes = packed.iter().map(|frame| frame.memory_bytes).max().unwrap_or(0);
    let bytes: Vec<Vec<u8>> = packed.into_iter().map(|frame| frame.bytes).collect();
    if bytes.iter().any(|frame| frame.len() > FRAME_PACKED_BYTES_MAX) {
        return Err(DiffError::Internal("a frame passes its limit"));
    }
    let mut costs: Vec<FileCost> = Vec::new();
    // The last part that was counted: one that goes through several frames has its length but once.
    let mut counted = None;
    for &(frame, part, weight) in weights {
        let packed = bytes.get(frame).map_or(0, |frame| frame.len() as u64);
        let frame_weight = finished.get(frame).map_or(0, |finished| finished.frame.weight());
        let patch_bytes = weight * packed / frame_weight.max(1);
        if patch_bytes > 0 {
            let part = &parts[part];
            let path = part.path.clone().unwrap_or_else(|| "<metadata>".to_owned());
            let flat_len =
                if counted.replace(part.extent) == Some(part.extent) { 0 } else { part.extent.len };
            costs.push(FileCost { path, flat_len, patch_bytes });
        }
    }
    let infos = bytes
        .iter()
        .zip(finished)
        .map(|(bytes, finished)| FrameInfo {
            packed_len: bytes.len() as u32,
            flat_len: finished.flat_len,
            sha256: Sha256::digest(bytes).into(),
        })
        .collect();
    Ok(Frames { infos, bytes, memory_bytes, costs: dearest(costs) })
}

/// The files that cost the most, each once; no more names than the patch's size allows.
fn dearest(costs: Vec<FileCost>) -> Vec<FileCost> {
    let mut by_path: std::collections::BTreeMap<String, FileCost> = std::collections::BTreeMap::new();
    for cost in costs {
        by_path
            .entry(cost.path.clone())
            .and_modify(|sum| {
                sum.flat_len += cost.flat_len;
                sum.patch_bytes += cost.patch_bytes;
            })
            .or_insert(cost);
    }
    let mut costs: Vec<FileCost> = by_path.into_values().collect();
    costs.sort_by_key(|cost| std::cmp::Reverse(cost.patch_bytes));
    // One part in five hundred of the patch for names, and always room for one.
    let total: u64 = costs.iter().map(|cost| cost.patch_bytes).sum();
    let mut room = (total / 500).max(256);
    costs.truncate(COSTS_MAX);
    costs.retain(|cost| {
        let len = cost.path.len() as u64 / 2;
        let fits = len <= room;
        room = room.saturating_sub(len);
        fits
    });
    costs
}
