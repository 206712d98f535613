//! BTF, the types of a kernel and its modules: indices of types and offsets of names.
//!
//! Source: Linux, `Documentation/bpf/btf.rst`.

use crate::structure::{Extent, ReadAt};

use super::elf::{Content, Region, u16_at, u32_at};
use super::field::{Field, Form, TYPE_IDS, TYPE_NAMES};
use super::scan::{LOOK_BACK_BYTES, Run};

const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: usize = 24;
const TYPE_BYTES: usize = 12;
/// Starts of types kept per file; four bytes each.
const STARTS_MAX: usize = 1 << 17;
const WINDOW_BYTES: usize = 1 << 16;

/// What follows the head of a type.
struct Shape {
    /// The third word of the head is the index of a type.
    aims: bool,
    /// Words per member.
    words: usize,
    members: usize,
    /// Words of a member that are names, as bits.
    names: u8,
    /// Words of a member that are indices of types, as bits.
    types: u8,
}

fn shape(info: u32) -> Option<Shape> {
    let members = (info & 0xffff) as usize;
    let (aims, words, members, names, types) = match info >> 24 & 31 {
        // Void never stands in a table.
        1 | 14 | 17 => (info >> 24 & 31 == 14, 1, 1, 0, u8::from(false)),
        2 | 7..=12 | 16 | 18 => (info >> 24 & 31 != 7 && info >> 24 & 31 != 16, 0, 0, 0, 0),
        3 => (false, 3, 1, 0, 0b11),
        4 | 5 => (false, 3, members, 1, 0b10),
        6 => (false, 2, members, 1, 0),
        13 => (true, 2, members, 1, 0b10),
        15 => (false, 3, members, 0, 1),
        19 => (false, 3, members, 1, 0),
        _ => return None,
    };
    Some(Shape { aims, words, members, names, types })
}

/// The bytes of types that start with `head`. `None` where none do.
pub(super) fn len(head: &[u8]) -> Option<u64> {
    if u16_at(head, 0)? != MAGIC || u32_at(head, 4)? as usize != HEADER_BYTES {
        return None;
    }
    let end = |at| Some(u64::from(u32_at(head, at)?) + u64::from(u32_at(head, at + 4)?));
    Some(HEADER_BYTES as u64 + end(8)?.max(end(16)?))
}

/// Offsets of types in the section of types, one in every [`LOOK_BACK_BYTES`] where types are that
/// short. Notes in the region where its names start.
pub(super) fn starts(old: &dyn ReadAt, extent: Extent, regions: &mut [Region]) -> Vec<u32> {
    let Some(region) = regions.iter_mut().find(|region| region.content == Content::Types) else {
        return Vec::new();
    };
    walk(old, extent, region).unwrap_or_default()
}

fn walk(old: &dyn ReadAt, extent: Extent, region: &mut Region) -> Option<Vec<u32>> {
    let mut head = [0; HEADER_BYTES];
    if region.len < HEADER_BYTES as u64 {
        return None;
    }
    old.read_at(extent.offset + region.offset, &mut head).ok()?;
    if u16_at(&head, 0)? != MAGIC {
        return None;
    }
    let word = |at| u32_at(&head, at).map(u64::from);
    let start = region.offset + word(4)? + word(8)?;
    let end = (start + word(12)?).min(region.offset + region.len);
    region.linked = region.offset + word(4)? + word(16)?;
    let mut starts: Vec<u32> = Vec::new();
    let mut window = Vec::new();
    let mut window_at = start;
    let mut at = start;
    while at + TYPE_BYTES as u64 <= end && starts.len() < STARTS_MAX {
        if at < window_at || at + TYPE_BYTES as u64 > window_at + window.len() as u64 {
            window_at = at;
            window.resize((end - at).min(WINDOW_BYTES as u64) as usize, 0);
            old.read_at(extent.offset + at, &mut window).ok()?;
        }
        let shape = shape(u32_at(&window, (at - window_at) as usize + 4)?)?;
        let here = u32::try_from(at).ok()?;
        if starts.last().is_none_or(|&last| u64::from(here - last) >= LOOK_BACK_BYTES / 2) {
            starts.push(here);
        }
        at += (TYPE_BYTES + 4 * shape.words * shape.members) as u64;
    }
    Some(starts)
}

/// Appends names and indices in a run of types.
pub(super) fn references(run: &Run<'_>, fields: &mut Vec<Field>) {
    let bytes = run.bytes;
    let context = run.offset - run.before as u64;
    let starts = &run.image.starts;
    let known = starts.partition_point(|&start| u64::from(start) < context);
    let Some(&first) = starts.get(known) else { return };
    let mut at = (u64::from(first) - context) as usize;
    let mut push = |at: usize, name: bool| -> Option<()> {
        let value = u32_at(bytes, at)?;
        if value == 0 || at < run.before {
            return Some(());
        }
        let at = (at - run.before) as u32;
        let (form, target, base) = match name {
            true if run.image.layout.relocatable => (Form::Number, u64::from(value), TYPE_NAMES),
            true => (Form::InFile, run.region.linked + u64::from(value), run.region.linked),
            false => (Form::Number, u64::from(value), TYPE_IDS),
        };
        fields.push(Field { at, form, target, base, context: 0 });
        Some(())
    };
    while context + (at as u64) < run.region.linked {
        let Some(shape) = u32_at(bytes, at + 4).and_then(shape) else { return };
        if push(at, true).is_none() || (shape.aims && push(at + 8, false).is_none()) {
            return;
        }
        at += TYPE_BYTES;
        for _ in 0..shape.members {
            for word in 0..shape.words {
                let is = |bits: u8| bits >> word & 1 == 1;
                if (is(shape.names) || is(shape.types)) && push(at + 4 * word, is(shape.names)).is_none() {
                    return;
                }
            }
            at += 4 * shape.words;
        }
    }
}
