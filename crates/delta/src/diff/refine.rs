//! Covers of programs, found again by what references aim at.
//!
//! A program that was built again differs from the old one in most of its references, so that
//! comparing bytes finds many short matches, of which some are wrong. Still they tell where most
//! targets went: here each reference is replaced by what it aims at in the new program, the programs
//! are compared in that form, and so again with the better covers. What differs then is what
//! prediction will not get right either.

use std::collections::HashMap;

use rayon::prelude::*;

use super::encode::Piece;
use super::flat::{Flat, FlatPart};
use super::lanes;
use super::programs::ProgramFinder;
use super::{DiffError, Preset, windows};
use crate::frame;
use crate::predict::{Cover, PredictError, Predictor, labels};
use crate::space::Space;
use crate::structure::{Extent, ReadAt as _};

/// Programs are searched together as long as this is enough memory for them, in bytes.
const BATCH_MEMORY_BYTES: u64 = 384 << 20;
/// Programs that take more memory than this to search, in bytes, keep their covers.
const PROGRAM_MEMORY_BYTES_MAX: u64 = 1408 << 20;
/// In literals of this length on, in bytes, matches with other files are kept.
const LITERAL_BYTES_MIN: u64 = 32;

/// A program of which fewer bytes than one in so many are found in an old one was not built from it: its own
/// bytes pack better than what few of them have in common.
const RELATED_PART: u64 = 4;
/// No program was built from one that is so many times as large: such a one has something of everything, and
/// would be searched again for each small program.
const SHRINK_MAX: u64 = 8;
/// A program of which only one byte in so many has to be told is good enough already.
const WORTH_PART: u64 = 1024;
/// The same for programs that take much memory to search.
const LARGE_WORTH_PART: u64 = 128;
/// What is much memory, in bytes.
const LARGE_MEMORY_BYTES: u64 = 512 << 20;
/// What a cover comes to, in bytes, packed.
const COVER_BYTES: u64 = 4;

impl Preset {
    /// How often the covers of programs are found again.
    fn passes(self) -> usize {
        match self {
            Self::Fast => 0,
            Self::Default => 2,
            Self::Max => 3,
        }
    }
}

/// A new program and the old one that it was built from.
#[derive(Debug, Clone, Copy)]
struct Pair {
    old: Extent,
    new: Extent,
    /// Where the program goes on: a squashfs keeps the ends of files elsewhere.
    tail: Option<Extent>,
}

impl Pair {
    /// Length of the new program, in bytes.
    fn new_len(&self) -> u64 {
        self.new.len + self.tail.map_or(0, |tail| tail.len)
    }

    /// The parts of the new program: the offset in it, and where it stands.
    fn parts(&self) -> impl Iterator<Item = (u64, Extent)> {
        std::iter::once((0, self.new)).chain(self.tail.map(|tail| (self.new.len, tail)))
    }

    /// Each side as it is and in another form, in bytes.
    fn texts_bytes(&self) -> u64 {
        2 * (self.old.len + self.new_len())
    }

    /// In how many windows it is searched, as few as memory allows; `None` where it is too large.
    fn windows(&self) -> Option<usize> {
        let room = PROGRAM_MEMORY_BYTES_MAX.saturating_sub(self.texts_bytes());
        windows::count(self.old.len, self.new_len(), room)
    }

    /// What searching takes, in bytes.
    fn memory_bytes(&self) -> u64 {
        let windows = self.windows().unwrap_or(1);
        self.texts_bytes() + windows::memory_bytes(self.old.len, self.new_len(), windows)
    }

    /// Searching is worth it where one byte in so many has to be told.
    fn worth_part(&self) -> u64 {
        if self.memory_bytes() > LARGE_MEMORY_BYTES { LARGE_WORTH_PART } else { WORTH_PART }
    }
}

/// What prediction leaves of the bytes of a program that differ.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    /// The new program, in flattened bytes.
    pub(super) program: Extent,
    /// Bytes that differ from the old ones.
    pub(super) differing: u64,
    /// Bytes that differ from the prediction.
    pub(super) unpredicted: u64,
}

