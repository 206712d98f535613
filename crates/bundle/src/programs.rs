//! Code that only moved, or nearly so: the device makes it from what it has.
//!
//! A chunk of a program whose masked form is known differs from the old one in its references only. Where
//! most code went is known from the chunks that are the same, so most references can be told. Between chunks that
//! are known, one without a like is taken for what stands there in the old program: it may differ in a few bytes.
//! The digest of the chunk proves what is told; where it is wrong in a few places, parity corrects it
//! ([`crate::parity`]).

use std::collections::HashSet;
use std::io;
use std::ops::Range;

use fluvial_delta::apply::Target;
use fluvial_delta::predict::{Cover, HEAD_BYTES, Lesson, PredictError, Predictor, Shared};
use fluvial_delta::structure::{Extent, ReadAt};

use crate::cut::digests;
use crate::guesses::{Guess, GuessWriter};
use crate::hash::HashKind;
use crate::parity::{self, PARITY_BYTES};
use crate::pieces::NOWHERE;
use crate::ranges::{widened, without};
use crate::taught::Taught;

/// A chunk without a like is looked for no farther from one that is known, in bytes.
const STRANGE_BYTES_MAX: u64 = 64 << 10;

/// A program is tried so often at most ...
const TRIES_MAX: usize = 2;
/// ... and again only where one part in so many of what was open was proved: that teaches about the others.
const PROVED_SHARE: usize = 8;

/// Where a program is tried again, it is left as soon as, of so many pieces that were told or more, less than one in
/// so many was proved: nearly all of what is told then was told before.
const AGAIN_PIECES_MIN: usize = 256;
const AGAIN_SHARE: usize = 64;

/// What stands around a part is looked at, too, so far: references may reach across its ends, and instructions.
const REACH_BYTES: u64 = 32;

/// A part of a new program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    /// Where the old space holds the like of it, [`NOWHERE`] if that is not known.
    pub(crate) old: u64,
    /// Where it stands in the program.
    pub(crate) new: u64,
    pub(crate) len: u64,
    pub(crate) bytes: Bytes,
    /// Which piece it is, if that is to be told.
    pub(crate) open: Option<Open>,
}

/// Where the bytes of a part are known to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bytes {
    /// Nowhere.
    Unknown,
    /// In the payload.
    Made,
    /// In the old space, as they are: whether they have been copied yet does not matter.
    Old,
    /// They are zeros, whether they have been written yet or not.
    Zeros,
}

impl Known {
    fn end(&self) -> u64 {
        self.new + self.len
    }

    /// Whether it is to be told of its neighbours.
    fn is_strange(&self) -> bool {
        self.old == NOWHERE && self.open.is_some()
    }
}

/// A piece that is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) piece: u32,
    pub(crate) check: u32,
}

/// Puts `next` behind `list`, or makes the last one longer.
pub(crate) fn push(list: &mut Vec<Known>, next: Known) {
    if let Some(last) = list.last_mut()
        && last.open.is_none()
        && next.open.is_none()
        && last.bytes == next.bytes
        && (last.old == NOWHERE) == (next.old == NOWHERE)
        && (last.old == NOWHERE || last.old + last.len == next.old)
    {
        last.len += next.len;
    } else {
        list.push(next);
    }
}

/// Why a program could not be looked at.
pub(crate) enum Failed {
    /// The old space, or the covers: nothing is told, everything will be fetched.
    Unpredictable,
    ReadTarget(io::Error),
    Write(io::Error),
}

impl From<PredictError> for Failed {
    fn from(_: PredictError) -> Self {
        Self::Unpredictable
    }
}

/// A program in the making.
pub(crate) struct Program<'a> {
    pub(crate) hash: HashKind,
    /// Where it stands in `order`; its first [`HEAD_BYTES`] bytes are there.
    pub(crate) extent: Extent,
    pub(crate) order: &'a dyn Target,
    pub(crate) old: &'a dyn ReadAt,
    /// Where programs stand in `old`.
    pub(crate) old_programs: &'a [Extent],
    /// What other programs have taught.
    pub(crate) shared: &'a Shared,
    /// Whether pieces without a like are told.
    pub(crate) tells_strangers: bool,
    /// Reads the syndromes of a piece; answers how many bytes of them there are.
    pub(crate) parity: &'a dyn Fn(u32, &mut [u8; PARITY_BYTES]) -> usize,
}

