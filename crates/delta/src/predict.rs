//! Predicts the references of executables.
//!
//! When a program is built again, code and data move, and every address that spans the move changes.
//! A diff that adds byte differences to old bytes pays for each of them. Both sides of a frame know
//! all its covers beforehand, so both know where most things went: a [`Predictor`] replaces the old
//! bytes of a cover by old bytes whose references are re-aimed, and the differences become zero.
//!
//! Where a target went is asked of, in this order: what decoded references to the very same target
//! have taught, the covers, and what references to neighbours have taught.
//!
//! Encoder and decoder run the same code over the same bytes in the same order, so they agree for
//! every input, hostile ones included. A wrong prediction costs bytes, never correctness.
//!
//! The idea of re-aiming references comes from Courgette and Zucchini (Chromium); predicting on the
//! decoder's side and learning on the way follows "delta compression of executable code" (exediff,
//! Baker, Manber, Muth, 1999).

mod addresses;
mod arm64;
mod atlas;
mod boot_image;
mod elf;
mod field;
mod go;
mod images;
mod kallsyms;
mod labels;
mod learned;
mod literals;
mod marks;
mod mask;
mod names;
mod scan;
mod shared;
mod tables;
#[cfg(test)]
mod tests;
mod types;
mod votes;
mod x86;

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::structure::{Extent, ReadAt};

use atlas::{Atlas, Place};
use elf::{HEADER_BYTES_MAX, Image, Layout};
use field::{Field, Form};
use images::Images;
use learned::Learned;
use literals::Way;
use votes::{Source, TRUST_BYTES, Trust, Votes};

pub use addresses::Addresses;
pub use labels::labels;
pub use mask::{MASK_STEP_BYTES, Masker};
pub use shared::{Lesson, Shared};

/// Covers are predicted in steps of at most so many bytes.
pub const STEP_BYTES: u64 = 64 * 1024;
/// Covers in one frame.
pub const COVERS_MAX: usize = 1 << 22;
/// So much of the start of a program tells all that predicting needs, in bytes.
pub const HEAD_BYTES: u64 = HEADER_BYTES_MAX as u64;
/// So much of it tells whether it is one, in bytes.
pub const MAGIC_BYTES: usize = boot_image::MAGIC_END;
/// Covers before and behind the current one that are asked first.
const COVERS_AROUND: usize = 8;
/// References for which tables are asked before they are needed: these are larger than the caches.
const FIELDS_AHEAD: usize = 8;
/// Times that headers are read in one frame for each of its covers: those that jump between many files
/// must not make a decoder read headers without end.
const IMAGES_READ_PER_COVER_MAX: usize = 4;

/// Whether a file that starts with `head` is a program whose references may be understood. No more than
/// [`MAGIC_BYTES`] are looked at.
pub fn is_program(head: &[u8]) -> bool {
    head.starts_with(elf::MAGIC) || boot_image::is_magic(head)
}

/// Old bytes that resemble new ones, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cover {
    /// Offset in the old space.
    pub old: u64,
    /// Offset in the new space.
    pub new: u64,
    /// Length in bytes, the same on both sides.
    pub len: u64,
}

impl Cover {
    fn old_end(&self) -> u64 {
        self.old + self.len
    }
}

/// Why a frame cannot be predicted.
#[derive(Debug, thiserror::Error)]
pub enum PredictError {
    /// More covers than [`COVERS_MAX`].
    #[error("{count} covers in one frame, {COVERS_MAX} are allowed")]
    TooManyCovers {
        /// How many there are.
        count: usize,
    },
    /// A cover or a file lies outside its space, or they are not in order.
    #[error("{what} {index} is out of range or out of order")]
    OutOfOrder {
        /// Which list.
        what: &'static str,
        /// Which entry of it.
        index: usize,
    },
    /// The old bytes cannot be read.
    #[error("reading {len} old bytes at {offset}")]
    Read {
        /// Where, in the old space.
        offset: u64,
        /// How many.
        len: u64,
        /// What the medium said.
        source: io::Error,
    },
    /// A step that does not follow [`Predictor::step_len`].
    #[error("step of {len} bytes at {done} in cover {cover} is out of line")]
    Step {
        /// Index of the cover.
        cover: usize,
        /// Bytes of the cover that are done.
        done: u64,
        /// Length of the step.
        len: usize,
    },
}

