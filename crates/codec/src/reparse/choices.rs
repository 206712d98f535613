//! The decisions that libzstd takes when it codes a block: tables, trees, or neither.
//!
//! A block whose decisions are the expected ones costs nothing but a flag. The rules are those of
//! `ZSTD_compressLiterals` and `ZSTD_selectEncodingType`; where versions differ, a [`Dialect`]
//! tells which one is meant.

use super::block::{LiteralsCoding, LiteralsHead, Sequence, Table, TableMode, Tables};
use super::codes::Alphabet;
use super::fse::Distribution;
use super::huffman::Codes;
use super::normalize::{normalize, optimal_log};
use super::traits::Traits;
use super::tree;

/// libzstd's strategies from which on decisions change.
pub const STRATEGY_LAZY: u8 = 4;
const STRATEGY_BTULTRA: u8 = 8;

/// What the decisions depend on besides the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dialect {
    /// libzstd's strategy, 1 (fast) to 9 (btultra2).
    pub strategy: u8,
    /// What the version does otherwise.
    pub traits: Traits,
}

/// Whether the tables of the block before may be referred to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Repeatable {
    /// The Huffman code.
    pub codes: bool,
    /// The tables of sequences.
    pub sequences: [bool; 3],
}

impl Repeatable {
    /// Takes the modes of a block into account.
    pub fn follow(&mut self, literals: &LiteralsCoding, modes: Option<&[TableMode; 3]>) {
        if matches!(literals, LiteralsCoding::Tree(_)) {
            self.codes = true;
        }
        if let Some(modes) = modes {
            for (repeatable, mode) in self.sequences.iter_mut().zip(modes) {
                match mode {
                    TableMode::Predefined | TableMode::Rle(_) => *repeatable = false,
                    TableMode::Described(_) => *repeatable = true,
                    TableMode::Repeat => {}
                }
            }
        }
    }
}

/// How libzstd would code these literals of a block with `sequences` sequences.
pub fn literals(
    literals: &[u8],
    sequences: usize,
    tables: &Tables,
    repeatable: Repeatable,
    dialect: Dialect,
) -> LiteralsHead {
    let coding = literals_coding(literals, sequences, tables, repeatable, dialect);
    let len = literals.len();
    let size_format = match coding {
        LiteralsCoding::Raw | LiteralsCoding::Rle => match len {
            0..32 => 0,
            32..4096 => 1,
            _ => 3,
        },
        _ => match len {
            0..256 => 0,
            256..1024 => 1,
            1024..16384 => 2,
            _ => 3,
        },
    };
    LiteralsHead { coding, size_format }
}

fn literals_coding(
    literals: &[u8],
    sequences: usize,
    tables: &Tables,
    repeatable: Repeatable,
    dialect: Dialect,
) -> LiteralsCoding {
    /// Literals per sequence from which on libzstd suspects that they cannot be compressed ...
    const SUSPECT_RATIO: usize = 20;
    /// ... and looks at this many at either end of at least ten times as many.
    const SAMPLE: usize = 4096;
    let len = literals.len();
    let shift =
        if dialect.traits.has(Traits::FINE_LITERALS) { (9 - dialect.strategy.min(9)).min(3) } else { 3 };
    if len < 8 << shift {
        return LiteralsCoding::Raw;
    }
    if (sequences == 0 || len / sequences >= SUSPECT_RATIO) && len >= SAMPLE * 10 {
        let most = |run: &[u8]| count(run).into_iter().max().unwrap_or(0) as usize;
        if most(&literals[..SAMPLE]) + most(&literals[len - SAMPLE..]) <= ((2 * SAMPLE) >> 7) + 4 {
            return LiteralsCoding::Raw;
        }
    }
    let counts = count(literals);
    let most = counts.iter().copied().max().unwrap_or(0) as usize;
    if most == len {
        return LiteralsCoding::Rle;
    }
    if most <= (len >> 7) + 4 {
        return LiteralsCoding::Raw;
    }
    let earlier = tables.codes.as_ref().filter(|codes| repeatable.codes && tree::covers(codes, &counts));
    let gain = (len >> if dialect.strategy >= STRATEGY_BTULTRA { dialect.strategy - 1 } else { 6 }) + 2;
    let worth = |codes: &Codes, description: usize| {
        let packed = description + streams_len(codes, literals);
        packed < len - 1 && packed < len.saturating_sub(gain)
    };
    if let Some(codes) = earlier.filter(|_| dialect.strategy < STRATEGY_LAZY && len <= 1024) {
        return if worth(codes, 0) { LiteralsCoding::Treeless } else { LiteralsCoding::Raw };
    }
    let Some((codes, description)) = expected_tree(&counts, len, dialect) else { return LiteralsCoding::Raw };
    if let Some(earlier) = earlier
        && (tree::estimate(earlier, &counts) <= description.len() + tree::estimate(&codes, &counts)
            || description.len() + 12 >= len)
    {
        return if worth(earlier, 0) { LiteralsCoding::Treeless } else { LiteralsCoding::Raw };
    }
    if description.len() + 12 < len && worth(&codes, description.len()) {
        LiteralsCoding::Tree(description)
    } else {
        LiteralsCoding::Raw
    }
}