/// From which side what stands between known chunks is told: where something was put in or taken out, one half
/// fits to what stands before, the other to what stands behind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    Behind,
}

/// What became of a program.
#[derive(Default)]
pub(crate) struct Resolved {
    /// The pieces that were proved, and where the old space has the like of each.
    pub(crate) proved: Vec<(u32, u64)>,
    /// What it teaches others.
    pub(crate) lesson: Lesson,
    /// How many pieces were not proved.
    pub(crate) open: usize,
    /// In a try behind the first one, how many pieces were told, and how many of them were proved.
    again: Option<[usize; 2]>,
    /// What was told and not proved: the piece, and the start of the digest.
    wrong: HashSet<(u32, u32)>,
}

/// Makes the open parts of a program, which are `known` in order, and writes those that are proved; what is not goes
/// to `guesses`. What was `taught` before is not read again; what is learned is left there.
///
/// Memory: 8 MiB, and 80 bytes for each part.
pub(crate) fn resolve(
    program: &Program<'_>,
    known: &mut [Known],
    taught: &mut Taught,
    guesses: &mut GuessWriter<'_>,
) -> Result<Resolved, Failed> {
    let mut resolved = Resolved::default();
    for number in 0..TRIES_MAX {
        let proved_before = resolved.proved.len();
        let open = known.iter().filter(|one| one.open.is_some()).count();
        resolved.again = (number > 0).then_some([0; 2]);
        let is_uneven = resolve_from(program, known, Side::Before, taught, guesses, &mut resolved)?;
        if is_uneven {
            resolve_from(program, known, Side::Behind, taught, guesses, &mut resolved)?;
        }
        if (resolved.proved.len() - proved_before) * PROVED_SHARE < open.max(1) {
            break;
        }
    }
    resolved.open = known.iter().filter(|one| one.open.is_some()).count();
    Ok(resolved)
}

/// Answers whether the other side would give something else.
fn resolve_from(
    program: &Program<'_>,
    known: &mut [Known],
    side: Side,
    taught: &mut Taught,
    guesses: &mut GuessWriter<'_>,
    resolved: &mut Resolved,
) -> Result<bool, Failed> {
    let (covers, is_uneven) = covers(known, side, program.old.len());
    let whole = [Extent { offset: 0, len: program.extent.len }];
    let lore = taught.lore.take();
    let mut predictor =
        Predictor::knowing(lore, &covers, program.old, program.old_programs, &whole)?.sharing(program.shared);
    let mut bytes = Vec::new();
    let mut at = 0;
    while at < HEAD_BYTES.min(program.extent.len) {
        let len = predictor.literal_step_len(at, HEAD_BYTES.min(program.extent.len) - at);
        program.read(known, at, len, &mut bytes)?;
        predictor.literal(at, &bytes);
        at += len;
    }
    let mut is_known = Vec::new();
    // What is there teaches first, wherever it stands.
    let there = ranges(known, |one| one.bytes != Bytes::Unknown);
    let there = widened(there, 0, program.extent.len);
    let news = widened(without(&there, &taught.ranges), REACH_BYTES, program.extent.len);
    taught.ranges = there;
    each_step(&mut predictor, &covers, &news, |predictor, cover, done, new| {
        mark(known, &new, &mut is_known);
        program.read(known, new.start, new.end - new.start, &mut bytes)?;
        Ok(predictor.tell(cover, done, &mut bytes, &is_known)?)
    })?;
    let mut telling = Telling::default();
    let open = ranges(known, |one| program.tells(one).is_some());
    let open = widened(open, REACH_BYTES, program.extent.len);
    each_step(&mut predictor, &covers, &open, |predictor, cover, done, new| {
        if resolved.is_vain() {
            return Ok(());
        }
        mark(known, &new, &mut is_known);
        program.read(known, new.start, new.end - new.start, &mut bytes)?;
        predictor.tell(cover, done, &mut bytes, &is_known)?;
        let old = covers[cover].old + done;
        for index in parts(known, &new) {
            let Some(open) = program.tells(&known[index]) else { continue };
            if !telling.take(index, &known[index], &new, &bytes, old) {
                continue;
            }
            let guess = &mut telling.guess;
            guess.piece = open.piece;
            let proof = program.prove(guess, open.check, &mut resolved.wrong);
            resolved.count(&proof);
            match proof {
                Proof::Right => {
                    let (offset, old) = (program.extent.offset + known[index].new, guess.place);
                    program.order.write_at(offset, &guess.bytes).map_err(Failed::Write)?;
                    resolved.proved.push((open.piece, old));
                    known[index] = Known { old, bytes: Bytes::Made, open: None, ..known[index] };
                }
                Proof::Wrong => guesses.put(guess),
                Proof::Known => {}
            }
        }
        Ok(())
    })?;
    let (lore, lesson) = predictor.into_lore();
    taught.lore = Some(lore);
    resolved.lesson.append(lesson);
    Ok(is_uneven)
}