/// How well prediction went; counts of references.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// References seen.
    pub references: u64,
    /// Of these, how many the old bytes had right already.
    pub unchanged: u64,
    /// Of these, how many were predicted right.
    pub predicted: u64,
    /// By source of the prediction (the same target, a cover, a target nearby, a cover nearby, the
    /// covers around the reference, another program): how often, and how often right.
    pub sources: [(u64, u64); 6],
}

/// A new file of the frame.
struct NewFile {
    extent: Extent,
    /// The bytes at its start, as long as they come in.
    head: Vec<u8>,
    layout: Option<Arc<Layout>>,
}

/// What a predictor has learned of where references aim.
pub struct Lore {
    learned: Learned,
    trust: Box<[Trust; 256]>,
}

impl Lore {
    /// Knows nothing of programs that have so many bytes together.
    fn new(bytes: u64) -> Self {
        Self { learned: Learned::new(bytes), trust: Box::new([Trust::default(); 256]) }
    }

    /// Hands out all of it as bytes, part by part: it may be kept elsewhere than in memory meanwhile.
    pub fn write(&self, put: &mut dyn FnMut(&[u8])) {
        self.learned.write(put);
        self.trust.iter().for_each(|trust| put(&trust.to_bytes()));
    }

    /// Takes what [`Lore::write`] has handed out of programs that have so many bytes together. Other bytes make wrong
    /// predictions, nothing worse.
    ///
    /// # Errors
    /// What `fill` answers.
    pub fn read<E>(bytes: u64, fill: &mut dyn FnMut(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let learned = Learned::read(bytes, fill)?;
        let mut trust = Box::new([Trust::default(); 256]);
        for trust in trust.iter_mut() {
            let mut bytes = [0; TRUST_BYTES];
            fill(&mut bytes)?;
            *trust = Trust::from_bytes(bytes);
        }
        Ok(Self { learned, trust })
    }
}

/// Re-aims the references in the covers of one frame.
///
/// Memory: about 48 bytes per cover, and less than 8 MiB beyond ([`Predictor::memory_bytes`]).
pub struct Predictor<'a> {
    old: &'a dyn ReadAt,
    covers: Cow<'a, [Cover]>,
    atlas: Atlas,
    learned: Learned,
    shared: Option<&'a Shared>,
    lesson: Lesson,
    old_files: Cow<'a, [Extent]>,
    new_files: Vec<NewFile>,
    images: Images,
    /// Offset in the old space at which the sweep over instructions stands.
    sweep: u64,
    fields: Vec<Field>,
    bytes: Vec<u8>,
    /// New pages in the registers of `AArch64`, as `ADRP` left them.
    pages: [u64; 32],
    trust: Box<[Trust; 256]>,
    tally: Tally,
}

impl<'a> Predictor<'a> {
    /// Upper bound of the memory that a predictor takes beside the covers themselves.
    pub fn memory_bytes(covers: usize) -> u64 {
        learned::LEARNED_BYTES + images::IMAGES_BYTES + covers as u64 * 80 + (2 << 20)
    }

    /// Prepares the covers of a frame, which are in the order of the new space and do not overlap there.
    ///
    /// `old_files` and `new_files` say where files begin and end in either space; both sorted, without
    /// overlaps. Bytes outside files, and in files that are no programs, are predicted as they are.
    ///
    /// # Errors
    /// [`PredictError::TooManyCovers`], [`PredictError::OutOfOrder`].
    pub fn new(
        covers: impl Into<Cow<'a, [Cover]>>,
        old: &'a dyn ReadAt,
        old_files: impl Into<Cow<'a, [Extent]>>,
        new_files: &[Extent],
    ) -> Result<Self, PredictError> {
        Self::knowing(None, covers, old, old_files, new_files)
    }

