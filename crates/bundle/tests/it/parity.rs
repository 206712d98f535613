//! Code that is nearly known: it is corrected instead of being fetched.

use std::ops::Range;

use fluvial_bundle::{Cutting, HashKind, Index, Tally, cut};
use fluvial_delta::structure::{Extent, ReadAt};

use crate::{Published, assemble_with, noise, publish};

/// Bytes of parity that each chunk has.
const PARITY_BYTES: usize = 32;
/// Where sections begin in a program.
const HEAD_BYTES: usize = 4096;
const FUNCTIONS: usize = 3000;
/// Every so many functions have another constant in the new program.
const CHANGED_STEP: usize = 40;

/// How much was wanted of a payload, and where it came from.
struct Made {
    wanted: u64,
    /// How much of it was parity.
    wanted_parity: u64,
    tally: Tally,
}

/// Functions, each with constants of its own and a call of another one. The new program has some more in front
/// of the one in the middle, so calls reach elsewhere, and other constants here and there.
pub fn code(is_new: bool) -> Vec<u8> {
    let constants = noise(3, 12 * FUNCTIONS);
    let bodies: Vec<Vec<u8>> = (0..FUNCTIONS)
        .map(|index| {
            let mut body = vec![0x55, 0x48, 0x89, 0xe5];
            for at in 0..3 {
                let from = 12 * index + 4 * at;
                body.push(0xb9 + at as u8);
                // No address of this program: the highest byte is not zero.
                body.extend(constants[from..from + 3].iter().map(|byte| byte ^ index as u8));
                body.push(constants[from + 3] | 0x40);
            }
            if is_new && index % CHANGED_STEP == CHANGED_STEP / 2 {
                body[6] ^= 0x5a;
            }
            // A call and a return stand behind.
            body.resize((body.len() + 6 + index * index % 48).next_multiple_of(16), 0x90);
            body
        })
        .collect();
    let extra = if is_new { 16 * 77 } else { 0 };
    let mut at = 0;
    let starts: Vec<usize> = bodies
        .iter()
        .enumerate()
        .map(|(index, body)| {
            at += if index == FUNCTIONS / 2 { extra } else { 0 };
            at += body.len();
            at - body.len()
        })
        .collect();
    let mut code = vec![0x90; at];
    for (index, (body, &start)) in bodies.iter().zip(&starts).enumerate() {
        code[start..start + body.len()].copy_from_slice(body);
        let call = start + body.len() - 6;
        let distance = starts[index * 7 % FUNCTIONS] as i64 - (call + 5) as i64;
        code[call] = 0xe8;
        code[call + 1..call + 5].copy_from_slice(&(distance as i32).to_le_bytes());
        code[call + 5] = 0xc3;
    }
    code
}

/// An x86-64 program of one section of code, in one segment that is loaded at its own offsets.
pub fn program(code: &[u8]) -> Vec<u8> {
    let names = b"\0.text\0.names\0";
    let mut file = vec![0; HEAD_BYTES];
    let mut headers = vec![0; 64];
    for (name, kind, flags, content) in [(1_u32, 1_u32, 6_u64, code), (7, 3, 0, &names[..])] {
        file.resize(file.len().next_multiple_of(16), 0);
        let offset = file.len() as u64;
        headers.extend_from_slice(&name.to_le_bytes());
        headers.extend_from_slice(&kind.to_le_bytes());
        for word in [flags, offset, offset, content.len() as u64] {
            headers.extend_from_slice(&word.to_le_bytes());
        }
        headers.extend_from_slice(&[0; 8]);
        headers.extend_from_slice(&1_u64.to_le_bytes());
        headers.extend_from_slice(&[0; 8]);
        file.extend_from_slice(content);
    }
    let len = file.len() as u64;
    file.extend_from_slice(&headers);
    file[..6].copy_from_slice(b"\x7fELF\x02\x01");
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    // Position independent, for x86-64; where the two tables of headers stand.
    put(16, &[3, 0, 62, 0]);
    put(32, &64_u64.to_le_bytes());
    put(40, &len.to_le_bytes());
    // Lengths and counts of both tables' entries, and which section has the names.
    for (at, value) in [(54, 56_u16), (56, 1), (58, 64), (60, 3), (62, 2)] {
        put(at, &value.to_le_bytes());
    }
    put(64, &[1, 0, 0, 0, 5, 0, 0, 0]);
    put(96, &len.to_le_bytes());
    put(104, &len.to_le_bytes());
    file
}

/// Where the parity of a payload of one segment stands: before its packed chunks.
fn parity_of(bytes: &[u8], index: &Index) -> Range<usize> {
    let mut chunks = 0;
    let mut count = |stream: &dyn ReadAt| {
        cut(stream, Cutting::Files, HashKind::default(), false, |error| error, &mut |run, _| {
            chunks += run.chunks.len();
            Ok(())
        })
        .unwrap();
    };
    let [file] = index.files.stored().collect::<Vec<_>>()[..] else { panic!("a payload of one file") };
    let (before, rest) = bytes.split_at(file.offset as usize);
    assert_eq!(rest.len() as u64, file.len);
    count(&before.to_vec());
    count(&rest.to_vec());
    let packed = index.runs.iter().filter(|run| !run.is_zeros()).map(|run| run.packed_offset).min().unwrap();
    packed as usize - PARITY_BYTES * chunks..packed as usize
}

/// Makes a payload of an old program, and compares it.
fn make(bytes: &[u8], index: &Index, published: &Published, parity: &Range<usize>, old: &[u8]) -> Made {
    let (mut wanted, mut wanted_parity) = (0, 0);
    let (made, tally) = assemble_with(index, published, &[old.to_vec()], &mut |want| {
        wanted += want.len;
        wanted_parity += if parity.contains(&(want.offset as usize)) { want.len } else { 0 };
    })
    .unwrap();
    assert!(made == bytes);
    assert_eq!(tally.repaired_runs, 0);
    Made { wanted, wanted_parity, tally }
}

#[test]
fn a_changed_constant_costs_parity_and_damaged_parity_costs_bytes_only() {
    let (old, new) = (program(&code(false)), program(&code(true)));
    let bytes = [&b"a header"[..], &new].concat();
    let files = [Extent { offset: 8, len: new.len() as u64 }];
    let (index, mut published) = publish(&bytes, &files);
    assert_eq!(index.programs, [true]);
    let parity = parity_of(&bytes, &index);

    let right = make(&bytes, &index, &published, &parity, &old);
    published.chunks[parity.clone()].copy_from_slice(&noise(5, parity.len()));
    let damaged = make(&bytes, &index, &published, &parity, &old);

    // What is wanted without parity is what is wanted where none of it helps, but for itself.
    let without = damaged.wanted - damaged.wanted_parity;
    assert!(right.wanted_parity > 0 && right.wanted_parity < damaged.wanted_parity);
    assert!(right.wanted < without / 2, "{} with parity, {without} without", right.wanted);
    let (told, told_without) = (right.tally.predicted_bytes, damaged.tally.predicted_bytes);
    // Each constant is in another chunk, nearly.
    let constants = (FUNCTIONS / CHANGED_STEP) as u64;
    assert!(told > told_without + constants * 256, "{told} bytes told with parity, {told_without} without");
}
