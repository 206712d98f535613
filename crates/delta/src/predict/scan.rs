//! Finds the references in a run of old bytes.

use super::elf::{
    Content, Image, Layout, Machine, Region, SECTION_HEADER_BYTES, SHT_NOBITS, u16_at, u32_at, u64_at,
};
use super::field::{Field, Form, SYMBOL_INDICES, SYMBOL_VERSIONS};
use super::{arm64, go, kallsyms, tables, types, x86};

/// Bytes before a run that are read to find where instructions start.
pub(super) const LOOK_BACK_BYTES: u64 = 64;

/// Bytes before a run of such content that are read.
pub(super) fn look_back_bytes(content: Content) -> u64 {
    if content == Content::FunctionRecords { go::LOOK_BACK_BYTES } else { LOOK_BACK_BYTES }
}

/// Bytes of a relocation.
pub(super) const RELA_BYTES: u64 = 24;

/// Bytes of a symbol's version and name.
const VERSION_BYTES: u64 = 64;

/// In a program that starts at address zero, smaller values in data are taken for numbers.
const SMALL_NUMBER_MAX: u64 = 0x1_0000;

/// A run of old bytes inside one region.
pub(super) struct Run<'a> {
    pub image: &'a Image,
    pub region: Region,
    /// Offset of the run in its file.
    pub offset: u64,
    /// `before` bytes of context, then the run itself.
    pub bytes: &'a [u8],
    pub before: usize,
}

/// Appends the references of a run, in order and without overlaps.
///
/// `sweep` is where the last run found an instruction to start, as an offset in the file.
pub(super) fn references(run: &Run<'_>, sweep: &mut u64, fields: &mut Vec<Field>) {
    match (run.region.content, run.image.layout.machine) {
        (Content::Code, Machine::X86_64) => x86_code(run, sweep, fields),
        (Content::Code, Machine::Aarch64) => arm64::code(run, fields),
        (Content::Rela, _) if run.image.layout.relocatable => object_rela(run, fields),
        (Content::Symbols, _) if run.image.layout.relocatable => object_symbols(run, fields),
        (Content::SymbolOffsets, _) => kallsyms::references(run, fields),
        (Content::Types, _) => types::references(run, fields),
        (Content::Versions, _) => versions(run, fields),
        (Content::SectionHeaders, _) => section_headers(run, fields),
        (
            Content::FunctionUnits
            | Content::FunctionIndex
            | Content::FunctionRecords
            | Content::FunctionData,
            _,
        ) => {
            if let Some(tables) = &run.image.go {
                go::references(run, tables, fields);
            }
        }
        (Content::Addresses, _) => addresses(run, fields),
        (Content::Rela, _) => rela(run, fields),
        (Content::Symbols, _) => symbols(run, fields),
        (Content::Constants, _) if !run.image.layout.fixed => {
            tables::entries(run, run.image.tables(), fields);
        }
        (Content::Data | Content::Constants, _) => data(run, fields),
        (Content::FrameRecords, _) => frame_records(run, fields),
        (Content::FrameIndex, _) => frame_index(run, fields),
        (Content::SelfRelative, _) => self_relative(run, fields),
        _ => {}
    }
}

