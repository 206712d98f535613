//! Takes a compressed block apart (RFC 8878, section 3.1.1.3).

use super::bits::Backward;
use super::block::{
    BLOCK_PLAIN_MAX, Compressed, LiteralsCoding, LiteralsHead, Sequence, SequencesHead, Table, TableMode,
    Tables,
};
use super::codes::Alphabet;
use super::fse::{DecodeTable, Distribution};
use super::huffman::Codes;

/// Takes the block apart and brings `tables` up to date. `None` when it is not well formed.
pub fn parse(bytes: &[u8], tables: &mut Tables) -> Option<Compressed> {
    let (literals_head, literals, used) = parse_literals(bytes, tables)?;
    let (sequences_head, sequences) = parse_sequences(&bytes[used..], tables)?;
    let copied: u64 = sequences.iter().map(|sequence| u64::from(sequence.literals)).sum();
    let matched: u64 = sequences.iter().map(|sequence| u64::from(sequence.length)).sum();
    let block = Compressed { literals_head, literals, sequences_head, sequences };
    (copied <= block.literals.len() as u64 && matched + block.literals.len() as u64 <= BLOCK_PLAIN_MAX as u64)
        .then_some(block)
}

fn parse_literals(bytes: &[u8], tables: &mut Tables) -> Option<(LiteralsHead, Vec<u8>, usize)> {
    let mut word = [0; 8];
    let head_len = bytes.len().min(5);
    word[..head_len].copy_from_slice(&bytes[..head_len]);
    let word = u64::from_le_bytes(word);
    let kind = word & 3;
    let size_format = ((word >> 2) & 3) as u8;
    if kind < 2 {
        let (used, len) = match size_format {
            0 | 2 => (1, (word >> 3) & 0x1F),
            1 => (2, (word >> 4) & 0xFFF),
            _ => (3, (word >> 4) & 0xF_FFFF),
        };
        let (len, used) = (len as usize, used as usize);
        // A one-byte header has but one bit of format; the other belongs to the size.
        let size_format = if size_format & 1 == 0 { 0 } else { size_format };
        if len > BLOCK_PLAIN_MAX {
            return None;
        }
        return if kind == 0 {
            let literals = bytes.get(used..used + len)?.to_vec();
            Some((LiteralsHead { coding: LiteralsCoding::Raw, size_format }, literals, used + len))
        } else {
            let literals = vec![*bytes.get(used)?; len];
            Some((LiteralsHead { coding: LiteralsCoding::Rle, size_format }, literals, used + 1))
        };
    }
    let (used, bits) = match size_format {
        0 | 1 => (3, 10),
        2 => (4, 14),
        _ => (5, 18),
    };
    let mask = (1u64 << bits) - 1;
    let len = ((word >> 4) & mask) as usize;
    let packed_len = ((word >> (4 + bits)) & mask) as usize;
    if len > BLOCK_PLAIN_MAX || len == 0 {
        return None;
    }
    let packed = bytes.get(used..used + packed_len)?;
    let (coding, tree_len) = if kind == 2 {
        let (codes, tree_len) = Codes::read(packed)?;
        tables.codes = Some(codes);
        (LiteralsCoding::Tree(packed[..tree_len].to_vec()), tree_len)
    } else {
        (LiteralsCoding::Treeless, 0)
    };
    let codes = tables.codes.as_ref()?;
    let table = codes.decode_table();
    let streams = &packed[tree_len..];
    let mut literals = vec![0; len];
    if size_format == 0 {
        codes.decode(&table, streams, &mut literals)?;
    } else {
        let quarter = len.div_ceil(4);
        let mut at = 6;
        for (index, run) in literals.chunks_mut(quarter).enumerate() {
            let end = if index == 3 {
                streams.len()
            } else {
                let size = streams.get(2 * index..2 * index + 2)?;
                at + usize::from(u16::from_le_bytes([size[0], size[1]]))
            };
            codes.decode(&table, streams.get(at..end)?, run)?;
            at = end;
        }
        if at != streams.len() {
            return None;
        }
    }
    Some((LiteralsHead { coding, size_format }, literals, used + packed_len))
}

