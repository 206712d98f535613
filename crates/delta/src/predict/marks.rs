//! What stands in a masked program in place of its references.
//!
//! Zeros, but in tables of references alone: these would be long rows of the same bytes, which are cut at
//! their longest length, and behind an entry more nothing is cut as it was. There stands what stays the same
//! when code and data only move, and yet differs from entry to entry: how far the target is behind the one
//! before, and a hash of the name that an index stands for.
//!
//! Of a distance only its magnitude is told, and none of a small one: a function that has grown a little
//! changes no mark, and chunks are not much shorter than elsewhere.

use super::elf::{Content, SYMBOL_BYTES, u32_at, u64_at};
use super::field::{Field, Form, SYMBOL_INDICES};
use super::names::Names;
use super::scan::{RELA_BYTES, Run};

/// Smaller distances are taken for zero.
const DISTANCE_MIN: u64 = 64;
/// Targets further apart have nothing to do with each other: what stands between them changes.
const DISTANCE_MAX: u64 = 1 << 16;
/// Entries that are asked, from the last one back, until one is found whose target is near: tables may have
/// two kinds of targets.
const ENTRIES_BACK: usize = 2;

/// Writes marks over the references of a run in its bytes, `masked`.
pub(super) fn put(run: &Run<'_>, names: &Names, fields: &[Field], masked: &mut [u8]) {
    for field in fields {
        let Some(rest) = masked.get_mut(field.at as usize..) else { continue };
        let mark = mark(run, names, field);
        if field.form.width() == 8 {
            if let Some(reference) = rest.first_chunk_mut() {
                *reference = mark.to_le_bytes();
            }
        } else if let Some(reference) = rest.first_chunk_mut() {
            *reference = (mark as u32).to_le_bytes();
        }
    }
}

fn mark(run: &Run<'_>, names: &Names, field: &Field) -> u64 {
    let in_region = run.offset - run.region.offset + u64::from(field.at);
    match run.region.content {
        Content::Rela => rela(run, names, field, in_region % RELA_BYTES),
        Content::Symbols if field.form == Form::InFile => names.symbol(in_region / SYMBOL_BYTES as u64),
        Content::SelfRelative | Content::FrameIndex | Content::SymbolOffsets | Content::Addresses => {
            word(run, field)
        }
        _ => 0,
    }
}

/// The mark of a field `part` bytes behind the start of its relocation.
fn rela(run: &Run<'_>, names: &Names, field: &Field, part: u64) -> u64 {
    let start = run.before + field.at as usize - part as usize;
    let value = |start: usize, part: usize| u64_at(run.bytes, start + part).unwrap_or(0);
    let mut before = (1..=ENTRIES_BACK).filter_map(|back| start.checked_sub(back * RELA_BYTES as usize));
    match part {
        0 => before.next().map_or(0, |last| magnitude(value(start, 0).wrapping_sub(value(last, 0)))),
        12 if field.base == SYMBOL_INDICES => names.symbol(field.target),
        16 => {
            // Relocations of code tell themselves apart by where they apply: no need to say what they aim at.
            let is_aligned = |start: usize| value(start, 0) % 4 == 0;
            let is_like = |last: &usize| is_aligned(*last) && value(*last, 8) == value(start, 8);
            let distance = |last: usize| value(start, 16).wrapping_sub(value(last, 16));
            let mut distances = before.filter(is_like).map(distance);
            if is_aligned(start) {
                distances.find(|&distance| is_near(distance)).map_or(0, magnitude)
            } else {
                0
            }
        }
        _ => 0,
    }
}

/// The mark of a word of four bytes in a table of such words.
fn word(run: &Run<'_>, field: &Field) -> u64 {
    let at = run.before + field.at as usize;
    let is_relative = field.form == Form::Relative(0);
    let target = |at: usize| {
        let word = i64::from(u32_at(run.bytes, at)? as i32) as u64;
        Some(if is_relative { word.wrapping_add(at as u64) } else { word })
    };
    let Some(here) = target(at) else { return 0 };
    let before = (1..=ENTRIES_BACK).filter_map(|back| at.checked_sub(4 * back).and_then(target));
    before.map(|before| here.wrapping_sub(before)).find(|&distance| is_near(distance)).map_or(0, magnitude)
}

/// The bits that a distance takes, whatever its sign.
fn magnitude(distance: u64) -> u64 {
    let distance = (distance as i64).unsigned_abs();
    if distance < DISTANCE_MIN { 0 } else { u64::from(u64::BITS - distance.leading_zeros()) }
}

fn is_near(distance: u64) -> bool {
    (distance as i64).unsigned_abs() <= DISTANCE_MAX
}
