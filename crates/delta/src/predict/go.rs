//! The function tables of Go programs (`.gopclntab`): a header, names, compilation units, files,
//! tables of line numbers, an index of functions and a record for each of them. Records and index
//! hold offsets into the others and into the code.
//!
//! Source: Go 1.18 to 1.27, `src/internal/abi/symtab.go` and `src/runtime/{symtab,runtime2}.go`.

use crate::structure::{Extent, ReadAt};

use super::elf::{Content, Layout, Region, u32_at, u64_at};
use super::field::{FUNCTION_DATA, Field, Form, UNIT_INDICES};
use super::scan::Run;

/// `CurrentPCLnTabMagic` of Go 1.20 and of Go 1.18.
const MAGICS: [u32; 2] = [0xffff_fff1, 0xffff_fff0];
const HEADER_BYTES: usize = 72;
/// Records that are known to start somewhere; four bytes each.
const STARTS_MAX: u64 = 1 << 17;
const INDEX_ENTRY_BYTES: u64 = 8;
/// What every record begins with (`_func`).
const RECORD_BYTES: usize = 44;
/// More tables are in no record.
const TABLES_MAX: usize = 64;
/// Old bytes before a run in which a record is looked for that began there.
pub(super) const LOOK_BACK_BYTES: u64 = 256;

/// Where the tables stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tables {
    /// Offsets in the file: of names, of files, of tables of numbers, of the index.
    names: u64,
    files: u64,
    numbers: u64,
    index: u64,
    /// Address from which entries of functions count.
    text: u64,
}

/// Cuts the region of the tables into its parts. Answers where they stand, and the offsets at which
/// records start, sorted.
pub(super) fn split(
    old: &dyn ReadAt,
    extent: Extent,
    layout: &Layout,
    regions: &mut Vec<Region>,
) -> Option<(Tables, Vec<u32>)> {
    let place = regions.iter().position(|region| region.content == Content::FunctionTables)?;
    let region = regions[place];
    let code = regions.iter().find(|region| region.content == Content::Code)?;
    let text = layout.address(code.offset)?;
    let mut head = [0; HEADER_BYTES];
    if region.len < HEADER_BYTES as u64 {
        return None;
    }
    old.read_at(extent.offset + region.offset, &mut head).ok()?;
    if !MAGICS.contains(&u32_at(&head, 0)?) || head[7] != 8 {
        return None;
    }
    let end = region.offset + region.len;
    let offset =
        |at| u64_at(&head, at).and_then(|value| region.offset.checked_add(value)).filter(|&at| at <= end);
    let (names, units, files) = (offset(32)?, offset(40)?, offset(48)?);
    let (numbers, index) = (offset(56)?, offset(64)?);
    let count = u64_at(&head, 8)?.min((end - index) / INDEX_ENTRY_BYTES);
    let records = index + count * INDEX_ENTRY_BYTES;
    if !(names <= units && units <= files && files <= numbers && numbers <= index) {
        return None;
    }
    let mut entries = vec![0; (count.min(STARTS_MAX) * INDEX_ENTRY_BYTES) as usize];
    old.read_at(extent.offset + index, &mut entries).ok()?;
    let start = |entry: &[u8]| u32::try_from(index + u64::from(u32_at(entry, 4)?)).ok();
    let mut starts: Vec<u32> = entries.chunks_exact(INDEX_ENTRY_BYTES as usize).filter_map(start).collect();
    starts.sort_unstable();
    let part = |from: u64, to: u64, content| Region { offset: from, len: to - from, content, linked: 0 };
    let parts = [
        part(region.offset, units, Content::Other),
        part(units, files, Content::FunctionUnits),
        part(files, index, Content::Other),
        part(index, records, Content::FunctionIndex),
        part(records, end, Content::FunctionRecords),
    ];
    regions.splice(place..=place, parts.into_iter().filter(|part| part.len > 0));
    Some((Tables { names, files, numbers, index, text }, starts))
}

/// Appends the references of a part of the tables.
pub(super) fn references(run: &Run<'_>, tables: &Tables, fields: &mut Vec<Field>) {
    let unit = |_, word| (word != u32::MAX).then(|| in_file(tables.files, word));
    let entry =
        |index, word| Some(if index == 0 { based(tables.text, word) } else { in_file(tables.index, word) });
    match run.region.content {
        Content::FunctionUnits => words(run, 1, fields, unit),
        Content::FunctionIndex => words(run, 2, fields, entry),
        _ => records(run, tables, fields),
    }
}

/// Form, target and base of a reference.
type Reference = (Form, u64, u64);

fn in_file(base: u64, word: u32) -> Reference {
    (Form::InFile, base + u64::from(word), base)
}

fn based(base: u64, word: u32) -> Reference {
    (Form::Based, base.wrapping_add(i64::from(word as i32) as u64), base)
}

fn number(space: u64, word: u32) -> Reference {
    (Form::Number, u64::from(word), space)
}

/// Words of four bytes, in groups of `count`.
fn words(run: &Run<'_>, count: u64, fields: &mut Vec<Field>, of: impl Fn(u64, u32) -> Option<Reference>) {
    let bytes = &run.bytes[run.before..];
    let from = run.offset - run.region.offset;
    let mut at = (from.wrapping_neg() & 3) as usize;
    while let Some(word) = u32_at(bytes, at) {
        push(at, of((from + at as u64) / 4 % count, word), fields);
        at += 4;
    }
}

fn push(at: usize, reference: Option<Reference>, fields: &mut Vec<Field>) {
    if let Some((form, target, base)) = reference {
        fields.push(Field { at: at as u32, form, target, base, context: 0 });
    }
}

/// Records of functions: `_func`, then offsets of tables of numbers, then of data for the collector.
fn records(run: &Run<'_>, tables: &Tables, fields: &mut Vec<Field>) {
    let context = run.offset - run.before as u64;
    let starts = &run.image.starts;
    let first = starts.partition_point(|&start| u64::from(start) < context);
    for (index, &start) in starts.iter().enumerate().skip(first) {
        let at = (u64::from(start) - context) as usize;
        let next = starts.get(index + 1).map_or(usize::MAX, |&next| (u64::from(next) - context) as usize);
        let Some(head) = run.bytes.get(at..at.saturating_add(RECORD_BYTES)) else { return };
        let word = |index: usize| u32_at(head, 4 * index).unwrap_or(0);
        let (numbers, data) = (word(7) as usize, usize::from(head[43]));
        if numbers > TABLES_MAX || data > TABLES_MAX {
            continue;
        }
        let table = |word: u32| (word != 0).then(|| in_file(tables.numbers, word));
        let known = [
            (0, Some(based(tables.text, word(0)))),
            (1, Some(in_file(tables.names, word(1)))),
            (4, table(word(4))),
            (5, table(word(5))),
            (6, table(word(6))),
            (8, (word(8) != u32::MAX).then(|| number(UNIT_INDICES, word(8)))),
        ];
        let mut place = |at: usize, reference| {
            if at >= run.before && at + 4 <= next {
                push(at - run.before, reference, fields);
            }
        };
        for (word, reference) in known {
            place(at + 4 * word, reference);
        }
        for index in 0..numbers + data {
            let at = at + RECORD_BYTES + 4 * index;
            let Some(word) = u32_at(run.bytes, at) else { return };
            let reference = if index < numbers {
                table(word)
            } else {
                (word != u32::MAX).then(|| number(FUNCTION_DATA, word))
            };
            place(at, reference);
        }
    }
}