fn x86_code(run: &Run<'_>, sweep: &mut u64, fields: &mut Vec<Field>) {
    let context = run.offset - run.before as u64;
    let mut at = if (context..=run.offset + run.bytes.len() as u64).contains(sweep) {
        (*sweep - context) as usize
    } else {
        0
    };
    let Some(address) = run.image.layout.address(run.offset) else { return };
    let base = address.wrapping_sub(run.before as u64);
    // In a program that is loaded anywhere, constants of four bytes are no addresses.
    let fixed = run.image.layout.fixed;
    while at < run.bytes.len() {
        let code = &run.bytes[at..];
        let Some(instruction) = x86::decode(&code[..code.len().min(x86::INSTRUCTION_BYTES_MAX)]) else {
            if code.len() < x86::INSTRUCTION_BYTES_MAX {
                break;
            }
            at += 1;
            continue;
        };
        let end = base.wrapping_add(at as u64 + u64::from(instruction.len));
        if instruction.disp != 0 {
            let from = at + usize::from(instruction.disp);
            if from >= run.before
                && let Some(value) = u32_at(run.bytes, from)
            {
                let value = i64::from(value as i32) as u64;
                let (form, target) = if instruction.relative {
                    (Form::Relative(instruction.len - instruction.disp), end.wrapping_add(value))
                } else {
                    (Form::Absolute32, value)
                };
                if (instruction.relative || fixed) && run.image.layout.holds(target) {
                    fields.push(Field { at: (from - run.before) as u32, form, target, base: 0, context: 0 });
                }
            }
        }
        if fixed && instruction.imm != 0 {
            let from = at + usize::from(instruction.imm);
            if from >= run.before
                && let Some(value) = u32_at(run.bytes, from)
            {
                let target = i64::from(value as i32) as u64;
                if run.image.layout.holds(target) {
                    fields.push(Field {
                        at: (from - run.before) as u32,
                        form: Form::Absolute32,
                        target,
                        base: 0,
                        context: 0,
                    });
                }
            }
        }
        at += usize::from(instruction.len);
    }
    *sweep = context + at as u64;
}

/// Offsets in the run, from its start, at which records of `size` bytes of the region start.
pub(super) fn records(run: &Run<'_>, size: u64) -> impl Iterator<Item = usize> + use<> {
    let phase = (run.offset - run.region.offset) % size;
    let first = if phase == 0 { 0 } else { size - phase };
    let len = (run.bytes.len() - run.before) as u64;
    (first..len).step_by(size as usize).map(|at| at as usize)
}

/// Appends an address of eight bytes, where there is one at `at`.
pub(super) fn absolute(layout: &Layout, bytes: &[u8], at: usize, fields: &mut Vec<Field>) {
    let Some(value) = u64_at(bytes, at).filter(|&value| value != 0) else { return };
    let (form, target, base) = match layout.loaded_at {
        Some(start) => (Form::Loaded64, value.wrapping_sub(start), start),
        None => (Form::Absolute64, value, 0),
    };
    if layout.holds(target) && layout.loaded_at != Some(0) {
        fields.push(Field { at: at as u32, form, target, base, context: 0 });
    }
}

fn rela(run: &Run<'_>, fields: &mut Vec<Field>) {
    let bytes = &run.bytes[run.before..];
    for at in records(run, RELA_BYTES) {
        absolute(&run.image.layout, bytes, at, fields);
        number(bytes, at + 12, SYMBOL_INDICES, fields);
        absolute(&run.image.layout, bytes, at + 16, fields);
    }
}

fn number(bytes: &[u8], at: usize, space: u64, fields: &mut Vec<Field>) {
    if let Some(value) = u32_at(bytes, at)
        && value != 0
    {
        fields.push(Field {
            at: at as u32,
            form: Form::Number,
            target: u64::from(value),
            base: space,
            context: 0,
        });
    }
}

/// Relocations before linking: offsets count from the start of the section that they apply to, addends
/// from the start of the section that the symbol stands for.
fn object_rela(run: &Run<'_>, fields: &mut Vec<Field>) {
    /// Fields relative to the address four bytes behind them, which the addend makes up for.
    const RELATIVE_TYPES: [u32; 2] = [2, 4];
    let bytes = &run.bytes[run.before..];
    for at in records(run, 24) {
        let (Some(offset), Some(kind)) = (u64_at(bytes, at), u32_at(bytes, at + 8)) else { break };
        if run.region.linked != 0 {
            let base = run.region.linked;
            let target = base.wrapping_add(offset);
            fields.push(Field { at: at as u32, form: Form::InFile64, target, base, context: 0 });
        }
        number(bytes, at + 12, SYMBOL_INDICES, fields);
        let (Some(symbol), Some(addend)) = (u32_at(bytes, at + 12), u64_at(bytes, at + 16)) else { break };
        let section = run.image.section_symbols.get(symbol as usize).copied().unwrap_or(0);
        if section == 0 {
            continue;
        }
        let base = run.image.bases.get(usize::from(section)).copied().unwrap_or(0);
        // The target is moved, and so is the base: differences stay.
        let skew = if RELATIVE_TYPES.contains(&kind) { 4 } else { 0 };
        if base != 0 {
            let target = base.wrapping_add(addend).wrapping_add(skew);
            let base = base.wrapping_add(skew);
            fields.push(Field { at: at as u32 + 16, form: Form::InFile64, target, base, context: 0 });
        }
    }
}