    /// As [`Predictor::new`]; goes on with what another predictor of the same programs has learned, whose covers may
    /// have been others.
    ///
    /// # Errors
    /// [`PredictError::TooManyCovers`], [`PredictError::OutOfOrder`].
    pub fn knowing(
        lore: Option<Lore>,
        covers: impl Into<Cow<'a, [Cover]>>,
        old: &'a dyn ReadAt,
        old_files: impl Into<Cow<'a, [Extent]>>,
        new_files: &[Extent],
    ) -> Result<Self, PredictError> {
        let (covers, old_files) = (covers.into(), old_files.into());
        if covers.len() > COVERS_MAX {
            return Err(PredictError::TooManyCovers { count: covers.len() });
        }
        let mut end = 0;
        for (index, cover) in covers.iter().enumerate() {
            let out = PredictError::OutOfOrder { what: "cover", index };
            let ends = (cover.old.checked_add(cover.len), cover.new.checked_add(cover.len));
            let (Some(old_end), Some(new_end)) = ends else { return Err(out) };
            if old_end > old.len() || cover.new < end || cover.len == 0 {
                return Err(out);
            }
            end = new_end;
        }
        check_files("old file", &old_files, old.len())?;
        check_files("new file", new_files, u64::MAX)?;
        let bytes = new_files.iter().map(|file| file.len).fold(0, u64::saturating_add);
        let new_files =
            new_files.iter().map(|&extent| NewFile { extent, head: Vec::new(), layout: None }).collect();
        let lore = lore.unwrap_or_else(|| Lore::new(bytes));
        Ok(Self {
            old,
            atlas: Atlas::new(&covers),
            covers,
            learned: lore.learned,
            shared: None,
            lesson: Lesson::default(),
            old_files,
            new_files,
            images: Images::default(),
            sweep: 0,
            fields: Vec::new(),
            bytes: Vec::new(),
            pages: [0; 32],
            trust: lore.trust,
            tally: Tally::default(),
        })
    }

    /// Believes what other programs have taught, and notes what this one teaches.
    #[must_use]
    pub fn sharing(self, shared: &'a Shared) -> Self {
        Self { shared: Some(shared), ..self }
    }

    /// What was learned, and what the programs teach others, where it was [shared](Predictor::sharing).
    pub fn into_lore(self) -> (Lore, Lesson) {
        (Lore { learned: self.learned, trust: self.trust }, self.lesson)
    }

    /// How many bytes the next step takes, after `done` bytes of the cover. Zero at its end.
    ///
    /// Steps end where files end on either side, and where the headers of a new file are complete.
    pub fn step_len(&self, cover: usize, done: u64) -> u64 {
        let Some(cover) = self.covers.get(cover).filter(|cover| done < cover.len) else { return 0 };
        let mut len = (cover.len - done).min(STEP_BYTES);
        for (at, file) in [
            (cover.old + done, file_at(&self.old_files, |file| *file, cover.old + done)),
            (cover.new + done, self.new_file(cover.new + done)),
        ] {
            let Some((_, file)) = file else { continue };
            len = len.min(if at < file.offset { file.offset - at } else { file.end() - at });
        }
        if let Some((_, file)) = self.new_file(cover.new + done) {
            let head_end = file.offset.saturating_add(HEADER_BYTES_MAX as u64);
            let at = cover.new + done;
            if at < head_end {
                len = len.min(head_end - at);
            }
        }
        len
    }

    /// Turns the new bytes of a step into differences. Call it for every step, in order.
    ///
    /// # Errors
    /// [`PredictError::Step`], [`PredictError::Read`].
    pub fn encode(&mut self, cover: usize, done: u64, bytes: &mut [u8]) -> Result<(), PredictError> {
        self.check_step(cover, done, bytes.len())?;
        self.aim(cover, done, bytes, |_, _, new| Some(new))?;
        self.note_new(self.covers[cover].new + done, bytes);
        for (byte, predicted) in bytes.iter_mut().zip(&self.bytes) {
            *byte = byte.wrapping_sub(*predicted);
        }
        Ok(())
    }

