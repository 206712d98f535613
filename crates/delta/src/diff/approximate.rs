//! Approximate matches: content that resembles old content, with differences in between.
//!
//! The idea is bsdiff's (C. Percival, 2003): from an exact match, go on at the same distance as long
//! as most bytes agree. What differs here: aligned runs are skipped without a search, exact
//! matches on both sides of a gap take part, and old content is searched in groups of like files,
//! so that memory does not grow with the image.

use std::ops::Range;

use super::exact::common_prefix;
use super::suffix::Match;

/// Finds matches in a text.
pub(super) trait Finder: Sync {
    /// The text that is searched.
    fn text(&self) -> &[u8];

    /// A long match of a prefix of `pattern`, of those equally long the one nearest to `near`; of
    /// length zero where there is none.
    fn longest(&self, pattern: &[u8], near: usize) -> Match;
}

/// A match of an approximate cover: positions in the text and in the gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Aligned {
    pub(super) text: usize,
    pub(super) gap: usize,
    pub(super) len: usize,
}

/// How covers are chosen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taste {
    /// A new alignment must match so many bytes more than the present one.
    pub(super) score_min: usize,
    /// While so many bytes agree at the present alignment, no better one is looked for.
    pub(super) run_min: usize,
    /// The more steps have found nothing, the longer they become: by one byte for each power of two of
    /// them.
    pub(super) patience_bits: u32,
}

impl Taste {
    /// Every byte is looked at.
    pub(super) const THOROUGH: Self = Self { score_min: 16, run_min: 32, patience_bits: 63 };
    /// Where nothing is found for hundreds of bytes not every byte is looked at: a match that is worth
    /// having is longer, and is followed back to where it begins.
    pub(super) const USUAL: Self = Self { patience_bits: 8, ..Self::THOROUGH };
    /// What goes on well is not questioned, and where nothing is found little is looked for.
    pub(super) const HASTY: Self = Self { score_min: 16, run_min: 12, patience_bits: 4 };
}

/// Covers one gap. `left` is the text position that continues the match before the gap, `right` the
/// one where the match after it begins.
pub(super) fn cover_gap(
    finder: &dyn Finder,
    gap: &[u8],
    left: Option<usize>,
    right: Option<usize>,
    taste: Taste,
    covers: &mut Vec<Aligned>,
) {
    let text = finder.text();
    let mut scan = 0;
    let mut misses = 0_usize;
    // The present alignment: it began at `start` in the gap.
    let mut start = 0;
    let mut shift = left.map(|left| left as isize);
    while scan < gap.len() {
        let run = shift.map_or(0, |shift| run_len(text, gap, scan, shift));
        if run >= taste.run_min {
            misses = 0;
            scan += run;
            continue;
        }
        let near = shift.map_or(0, |shift| (scan as isize + shift).max(0) as usize);
        let found = finder.longest(&gap[scan..], near);
        if found.len < taste.score_min.min(8) {
            misses += 1;
            scan += 1 + (misses >> taste.patience_bits);
            continue;
        }
        let found_shift = found.position as isize - scan as isize;
        if shift == Some(found_shift) {
            misses = 0;
            scan += found.len;
            continue;
        }
        let present = shift.map_or(0, |shift| agreement(text, gap, scan, found.len, shift));
        if found.len < present + taste.score_min {
            misses += 1;
            scan += 1 + (misses >> taste.patience_bits);
            continue;
        }
        misses = 0;
        start = change_over(text, gap, start..scan, [shift, Some(found_shift)], covers);
        shift = Some(found_shift);
        scan += found.len;
    }
    let right_shift = right.map(|right| right as isize - gap.len() as isize);
    if right_shift.is_some() && right_shift == shift {
        push(covers, start, gap.len(), shift);
    } else {
        let end = change_over(text, gap, start..gap.len(), [shift, right_shift], covers);
        if end < gap.len() {
            push(covers, end, gap.len(), right_shift);
        }
    }
}

/// Ends the first of two alignments, which began where `range` does; the other one is to go on from its
/// end. Both are extended over the bytes between as far as they agree. Answers where the other one begins.
fn change_over(
    text: &[u8],
    gap: &[u8],
    range: Range<usize>,
    [shift, next_shift]: [Option<isize>; 2],
    covers: &mut Vec<Aligned>,
) -> usize {
    let (start, scan) = (range.start, range.end);
    let mut forward = shift.map_or(0, |shift| forward_len(text, gap, start, scan, shift));
    let mut backward = next_shift.map_or(0, |shift| backward_len(text, gap, start, scan, shift));
    if start + forward + backward > scan
        && let (Some(shift), Some(next_shift)) = (shift, next_shift)
    {
        let overlap = start + forward + backward - scan;
        let from = start + forward - overlap;
        // The best place to change over: left of it the one agrees more, right of it the other.
        let (mut best, mut best_score, mut score) = (0, 0_i64, 0_i64);
        for index in 0..overlap {
            let byte = gap[from + index];
            score += i64::from(text[(from as isize + index as isize + shift) as usize] == byte);
            score -= i64::from(text[(from as isize + index as isize + next_shift) as usize] == byte);
            if score > best_score {
                best_score = score;
                best = index + 1;
            }
        }
        forward = forward - overlap + best;
        backward -= best;
    }
    push(covers, start, start + forward, shift);
    scan - backward
}

fn push(covers: &mut Vec<Aligned>, from: usize, to: usize, shift: Option<isize>) {
    if let Some(shift) = shift
        && from < to
    {
        covers.push(Aligned { text: (from as isize + shift) as usize, gap: from, len: to - from });
    }
}

/// How many bytes agree in a row at an alignment.
fn run_len(text: &[u8], gap: &[u8], at: usize, shift: isize) -> usize {
    let position = at as isize + shift;
    if position < 0 || position as usize >= text.len() {
        return 0;
    }
    common_prefix(&text[position as usize..], &gap[at..])
}

/// How many of `len` bytes agree at an alignment.
fn agreement(text: &[u8], gap: &[u8], at: usize, len: usize, shift: isize) -> usize {
    (at..at + len)
        .filter(|&index| {
            let position = index as isize + shift;
            position >= 0 && text.get(position as usize) == Some(&gap[index])
        })
        .count()
}

/// How far an alignment is worth going on: where twice the agreeing bytes exceed all of them most.
fn forward_len(text: &[u8], gap: &[u8], start: usize, end: usize, shift: isize) -> usize {
    let (mut best, mut best_len, mut score) = (0, 0, 0_i64);
    for (index, byte) in gap.iter().enumerate().take(end).skip(start) {
        let position = index as isize + shift;
        if position < 0 || position as usize >= text.len() {
            break;
        }
        score += if text[position as usize] == *byte { 1 } else { -1 };
        if score >= best {
            best = score;
            best_len = index + 1 - start;
        }
    }
    best_len
}

fn backward_len(text: &[u8], gap: &[u8], start: usize, end: usize, shift: isize) -> usize {
    let (mut best, mut best_len, mut score) = (0, 0, 0_i64);
    for index in (start..end).rev() {
        let position = index as isize + shift;
        if position < 0 || position as usize >= text.len() {
            break;
        }
        score += if text[position as usize] == gap[index] { 1 } else { -1 };
        if score > best {
            best = score;
            best_len = end - index;
        }
    }
    best_len
}