/// The description of the tree that libzstd would build for these literals, if it can.
pub fn literals_tree(literals: &[u8], dialect: Dialect) -> Option<Vec<u8>> {
    if literals.len() < 2 {
        return None;
    }
    expected_tree(&count(literals), literals.len(), dialect).map(|(_, description)| description)
}

fn expected_tree(counts: &[u32; 256], len: usize, dialect: Dialect) -> Option<(Codes, Vec<u8>)> {
    let bits_max = if dialect.traits.has(Traits::FINE_LITERALS) && dialect.strategy >= STRATEGY_BTULTRA {
        tree::best_bits_max(counts)
    } else {
        tree::bits_max(counts, len as u32)
    };
    let codes = tree::build(counts, bits_max, dialect.traits.has(Traits::STABLE_SORT))?;
    let mut description = Vec::new();
    tree::describe(&codes, &mut description)?;
    Some((codes, description))
}

fn count(bytes: &[u8]) -> [u32; 256] {
    // Four histograms: runs of one byte would otherwise wait for their own counter.
    let mut parts = [[0u32; 256]; 4];
    let mut quads = bytes.chunks_exact(4);
    for quad in &mut quads {
        for (part, &byte) in parts.iter_mut().zip(quad) {
            part[usize::from(byte)] += 1;
        }
    }
    for &byte in quads.remainder() {
        parts[0][usize::from(byte)] += 1;
    }
    std::array::from_fn(|symbol| parts.iter().map(|part| part[symbol]).sum())
}

/// Bytes of the stream or the four streams with their jump table.
fn streams_len(codes: &Codes, literals: &[u8]) -> usize {
    let len = |run: &[u8]| {
        let bits: usize = run.iter().map(|&byte| usize::from(codes.lengths()[usize::from(byte)])).sum();
        (bits + 1).div_ceil(8)
    };
    if literals.len() < 256 {
        len(literals)
    } else {
        6 + literals.chunks(literals.len().div_ceil(4)).map(len).sum::<usize>()
    }
}

/// The codes of one alphabet in a block.
struct Symbols {
    counts: [u32; 64],
    most: u32,
    max: u8,
    last: u8,
    total: u32,
}

impl Symbols {
    fn of(alphabet: Alphabet, sequences: &[Sequence]) -> Self {
        let mut symbols = Self { counts: [0; 64], most: 0, max: 0, last: 0, total: sequences.len() as u32 };
        for sequence in sequences {
            let value = match alphabet {
                Alphabet::Literals => sequence.literals,
                Alphabet::Offsets => sequence.offset,
                Alphabet::Matches => sequence.length,
            };
            let (code, _, _) = alphabet.code(value);
            symbols.counts[usize::from(code)] += 1;
            symbols.max = symbols.max.max(code);
            symbols.last = code;
        }
        symbols.most = symbols.counts.iter().copied().max().unwrap_or(0);
        symbols
    }

    fn used(&self) -> &[u32] {
        &self.counts[..=usize::from(self.max)]
    }

    /// The table that libzstd would make: the last symbol is not counted, its state being free.
    fn distribution(&self, alphabet: Alphabet) -> Option<Distribution> {
        if self.total < 2 {
            return None;
        }
        let log = optimal_log(alphabet.log_max(), self.total, u32::from(self.max), 2);
        let mut counts = self.counts;
        let mut total = self.total;
        if counts[usize::from(self.last)] > 1 {
            counts[usize::from(self.last)] -= 1;
            total -= 1;
        }
        normalize(&counts[..=usize::from(self.max)], total, log, total >= 2048)
    }

    /// Estimated bits, as libzstd reckons, with a new table, its description included.
    fn described_cost(&self, alphabet: Alphabet) -> u64 {
        let log = optimal_log(alphabet.log_max(), self.total, u32::from(self.max), 2);
        let mut description = Vec::new();
        if let Some(distribution) = normalize(self.used(), self.total, log, self.total >= 2048) {
            distribution.write(&mut description);
        }
        let bits: u64 = self
            .used()
            .iter()
            .filter(|&&count| count > 0)
            .map(|&count| {
                let share = (u64::from(count) * 256 / u64::from(self.total)).max(1);
                u64::from(count) * u64::from(INVERSE_LOG[share as usize & 255])
            })
            .sum();
        (description.len() as u64) * 8 + (bits >> 8)
    }