    /// Turns the differences of a step into new bytes. Call it for every step, in order.
    ///
    /// # Errors
    /// [`PredictError::Step`], [`PredictError::Read`].
    pub fn decode(&mut self, cover: usize, done: u64, bytes: &mut [u8]) -> Result<(), PredictError> {
        self.check_step(cover, done, bytes.len())?;
        self.aim(cover, done, bytes, |_, predicted, difference| Some(add_bytes(predicted, difference)))?;
        for (byte, predicted) in bytes.iter_mut().zip(&self.bytes) {
            *byte = byte.wrapping_add(*predicted);
        }
        self.note_new(self.covers[cover].new + done, bytes);
        Ok(())
    }

    /// Tells the new bytes of a step, or of the first bytes of one, of which only some are known, those where `known`
    /// is true: writes over the others what is expected. Learns from references that are known as a whole. A step may
    /// begin anywhere in a cover; steps may be told in any order, and again.
    ///
    /// # Errors
    /// [`PredictError::Step`], [`PredictError::Read`].
    pub fn tell(
        &mut self,
        cover: usize,
        done: u64,
        bytes: &mut [u8],
        known: &[bool],
    ) -> Result<(), PredictError> {
        let is_known = |range: Range<usize>| known.get(range).is_some_and(|known| !known.contains(&false));
        self.aim(cover, done, bytes, |range, _, new| is_known(range).then_some(new))?;
        let len = bytes.len().min(known.len());
        for ((byte, predicted), known) in bytes[..len].iter_mut().zip(&self.bytes[..len]).zip(&known[..len]) {
            // Without a branch, so that many bytes are chosen at a time.
            let mask = u8::from(*known).wrapping_neg();
            *byte = *byte & mask | *predicted & !mask;
        }
        Ok(())
    }

    /// Tells of new bytes that no cover holds, and leaves them as they are.
    pub fn literal(&mut self, offset: u64, bytes: &[u8]) {
        self.note_new(offset, bytes);
    }

    /// How many of the next `left` bytes, which no cover holds, are one step.
    ///
    /// Steps end where new files start and end, and where their headers are complete.
    pub fn literal_step_len(&self, offset: u64, left: u64) -> u64 {
        let len = left.min(STEP_BYTES);
        match self.new_file(offset) {
            Some((_, file)) if offset < file.offset => len.min(file.offset - offset),
            Some((_, file)) => {
                let head_end = file.offset.saturating_add(HEADER_BYTES_MAX as u64);
                len.min(if offset < head_end { head_end } else { u64::MAX }.min(file.end()) - offset)
            }
            None => len,
        }
    }

    /// Turns the new bytes of a step that no cover holds into bytes that pack better. Call it for every
    /// such step, in order with the covers.
    pub fn encode_literal(&mut self, offset: u64, bytes: &mut [u8]) {
        let program = self.literal_program(offset);
        self.note_new(offset, bytes);
        if let Some((layout, place)) = program {
            literals::rewrite(&layout, place, bytes, Way::ToAddresses);
        }
    }

    /// Turns what [`Predictor::encode_literal`] has made into the new bytes again. Call it for every such
    /// step, in order with the covers.
    pub fn decode_literal(&mut self, offset: u64, bytes: &mut [u8]) {
        if let Some((layout, place)) = self.literal_program(offset) {
            literals::rewrite(&layout, place, bytes, Way::ToDistances);
        }
        self.note_new(offset, bytes);
    }

    /// The layout of the new program that a step stands in, as far as it is known before the step, and the
    /// step's place in it.
    fn literal_program(&self, offset: u64) -> Option<(Arc<Layout>, u64)> {
        let (index, file) = self.new_file(offset)?;
        let layout = Arc::clone(self.new_files[index].layout.as_ref()?);
        Some((layout, offset.checked_sub(file.offset)?))
    }

    /// Goes through all covers in one go: `bytes` are the whole new space, and all of them up to the end of
    /// the last cover are encoded (`encode`) or decoded, in place.
    ///
    /// # Errors
    /// [`PredictError::Read`].
    ///
    /// # Panics
    /// If a cover ends behind `bytes`.
    pub fn recode(&mut self, bytes: &mut [u8], encode: bool) -> Result<(), PredictError> {
        let mut at = 0;
        for index in 0..self.covers.len() {
            let start = self.covers[index].new as usize;
            while at < start {
                let len = self.literal_step_len(at as u64, (start - at) as u64) as usize;
                let step = &mut bytes[at..at + len];
                if encode {
                    self.encode_literal(at as u64, step);
                } else {
                    self.decode_literal(at as u64, step);
                }
                at += len;
            }
            loop {
                let done = (at - start) as u64;
                let step = match self.step_len(index, done) as usize {
                    0 => break,
                    len => &mut bytes[at..at + len],
                };
                at += step.len();
                if encode { self.encode(index, done, step)? } else { self.decode(index, done, step)? }
            }
        }
        Ok(())
    }

