//! `kallsyms_offsets`, where a kernel keeps the addresses of its symbols among its constants.
//!
//! Words of four bytes: an address below `kallsyms_relative_base` less one, as a negative number
//! (Linux, `scripts/kallsyms.c`, `CONFIG_KALLSYMS_ABSOLUTE_PERCPU`). Nothing tells where the table is
//! but its sorted numbers.

use crate::structure::{Extent, ReadAt};

use super::elf::{Content, Layout, Region, u32_at};
use super::field::{Field, Form};
use super::scan::{Run, records};

/// Fewer sorted numbers are a coincidence.
const ENTRIES_MIN: u64 = 4096;
const WINDOW_BYTES: usize = 1 << 16;

/// Makes a region of its own of the table, where there is one.
pub(super) fn split(old: &dyn ReadAt, extent: Extent, layout: &Layout, regions: &mut Vec<Region>) {
    let constants = regions.iter().position(|region| region.content == Content::Constants && layout.fixed);
    let Some(index) = constants else { return };
    let region = regions[index];
    let Some((start, end)) = find(old, extent, region) else { return };
    let part = |offset: u64, end: u64, content| Region { offset, len: end - offset, content, linked: 0 };
    let parts = [
        part(region.offset, start, Content::Constants),
        part(start, end, Content::SymbolOffsets),
        part(end, region.offset + region.len, Content::Constants),
    ];
    regions.splice(index..=index, parts.into_iter().filter(|part| part.len > 0));
}

/// The first long run of negative numbers that never rise.
fn find(old: &dyn ReadAt, extent: Extent, region: Region) -> Option<(u64, u64)> {
    let mut window = vec![0; WINDOW_BYTES];
    let (mut start, mut last) = (None, 0);
    let mut done = 0;
    while done + 4 <= region.len {
        let len = (region.len - done).min(WINDOW_BYTES as u64) as usize & !3;
        old.read_at(extent.offset + region.offset + done, &mut window[..len]).ok()?;
        for word in window[..len].chunks_exact(4) {
            let value = i32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            let at = region.offset + done;
            if value >= 0 || (start.is_some() && value > last) {
                if let Some(start) = start.filter(|start| (at - start) / 4 >= ENTRIES_MIN) {
                    return Some((start, at));
                }
                start = (value < 0).then_some(at);
            } else if start.is_none() {
                start = Some(at);
            }
            last = value;
            done += 4;
        }
    }
    let end = region.offset + done;
    start.filter(|start| (end - start) / 4 >= ENTRIES_MIN).map(|start| (start, end))
}

/// Finds the first long run of offsets that rise: the table of a kernel that has no symbols of processors of their own,
/// where all count from its start.
#[derive(Default)]
pub(super) struct Rising {
    /// Larger numbers are no offsets.
    max: u64,
    start: u64,
    last: u64,
    rises: u64,
    found: Option<(u64, u64)>,
}

impl Rising {
    pub fn new(max: u64) -> Self {
        Self { max, ..Self::default() }
    }

    /// Hears of the next word, which stands at `at`.
    pub fn note(&mut self, at: u64, word: u32) {
        let value = u64::from(word);
        if value < self.last || value > self.max || value == 0 {
            self.end(at);
            (self.start, self.rises) = (at, 0);
        } else {
            self.rises += u64::from(value > self.last);
        }
        self.last = value;
    }

    /// Where the table starts and ends, if there is one, and nothing stands behind `end`.
    pub fn end(&mut self, end: u64) -> Option<(u64, u64)> {
        if self.found.is_none() && self.rises >= ENTRIES_MIN {
            self.found = Some((self.start, end));
        }
        self.found
    }
}

/// Appends the addresses in a run of the table.
pub(super) fn references(run: &Run<'_>, fields: &mut Vec<Field>) {
    let bytes = &run.bytes[run.before..];
    let layout = &run.image.layout;
    let Some(first) = layout.segments.first() else { return };
    if layout.loaded_at.is_some() {
        for at in records(run, 4) {
            let Some(word) = u32_at(bytes, at).filter(|&word| word != 0) else { continue };
            let target = first.address.wrapping_add(u64::from(word));
            fields.push(Field { at: at as u32, form: Form::Based, target, base: first.address, context: 0 });
        }
        return;
    }
    let base = first.address.wrapping_sub(1);
    let skew = (run.offset - run.region.offset).wrapping_neg() & 3;
    for at in (skew as usize..bytes.len()).step_by(4) {
        let Some(word) = u32_at(bytes, at) else { break };
        let target = base.wrapping_sub(i64::from(word as i32) as u64);
        fields.push(Field { at: at as u32, form: Form::Below, target, base, context: 0 });
    }
}