impl Resolved {
    /// Counts what became of what was told of a piece.
    fn count(&mut self, proof: &Proof) {
        if let Some([told, proved]) = &mut self.again {
            *told += 1;
            *proved += usize::from(matches!(proof, Proof::Right));
        }
    }

    /// Whether trying again has come to too little to go on.
    fn is_vain(&self) -> bool {
        self.again.is_some_and(|[told, proved]| told >= AGAIN_PIECES_MIN && proved * AGAIN_SHARE < told)
    }
}

/// Where parts of a kind stand.
fn ranges(known: &[Known], is_wanted: impl Fn(&Known) -> bool) -> impl Iterator<Item = Range<u64>> {
    known.iter().filter(move |one| is_wanted(one)).map(|one| one.new..one.end())
}

/// Calls `each` for what covers hold of `ranges`, step by step, with the cover, what is done of it, and the new bytes.
fn each_step<'a>(
    predictor: &mut Predictor<'a>,
    covers: &[Cover],
    ranges: &[Range<u64>],
    mut each: impl FnMut(&mut Predictor<'a>, usize, u64, Range<u64>) -> Result<(), Failed>,
) -> Result<(), Failed> {
    for range in ranges {
        let first = covers.partition_point(|cover| cover.new + cover.len <= range.start);
        for (index, cover) in covers.iter().enumerate().skip(first) {
            let mut at = cover.new.max(range.start);
            let end = (cover.new + cover.len).min(range.end);
            if at >= end {
                break;
            }
            while at < end {
                let len = predictor.step_len(index, at - cover.new).min(end - at);
                if len == 0 {
                    break;
                }
                each(predictor, index, at - cover.new, at..at + len)?;
                at += len;
            }
        }
    }
    Ok(())
}

/// The parts that have bytes in a range.
fn parts(known: &[Known], range: &Range<u64>) -> Range<usize> {
    let first = known.partition_point(|one| one.end() <= range.start);
    let count = known[first..].partition_point(|one| one.new < range.end);
    first..first + count
}

/// Says of every byte of a range whether it is known.
fn mark(known: &[Known], range: &Range<u64>, is_known: &mut Vec<bool>) {
    is_known.clear();
    is_known.resize((range.end - range.start) as usize, false);
    for one in known[parts(known, range)].iter().filter(|one| one.bytes != Bytes::Unknown) {
        let from = one.new.max(range.start) - range.start;
        let to = one.end().min(range.end) - range.start;
        is_known[from as usize..to as usize].fill(true);
    }
}

/// What the old space holds for a new program, and whether parts without a like were taken from one side where
/// the other side gives something else.
fn covers(known: &[Known], side: Side, old_len: u64) -> (Vec<Cover>, bool) {
    let mut covers: Vec<Cover> = Vec::with_capacity(known.len());
    let mut is_uneven = false;
    let mut index = 0;
    while let Some(one) = known.get(index) {
        if !one.is_strange() {
            if one.old != NOWHERE {
                push_cover(&mut covers, Cover { old: one.old, new: one.new, len: one.len });
            }
            index += 1;
            continue;
        }
        let count = known[index..].iter().take_while(|one| one.is_strange()).count();
        let gap = one.new..known[index + count - 1].end();
        let at =
            |index: Option<usize>| index.and_then(|index| known.get(index)).filter(|one| one.old != NOWHERE);
        let before = at(index.checked_sub(1)).map(|one| one.old + one.len);
        let behind = at(Some(index + count)).map(|one| one.old);
        index += count;
        let len = gap.end - gap.start;
        let room = match (before, behind) {
            (Some(before), Some(behind)) if behind >= before => behind - before,
            _ => STRANGE_BYTES_MAX,
        };
        is_uneven |= before.is_some() && behind.is_some() && room != len;
        match (side, before, behind) {
            (Side::Before, Some(old), _) | (Side::Behind, Some(old), None) => {
                let len = len.min(room).min(old_len.saturating_sub(old));
                push_cover(&mut covers, Cover { old, new: gap.start, len });
            }
            (_, _, Some(old)) => {
                let len = len.min(room).min(old);
                push_cover(&mut covers, Cover { old: old - len, new: gap.end - len, len });
            }
            _ => {}
        }
    }
    (covers, is_uneven)
}