    /// How it went so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    fn new_file(&self, offset: u64) -> Option<(usize, Extent)> {
        file_at(&self.new_files, |file| file.extent, offset)
    }

    /// Keeps the headers of new files until they can be read.
    fn note_new(&mut self, mut offset: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let Some((index, extent)) = self.new_file(offset) else { return };
            if offset < extent.offset {
                let skip = extent.offset - offset;
                if skip >= bytes.len() as u64 {
                    return;
                }
                bytes = &bytes[skip as usize..];
                offset = extent.offset;
            }
            let file = &mut self.new_files[index];
            let len = (extent.end() - offset).min(bytes.len() as u64) as usize;
            let complete = HEADER_BYTES_MAX.min(usize::try_from(extent.len).unwrap_or(usize::MAX));
            if file.layout.is_none()
                && file.head.len() < complete
                && file.head.len() as u64 == offset - extent.offset
            {
                let take = len.min(complete - file.head.len());
                file.head.extend_from_slice(&bytes[..take]);
                if file.head.len() == complete {
                    file.layout = Layout::parse(&file.head, extent.len).map(Arc::new);
                    file.head = Vec::new();
                }
            }
            bytes = &bytes[len..];
            offset += len as u64;
        }
    }

    /// Fills `self.bytes` with the prediction of a step. `actual` makes the new bytes of a reference of the
    /// predicted ones and those in `given`.
    fn aim(
        &mut self,
        cover_index: usize,
        done: u64,
        given: &[u8],
        actual: impl Fn(Range<usize>, u64, u64) -> Option<u64>,
    ) -> Result<(), PredictError> {
        let len = given.len();
        if len == 0 || len as u64 > self.step_len(cover_index, done) {
            return Err(PredictError::Step { cover: cover_index, done, len });
        }
        let cover = self.covers[cover_index];
        let (old_at, new_at) = (cover.old + done, cover.new + done);
        self.fields.clear();
        let programs = self.programs(old_at, new_at);
        let Some((old_index, new_index)) = programs else {
            return self.read(old_at, 0, len);
        };
        self.scan(old_at, len, old_index)?;
        let old_file = self.old_files[old_index];
        let new_file = self.new_files[new_index].extent;
        let fields = std::mem::take(&mut self.fields);
        let pair = Pair { old_index, old_file, new_index, new_file, cover: cover_index };
        let mut free = 0;
        for (index, field) in fields.iter().enumerate() {
            if let Some(later) = fields.get(index + FIELDS_AHEAD) {
                self.learned.prefetch(space(later, pair), later.target);
            }
            let range = field.at as usize..field.at as usize + field.form.width();
            // The decoder has the bytes of a reference once all that is predicted of them is.
            if range.end > len || range.start < free {
                continue;
            }
            free = range.end;
            let place = new_at - new_file.offset + u64::from(field.at);
            self.resolve(field, pair, place, range, given, &actual);
        }
        self.fields = fields;
        Ok(())
    }

    fn check_step(&self, cover: usize, done: u64, len: usize) -> Result<(), PredictError> {
        if len as u64 == self.step_len(cover, done) {
            return Ok(());
        }
        Err(PredictError::Step { cover, done, len })
    }

    /// The old and the new program that a cover stands in.
    fn programs(&mut self, old_at: u64, new_at: u64) -> Option<(usize, usize)> {
        let (old_index, old_file) = file_at(&self.old_files, |file| *file, old_at)?;
        let (new_index, new_file) = self.new_file(new_at)?;
        if old_at < old_file.offset || new_at < new_file.offset {
            return None;
        }
        self.new_files[new_index].layout.as_ref()?;
        self.image(old_index)?;
        Some((old_index, new_index))
    }

    /// The headers of an old file, read when first asked for.
    fn image(&mut self, index: usize) -> Option<&mut Image> {
        let reads_max = self.old_files.len() + self.covers.len().saturating_mul(IMAGES_READ_PER_COVER_MAX);
        self.images.open(index, self.old, self.old_files[index], reads_max)
    }

    /// Reads old bytes, `before` more in front, into `self.bytes`.
    fn read(&mut self, old_at: u64, before: usize, len: usize) -> Result<(), PredictError> {
        self.bytes.resize(before + len, 0);
        let offset = old_at - before as u64;
        self.old.read_at(offset, &mut self.bytes).map_err(|source| PredictError::Read {
            offset,
            len: len as u64,
            source,
        })
    }

    /// Reads the old bytes of a step into `self.bytes`, and finds the references in them.
    fn scan(&mut self, old_at: u64, len: usize, old_index: usize) -> Result<(), PredictError> {
        let old_file = self.old_files[old_index];
        let start = old_at - old_file.offset;
        let Some(image) = self.image(old_index) else { return self.read(old_at, 0, len) };
        let look_back = scan::look_back_bytes(image.region(start, old_file.len).content);
        let context = start.min(look_back) as usize;
        self.read(old_at, context, len)?;
        let mut sweep = self.sweep.wrapping_sub(old_file.offset);
        let mut fields = std::mem::take(&mut self.fields);
        let bytes = std::mem::take(&mut self.bytes);
        let old = self.old;
        let Some(image) = self.image(old_index) else { return Ok(()) };
        let mut at = start;
        while at < start + len as u64 {
            let region = image.region(at, old_file.len);
            image.find_tables(old, old_file, &region);
            let end = region.offset.saturating_add(region.len).min(start + len as u64);
            if end <= at {
                break;
            }
            let before = (at - region.offset).min(context as u64 + (at - start));
            let before = before.min(scan::look_back_bytes(region.content));
            let from = (at - before + context as u64 - start) as usize;
            let first = fields.len();
            let run = scan::Run {
                image,
                region,
                offset: at,
                bytes: &bytes[from..(end + context as u64 - start) as usize],
                before: before as usize,
            };
            scan::references(&run, &mut sweep, &mut fields);
            for field in &mut fields[first..] {
                field.at += (at - start) as u32;
                field.context = votes::context(&region, field.form);
            }
            at = end;
        }
        self.sweep = sweep.wrapping_add(old_file.offset);
        self.fields = fields;
        self.bytes = bytes;
        self.bytes.drain(..context);
        Ok(())
    }

    /// Predicts one reference, and learns from what it turns out to be.
    fn resolve(
        &mut self,
        field: &Field,
        pair: Pair,
        place: u64,
        range: Range<usize>,
        given: &[u8],
        actual: &impl Fn(Range<usize>, u64, u64) -> Option<u64>,
    ) {
        let in_file = matches!(field.form, Form::InFile | Form::InFile64 | Form::Length64);
        let Some(layout) = self.new_files[pair.new_index].layout.as_ref() else { return };
        let Some(address) = layout.address(place).or(in_file.then_some(place)) else {
            // Not loaded: addresses in it are absolute, so any will do.
            return self.resolve_at(field, pair, place, range, given, actual);
        };
        self.resolve_at(field, pair, address, range, given, actual);
    }

    fn resolve_at(
        &mut self,
        field: &Field,
        pair: Pair,
        address: u64,
        range: Range<usize>,
        given: &[u8],
        actual: &impl Fn(Range<usize>, u64, u64) -> Option<u64>,
    ) {
        let (base, votes) = self.votes(field, pair);
        let trust = self.trust[usize::from(field.context)];
        let (target, source) = votes.choose(trust).unwrap_or((field.target, Source::Extrapolated));
        let predicted = &mut self.bytes[range.clone()];
        let unchanged = word(predicted);
        field.form.write(predicted, address, base, target);
        let predicted = word(predicted);
        let width = range.len();
        let Some(new) = actual(range.clone(), predicted, word(&given[range])) else { return };
        self.tally.references += 1;
        self.tally.unchanged += u64::from(new == unchanged);
        let right = new == predicted;
        self.tally.predicted += u64::from(right);
        self.tally.sources[source as usize].0 += 1;
        self.tally.sources[source as usize].1 += u64::from(right);
        let page = if let Form::PageLow(register, _) = field.form {
            self.pages[usize::from(register & 31)]
        } else {
            base
        };
        let found = field.form.read(&new.to_le_bytes()[..width], address, page);
        self.trust[usize::from(field.context)].learn(&votes, found);
        match field.form {
            Form::Page(register) => self.pages[usize::from(register & 31)] = found,
            _ => self.note(field.form, space(field, pair), field.target, found.wrapping_sub(field.target)),
        }
    }

    /// Notes that the target of a reference has moved by `delta`.
    fn note(&mut self, form: Form, space: u64, target: u64, delta: u64) {
        // Numbers have four bytes.
        let delta = if form == Form::Number { i64::from(delta as i32) as u64 } else { delta };
        if self.shared.is_some() && Shared::holds(space) && self.learned.exact(space, target) != Some(delta) {
            self.lesson.note(space, target, delta);
        }
        self.learned.note(space, target, delta);
    }

    /// Where the base of a reference went, and what the sources say of its target.
    fn votes(&self, field: &Field, pair: Pair) -> (u64, Votes) {
        let space = space(field, pair);
        match field.form {
            Form::Number => (0, self.votes_for_number(space, field, pair)),
            Form::InFile | Form::InFile64 | Form::Length64 => {
                let votes = |offset| self.votes_for(space, offset, self.cover_in_file(pair, offset), None);
                (Self::base(field, votes), votes(field.target))
            }
            _ => {
                let votes = |address| {
                    let around = self.around(pair, address);
                    let cover = if around.is_none() { self.cover_address(pair, address) } else { None };
                    self.votes_for(space, address, cover, around)
                };
                (Self::base(field, votes), votes(field.target))
            }
        }
    }

    fn votes_for_number(&self, space: u64, field: &Field, pair: Pair) -> Votes {
        let moved = |delta| field.target.wrapping_add(delta) & u64::from(u32::MAX);
        if field.base == field::SYMBOL_VERSIONS {
            // Checksums have no neighbours.
            let shared = || self.shared?.exact(space, field.target);
            let exact = self.learned.exact(space, field.target).or_else(shared).map(moved);
            return Votes { exact, ..Votes::default() };
        }
        let mut votes = self.votes_for(space, field.target, self.cover_symbol(field, pair), None);
        if let Some(shared) = self.shared.filter(|_| Shared::holds(space)) {
            votes.shared = shared.exact(space, field.target).map(moved);
            let near = || shared.near(space, field.target).map(moved);
            votes.near = votes.near.or_else(near);
        }
        votes
    }

    fn base(field: &Field, votes: impl Fn(u64) -> Votes) -> u64 {
        if field.base == 0 || field.form == Form::Loaded64 {
            return field.base;
        }
        votes(field.base).choose(Trust::default()).map_or(field.base, |(base, _)| base)
    }

    fn votes_for(&self, space: u64, target: u64, cover: Option<(u64, bool)>, around: Option<u64>) -> Votes {
        if around.is_some() {
            return Votes { around, ..Votes::default() };
        }
        let moved = |delta| target.wrapping_add(delta);
        let exact = self.learned.exact(space, target).map(moved);
        let covered = cover.filter(|cover| cover.1).map(|cover| cover.0);
        if exact.is_some() && exact == covered {
            return Votes { exact, covered, ..Votes::default() };
        }
        let near = self.learned.near(space, target).map(moved);
        let extrapolated = cover.filter(|cover| !cover.1).map(|cover| cover.0);
        Votes { around, exact, covered, near, extrapolated, ..Votes::default() }
    }

    /// What the covers say about an address of the old file, and whether one holds it.
    fn cover_address(&self, pair: Pair, target: u64) -> Option<(u64, bool)> {
        let old = self.images.get(pair.old_index)?;
        let offset = old.layout.offset(target)?;
        let layout = self.new_files[pair.new_index].layout.as_ref()?;
        let (offset, covered) = self.cover_in_file(pair, offset)?;
        Some((layout.address(offset)?, covered))
    }

    /// What the current cover and those around it say: code that was copied together aims at its like.
    fn around(&self, pair: Pair, target: u64) -> Option<u64> {
        let old = self.images.get(pair.old_index)?;
        let offset = pair.old_file.offset + old.layout.offset(target)?;
        let holds = |cover: &Cover| offset.wrapping_sub(cover.old) < cover.len;
        let current = self.covers.get(pair.cover)?;
        let cover = if holds(current) {
            current
        } else {
            let from = pair.cover.saturating_sub(COVERS_AROUND);
            let to = (pair.cover + COVERS_AROUND + 1).min(self.covers.len());
            self.covers[from..to].iter().find(|cover| holds(cover))?
        };
        let new = (cover.new + (offset - cover.old)).checked_sub(pair.new_file.offset)?;
        self.new_files[pair.new_index].layout.as_ref()?.address(new)
    }

    /// What the covers of a table of symbols say about the number of one of them, and whether one holds it.
    fn cover_symbol(&self, field: &Field, pair: Pair) -> Option<(u64, bool)> {
        if field.base != field::SYMBOL_INDICES {
            return None;
        }
        let table = self.images.get(pair.old_index)?.symbols?;
        let entry = field.target.checked_mul(elf::SYMBOL_BYTES as u64)?.checked_add(table)?;
        let (start, _) = self.cover_in_file(pair, table)?;
        let (entry, is_covered) = self.cover_in_file(pair, entry)?;
        let distance = entry.checked_sub(start)?;
        let is_entry = distance.is_multiple_of(elf::SYMBOL_BYTES as u64);
        is_entry.then_some((distance / elf::SYMBOL_BYTES as u64, is_covered))
    }

    /// What the covers say about an offset in the old file, and whether one holds it.
    fn cover_in_file(&self, pair: Pair, offset: u64) -> Option<(u64, bool)> {
        if offset >= pair.old_file.len {
            return None;
        }
        let (new, covered) = match self.atlas.place(pair.old_file.offset + offset)? {
            Place::Covered(new) => (new, true),
            Place::Near(new) => (new, false),
        };
        let offset = new.checked_sub(pair.new_file.offset)?;
        (offset < pair.new_file.len).then_some((offset, covered))
    }
}