/// Where each section stands, and how long it is.
fn section_headers(run: &Run<'_>, fields: &mut Vec<Field>) {
    let bytes = &run.bytes[run.before..];
    for at in records(run, SECTION_HEADER_BYTES as u64) {
        let (Some(kind), Some(base), Some(len)) =
            (u32_at(bytes, at + 4), u64_at(bytes, at + 24), u64_at(bytes, at + 32))
        else {
            break;
        };
        absolute(&run.image.layout, bytes, at + 16, fields);
        if base == 0 || kind == SHT_NOBITS {
            continue;
        }
        let at = at as u32;
        fields.push(Field { at: at + 24, form: Form::InFile64, target: base, base: 0, context: 0 });
        if let Some(last) = base.checked_add(len).and_then(|end| end.checked_sub(1)).filter(|_| len > 0) {
            fields.push(Field { at: at + 32, form: Form::Length64, target: last, base, context: 0 });
        }
    }
}

/// The checksum before each name of an imported symbol (Linux, `struct modversion_info`).
fn versions(run: &Run<'_>, fields: &mut Vec<Field>) {
    let bytes = &run.bytes[run.before..];
    for at in records(run, VERSION_BYTES) {
        number(bytes, at, SYMBOL_VERSIONS, fields);
    }
}

fn object_symbols(run: &Run<'_>, fields: &mut Vec<Field>) {
    let bytes = &run.bytes[run.before..];
    for at in records(run, 24) {
        if let Some(name) = u32_at(bytes, at)
            && name != 0
        {
            let target = run.region.linked.wrapping_add(u64::from(name));
            fields.push(Field {
                at: at as u32,
                form: Form::InFile,
                target,
                base: run.region.linked,
                context: 0,
            });
        }
        let Some(section) = u16_at(bytes, at + 6) else { break };
        if let Some(&base) = run.image.bases.get(usize::from(section))
            && let Some(value) = u64_at(bytes, at + 8)
            && section != 0
        {
            let target = base.wrapping_add(value);
            fields.push(Field { at: at as u32 + 8, form: Form::InFile64, target, base, context: 0 });
        }
    }
}

fn addresses(run: &Run<'_>, fields: &mut Vec<Field>) {
    let bytes = &run.bytes[run.before..];
    for at in records(run, 4) {
        let Some(word) = u32_at(bytes, at) else { break };
        let target = i64::from(word as i32) as u64;
        if word != 0 && run.image.layout.holds(target) {
            fields.push(Field { at: at as u32, form: Form::Absolute32, target, base: 0, context: 0 });
        }
    }
}

fn symbols(run: &Run<'_>, fields: &mut Vec<Field>) {
    let bytes = &run.bytes[run.before..];
    for at in records(run, 24) {
        if let Some(name) = u32_at(bytes, at)
            && name != 0
        {
            let target = run.region.linked.wrapping_add(u64::from(name));
            fields.push(Field {
                at: at as u32,
                form: Form::InFile,
                target,
                base: run.region.linked,
                context: 0,
            });
        }
        absolute(&run.image.layout, bytes, at + 8, fields);
    }
}

fn data(run: &Run<'_>, fields: &mut Vec<Field>) {
    if run.region.content == Content::Constants
        && let Some(tables) = &run.image.go
    {
        return go::references(run, tables, fields);
    }
    let bytes = &run.bytes[run.before..];
    let first = (run.offset.wrapping_neg() & 7) as usize;
    // Small numbers are more often lengths than addresses.
    let small = if run.image.layout.fixed { 0 } else { SMALL_NUMBER_MAX };
    for at in (first..bytes.len()).step_by(8) {
        if u64_at(bytes, at).is_some_and(|value| value > small) {
            absolute(&run.image.layout, bytes, at, fields);
        }
    }
}

