//! Finds the references in a run of old bytes.

use super::elf::{Content, Layout, Machine, Region, u32_at, u64_at};
use super::field::{Field, Form};
use super::{arm64, tables, x86};

/// Bytes before a run that are read to find where instructions start.
pub(super) const LOOK_BACK_BYTES: u64 = 64;

/// In a program that starts at address zero, smaller values in data are taken for numbers.
const SMALL_NUMBER_MAX: u64 = 0x1_0000;

/// A run of old bytes inside one region.
pub(super) struct Run<'a> {
    pub layout: &'a Layout,
    /// Where jump tables may start, in the file.
    pub tables: &'a [u32],
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
    match (run.region.content, run.layout.machine) {
        (Content::Code, Machine::X86_64) => x86_code(run, sweep, fields),
        (Content::Code, Machine::Aarch64) => arm64::code(run, fields),
        (Content::Rela, _) => rela(run, fields),
        (Content::Symbols, _) => symbols(run, fields),
        (Content::Data, _) => data(run, fields),
        (Content::FrameRecords, _) => frame_records(run, fields),
        (Content::FrameIndex, _) => frame_index(run, fields),
        (Content::Constants, _) if run.layout.holds(0) => tables::entries(run, run.tables, fields),
        (Content::Constants, _) => data(run, fields),
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
    let Some(address) = run.layout.address(run.offset) else { return };
    let base = address.wrapping_sub(run.before as u64);
    // In a program that is loaded anywhere, constants of four bytes are no addresses.
    let fixed = !run.layout.holds(0);
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
                if (instruction.relative || fixed) && run.layout.holds(target) {
                    fields.push(Field { at: (from - run.before) as u32, form, target, base: 0 });
                }
            }
        }
        if fixed && instruction.imm != 0 {
            let from = at + usize::from(instruction.imm);
            if from >= run.before
                && let Some(value) = u32_at(run.bytes, from)
            {
                let target = i64::from(value as i32) as u64;
                if run.layout.holds(target) {
                    fields.push(Field {
                        at: (from - run.before) as u32,
                        form: Form::Absolute32,
                        target,
                        base: 0,
                    });
                }
            }
        }
        at += usize::from(instruction.len);
    }
    *sweep = context + at as u64;
}

/// Offsets in the run, from its start, at which records of `size` bytes of the region start.
fn records(run: &Run<'_>, size: u64) -> impl Iterator<Item = usize> + use<> {
    let phase = (run.offset - run.region.offset) % size;
    let first = if phase == 0 { 0 } else { size - phase };
    let len = (run.bytes.len() - run.before) as u64;
    (first..len).step_by(size as usize).map(|at| at as usize)
}

fn absolute(layout: &Layout, bytes: &[u8], at: usize, fields: &mut Vec<Field>) {
    if let Some(target) = u64_at(bytes, at)
        && target != 0
        && layout.holds(target)
    {
        fields.push(Field { at: at as u32, form: Form::Absolute64, target, base: 0 });
    }
}

fn rela(run: &Run<'_>, fields: &mut Vec<Field>) {
    let bytes = &run.bytes[run.before..];
    for at in records(run, 24) {
        absolute(run.layout, bytes, at, fields);
        absolute(run.layout, bytes, at + 16, fields);
    }
}

fn symbols(run: &Run<'_>, fields: &mut Vec<Field>) {
    let bytes = &run.bytes[run.before..];
    for at in records(run, 24) {
        if let Some(name) = u32_at(bytes, at)
            && name != 0
        {
            let target = run.region.strings.wrapping_add(u64::from(name));
            fields.push(Field { at: at as u32, form: Form::InFile, target, base: run.region.strings });
        }
        absolute(run.layout, bytes, at + 8, fields);
    }
}

fn data(run: &Run<'_>, fields: &mut Vec<Field>) {
    let bytes = &run.bytes[run.before..];
    let first = (run.offset.wrapping_neg() & 7) as usize;
    // Small numbers are more often lengths than addresses.
    let small = if run.layout.holds(0) { SMALL_NUMBER_MAX } else { 0 };
    for at in (first..bytes.len()).step_by(8) {
        if u64_at(bytes, at).is_some_and(|value| value > small) {
            absolute(run.layout, bytes, at, fields);
        }
    }
}

fn self_relative(run: &Run<'_>, fields: &mut Vec<Field>) {
    let bytes = &run.bytes[run.before..];
    let Some(address) = run.layout.address(run.offset) else { return };
    for at in records(run, 4) {
        let Some(word) = u32_at(bytes, at) else { break };
        let target = address.wrapping_add(at as u64).wrapping_add(i64::from(word as i32) as u64);
        if word != 0 && run.layout.holds(target) {
            fields.push(Field { at: at as u32, form: Form::Relative(0), target, base: 0 });
        }
    }
}

/// `.eh_frame_hdr`: a pointer to `.eh_frame`, then pairs of function and record, sorted by function
/// (LSB Core 5.0, 10.6.2).
fn frame_index(run: &Run<'_>, fields: &mut Vec<Field>) {
    let bytes = &run.bytes[run.before..];
    let (Some(address), Some(start)) =
        (run.layout.address(run.offset), run.layout.address(run.region.offset))
    else {
        return;
    };
    for at in records(run, 4) {
        let Some(word) = u32_at(bytes, at) else { break };
        let word = i64::from(word as i32) as u64;
        match run.offset - run.region.offset + at as u64 {
            4 => {
                let target = address.wrapping_add(at as u64).wrapping_add(word);
                fields.push(Field { at: at as u32, form: Form::Relative(0), target, base: 0 });
            }
            12.. => {
                let target = start.wrapping_add(word);
                fields.push(Field { at: at as u32, form: Form::Based, target, base: start });
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
    let Some(address) = run.layout.address(run.offset) else { return };
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
        let function = relative(at + 8).filter(|&function| run.layout.executes(function));
        let (true, Some(function), Some(cie)) = (plausible, function, cie) else {
            at += 4;
            continue;
        };
        if cie < run.region.offset {
            at += 4;
            continue;
        }
        let cie = address.wrapping_add(cie).wrapping_sub(run.offset);
        fields.push(Field { at: at as u32 + 4, form: Form::Back, target: cie, base: 0 });
        fields.push(Field { at: at as u32 + 8, form: Form::Relative(0), target: function, base: 0 });
        if len >= 17
            && bytes.get(at + 16) == Some(&4)
            && let Some(table) = relative(at + 17).filter(|&table| run.layout.holds(table))
        {
            fields.push(Field { at: at as u32 + 17, form: Form::Relative(0), target: table, base: 0 });
        }
        at += 4 + len as usize;
    }
}