/// The old file that a cover copies from, and the new one that it belongs to.
#[derive(Clone, Copy)]
struct Pair {
    old_index: usize,
    old_file: Extent,
    new_index: usize,
    new_file: Extent,
    /// Index of the cover.
    cover: usize,
}

/// A reference's four or eight bytes as a number.
fn word(bytes: &[u8]) -> u64 {
    if let Ok(bytes) = bytes.try_into() {
        return u64::from(u32::from_le_bytes(bytes));
    }
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

/// Adds byte by byte, modulo 256.
fn add_bytes(first: u64, second: u64) -> u64 {
    const LOW_BITS: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    // Carries stay below the highest bit of each byte, which is added without one.
    ((first & LOW_BITS) + (second & LOW_BITS)) ^ ((first ^ second) & !LOW_BITS)
}

/// What a reference's target is one of.
fn space(field: &Field, pair: Pair) -> u64 {
    let file = pair.old_index as u64;
    match field.form {
        Form::Number if field.base >= field::SYMBOL_INDICES => field.base | file,
        Form::Number => field.base,
        Form::InFile | Form::InFile64 | Form::Length64 => !file,
        _ => file,
    }
}

fn check_files(what: &'static str, files: &[Extent], len: u64) -> Result<(), PredictError> {
    let mut end = 0;
    for (index, file) in files.iter().enumerate() {
        match file.offset.checked_add(file.len) {
            Some(file_end) if file.offset >= end && file_end <= len => end = file_end,
            _ => return Err(PredictError::OutOfOrder { what, index }),
        }
    }
    Ok(())
}

/// The file that holds `offset`, or else the next one.
fn file_at<T>(files: &[T], extent: impl Fn(&T) -> Extent, offset: u64) -> Option<(usize, Extent)> {
    let index = files.partition_point(|file| extent(file).end() <= offset);
    files.get(index).map(|file| (index, extent(file)))
}
