//! Lengths of x86-64 instructions, and the reference each may hold.
//!
//! A linear sweep over compiler output needs no more than prefixes, opcode, `ModRM`, SIB,
//! displacement and immediate. Source: Intel SDM volume 2, chapter 2 and appendix A (opcode maps).

/// The longest legal instruction, in bytes (SDM 2.3.11).
pub(super) const INSTRUCTION_BYTES_MAX: usize = 15;

/// Where an instruction keeps the bytes that may refer to something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instruction {
    /// Its length in bytes.
    pub len: u8,
    /// Start of a four byte displacement or branch offset; 0 where there is none.
    pub disp: u8,
    /// The displacement counts from the end of the instruction (branches and RIP-relative operands).
    pub relative: bool,
    /// Start of a four byte immediate; 0 where there is none.
    pub imm: u8,
}

/// An opcode is followed by a `ModRM` byte.
const M: u8 = 1;
/// An immediate of one byte.
const B: u8 = 2;
/// An immediate of four bytes, two with the operand size prefix.
const Z: u8 = 4;
/// An immediate of two bytes.
const W: u8 = 8;
/// An offset of four bytes from the end of the instruction.
const J: u8 = 16;
/// Not an instruction in 64-bit mode.
const X: u8 = 32;
/// A case of its own.
const S: u8 = 64;

const fn one_byte_map() -> [u8; 256] {
    let mut map = [0_u8; 256];
    let mut op = 0;
    while op < 0x40 {
        map[op] = match op & 7 {
            0..=3 => M,
            4 => B,
            5 => Z,
            _ => X,
        };
        op += 1;
    }
    while op < 256 {
        map[op] = match op {
            0x60 | 0x61 | 0x82 | 0x9a | 0xce | 0xd4..=0xd6 | 0xea => X,
            0x63 | 0x84..=0x8f | 0xd0..=0xd3 | 0xd8..=0xdf | 0xfe | 0xff => M,
            0x68 | 0xa9 => Z,
            0x69 | 0x81 | 0xc7 => M | Z,
            0x6a | 0x70..=0x7f | 0xa8 | 0xb0..=0xb7 | 0xcd | 0xe0..=0xe7 | 0xeb => B,
            0x6b | 0x80 | 0x83 | 0xc0 | 0xc1 | 0xc6 => M | B,
            0xc2 | 0xca => W,
            0xc8 => W | B,
            0xe8 | 0xe9 => J,
            0xa0..=0xa3 | 0xb8..=0xbf | 0xf6 | 0xf7 => S,
            _ => 0,
        };
        op += 1;
    }
    map
}

const fn two_byte_map() -> [u8; 256] {
    let mut map = [M; 256];
    let mut op = 0;
    while op < 256 {
        map[op] = match op {
            0x05..=0x09 | 0x0b | 0x0e | 0x30..=0x37 | 0x77 | 0xa0..=0xa2 | 0xa8..=0xaa | 0xc8..=0xcf => 0,
            0x04 | 0x0a | 0x0c | 0x24..=0x27 | 0x39 | 0x3b..=0x3f => X,
            0x0f | 0x70..=0x73 | 0xa4 | 0xac | 0xba | 0xc2 | 0xc4..=0xc6 => M | B,
            0x80..=0x8f => J,
            _ => M,
        };
        op += 1;
    }
    map
}

/// The opcodes of one byte that are not a case of their own, before which there may be a REX prefix and no other.
const fn plain_map() -> [u8; 256] {
    let mut map = one_byte_map();
    let mut op = 0;
    while op < 256 {
        let is_prefix =
            matches!(op, 0x26 | 0x2e | 0x36 | 0x3e | 0x40..=0x4f | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3);
        if is_prefix || matches!(op, 0x0f | 0x62 | 0xc4 | 0xc5) {
            map[op] = S;
        }
        op += 1;
    }
    map
}

static PLAIN: [u8; 256] = plain_map();
static ONE_BYTE: [u8; 256] = one_byte_map();
static TWO_BYTE: [u8; 256] = two_byte_map();

/// What the opcode says about the rest of the instruction.
#[derive(Debug, PartialEq, Eq)]
struct Opcode {
    /// Offset of the first byte behind the opcode.
    end: usize,
    flags: u8,
    /// Bytes of an immediate that depends on the opcode alone ([`S`]).
    special: usize,
}

/// Prefixes seen so far.
#[derive(Clone, Copy, Default)]
struct Prefixes {
    operand_16: bool,
    address_32: bool,
    wide: bool,
}

/// Reads one instruction at the start of `code`.
///
/// `None` where the bytes are no instruction or `code` ends inside it.
pub(super) fn decode(code: &[u8]) -> Option<Instruction> {
    let (opcode, prefixes) = match plain_opcode(code) {
        Some(opcode) => (opcode, Prefixes::default()),
        None => any_opcode(code)?,
    };
    if opcode.flags & X != 0 {
        return None;
    }
    let mut at = opcode.end;
    let (mut disp, mut relative) = (0, false);
    if opcode.flags & M != 0 {
        let modrm = *code.get(at)?;
        at += 1;
        let (mode, rm) = (modrm >> 6, modrm & 7);
        let mut base = rm;
        if mode != 3 && rm == 4 {
            base = code.get(at)? & 7;
            at += 1;
        }
        match mode {
            0 if base == 5 => {
                (disp, relative) = (at, rm == 5);
                at += 4;
            }
            1 => at += 1,
            2 => {
                disp = at;
                at += 4;
            }
            _ => {}
        }
    }
    let mut imm = 0;
    if opcode.flags & J != 0 {
        (disp, relative) = (at, true);
        at += 4;
    }
    if opcode.flags & Z != 0 {
        if !prefixes.operand_16 {
            imm = at;
        }
        at += if prefixes.operand_16 { 2 } else { 4 };
    }
    at += usize::from(opcode.flags & B != 0) + 2 * usize::from(opcode.flags & W != 0);
    if opcode.special > 0 {
        if opcode.special == 4 {
            imm = at;
        }
        at += opcode.special;
    }
    if at > code.len() || at > INSTRUCTION_BYTES_MAX {
        return None;
    }
    Some(Instruction { len: at as u8, disp: disp as u8, relative, imm: imm as u8 })
}