    fn predefined_cost(&self, alphabet: Alphabet) -> u64 {
        let predefined = alphabet.predefined();
        let bits: u64 = self
            .used()
            .iter()
            .zip(&predefined.counts)
            .map(|(&count, &share)| {
                let share = usize::from(share.unsigned_abs()) << (8 - predefined.log);
                u64::from(count) * u64::from(INVERSE_LOG[share & 255])
            })
            .sum();
        bits >> 8
    }

    /// `u64::MAX` when the table lacks a symbol.
    fn repeat_cost(&self, table: &Table) -> u64 {
        let bad = (table.encoder.log() + 1) * 256;
        let mut bits = 0;
        for (symbol, &count) in self.used().iter().enumerate().filter(|&(_, &count)| count > 0) {
            match table.encoder.cost(symbol as u8) {
                Some(cost) if cost < bad => bits += u64::from(count) * u64::from(cost),
                _ => return u64::MAX,
            }
        }
        bits >> 8
    }
}

/// `256 * -log2(x / 256)`, rounded down; 0 for 0.
static INVERSE_LOG: [u16; 256] = inverse_log();

const fn inverse_log() -> [u16; 256] {
    let mut table = [0; 256];
    let mut x = 1usize;
    while x < 256 {
        let whole = x.ilog2();
        // The fraction of the logarithm, bit by bit: the square of the mantissa is 2 or more, or not.
        let mut mantissa = (x as u128) << (60 - whole);
        let mut log = whole;
        let mut bit = 0;
        while bit < 8 {
            mantissa = (mantissa * mantissa) >> 60;
            log <<= 1;
            if mantissa >= 2 << 60 {
                mantissa >>= 1;
                log |= 1;
            }
            bit += 1;
        }
        let up = if x.is_power_of_two() { 0 } else { 1 };
        table[x] = (2048 - log - up) as u16;
        x += 1;
    }
    table
}

/// How libzstd would code the sequences' symbols. There is at least one sequence.
pub fn modes(
    sequences: &[Sequence],
    tables: &Tables,
    repeatable: Repeatable,
    dialect: Dialect,
) -> [TableMode; 3] {
    let mut modes = [TableMode::Predefined, TableMode::Predefined, TableMode::Predefined];
    for (index, alphabet) in Alphabet::ALL.into_iter().enumerate() {
        let symbols = Symbols::of(alphabet, sequences);
        let earlier = tables.sequences[index].as_ref().filter(|_| repeatable.sequences[index]);
        modes[index] = mode(alphabet, &symbols, earlier, dialect);
    }
    modes
}

fn mode(alphabet: Alphabet, symbols: &Symbols, earlier: Option<&Table>, dialect: Dialect) -> TableMode {
    let predefined = alphabet.predefined();
    let predefined_allowed =
        alphabet != Alphabet::Offsets || usize::from(symbols.max) < predefined.counts.len();
    if symbols.most == symbols.total {
        return if predefined_allowed && symbols.total <= 2 {
            TableMode::Predefined
        } else {
            TableMode::Rle(symbols.max)
        };
    }
    if dialect.strategy < STRATEGY_LAZY {
        let least = ((1u32 << predefined.log) * u32::from(10 - dialect.strategy)) >> 3;
        if predefined_allowed
            && (symbols.total < least || symbols.most < symbols.total >> (predefined.log - 1))
        {
            return TableMode::Predefined;
        }
    } else {
        let basic = if predefined_allowed { symbols.predefined_cost(alphabet) } else { u64::MAX };
        let repeat = earlier.map_or(u64::MAX, |table| symbols.repeat_cost(table));
        let described = symbols.described_cost(alphabet);
        if basic <= repeat && basic <= described {
            return TableMode::Predefined;
        }
        if repeat <= described {
            return TableMode::Repeat;
        }
    }
    match described(alphabet, symbols) {
        Some(bytes) => TableMode::Described(bytes),
        None => TableMode::Predefined,
    }
}

fn described(alphabet: Alphabet, symbols: &Symbols) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    symbols.distribution(alphabet)?.write(&mut bytes);
    Some(bytes)
}

/// The description of the table that libzstd would make for one alphabet, if it can.
pub fn table(alphabet: Alphabet, sequences: &[Sequence]) -> Option<Vec<u8>> {
    described(alphabet, &Symbols::of(alphabet, sequences))
}

#[cfg(test)]
mod tests {
    use super::INVERSE_LOG;

    #[test]
    fn logarithms_are_rounded_down() {
        for (x, &value) in INVERSE_LOG.iter().enumerate().skip(1) {
            let exact = -(x as f64 / 256.0).log2() * 256.0;
            assert!(
                (exact - f64::from(value)) < 1.0 && exact >= f64::from(value) - 1e-9,
                "{x}: {value} {exact}"
            );
        }
    }
}