fn self_relative(run: &Run<'_>, fields: &mut Vec<Field>) {
    let bytes = &run.bytes[run.before..];
    let Some(address) = run.image.layout.address(run.offset) else { return };
    for at in records(run, 4) {
        let Some(word) = u32_at(bytes, at) else { break };
        let target = address.wrapping_add(at as u64).wrapping_add(i64::from(word as i32) as u64);
        if word != 0 && run.image.layout.holds(target) {
            fields.push(Field { at: at as u32, form: Form::Relative(0), target, base: 0, context: 0 });
        }
    }
}

/// `.eh_frame_hdr`: a pointer to `.eh_frame`, then pairs of function and record, sorted by function
/// (LSB Core 5.0, 10.6.2).
fn frame_index(run: &Run<'_>, fields: &mut Vec<Field>) {
    let bytes = &run.bytes[run.before..];
    let (Some(address), Some(start)) =
        (run.image.layout.address(run.offset), run.image.layout.address(run.region.offset))
    else {
        return;
    };
    for at in records(run, 4) {
        let Some(word) = u32_at(bytes, at) else { break };
        let word = i64::from(word as i32) as u64;
        match run.offset - run.region.offset + at as u64 {
            4 => {
                let target = address.wrapping_add(at as u64).wrapping_add(word);
                fields.push(Field { at: at as u32, form: Form::Relative(0), target, base: 0, context: 0 });
            }
            12.. => {
                let target = start.wrapping_add(word);
                fields.push(Field { at: at as u32, form: Form::Based, target, base: start, context: 0 });
            }
            _ => {}
        }
    }
}

/// `.eh_frame`: records of a CIE or an FDE each (LSB Core 5.0, 10.6.1), with the encodings that every
/// compiler uses there: addresses relative to themselves in four bytes.
fn frame_records(run: &Run<'_>, fields: &mut Vec<Field>) {
    /// No record of a compiler is longer.
    const RECORD_BYTES_MAX: u32 = 1 << 12;
    let bytes = &run.bytes[run.before..];
    let Some(address) = run.image.layout.address(run.offset) else { return };
    let relative = |at: usize| {
        let word = u32_at(bytes, at)?;
        Some(address.wrapping_add(at as u64).wrapping_add(i64::from(word as i32) as u64))
    };
    let mut at = (run.offset.wrapping_neg() & 3) as usize;
    while let (Some(len), Some(back)) = (u32_at(bytes, at), u32_at(bytes, at + 4)) {
        let cie = (run.offset + at as u64 + 4).checked_sub(u64::from(back));
        let plausible = (12..RECORD_BYTES_MAX).contains(&len) && len % 4 == 0;
        if plausible && back == 0 {
            at += 4 + len as usize;
            continue;
        }
        let function = relative(at + 8).filter(|&function| run.image.layout.executes(function));
        let (true, Some(function), Some(cie)) = (plausible, function, cie) else {
            at += 4;
            continue;
        };
        if cie < run.region.offset {
            at += 4;
            continue;
        }
        let cie = address.wrapping_add(cie).wrapping_sub(run.offset);
        fields.push(Field { at: at as u32 + 4, form: Form::Back, target: cie, base: 0, context: 0 });
        fields.push(Field {
            at: at as u32 + 8,
            form: Form::Relative(0),
            target: function,
            base: 0,
            context: 0,
        });
        if len >= 17
            && bytes.get(at + 16) == Some(&4)
            && let Some(table) = relative(at + 17).filter(|&table| run.image.layout.holds(table))
        {
            fields.push(Field {
                at: at as u32 + 17,
                form: Form::Relative(0),
                target: table,
                base: 0,
                context: 0,
            });
        }
        at += 4 + len as usize;
    }
}
