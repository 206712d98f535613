//! Jump tables: words of four bytes among constants, each the distance from the start of the table to
//! code.
//!
//! Nothing in a table tells where it starts. The code does: it takes the address of the start, so
//! every `LEA` of an address among constants is a candidate.

use crate::structure::{Extent, ReadAt};

use super::elf::{Content, Layout, Machine, Region, u32_at};
use super::field::{Field, Form};
use super::scan::Run;
use super::x86::{self, INSTRUCTION_BYTES_MAX};

/// Candidates kept per file; four bytes each.
const STARTS_MAX: usize = 1 << 17;
/// Bytes of code read at a time.
const CODE_BYTES: usize = 1 << 18;
/// Bytes of a table that are believed in when its start is not in sight.
const TABLE_BYTES_MAX: u64 = 1 << 14;

/// Offsets in the file that code takes the address of, among constants and aligned as tables are.
pub(super) fn starts(old: &dyn ReadAt, extent: Extent, layout: &Layout, regions: &[Region]) -> Vec<u32> {
    let mut starts = Vec::new();
    let constants = |region: &&Region| region.content == Content::Constants;
    if layout.machine != Machine::X86_64 || layout.relocatable || !regions.iter().any(|r| constants(&r)) {
        return starts;
    }
    let mut buffer = vec![0; CODE_BYTES + INSTRUCTION_BYTES_MAX];
    for region in regions.iter().filter(|region| region.content == Content::Code) {
        let Some(address) = layout.address(region.offset) else { continue };
        let mut done = 0;
        while done < region.len {
            let len = (region.len - done).min(buffer.len() as u64) as usize;
            if old.read_at(extent.offset + region.offset + done, &mut buffer[..len]).is_err() {
                return starts;
            }
            let last = if done + len as u64 == region.len { len } else { CODE_BYTES };
            let mut at = 0;
            while at < last {
                let code = &buffer[at..len.min(at + INSTRUCTION_BYTES_MAX)];
                let Some(instruction) = x86::decode(code) else {
                    at += 1;
                    continue;
                };
                if let Some(target) = address_taken(code, instruction) {
                    let target = address
                        .wrapping_add(done + at as u64 + u64::from(instruction.len))
                        .wrapping_add(target);
                    if let Some(offset) = layout.offset(target).filter(|offset| offset % 4 == 0)
                        && let Ok(offset) = u32::try_from(offset)
                        && starts.last() != Some(&offset)
                    {
                        starts.push(offset);
                    }
                }
                at += usize::from(instruction.len);
            }
            if starts.len() > STARTS_MAX / 2 {
                tidy(&mut starts, regions);
            }
            done += at as u64;
        }
    }
    tidy(&mut starts, regions);
    starts.shrink_to_fit();
    starts
}

/// The distance that a RIP-relative `LEA` adds.
fn address_taken(code: &[u8], instruction: x86::Instruction) -> Option<u64> {
    if !instruction.relative || instruction.disp < 2 || instruction.disp + 4 != instruction.len {
        return None;
    }
    let disp = usize::from(instruction.disp);
    if code[disp - 2] != 0x8d {
        return None;
    }
    u32_at(code, disp).map(|word| i64::from(word as i32) as u64)
}

/// Sorts, and keeps what lies among constants.
fn tidy(starts: &mut Vec<u32>, regions: &[Region]) {
    starts.sort_unstable();
    starts.dedup();
    starts.retain(|&start| {
        let behind = regions.partition_point(|region| region.offset <= u64::from(start));
        behind.checked_sub(1).is_some_and(|index| {
            let region = regions[index];
            region.content == Content::Constants && u64::from(start) - region.offset < region.len
        })
    });
    starts.truncate(STARTS_MAX);
}

/// Appends the entries of jump tables in a run of constants.
pub(super) fn entries(run: &Run<'_>, starts: &[u32], fields: &mut Vec<Field>) {
    let bytes = &run.bytes[run.before..];
    let end = run.offset + bytes.len() as u64;
    let mut next = starts.partition_point(|&start| u64::from(start) <= run.offset).saturating_sub(1);
    while let Some(&start) = starts.get(next) {
        let start = u64::from(start);
        next += 1;
        let stop = starts.get(next).map_or(end, |&next| end.min(u64::from(next)));
        let mut at = start.max(run.offset);
        at += at.wrapping_sub(start).wrapping_neg() & 3;
        if at.saturating_sub(start) > TABLE_BYTES_MAX {
            continue;
        }
        if start >= end {
            break;
        }
        let Some(base) = run.image.layout.address(start) else { continue };
        while at < stop {
            let Some(word) = u32_at(bytes, (at - run.offset) as usize) else { break };
            let target = base.wrapping_add(i64::from(word as i32) as u64);
            if !run.image.layout.executes(target) {
                break;
            }
            fields.push(Field { at: (at - run.offset) as u32, form: Form::Based, target, base, context: 0 });
            at += 4;
        }
    }
}
