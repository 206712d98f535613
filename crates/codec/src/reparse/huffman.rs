//! Huffman codes of literals (RFC 8878, section 4.2): read from their description, decoded, encoded.

use super::bits::{Backward, Forward};
use super::fse::{DecodeTable, Distribution};

/// The longest code that libzstd's decoder takes.
pub const CODE_BITS_MAX: u32 = 12;
/// The finest table that the weights' own distribution may have.
const WEIGHTS_LOG_MAX: u32 = 6;

/// Length in bits of every symbol's code, 0 for none, and the codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codes {
    lengths: [u8; 256],
    #[expect(clippy::struct_field_names, reason = "the field holds what the type is named after")]
    codes: [u16; 256],
    /// Length of the longest code.
    log: u32,
    /// The last symbol that has a code.
    last_symbol: u8,
}

impl Codes {
    /// Makes the codes of given lengths. `None` when they are not a complete prefix code.
    pub fn new(lengths: &[u8; 256]) -> Option<Self> {
        let log = u32::from(*lengths.iter().max()?);
        if log == 0 || log > CODE_BITS_MAX {
            return None;
        }
        let mut by_length = [0u32; CODE_BITS_MAX as usize + 1];
        for &length in lengths {
            by_length[usize::from(length)] += 1;
        }
        let full: u32 = (1..=log).map(|length| by_length[length as usize] << (log - length)).sum();
        if full != 1 << log {
            return None;
        }
        let mut next = [0u16; CODE_BITS_MAX as usize + 1];
        let mut code = 0u32;
        for length in (1..=log).rev() {
            next[length as usize] = code as u16;
            code = (code + by_length[length as usize]) >> 1;
        }
        let mut codes = [0; 256];
        for (symbol, &length) in lengths.iter().enumerate().filter(|&(_, &length)| length > 0) {
            codes[symbol] = next[usize::from(length)];
            next[usize::from(length)] += 1;
        }
        let last_symbol = lengths.iter().rposition(|&length| length > 0)? as u8;
        Some(Self { lengths: *lengths, codes, log, last_symbol })
    }

    /// Reads a tree description; answers the bytes that it took as well.
    pub fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let header = usize::from(*bytes.first()?);
        let mut weights = [0u8; 256];
        let (count, used) = if header >= 128 {
            let count = header - 127;
            let used = 1 + count.div_ceil(2);
            for (index, weight) in weights[..count].iter_mut().enumerate() {
                let pair = *bytes.get(1 + index / 2)?;
                *weight = if index % 2 == 0 { pair >> 4 } else { pair & 15 };
            }
            (count, used)
        } else {
            let packed = bytes.get(1..=header)?;
            (read_weights(packed, &mut weights)?, 1 + header)
        };
        let sum: u32 = weights[..count].iter().map(|&weight| (1 << weight) >> 1).sum();
        if bytes.len() < used || sum == 0 || weights.iter().any(|&weight| u32::from(weight) > CODE_BITS_MAX) {
            return None;
        }
        let log = sum.ilog2() + 1;
        let rest = (1u32 << log) - sum;
        if log > CODE_BITS_MAX || !rest.is_power_of_two() || count > 255 {
            return None;
        }
        weights[count] = (rest.ilog2() + 1) as u8;
        let mut lengths = [0u8; 256];
        for (length, &weight) in lengths.iter_mut().zip(&weights[..=count]) {
            *length = if weight == 0 { 0 } else { (log + 1) as u8 - weight };
        }
        Some((Self::new(&lengths)?, used))
    }

    /// Length in bits of each symbol's code.
    pub fn lengths(&self) -> &[u8; 256] {
        &self.lengths
    }

    /// Length of the longest code.
    pub fn log(&self) -> u32 {
        self.log
    }

    /// The last symbol that has a code.
    pub fn last_symbol(&self) -> u8 {
        self.last_symbol
    }

    /// Decodes `out.len()` symbols, which must use up the stream.
    pub fn decode(&self, table: &[(u8, u8)], bytes: &[u8], out: &mut [u8]) -> Option<()> {
        let mut bits = Backward::new(bytes)?;
        for byte in out {
            let (symbol, length) = table[bits.peek(self.log) as usize];
            *byte = symbol;
            bits.skip(u32::from(length));
        }
        (bits.left() == 0).then_some(())
    }

    /// From the next `log` bits to symbol and code length.
    pub fn decode_table(&self) -> Vec<(u8, u8)> {
        let mut table = vec![(0, 0); 1 << self.log];
        for symbol in 0..256usize {
            let length = u32::from(self.lengths[symbol]);
            if length > 0 {
                let spare = self.log - length;
                let start = usize::from(self.codes[symbol]) << spare;
                table[start..start + (1 << spare)].fill((symbol as u8, length as u8));
            }
        }
        table
    }

    /// Encodes one stream. `None` when a symbol has no code.
    pub fn encode(&self, literals: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let mut forward = Forward::new(out);
        let mut all = true;
        for &byte in literals.iter().rev() {
            let length = self.lengths[usize::from(byte)];
            all &= length > 0;
            forward.add(u32::from(self.codes[usize::from(byte)]), u32::from(length));
        }
        forward.close();
        all.then_some(())
    }
}

/// Reads weights packed by FSE with two interleaved states (section 4.2.1.2).
fn read_weights(packed: &[u8], weights: &mut [u8; 256]) -> Option<usize> {
    let (distribution, used) = Distribution::read(packed, CODE_BITS_MAX as usize + 1, WEIGHTS_LOG_MAX)?;
    let table = DecodeTable::new(&distribution);
    let mut bits = Backward::new(&packed[used..])?;
    let mut states = [bits.read(table.log), bits.read(table.log)];
    let mut count = 0;
    // The stream ends when a state asks for more bits than there are; the other state is the last.
    loop {
        for turn in 0..2 {
            if count + 2 > 255 {
                return None;
            }
            let entry = table.state(states[turn]);
            weights[count] = entry.symbol;
            count += 1;
            states[turn] = u32::from(entry.base) + bits.read(u32::from(entry.bits));
            if bits.left() < 0 {
                weights[count] = table.state(states[1 - turn]).symbol;
                return Some(count + 1);
            }
        }
    }
}