/// What was found for a program.
struct Found {
    pair: Pair,
    covers: Vec<Cover>,
    left: Left,
}

/// Puts better covers in the place of those of programs. `pieces` are in flattened order. Answers also
/// what prediction leaves of these programs, in flattened order.
pub(super) fn refine(
    space: &Space<'_>,
    flat: &Flat<'_>,
    parts: &[FlatPart],
    finder: &ProgramFinder<'_>,
    pieces: Vec<Piece>,
    preset: Preset,
) -> Result<(Vec<Piece>, Vec<Left>), DiffError> {
    let passes = preset.passes();
    if passes == 0 {
        return Ok((pieces, Vec::new()));
    }
    let mut pairs = pairs(space, parts, finder, &pieces)?;
    pairs.retain(|pair| pair.windows().is_some());
    pairs.sort_by_key(|pair| std::cmp::Reverse(pair.memory_bytes()));
    let mut found: Vec<Found> = Vec::new();
    let mut rest = pairs.as_slice();
    while !rest.is_empty() {
        let mut held = 0;
        let fits = |pair: &&Pair| {
            held += pair.memory_bytes();
            held <= BATCH_MEMORY_BYTES
        };
        let (batch, later) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        rest = later;
        let batch: Vec<Option<Found>> = batch
            .par_iter()
            .with_max_len(1)
            .map(|pair| search(space, flat, *pair, &pieces, passes))
            .collect::<Result<_, _>>()?;
        found.extend(batch.into_iter().flatten());
    }
    found.sort_by_key(|found| found.pair.new.offset);
    let left = found.iter().map(|found| found.left).collect();
    Ok((replace(&pieces, &found), left))
}

/// Programs that changed, and the old programs that most of their covers come from.
fn pairs(
    space: &Space<'_>,
    parts: &[FlatPart],
    finder: &ProgramFinder<'_>,
    pieces: &[Piece],
) -> Result<Vec<Pair>, DiffError> {
    let mut pairs = Vec::new();
    let tails = tails(parts);
    for part in parts {
        let new = part.extent;
        if !finder.is_program(part)? {
            continue;
        }
        let inside = inside(pieces, new);
        if let [piece] = inside
            && piece.exact
            && piece.cover.flat <= new.offset
            && piece.cover.flat_end() >= new.end()
        {
            continue;
        }
        let covers = || inside.iter().filter_map(|piece| clipped(piece.cover, new));
        // What stands elsewhere in the new side is best copied from there.
        let made: u64 = covers().filter(|cover| cover.address >= space.len()).map(|cover| cover.len).sum();
        if made > new.len / 2 {
            continue;
        }
        let covers = covers().filter(|cover| cover.address < space.len());
        let old = finder.main_old_program(covers, new.len / RELATED_PART);
        if let Some(old) = old.filter(|old| old.len <= new.len.saturating_mul(SHRINK_MAX)) {
            let both = part.path.as_deref().and_then(|path| tails.get(path));
            let tail = both.and_then(|both| both.iter().find(|extent| **extent != new)).copied();
            pairs.push(Pair { old, new, tail });
        }
    }
    Ok(pairs)
}

/// The parts of files that stand in two.
fn tails(parts: &[FlatPart]) -> HashMap<&str, [Extent; 2]> {
    let mut all: HashMap<&str, Vec<Extent>> = HashMap::new();
    for part in parts {
        if let Some(path) = &part.path {
            all.entry(path).or_default().push(part.extent);
        }
    }
    all.into_iter().filter_map(|(path, extents)| Some((path, extents.try_into().ok()?))).collect()
}

/// The pieces that have bytes in `extent`.
fn inside(pieces: &[Piece], extent: Extent) -> &[Piece] {
    let from = pieces.partition_point(|piece| piece.cover.flat_end() <= extent.offset);
    let to = pieces.partition_point(|piece| piece.cover.flat < extent.end());
    &pieces[from..to.max(from)]
}

/// The part of a cover inside `extent`.
fn clipped(cover: frame::Cover, extent: Extent) -> Option<frame::Cover> {
    let from = cover.flat.max(extent.offset);
    let to = cover.flat_end().min(extent.end());
    (from < to).then(|| frame::Cover {
        flat: from,
        address: cover.address + (from - cover.flat),
        len: to - from,
    })
}