/// Puts `next` behind `covers`, or makes the last one longer: references reach across the ends of chunks.
fn push_cover(covers: &mut Vec<Cover>, next: Cover) {
    if next.len == 0 {
        return;
    }
    if let Some(last) = covers.last_mut()
        && last.new + last.len == next.new
        && last.old + last.len == next.old
    {
        last.len += next.len;
    } else {
        covers.push(next);
    }
}

/// What becomes of what was told of a piece.
enum Proof {
    Right,
    Wrong,
    /// It is wrong, as before.
    Known,
}

/// The part at hand, whose bytes come step by step.
#[derive(Default)]
struct Telling {
    index: Option<usize>,
    guess: Guess,
}

impl Telling {
    /// Takes what a step at `old`, of the bytes `new`, tells of a part; answers whether it is there as a whole.
    fn take(&mut self, index: usize, part: &Known, new: &Range<u64>, bytes: &[u8], old: u64) -> bool {
        let (from, to) = (part.new.max(new.start), part.end().min(new.end));
        let told = &mut self.guess.bytes;
        if from == part.new {
            (self.index, self.guess.place) = (Some(index), old + (from - new.start));
            told.clear();
        }
        // What came before may have been told of nothing.
        if self.index != Some(index) || told.len() as u64 != from - part.new {
            self.index = None;
            return false;
        }
        told.extend_from_slice(&bytes[(from - new.start) as usize..(to - new.start) as usize]);
        to == part.end()
    }
}

impl Program<'_> {
    /// What is to be told of a part, if anything.
    fn tells(&self, part: &Known) -> Option<Open> {
        part.open.filter(|_| self.tells_strangers || !part.is_strange())
    }

    /// Reads what is known of so many bytes; the others are anything.
    fn read(&self, known: &[Known], at: u64, len: u64, bytes: &mut Vec<u8>) -> Result<(), Failed> {
        bytes.resize(len as usize, 0);
        let range = at..at + len;
        for one in &known[parts(known, &range)] {
            let (from, to) = (one.new.max(at), one.end().min(range.end));
            let here = &mut bytes[(from - at) as usize..(to - at) as usize];
            match one.bytes {
                Bytes::Unknown => {}
                Bytes::Zeros => here.fill(0),
                Bytes::Made => {
                    let place = self.extent.offset + from;
                    self.order.read_at(place, here).map_err(Failed::ReadTarget)?;
                }
                Bytes::Old => {
                    let place = one.old + (from - one.new);
                    self.old.read_at(place, here).map_err(|_| Failed::Unpredictable)?;
                }
            }
        }
        Ok(())
    }

    /// Whether a guess is right, or is so once it is corrected. What is `wrong` is noted there, and neither corrected
    /// nor kept again.
    fn prove(&self, guess: &mut Guess, check: u32, wrong: &mut HashSet<(u32, u32)>) -> Proof {
        let (start, told) = digests(self.hash, &guess.bytes);
        if told == check {
            return Proof::Right;
        }
        if !wrong.insert((guess.piece, start)) {
            return Proof::Known;
        }
        let mut parity = [0; PARITY_BYTES];
        let len = (self.parity)(guess.piece, &mut parity);
        if correct(self.hash, check, &mut guess.bytes, &parity[..len]) { Proof::Right } else { Proof::Wrong }
    }
}

/// Makes a guess right by what was fetched of its piece's parity, and proves it; leaves it as it is if that fails.
pub(crate) fn correct(hash: HashKind, check: u32, guess: &mut [u8], parity: &[u8]) -> bool {
    let Some(errors) = parity::errors(guess, parity) else { return false };
    parity::correct(guess, &errors);
    let is_right = digests(hash, guess).1 == check;
    if !is_right {
        parity::correct(guess, &errors);
    }
    is_right
}
