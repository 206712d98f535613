//! What libzstd's optimal parser expects literals, lengths and offsets to cost.

use crate::reparse::block::{BLOCK_PLAIN_MAX, Sequence};
use crate::reparse::codes::Alphabet;

/// One bit.
const BIT: i32 = 256;
/// Blocks up to this length are priced without statistics.
const PREDEFINED_MAX: usize = 8;
/// How much a literal counts.
const LITERAL_WEIGHT: u32 = 2;

/// Statistics of what was coded so far, and prices derived from them.
#[derive(Debug)]
pub struct Prices {
    /// Fractions of bits count (btultra and btultra2).
    exact: bool,
    /// The block is too short for statistics.
    predefined: bool,
    literals: Counts<256>,
    literal_lengths: Counts<36>,
    match_lengths: Counts<53>,
    offsets: Counts<32>,
    /// Code and extra bits of small literal lengths.
    literal_codes: [(u8, u8); 64],
    /// Code and extra bits of small match lengths, less three.
    match_codes: [(u8, u8); 128],
}

#[derive(Debug)]
struct Counts<const N: usize> {
    #[expect(clippy::struct_field_names, reason = "the field holds what the type is named after")]
    counts: [u32; N],
    sum: u32,
    /// Weight of the sum, from when prices were last brought up to date.
    base: i32,
}

impl<const N: usize> Counts<N> {
    const fn new() -> Self {
        Self { counts: [0; N], sum: 0, base: 0 }
    }

    fn set(&mut self, counts: [u32; N]) {
        self.counts = counts;
        self.sum = counts.iter().sum();
    }

    fn add(&mut self, symbol: usize, weight: u32) {
        self.counts[symbol] += weight;
        self.sum += weight;
    }

    /// Divides by a power of two; symbols keep a count of one if they must be `possible`, or occur.
    fn shrink(&mut self, shift: u32, possible: bool) {
        for count in &mut self.counts {
            *count = u32::from(possible || *count > 0) + (*count >> shift);
        }
        self.sum = self.counts.iter().sum();
    }

    fn limit(&mut self, log: u32) {
        self.sum = self.counts.iter().sum();
        let factor = self.sum >> log;
        if factor > 1 {
            self.shrink(factor.ilog2(), true);
        }
    }
}

/// The weight of a count, in 1/256 bits: the logarithm of one more, with or without a fraction.
fn weight(count: u32, exact: bool) -> i32 {
    let count = count + 1;
    let log = count.ilog2();
    let whole = log as i32 * BIT;
    if exact { whole + ((u64::from(count) << 8) >> log) as i32 } else { whole }
}

impl Prices {
    /// Begins without statistics.
    pub fn new(exact: bool) -> Self {
        let small = |alphabet: Alphabet, value: u32| {
            let (code, _, bits) = alphabet.code(value);
            (code, bits as u8)
        };
        Self {
            exact,
            predefined: false,
            literals: Counts::new(),
            literal_lengths: Counts::new(),
            match_lengths: Counts::new(),
            offsets: Counts::new(),
            literal_codes: std::array::from_fn(|value| small(Alphabet::Literals, value as u32)),
            match_codes: std::array::from_fn(|value| small(Alphabet::Matches, value as u32 + 3)),
        }
    }

    /// Forgets the statistics.
    pub fn clear(&mut self) {
        self.literal_lengths.sum = 0;
    }

    /// Whether there are statistics.
    pub fn is_fresh(&self) -> bool {
        self.literal_lengths.sum == 0
    }