/// Covers of one program, as offsets in the old and the new file.
fn search(
    space: &Space<'_>,
    flat: &Flat<'_>,
    pair: Pair,
    pieces: &[Piece],
    passes: usize,
) -> Result<Option<Found>, DiffError> {
    let mut old = vec![0; pair.old.len as usize];
    space.read_at(pair.old.offset, &mut old).map_err(DiffError::ReadOld)?;
    let mut new = vec![0; pair.new_len() as usize];
    let mut covers: Vec<Cover> = Vec::new();
    for (start, extent) in pair.parts() {
        let bytes = &mut new[start as usize..][..extent.len as usize];
        flat.read_at(extent.offset, bytes).map_err(DiffError::ReadNew)?;
        let own = |piece: &Piece| {
            let cover = clipped(piece.cover, extent)?;
            let is_own = cover.address >= pair.old.offset && cover.address + cover.len <= pair.old.end();
            is_own.then(|| Cover {
                old: cover.address - pair.old.offset,
                new: start + (cover.flat - extent.offset),
                len: cover.len,
            })
        };
        covers.extend(inside(pieces, extent).iter().filter_map(own));
    }
    let labelled_new = labels(&new);
    let mut left = Left { program: pair.new, differing: 0, unpredicted: 0 };
    for pass in 0..passes {
        let Aimed { labelled, guess_bytes, unpredicted } = aimed(&old, &new, &covers);
        left.unpredicted = unpredicted;
        if pass == 0 && guess_bytes < pair.new_len() / pair.worth_part() {
            return Ok(None);
        }
        let windows = windows::windows(old.len(), new.len(), pair.windows().unwrap_or(1), &covers);
        match lanes::covers(&labelled, &labelled_new, &windows, &covers, lanes::Costs::default()) {
            Some(better) => covers = better,
            None => return Ok(None),
        }
    }
    let covers = within(covers, pair.new.len);
    left.differing = covers.iter().map(|cover| differing(&old, &new, cover)).sum();
    Ok(Some(Found { pair, covers, left }))
}

/// How many bytes of a cover differ.
fn differing(old: &[u8], new: &[u8], cover: &Cover) -> u64 {
    let old = &old[cover.old as usize..][..cover.len as usize];
    let new = &new[cover.new as usize..][..cover.len as usize];
    old.iter().zip(new).filter(|(old, new)| old != new).count() as u64
}

/// The parts of covers within the first bytes of the new file. The rest tells what these aim at, but
/// is no program to those who apply the patch: covers as they were are better for it.
fn within(covers: Vec<Cover>, len: u64) -> Vec<Cover> {
    let clipped =
        |cover: Cover| (cover.new < len).then(|| Cover { len: cover.len.min(len - cover.new), ..cover });
    covers.into_iter().filter_map(clipped).collect()
}

/// What some covers make of a program.
struct Aimed {
    /// The old program with its references aimed at where the covers put their targets.
    labelled: Vec<u8>,
    /// Roughly what the covers and what they leave come to, in bytes.
    guess_bytes: u64,
    /// Bytes of the covers that differ from the prediction.
    unpredicted: u64,
}

fn aimed(old: &[u8], new: &[u8], covers: &[Cover]) -> Aimed {
    let whole = |bytes: &[u8]| [Extent { offset: 0, len: bytes.len() as u64 }];
    let label = || -> Result<Aimed, PredictError> {
        let (old_files, new_files) = (whole(old), whole(new));
        let mut predictor = Predictor::new(covers, &old, &old_files[..], &new_files)?;
        let mut bytes = Vec::new();
        let mut at = 0;
        let (mut guess_bytes, mut unpredicted) = (0, 0);
        for (index, cover) in covers.iter().enumerate() {
            predictor.literal(at, &new[at as usize..cover.new as usize]);
            guess_bytes += COVER_BYTES + (cover.new - at) / 2;
            let mut done = 0;
            loop {
                let len = predictor.step_len(index, done);
                if len == 0 {
                    break;
                }
                bytes.clear();
                bytes.extend_from_slice(&new[(cover.new + done) as usize..][..len as usize]);
                predictor.encode(index, done, &mut bytes)?;
                unpredicted += bytes.iter().filter(|&&difference| difference != 0).count() as u64;
                done += len;
            }
            at = cover.new + cover.len;
        }
        guess_bytes += (new.len() as u64 - at) / 2 + unpredicted;
        Ok(Aimed { labelled: predictor.labels(0, 0)?, guess_bytes, unpredicted })
    };
    // Covers that cannot be predicted only cost bytes.
    label().unwrap_or_else(|_| Aimed { labelled: old.to_vec(), guess_bytes: u64::MAX, unpredicted: 0 })
}

