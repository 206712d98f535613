//! New code that resembles no old code: its references are written as the addresses that they aim at.
//!
//! A function is called from many places, each by another distance. As an address, all calls of it are
//! alike, and pack to a fifth less than code as it is. The idea is that of the branch filters of 7-Zip and
//! xz, which know calls and jumps; here operands relative to the instruction count too, which are as many,
//! and addresses stand with their highest byte first, as it varies the least.
//!
//! Which bytes are a reference is told by bytes that stay as they are: those before it, instruction by
//! instruction. So all bytes come back, also where data stand among the code.

use super::elf::{Layout, Machine};
use super::field::Form;
use super::x86;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Distances become addresses.
    ToAddresses,
    /// Addresses become distances.
    ToDistances,
}

/// Rewrites the references in bytes of a program, of which the first stands at `place`.
pub(super) fn rewrite(layout: &Layout, place: u64, bytes: &mut [u8], way: Way) {
    // Before linking there are no addresses yet.
    if layout.relocatable {
        return;
    }
    let end = place.saturating_add(bytes.len() as u64);
    for segment in layout.segments.iter().filter(|segment| segment.executable) {
        let from = segment.offset.max(place);
        let to = segment.offset.saturating_add(segment.file_len).min(end);
        if from >= to {
            continue;
        }
        let address = segment.address.wrapping_add(from - segment.offset);
        let code = &mut bytes[(from - place) as usize..(to - place) as usize];
        match layout.machine {
            Machine::X86_64 => x86_code(code, address, way),
            Machine::Aarch64 => arm64_code(code, address, way),
            Machine::Other => {}
        }
        // Segments do not overlap in programs that run; in others, once is enough.
        return;
    }
}

fn x86_code(code: &mut [u8], address: u64, way: Way) {
    let mut at = 0;
    // An instruction that is cut off would be told by its length, which may depend on bytes that are rewritten
    // when it is not taken for one: the last bytes stay as they are.
    while let Some(ahead) = code.get(at..at + x86::INSTRUCTION_BYTES_MAX) {
        let Some(instruction) = x86::decode(ahead) else {
            at += 1;
            continue;
        };
        let field = at + usize::from(instruction.disp);
        at += usize::from(instruction.len);
        if !instruction.relative {
            continue;
        }
        if let Some(field) = code[field..].first_chunk_mut() {
            let end = address.wrapping_add(at as u64) as u32;
            *field = match way {
                Way::ToAddresses => u32::from_le_bytes(*field).wrapping_add(end).to_be_bytes(),
                Way::ToDistances => u32::from_be_bytes(*field).wrapping_sub(end).to_le_bytes(),
            };
        }
    }
}

/// `BL` counts words from itself, `ADRP` pages from its own.
fn arm64_code(code: &mut [u8], address: u64, way: Way) {
    let first = (address.wrapping_neg() & 3) as usize;
    for (index, field) in code.get_mut(first..).unwrap_or_default().chunks_exact_mut(4).enumerate() {
        let word = u32::from_le_bytes([field[0], field[1], field[2], field[3]]);
        let form = if word >> 26 == 0b10_0101 {
            Form::Branch26
        } else if word & 0x9f00_0000 == 0x9000_0000 {
            Form::Page((word & 31) as u8)
        } else {
            continue;
        };
        let here = address.wrapping_add((first + 4 * index) as u64);
        // An address is a distance from zero.
        let (from, to) = match way {
            Way::ToAddresses => (here, 0),
            Way::ToDistances => (0, here),
        };
        let target = form.read(field, from, 0);
        form.write(field, to, 0, target);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::elf::Segment;
    use super::*;

    fn layout(machine: Machine) -> Layout {
        let segment = |offset, executable| Segment {
            offset,
            address: 0x40_0000 + offset,
            file_len: 1000,
            memory_len: 1000,
            executable,
        };
        Layout {
            loaded_at: None,
            machine,
            relocatable: false,
            fixed: false,
            segments: vec![segment(0, false), segment(1000, true), segment(2000, false)],
            frame_index: None,
        }
    }

    #[test]
    fn calls_of_a_function_become_alike() {
        // Two calls and an operand, all of them of 0x401100.
        let mut code = vec![0x90; 40];
        for (at, head, len) in [(0, &[0xe8][..], 5), (8, &[0x48, 0x8d, 0x05], 7), (16, &[0xe8], 5)] {
            code[at..at + head.len()].copy_from_slice(head);
            let end = 0x40_0000 + 1100 + at as u32 + len;
            code[at + head.len()..at + len as usize]
                .copy_from_slice(&0x40_1100_u32.wrapping_sub(end).to_le_bytes());
        }
        let before = code.clone();
        rewrite(&layout(Machine::X86_64), 1100, &mut code, Way::ToAddresses);
        for at in [1, 11, 17] {
            assert_eq!(code[at..at + 4], [0, 0x40, 0x11, 0]);
        }
        rewrite(&layout(Machine::X86_64), 1100, &mut code, Way::ToDistances);
        assert_eq!(code, before);

        let calls = [0x9400_0010_u32, 0x9400_000f, 0x9000_0001];
        let mut code: Vec<u8> = calls.iter().flat_map(|word| word.to_le_bytes()).collect();
        rewrite(&layout(Machine::Aarch64), 1024, &mut code, Way::ToAddresses);
        assert_eq!(code[..4], code[4..8]);
        rewrite(&layout(Machine::Aarch64), 1024, &mut code, Way::ToDistances);
        assert_eq!(code, calls.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>());
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(
            bytes in proptest::collection::vec(
                prop_oneof![
                    6 => proptest::sample::select(&[0xe8, 0x0f, 0x8d, 0x94, 0x48, 0xc7, 0x84, 0x24, 0x04, 0x25, 0x81][..]),
                    1 => any::<u8>(),
                ],
                0..60,
            ),
            place in 0_u64..3000,
            is_arm: bool,
        ) {
            let layout = layout(if is_arm { Machine::Aarch64 } else { Machine::X86_64 });
            let mut rewritten = bytes.clone();
            rewrite(&layout, place, &mut rewritten, Way::ToAddresses);
            rewrite(&layout, place, &mut rewritten, Way::ToDistances);
            prop_assert_eq!(rewritten, bytes);
        }
    }
}
