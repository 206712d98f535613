//! The function tables of Go programs (`.gopclntab`): a header, names, compilation units, files,
//! tables of line numbers, an index of functions and a record for each of them. Records and index
//! hold offsets into the others and into the code. Since Go 1.26 data about the functions follows,
//! among it trees of the calls that were inlined, which hold offsets of names.
//!
//! Source: Go 1.18 to 1.27, `src/internal/abi/symtab.go` and `src/runtime/{symtab,runtime2}.go`.

use crate::structure::{Extent, ReadAt};

use super::elf::{Content, Layout, Region, u32_at, u64_at};
use super::field::{FUNCTION_DATA, FUNCTION_LINES, Field, Form, TYPE_OFFSETS, UNIT_INDICES};
use super::scan::{Run, absolute};

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
/// Smaller numbers among types are more often sizes than offsets.
const TYPE_OFFSET_MIN: u64 = 1 << 10;
/// `FUNCDATA_InlTree`: which of a record's data is the tree of inlined calls.
const CALLS_DATA: usize = 3;
/// Bytes of an inlined call: kind of function in four bytes, offset of its name, two numbers.
const CALL_BYTES: u64 = 16;
/// Trees of inlined calls that are kept; eight bytes each.
const TREES_MAX: usize = 1 << 16;
/// Trees are looked for in so many bytes of data: each takes a bit while that is done.
const DATA_BYTES_MAX: u64 = 8 << 20;
/// The data begins so many bytes behind the last record, at most.
const DATA_SKEW_MAX: u64 = 64;
/// Trees that show where the data begins.
const SAMPLES: usize = 256;
const WINDOW_BYTES: u64 = 1 << 16;
/// Old bytes before a run in which a record is looked for that began there.
pub(super) const LOOK_BACK_BYTES: u64 = 256;

/// Where the tables stand.
#[derive(Debug)]
pub(super) struct Tables {
    /// Offsets in the file: of names, of files, of tables of numbers, of the index.
    names: u64,
    files: u64,
    numbers: u64,
    index: u64,
    /// Address from which entries of functions count.
    text: u64,
    /// Offsets of types and of their names are smaller than this.
    types_len: u64,
    /// First bytes and ends of trees of inlined calls, as offsets in the file, sorted.
    trees: Vec<[u32; 2]>,
}

impl Tables {
    /// Bytes of memory that they take beside their own.
    pub fn memory_bytes(&self) -> usize {
        self.trees.capacity() * size_of::<[u32; 2]>()
    }
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
    drop(entries);
    starts.sort_unstable();
    let data = Data::find(old, extent, &starts, end, units - names);
    let data_start = data.as_ref().map_or(end, |data| data.start.clamp(records, end));
    let part = |from: u64, to: u64, content| Region { offset: from, len: to - from, content, linked: 0 };
    let parts = [
        part(region.offset, units, Content::Other),
        part(units, files, Content::FunctionUnits),
        part(files, index, Content::Other),
        part(index, records, Content::FunctionIndex),
        part(records, data_start, Content::FunctionRecords),
        part(data_start, end, Content::FunctionData),
    ];
    regions.splice(place..=place, parts.into_iter().filter(|part| part.len > 0));
    let trees = data.map_or_else(Vec::new, |data| data.trees);
    let constants = regions.iter().filter(|region| region.content == Content::Constants);
    let types_len = constants.map(|region| region.len).max().unwrap_or(0);
    Some((Tables { names, files, numbers, index, text, types_len, trees }, starts))
}

/// What stands behind the records.
struct Data {
    start: u64,
    trees: Vec<[u32; 2]>,
}

impl Data {
    /// Looks through all records for where their data stands. `None` where it is not behind them, as
    /// before Go 1.26.
    fn find(old: &dyn ReadAt, extent: Extent, starts: &[u32], end: u64, names_len: u64) -> Option<Self> {
        let mut records_end = 0;
        let mut trees = Vec::new();
        let mut begins = vec![0_u8; (DATA_BYTES_MAX / 8) as usize];
        each_record(old, extent, starts, end, |stop, data| {
            records_end = stop;
            for (index, word) in data.chunks_exact(4).enumerate() {
                let offset = u32_at(word, 0).unwrap_or(u32::MAX);
                if let Some(byte) = begins.get_mut(offset as usize / 8) {
                    *byte |= 1 << (offset % 8);
                }
                if index == CALLS_DATA && offset != u32::MAX && trees.len() < TREES_MAX {
                    trees.push([offset; 2]);
                }
            }
        })?;
        trees.sort_unstable();
        trees.dedup();
        let start = Self::start(old, extent, &trees, records_end, end, names_len)?;
        let behind = |offset: u32| {
            let rest = (u64::from(offset) + 1)..DATA_BYTES_MAX.min(end - start);
            rest.into_iter().find(|&at| begins[at as usize / 8] >> (at % 8) & 1 == 1)
        };
        for tree in &mut trees {
            let from = start + u64::from(tree[0]);
            let to = behind(tree[0]).map_or(from, |offset| start + offset);
            *tree = [u32::try_from(from).ok()?, u32::try_from(to).ok()?];
        }
        trees.shrink_to_fit();
        Some(Self { start, trees })
    }

