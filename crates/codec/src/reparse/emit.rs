//! Puts a compressed block together again, bit for bit as libzstd would with the same decisions.

use super::bits::Forward;
use super::block::{LiteralsCoding, LiteralsHead, Sequence, SequencesHead, TableMode, Tables};
use super::codes::Alphabet;
use super::huffman::Codes;
use super::parse::apply_mode;

/// Writes the literals section and brings `tables` up to date. `None` when the head does not fit
/// the literals.
pub fn emit_literals(
    head: &LiteralsHead,
    literals: &[u8],
    tables: &mut Tables,
    out: &mut Vec<u8>,
) -> Option<()> {
    let len = literals.len() as u64;
    let (kind, tree): (u64, &[u8]) = match &head.coding {
        LiteralsCoding::Raw | LiteralsCoding::Rle => {
            let kind = u64::from(head.coding == LiteralsCoding::Rle);
            let word = match head.size_format {
                0 => kind | (len << 3),
                format => kind | (u64::from(format) << 2) | (len << 4),
            };
            let used = match head.size_format {
                0 => 1,
                1 => 2,
                _ => 3,
            };
            out.extend_from_slice(&word.to_le_bytes()[..used]);
            if kind == 0 {
                out.extend_from_slice(literals);
            } else {
                out.push(*literals.first()?);
            }
            return Some(());
        }
        LiteralsCoding::Tree(tree) => (2, tree),
        LiteralsCoding::Treeless => (3, &[]),
    };
    if kind == 2 {
        let (codes, used) = Codes::read(tree)?;
        if used != tree.len() {
            return None;
        }
        tables.codes = Some(codes);
    }
    let codes = tables.codes.as_ref()?;
    let (used, bits) = match head.size_format {
        0 | 1 => (3, 10),
        2 => (4, 14),
        _ => (5, 18),
    };
    let start = out.len();
    out.resize(start + used, 0);
    out.extend_from_slice(tree);
    if head.size_format == 0 {
        codes.encode(literals, out)?;
    } else {
        let jumps = out.len();
        out.resize(jumps + 6, 0);
        let quarter = literals.len().div_ceil(4).max(1);
        for (index, run) in literals.chunks(quarter).enumerate() {
            let before = out.len();
            codes.encode(run, out)?;
            if index < 3 {
                let size = u16::try_from(out.len() - before).ok()?;
                out[jumps + 2 * index..jumps + 2 * index + 2].copy_from_slice(&size.to_le_bytes());
            }
        }
    }
    let packed_len = (out.len() - start - used) as u64;
    if len >> bits != 0 || packed_len >> bits != 0 {
        return None;
    }
    let word = kind | (u64::from(head.size_format) << 2) | (len << 4) | (packed_len << (4 + bits));
    out[start..start + used].copy_from_slice(&word.to_le_bytes()[..used]);
    Some(())
}

/// Writes the sequences section and brings `tables` up to date. `None` when a table lacks a code.
pub fn emit_sequences(
    head: Option<&SequencesHead>,
    sequences: &[Sequence],
    tables: &mut Tables,
    out: &mut Vec<u8>,
) -> Option<()> {
    let count = sequences.len();
    match count {
        0..128 => out.push(count as u8),
        128..0x7F00 => out.extend_from_slice(&[(count >> 8) as u8 | 0x80, count as u8]),
        _ => {
            out.push(255);
            out.extend_from_slice(&u16::try_from(count - 0x7F00).ok()?.to_le_bytes());
        }
    }
    let Some(head) = head else { return (count == 0).then_some(()) };
    let mut modes_byte = 0;
    for (index, mode) in head.modes.iter().enumerate() {
        let kind = match mode {
            TableMode::Predefined => 0,
            TableMode::Rle(_) => 1,
            TableMode::Described(_) => 2,
            TableMode::Repeat => 3,
        };
        modes_byte |= kind << (6 - 2 * index);
    }
    out.push(modes_byte);
    for ((mode, alphabet), table) in head.modes.iter().zip(Alphabet::ALL).zip(&mut tables.sequences) {
        match mode {
            TableMode::Rle(symbol) => out.push(*symbol),
            TableMode::Described(bytes) => out.extend_from_slice(bytes),
            TableMode::Predefined | TableMode::Repeat => {}
        }
        apply_mode(mode, alphabet, table)?;
    }
    let [Some(literals), Some(offsets), Some(matches)] = &tables.sequences else { return None };
    let (literals, offsets, matches) = (&literals.encoder, &offsets.encoder, &matches.encoder);
    let mut bits = Forward::new(out);
    let mut states = head.last_states;
    for (index, sequence) in sequences.iter().rev().enumerate() {
        let literals_code = Alphabet::Literals.code(sequence.literals);
        let matches_code = Alphabet::Matches.code(sequence.length);
        let offsets_code = Alphabet::Offsets.code(sequence.offset);
        if index > 0 {
            offsets.encode(&mut states[1], offsets_code.0, &mut bits)?;
            matches.encode(&mut states[2], matches_code.0, &mut bits)?;
            literals.encode(&mut states[0], literals_code.0, &mut bits)?;
        }
        bits.add(literals_code.1, literals_code.2);
        bits.add(matches_code.1, matches_code.2);
        bits.add(offsets_code.1, offsets_code.2);
    }
    bits.add(states[2], matches.log());
    bits.add(states[1], offsets.log());
    bits.add(states[0], literals.log());
    bits.close();
    Some(())
}

/// The states with which libzstd begins on the last of `sequences`. `None` when a table lacks its
/// code or there is no sequence.
pub fn first_states(sequences: &[Sequence], tables: &Tables) -> Option<[u32; 3]> {
    let last = sequences.last()?;
    let values = [last.literals, last.offset, last.length];
    let mut states = [0; 3];
    for (index, alphabet) in Alphabet::ALL.into_iter().enumerate() {
        states[index] =
            tables.sequences[index].as_ref()?.encoder.first_state(alphabet.code(values[index]).0)?;
    }
    Some(states)
}
