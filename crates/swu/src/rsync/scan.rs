//! One segment of the target: what of it the base has.

use std::io;

use super::find::{Finder, Window};
use super::original::{Original, Reading};
use super::weak::Weak;

/// Blocks with equal weak sums, but different bytes, that are compared with the base.
const CANDIDATES_MAX: usize = 8;
/// A copy of at most so many bytes is taken back where a later one covers it.
const SHORT_COPY_BYTES_MAX: u32 = 4 << 10;
/// So many bytes are compared with what follows the last copy in the base before the window moves over them.
const RESUME_STEP_BYTES: usize = 4 << 10;

/// Where the base goes on as the last copy did after at most so many bytes, no block is looked for before.
const NEAR_BYTES: usize = 128;

/// Bytes of the target that follow each other: first literals, then a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Literals in bytes.
    pub(super) literal_len: u32,
    /// Bytes that are copied.
    pub(super) copy_len: u32,
    /// Where they stand in the base.
    pub(super) copy_offset: u64,
}

/// What became of a segment. The last copy may go on behind it.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    pub(super) pieces: Vec<Piece>,
    /// The bytes of all literals.
    pub(super) literals: Vec<u8>,
}

/// A segment with what follows it.
#[derive(Clone, Copy)]
pub(super) struct Segment<'a> {
    /// Where it starts in the target.
    pub(super) start: u64,
    /// Its length in bytes.
    pub(super) len: usize,
    /// Its bytes, and those of a block behind it, or as many as there are.
    pub(super) bytes: &'a [u8],
    /// Whether they end where the target ends.
    pub(super) is_last: bool,
}

/// Bytes of a segment that the base has.
#[derive(Clone, Copy)]
struct Found {
    at: usize,
    offset: u64,
    len: usize,
}

/// Scans a segment: with the base by comparing bytes, else by strong sums.
pub(super) fn scan<W: Weak>(
    finder: &Finder<'_>,
    original: Option<Original<'_>>,
    segment: Segment<'_>,
) -> io::Result<Scanned> {
    let mut scan = Scan { finder, segment, diagonal: 0, scanned: Scanned::default(), literal_start: 0 };
    let mut original = original;
    let mut at = 0;
    while at < segment.len {
        let found = match &mut original {
            Some(original) => scan.next_with_base::<W>(original, at)?,
            None => scan.next_by_sums::<W>(at),
        };
        let Some(found) = found else { break };
        scan.take(found);
        at = found.at + found.len;
    }
    Ok(scan.finish())
}

struct Scan<'a> {
    finder: &'a Finder<'a>,
    segment: Segment<'a>,
    /// How far the base is ahead of the target where bytes were copied last. In the beginning nothing is: most
    /// of an image stays where it was, and copies of neighbouring segments become one.
    diagonal: i64,
    scanned: Scanned,
    literal_start: usize,
}