/// Reads the number of sequences; answers the bytes taken too.
fn parse_count(bytes: &[u8]) -> Option<(usize, usize)> {
    let first = usize::from(*bytes.first()?);
    Some(match first {
        0..128 => (first, 1),
        128..255 => (((first - 128) << 8) + usize::from(*bytes.get(1)?), 2),
        _ => (usize::from(u16::from_le_bytes([*bytes.get(1)?, *bytes.get(2)?])) + 0x7F00, 3),
    })
}

fn parse_sequences(bytes: &[u8], tables: &mut Tables) -> Option<(Option<SequencesHead>, Vec<Sequence>)> {
    let (count, mut at) = parse_count(bytes)?;
    if count == 0 {
        return (bytes.len() == at).then_some((None, Vec::new()));
    }
    let modes_byte = *bytes.get(at)?;
    at += 1;
    if modes_byte & 3 != 0 {
        return None;
    }
    let mut modes: [TableMode; 3] = std::array::from_fn(|_| TableMode::Repeat);
    for (index, alphabet) in Alphabet::ALL.into_iter().enumerate() {
        let mode = match (modes_byte >> (6 - 2 * index)) & 3 {
            0 => TableMode::Predefined,
            1 => {
                at += 1;
                TableMode::Rle(*bytes.get(at - 1)?)
            }
            2 => {
                let (_, used) = Distribution::read(&bytes[at..], alphabet.symbols(), alphabet.log_max())?;
                at += used;
                TableMode::Described(bytes[at - used..at].to_vec())
            }
            _ => TableMode::Repeat,
        };
        apply_mode(&mode, alphabet, &mut tables.sequences[index])?;
        modes[index] = mode;
    }
    let mut decoders = Vec::with_capacity(3);
    for table in &tables.sequences {
        decoders.push(DecodeTable::new(&table.as_ref()?.distribution));
    }
    let mut bits = Backward::new(&bytes[at..])?;
    let mut states = [0u32; 3];
    for (state, decoder) in states.iter_mut().zip(&decoders) {
        *state = bits.read(decoder.log);
    }
    let mut sequences = Vec::with_capacity(count.min(BLOCK_PLAIN_MAX / 3 + 1));
    for index in 0..count {
        let now = [0, 1, 2].map(|i: usize| decoders[i].state(states[i]));
        let (offset, offset_bits) = Alphabet::Offsets.base(now[1].symbol)?;
        let (length, length_bits) = Alphabet::Matches.base(now[2].symbol)?;
        let (literals, literals_bits) = Alphabet::Literals.base(now[0].symbol)?;
        let offset = offset + bits.read(offset_bits);
        let length = length + bits.read(length_bits);
        let literals = literals + bits.read(literals_bits);
        sequences.push(Sequence { literals, length, offset });
        if index + 1 < count {
            for i in [0, 2, 1] {
                states[i] = u32::from(now[i].base) + bits.read(u32::from(now[i].bits));
            }
        }
        if bits.left() < 0 || sequences.len() > BLOCK_PLAIN_MAX / 3 {
            return None;
        }
    }
    (bits.left() == 0).then_some((Some(SequencesHead { modes, last_states: states }), sequences))
}

/// Puts the table that a mode tells of in place. `None` when there is no such table.
pub fn apply_mode(mode: &TableMode, alphabet: Alphabet, table: &mut Option<Table>) -> Option<()> {
    match mode {
        TableMode::Predefined => *table = Some(Table::new(alphabet.predefined())),
        TableMode::Rle(symbol) => {
            if usize::from(*symbol) >= alphabet.symbols() {
                return None;
            }
            *table = Some(Table::new(Distribution::single(*symbol)));
        }
        TableMode::Described(bytes) => {
            let (distribution, used) = Distribution::read(bytes, alphabet.symbols(), alphabet.log_max())?;
            if used != bytes.len() {
                return None;
            }
            *table = Some(Table::new(distribution));
        }
        TableMode::Repeat => {}
    }
    table.as_ref().map(|_| ())
}