/// Pieces with those of the programs in `found` replaced; in flattened order.
fn replace(pieces: &[Piece], found: &[Found]) -> Vec<Piece> {
    let mut replaced = Vec::with_capacity(pieces.len());
    let mut found_at = 0;
    for piece in pieces {
        // What of the piece stands outside of programs that were searched stays.
        let mut at = piece.cover.flat;
        while found.get(found_at).is_some_and(|found| found.pair.new.end() <= at) {
            found_at += 1;
        }
        let end = piece.cover.flat_end();
        for Found { pair, .. } in found[found_at..].iter().take_while(|found| found.pair.new.offset < end) {
            let before = Extent { offset: at, len: pair.new.offset.saturating_sub(at) };
            replaced.extend(clipped(piece.cover, before).map(|cover| Piece { cover, ..*piece }));
            at = at.max(pair.new.end());
        }
        let behind = Extent { offset: at, len: piece.cover.flat_end().saturating_sub(at) };
        replaced.extend(clipped(piece.cover, behind).map(|cover| Piece { cover, ..*piece }));
    }
    for Found { pair, covers, .. } in found {
        let inside = inside(pieces, pair.new);
        let mut at = pair.new.offset;
        for cover in covers {
            let flat = pair.new.offset + cover.new;
            let literals = Extent { offset: at, len: flat - at };
            keep_others(inside, *pair, literals, &mut replaced);
            let cover = frame::Cover { flat, address: pair.old.offset + cover.old, len: cover.len };
            replaced.push(Piece { cover, exact: false });
            at = cover.flat_end();
        }
        keep_others(inside, *pair, Extent { offset: at, len: pair.new.end() - at }, &mut replaced);
    }
    replaced.sort_unstable_by_key(|piece| piece.cover.flat);
    replaced
}

/// Keeps matches with other files where the program's own old one has none.
fn keep_others(inside: &[Piece], pair: Pair, literals: Extent, replaced: &mut Vec<Piece>) {
    if literals.len < LITERAL_BYTES_MIN {
        return;
    }
    for piece in inside {
        let Some(cover) = clipped(piece.cover, literals) else { continue };
        let own = cover.address >= pair.old.offset && cover.address < pair.old.end();
        if !own && cover.len >= LITERAL_BYTES_MIN {
            replaced.push(Piece { cover, ..*piece });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_around_a_program_and_of_other_files_stay() {
        let piece = |flat, address, len| Piece { cover: frame::Cover { flat, address, len }, exact: true };
        // A run over the start of the program, one from another file, one over its end.
        let pieces = [piece(0, 1000, 150), piece(150, 9000, 40), piece(190, 1190, 110)];
        let pair = Pair {
            old: Extent { offset: 1100, len: 100 },
            new: Extent { offset: 100, len: 100 },
            tail: None,
        };
        let covers = vec![Cover { old: 0, new: 2, len: 48 }, Cover { old: 90, new: 90, len: 10 }];
        let left = Left { program: pair.new, differing: 0, unpredicted: 0 };
        let covers: Vec<_> = replace(&pieces, &[Found { pair, covers, left }])
            .iter()
            .map(|piece| (piece.cover.flat, piece.cover.address, piece.cover.len, piece.exact))
            .collect();
        assert_eq!(
            covers,
            [
                (0, 1000, 100, true),
                (102, 1100, 48, false),
                (150, 9000, 40, true),
                (190, 1190, 10, false),
                (200, 1200, 100, true),
            ]
        );
    }
}
