//! Jump tables: words of four bytes among constants, each the distance from the start of the table to
//! code.
//!
//! Nothing in a table tells where it starts. The code does: it takes the address of the start, so
//! every `LEA` of an address among constants is a candidate.

use crate::structure::{Extent, ReadAt};

use super::elf::{Content, Layout, Machine, Region, u32_at};
use super::field::{Field, Form};
use super::scan::Run;

/// Candidates kept per file; four bytes each.
const STARTS_MAX: usize = 1 << 17;
/// Bytes of code read at a time.
const CODE_BYTES: usize = 1 << 16;
/// Length of the instruction that takes an address.
const LEA_BYTES: usize = 7;
/// Bytes of a table that are believed in when its start is not in sight.
const TABLE_BYTES_MAX: u64 = 1 << 14;

/// Offsets in the file that code takes the address of, among constants and aligned as tables are.
///
/// Instructions are told by their bytes alone, not by a sweep from one to the next, which would take
/// ten times as long. One in 2^18 places looks like what it is not, and few of these are taken for
/// the address of a constant.
pub(super) fn starts(old: &dyn ReadAt, extent: Extent, layout: &Layout, regions: &[Region]) -> Vec<u32> {
    let mut starts = Vec::new();
    let constants = |region: &&Region| region.content == Content::Constants;
    if layout.machine != Machine::X86_64 || layout.relocatable || !regions.iter().any(|r| constants(&r)) {
        return starts;
    }
    let mut buffer = vec![0; CODE_BYTES + LEA_BYTES];
    for region in regions.iter().filter(|region| region.content == Content::Code) {
        let Some(address) = layout.address(region.offset) else { continue };
        let mut done = 0;
        while done < region.len {
            let len = (region.len - done).min(buffer.len() as u64) as usize;
            let code = &mut buffer[..len];
            if old.read_at(extent.offset + region.offset + done, code).is_err() {
                return starts;
            }
            for (at, distance) in addresses_taken(code).take_while(|&(at, _)| at < CODE_BYTES) {
                let target = address.wrapping_add(done + (at + LEA_BYTES) as u64).wrapping_add(distance);
                if let Some(offset) = layout.offset(target).filter(|offset| offset % 4 == 0)
                    && let Ok(offset) = u32::try_from(offset)
                    && starts.last() != Some(&offset)
                {
                    starts.push(offset);
                }
            }
            if starts.len() > STARTS_MAX / 2 {
                tidy(&mut starts, regions);
            }
            done += (len as u64).min(CODE_BYTES as u64);
        }
    }
    tidy(&mut starts, regions);
    starts.shrink_to_fit();
    starts
}

/// Where RIP-relative `LEA`s of 64 bits start, and the distances that they add: a prefix `REX.W`,
/// opcode 8D, and a `ModRM` byte of mode 0 and base 5 (Intel SDM volume 2, table 2-7).
fn addresses_taken(code: &[u8]) -> impl Iterator<Item = (usize, u64)> + '_ {
    memchr::memchr_iter(0x8d, code).filter_map(|opcode| {
        let at = opcode.checked_sub(1)?;
        let lea = code.get(at..at + LEA_BYTES)?;
        let found = lea[0] & 0xf8 == 0x48 && lea[2] & 0xc7 == 0x05;
        found.then(|| u32_at(lea, 3).map(|word| (at, i64::from(word as i32) as u64)))?
    })
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