    /// How the data is aligned depends on the version: where it begins, all trees hold offsets of names.
    fn start(
        old: &dyn ReadAt,
        extent: Extent,
        trees: &[[u32; 2]],
        records_end: u64,
        end: u64,
        names_len: u64,
    ) -> Option<u64> {
        const SKEWS: usize = (DATA_SKEW_MAX / 4) as usize;
        let mut hits = [0; SKEWS];
        let mut sample = [0; DATA_SKEW_MAX as usize + 4];
        let samples = trees.iter().step_by((trees.len() / SAMPLES).max(1));
        let mut count = 0;
        for tree in samples {
            let at = records_end.checked_add(u64::from(tree[0]))?;
            if at + sample.len() as u64 > end {
                continue;
            }
            old.read_at(extent.offset + at, &mut sample).ok()?;
            count += 1;
            for (skew, hits) in hits.iter_mut().enumerate() {
                let (kind, name) = (u32_at(&sample, 4 * skew)?, u32_at(&sample, 4 * skew + 4)?);
                *hits += u32::from(kind <= 0xff && (1..names_len).contains(&u64::from(name)));
            }
        }
        let skew = (0..SKEWS).max_by_key(|&skew| (hits[skew], std::cmp::Reverse(skew)))?;
        (count > 0 && hits[skew] > count / 2).then_some(records_end + 4 * skew as u64)
    }
}

/// Calls `each` with every record's end and the offsets of its data.
fn each_record(
    old: &dyn ReadAt,
    extent: Extent,
    starts: &[u32],
    end: u64,
    mut each: impl FnMut(u64, &[u8]),
) -> Option<()> {
    let mut window: Vec<u8> = Vec::new();
    let mut window_at = 0;
    for &start in starts {
        let start = u64::from(start);
        if start.saturating_sub(window_at) + LOOK_BACK_BYTES > window.len() as u64 {
            if start >= end {
                return None;
            }
            window_at = start;
            window.resize((end - start).min(WINDOW_BYTES) as usize, 0);
            old.read_at(extent.offset + start, &mut window).ok()?;
        }
        let record = &window[(start - window_at) as usize..];
        let numbers = u32_at(record, 28)? as usize;
        let data = usize::from(*record.get(RECORD_BYTES - 1)?);
        if numbers > TABLES_MAX || data > TABLES_MAX {
            continue;
        }
        let from = RECORD_BYTES + 4 * numbers;
        let to = from + 4 * data;
        if let Some(data) = record.get(from..to) {
            each(start + to as u64, data);
        }
    }
    Some(())
}

/// Appends the references of a part of the tables.
pub(super) fn references(run: &Run<'_>, tables: &Tables, fields: &mut Vec<Field>) {
    let unit = |_, word| (word != u32::MAX).then(|| in_file(tables.files, word));
    let entry =
        |index, word| Some(if index == 0 { based(tables.text, word) } else { in_file(tables.index, word) });
    match run.region.content {
        Content::FunctionUnits => words(run, 1, fields, unit),
        Content::FunctionIndex => words(run, 2, fields, entry),
        Content::FunctionData => calls(run, tables, fields),
        Content::Constants => constants(run, tables, fields),
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

/// The line at which the function of this name starts: the same wherever it was inlined.
fn line(name: u32, word: u32) -> Reference {
    number(FUNCTION_LINES | u64::from(name) << 16, word)
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
            (9, Some(line(word(1), word(9)))),
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

/// Addresses, and among types the offsets of others, of names and of functions.
fn constants(run: &Run<'_>, tables: &Tables, fields: &mut Vec<Field>) {
    let bytes = &run.bytes[run.before..];
    let first = (run.offset.wrapping_neg() & 7) as usize;
    for at in (first..bytes.len()).step_by(8) {
        let known = fields.len();
        absolute(&run.image.layout, bytes, at, fields);
        if fields.len() > known {
            continue;
        }
        for at in [at, at + 4] {
            let Some(word) = u32_at(bytes, at) else { break };
            let reference = if (TYPE_OFFSET_MIN..tables.types_len).contains(&u64::from(word)) {
                Some(number(TYPE_OFFSETS, word))
            } else {
                let function = Some(based(tables.text, word));
                function.filter(|(_, target, _)| {
                    u64::from(word) >= tables.types_len && run.image.layout.executes(*target)
                })
            };
            push(at, reference, fields);
        }
    }
}

/// Names and first lines of functions in trees of inlined calls.
fn calls(run: &Run<'_>, tables: &Tables, fields: &mut Vec<Field>) {
    let context = run.offset - run.before as u64;
    let end = context + run.bytes.len() as u64;
    let word = |at: u64| {
        let at = at.checked_sub(context)? as usize;
        Some((at, u32_at(run.bytes, at)?))
    };
    let first = tables.trees.partition_point(|tree| u64::from(tree[1]) <= run.offset);
    for tree in &tables.trees[first..] {
        let [from, to] = tree.map(u64::from);
        if from >= end {
            return;
        }
        let mut call = from + run.offset.saturating_sub(from) / CALL_BYTES * CALL_BYTES;
        while call + CALL_BYTES <= to && call < end {
            let name = word(call + 4);
            let mut place = |at: usize, reference| {
                if let Some(at) = at.checked_sub(run.before) {
                    push(at, Some(reference), fields);
                }
            };
            if let Some((at, name)) = name {
                place(at, in_file(tables.names, name));
                if let Some((at, word)) = word(call + 12) {
                    place(at, line(name, word));
                }
            }
            call += CALL_BYTES;
        }
    }
}