/// The opcodes that most instructions have, which take a table and no loop.
#[inline]
fn plain_opcode(code: &[u8]) -> Option<Opcode> {
    let at = usize::from(*code.first()? & 0xf0 == 0x40);
    let op = *code.get(at)?;
    if op == 0x0f {
        let op = *code.get(at + 1)?;
        let is_plain = !matches!(op, 0x38 | 0x3a);
        return is_plain.then(|| Opcode { end: at + 2, flags: TWO_BYTE[usize::from(op)], special: 0 });
    }
    let flags = PLAIN[usize::from(op)];
    (flags != S).then_some(Opcode { end: at + 1, flags, special: 0 })
}

fn any_opcode(code: &[u8]) -> Option<(Opcode, Prefixes)> {
    let (at, prefixes) = skip_prefixes(code)?;
    Some((read_opcode(code, at, prefixes)?, prefixes))
}

fn skip_prefixes(code: &[u8]) -> Option<(usize, Prefixes)> {
    let mut prefixes = Prefixes::default();
    for (at, &byte) in code.iter().enumerate().take(INSTRUCTION_BYTES_MAX) {
        match byte {
            0x66 => prefixes.operand_16 = true,
            0x67 => prefixes.address_32 = true,
            0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0xf0 | 0xf2 | 0xf3 => {}
            0x40..=0x4f => {
                prefixes.wide = byte & 8 != 0;
                if prefixes.wide {
                    prefixes.operand_16 = false;
                }
                return Some((at + 1, prefixes));
            }
            _ => return Some((at, prefixes)),
        }
    }
    None
}

fn read_opcode(code: &[u8], at: usize, prefixes: Prefixes) -> Option<Opcode> {
    let op = *code.get(at)?;
    match op {
        0x0f => {
            let op = *code.get(at + 1)?;
            Some(match op {
                0x38 => Opcode { end: at + 3, flags: M, special: 0 },
                0x3a => Opcode { end: at + 3, flags: M | B, special: 0 },
                _ => Opcode { end: at + 2, flags: TWO_BYTE[usize::from(op)], special: 0 },
            })
        }
        // VEX with two and three bytes, EVEX: the map is in the prefix.
        0xc5 => vector_opcode(1, *code.get(at + 2)?, at + 3),
        0xc4 => vector_opcode(code.get(at + 1)? & 0x1f, *code.get(at + 3)?, at + 4),
        0x62 => vector_opcode(code.get(at + 1)? & 7, *code.get(at + 4)?, at + 5),
        _ => {
            let flags = ONE_BYTE[usize::from(op)];
            if flags != S {
                return Some(Opcode { end: at + 1, flags, special: 0 });
            }
            let word = if prefixes.operand_16 { 2 } else { 4 };
            let (flags, special) = match op {
                0xa0..=0xa3 => (0, if prefixes.address_32 { 4 } else { 8 }),
                0xb8..=0xbf => (0, if prefixes.wide { 8 } else { word }),
                // TEST has an immediate, its siblings in the group have none.
                _ if code.get(at + 1)? >> 3 & 7 > 1 => (M, 0),
                0xf6 => (M | B, 0),
                _ => (M | Z, 0),
            };
            Some(Opcode { end: at + 1, flags, special })
        }
    }
}

fn vector_opcode(map: u8, op: u8, end: usize) -> Option<Opcode> {
    let flags = match map {
        1 if op == 0x77 => 0,
        1 if matches!(op, 0x70..=0x73 | 0xc2 | 0xc4..=0xc6) => M | B,
        1 | 2 | 5 | 6 => M,
        3 => M | B,
        _ => return None,
    };
    Some(Opcode { end, flags, special: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_opcodes_are_read_as_any_others() {
        let mut plain = 0;
        for start in 0..=u16::MAX {
            let [first, second] = start.to_le_bytes();
            for third in [0x00, 0x05, 0x0f, 0x24, 0x66, 0x85, 0xf6, 0xff] {
                for len in [1, 2, 3, 15] {
                    let mut code = [0x90; INSTRUCTION_BYTES_MAX];
                    code[..3].copy_from_slice(&[first, second, third]);
                    let Some(opcode) = plain_opcode(&code[..len]) else { continue };
                    let (any, prefixes) = any_opcode(&code[..len]).unwrap();
                    assert_eq!(opcode, any, "{code:02x?}");
                    assert!(!prefixes.operand_16 && !prefixes.address_32, "{code:02x?}");
                    plain += 1;
                }
            }
        }
        assert!(plain > 1_000_000, "{plain}");
    }
}