impl Scan<'_> {
    /// Where a place of the segment stands in the base if the base is so far ahead.
    fn offset(&self, at: usize, diagonal: i64) -> i64 {
        (self.segment.start as i64).wrapping_add(at as i64).wrapping_add(diagonal)
    }

    /// Blocks that a window has if the target goes on as before, or is where it was.
    fn guesses(&self, at: usize, weak: u32) -> [Option<usize>; 2] {
        [self.diagonal, 0].map(|diagonal| self.finder.block_at(self.offset(at, diagonal), weak))
    }

    /// The end of places where a whole window begins, at most that of the segment.
    fn windows_end(&self) -> usize {
        self.segment.len.min((self.segment.bytes.len() + 1).saturating_sub(self.finder.block_len))
    }

    fn next_by_sums<W: Weak>(&self, from: usize) -> Option<Found> {
        let Segment { bytes, is_last, .. } = self.segment;
        let (finder, block_len) = (self.finder, self.finder.block_len);
        let mut window = Window::<W>::new(bytes, from, block_len);
        while let Some((at, weak)) = finder.seek(bytes, &mut window, self.windows_end()) {
            let end = at + block_len;
            if let Some(block) = finder.proved(&bytes[at..end], weak, self.guesses(at, weak)) {
                // Blocks that begin in the next segment are left to it.
                let rest = &bytes[end..bytes.len().min(self.segment.len + block_len - 1).max(end)];
                let blocks = 1 + finder.row::<W>(block + 1, rest);
                return Some(Found { at, offset: finder.offset(block), len: blocks * block_len });
            }
        }
        let is_it = &mut |end: &[u8], _| finder.is_last(end);
        let (at, offset) = is_last.then(|| finder.last_block::<W>(bytes, from, is_it)).flatten()?;
        Some(Found { at, offset, len: bytes.len() - at })
    }

    fn next_with_base<W: Weak>(
        &mut self,
        original: &mut Original<'_>,
        from: usize,
    ) -> io::Result<Option<Found>> {
        let Segment { bytes, len, .. } = self.segment;
        let block_len = self.finder.block_len;
        let mut resumed = self.resume(original, from)?;
        // A window over a whole block costs more than it can find in a few bytes.
        let is_near = |found: &Found| found.at - from <= NEAR_BYTES;
        if let Some(resumed) = resumed.filter(is_near) {
            return self.extended(original, resumed).map(Some);
        }
        let mut window = Window::<W>::new(bytes, from, block_len);
        let mut at = from;
        while at < len {
            // Where that begins, a block may be longer.
            let to = resumed.map_or(len.min(at + RESUME_STEP_BYTES), |found| found.at + 1);
            while let Some((at, weak)) = self.finder.seek(bytes, &mut window, to.min(self.windows_end())) {
                if let Some(found) = self.compare(original, at, weak)? {
                    let longest = resumed.filter(|resumed| at == resumed.at && resumed.len > found.len);
                    return self.extended(original, longest.unwrap_or(found)).map(Some);
                }
            }
            if let Some(resumed) = resumed {
                return self.extended(original, resumed).map(Some);
            }
            at = to;
            resumed = self.resume(original, at)?;
        }
        self.last_with_base::<W>(original, from)
    }

    /// The last block of the base, where the target ends with it.
    fn last_with_base<W: Weak>(
        &mut self,
        original: &mut Original<'_>,
        from: usize,
    ) -> io::Result<Option<Found>> {
        let Segment { bytes, is_last, .. } = self.segment;
        let mut failed = None;
        let is_it = &mut |end: &[u8], offset| {
            original.common_front(offset, end).map_err(|error| failed = Some(error)) == Ok(end.len())
        };
        let last = is_last.then(|| self.finder.last_block::<W>(bytes, from, is_it)).flatten();
        if let Some(error) = failed {
            return Err(error);
        }
        let found = last.map(|(at, offset)| Found { at, offset, len: bytes.len() - at });
        found.map(|found| self.extended(original, found)).transpose()
    }

    /// The bytes from `at` on, or soon behind, that stand in the base as the last copy goes on, or where they
    /// stand in the target.
    fn resume(&self, original: &mut Original<'_>, at: usize) -> io::Result<Option<Found>> {
        let Segment { bytes, len, .. } = self.segment;
        let step = &bytes[at..bytes.len().min(len.min(at + RESUME_STEP_BYTES) + RESUME_STEP_BYTES / 2)];
        let mut first: Option<Found> = None;
        for (reading, diagonal) in [(Reading::OnDiagonal, self.diagonal), (Reading::InPlace, 0)] {
            if matches!(reading, Reading::InPlace) && diagonal == self.diagonal {
                break;
            }
            let Some(ahead) = original.first_row(reading, self.offset(at, diagonal), step)? else { continue };
            let at = at + ahead;
            if at < len && first.is_none_or(|first| at < first.at) {
                let offset = self.offset(at, diagonal) as u64;
                first = Some(Found { at, offset, len: 0 });
            }
        }
        let Some(mut found) = first else { return Ok(None) };
        found.len = original.common_front(found.offset, &bytes[found.at..])?;
        Ok(Some(found))
    }

    /// The block that the window at `at` is, by its bytes.
    fn compare(&self, original: &mut Original<'_>, at: usize, weak: u32) -> io::Result<Option<Found>> {
        let bytes = &self.segment.bytes[at..];
        let finder = self.finder;
        let guesses = self.guesses(at, weak).into_iter().flatten();
        for block in guesses.chain(finder.blocks(weak).take(CANDIDATES_MAX)) {
            let offset = finder.offset(block);
            let len = original.common_front(offset, bytes)?;
            if len >= finder.block_len {
                return Ok(Some(Found { at, offset, len }));
            }
        }
        Ok(None)
    }

    /// With the bytes before it that are the same, as far as they are literals, or stand in a short copy that is
    /// not needed then.
    fn extended(&mut self, original: &mut Original<'_>, mut found: Found) -> io::Result<Found> {
        let bytes = self.segment.bytes;
        loop {
            let back = original.common_back(found.offset, &bytes[self.literal_start..found.at])?;
            found.at -= back;
            found.offset -= back as u64;
            found.len += back;
            let last = self.scanned.pieces.last().filter(|last| last.copy_len <= SHORT_COPY_BYTES_MAX);
            let Some(last) = last.filter(|_| found.at == self.literal_start) else { return Ok(found) };
            let copy_len = last.copy_len as usize;
            let goes_on = last.copy_offset + copy_len as u64 == found.offset;
            let start = found.at - copy_len;
            if goes_on || original.common_back(found.offset, &bytes[start..found.at])? < copy_len {
                return Ok(found);
            }
            let literal_len = last.literal_len as usize;
            self.literal_start = start - literal_len;
            self.scanned.literals.truncate(self.scanned.literals.len() - literal_len);
            self.scanned.pieces.pop();
        }
    }

    fn take(&mut self, found: Found) {
        self.diagonal = (found.offset as i64).wrapping_sub(self.offset(found.at, 0));
        let literal = &self.segment.bytes[self.literal_start..found.at];
        self.scanned.literals.extend_from_slice(literal);
        self.literal_start = found.at + found.len;
        let pieces = &mut self.scanned.pieces;
        if let Some(last) = pieces.last_mut().filter(|_| literal.is_empty())
            && last.copy_offset + u64::from(last.copy_len) == found.offset
        {
            last.copy_len += found.len as u32;
            return;
        }
        pieces.push(Piece {
            literal_len: literal.len() as u32,
            copy_len: found.len as u32,
            copy_offset: found.offset,
        });
    }

    fn finish(mut self) -> Scanned {
        let rest = self.segment.bytes.get(self.literal_start..self.segment.len).unwrap_or_default();
        if !rest.is_empty() {
            self.scanned.literals.extend_from_slice(rest);
            let literal_len = rest.len() as u32;
            self.scanned.pieces.push(Piece { literal_len, copy_len: 0, copy_offset: 0 });
        }
        self.scanned
    }
}