    /// Begins a block (`ZSTD_rescaleFreqs`). `rare` keeps bytes that do not occur in the first block
    /// priced as rare ones (before libzstd 1.5.6).
    pub fn begin(&mut self, plain: &[u8], rare: bool) {
        self.predefined = false;
        if self.is_fresh() {
            self.predefined = plain.len() <= PREDEFINED_MAX;
            let mut counts = [0; 256];
            for &byte in plain {
                counts[usize::from(byte)] += 1;
            }
            self.literals.set(counts);
            self.literals.shrink(8, rare);
            let mut lengths = [1; 36];
            (lengths[0], lengths[1]) = (4, 2);
            self.literal_lengths.set(lengths);
            self.match_lengths.set([1; 53]);
            let mut offsets = [1; 32];
            offsets[..11].copy_from_slice(&[6, 2, 1, 1, 2, 3, 4, 4, 4, 3, 2]);
            self.offsets.set(offsets);
        } else {
            self.literals.limit(12);
            self.literal_lengths.limit(11);
            self.match_lengths.limit(11);
            self.offsets.limit(11);
        }
        self.update();
    }

    /// Brings prices up to date with the statistics.
    pub fn update(&mut self) {
        let exact = self.exact;
        self.literals.base = weight(self.literals.sum, exact);
        self.literal_lengths.base = weight(self.literal_lengths.sum, exact);
        self.match_lengths.base = weight(self.match_lengths.sum, exact);
        self.offsets.base = weight(self.offsets.sum, exact);
    }

    /// Takes a sequence into account.
    pub fn count(&mut self, literals: &[u8], sequence: Sequence) {
        for &byte in literals {
            self.literals.counts[usize::from(byte)] += LITERAL_WEIGHT;
        }
        self.literals.sum += literals.len() as u32 * LITERAL_WEIGHT;
        let (literal_code, _) = self.literal_code(sequence.literals);
        self.literal_lengths.add(literal_code, 1);
        self.offsets.add(sequence.offset.max(1).ilog2() as usize, 1);
        let (match_code, _) = self.match_code(sequence.length);
        self.match_lengths.add(match_code, 1);
    }

    fn literal_code(&self, length: u32) -> (usize, i32) {
        match self.literal_codes.get(length as usize) {
            Some(&(code, bits)) => (usize::from(code), i32::from(bits)),
            None => (length.ilog2() as usize + 19, length.ilog2() as i32),
        }
    }

    fn match_code(&self, length: u32) -> (usize, i32) {
        let base = length.saturating_sub(3);
        match self.match_codes.get(base as usize) {
            Some(&(code, bits)) => (usize::from(code), i32::from(bits)),
            None => (base.ilog2() as usize + 36, base.ilog2() as i32),
        }
    }

    /// Price of one literal.
    pub fn literal(&self, byte: u8) -> i32 {
        if self.predefined {
            return 6 * BIT;
        }
        let base = self.literals.base;
        base - weight(self.literals.counts[usize::from(byte)], self.exact).min(base - BIT)
    }

    /// Price of the number of literals before a match.
    pub fn literal_length(&self, length: u32) -> i32 {
        if self.predefined {
            return weight(length, self.exact);
        }
        if length >= BLOCK_PLAIN_MAX as u32 {
            return BIT + self.literal_length(BLOCK_PLAIN_MAX as u32 - 1);
        }
        let (code, bits) = self.literal_code(length);
        bits * BIT + self.literal_lengths.base - weight(self.literal_lengths.counts[code], self.exact)
    }

    /// Price of a match: offset and length.
    pub fn matched(&self, offset: u32, length: u32) -> i32 {
        let offset_code = offset.max(1).ilog2();
        if self.predefined {
            return weight(length - 3, self.exact) + (16 + offset_code as i32) * BIT;
        }
        let mut price = offset_code as i32 * BIT + self.offsets.base
            - weight(self.offsets.counts[offset_code as usize], self.exact);
        if !self.exact && offset_code >= 20 {
            price += (offset_code as i32 - 19) * 2 * BIT;
        }
        let (code, bits) = self.match_code(length);
        price + bits * BIT + self.match_lengths.base - weight(self.match_lengths.counts[code], self.exact)
            + BIT / 5
    }
}
