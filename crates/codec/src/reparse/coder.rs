//! An adaptive binary range coder, and numbers and bytes on top of it.
//!
//! Corrections are written and read by the very same code: a [`Coder`] is given the value that
//! holds (when writing) or any value (when reading), and answers with the value that holds. Reader
//! and writer can so never drift apart.
//!
//! The carry-less low/range arithmetic is the one of G. N. N. Martin's range encoding (1979) with
//! the carry handling that LZMA made common.

/// Number of bits of precision of a probability.
const PROBABILITY_BITS: u32 = 16;
/// Below this range a byte is shifted out.
const RANGE_TOP: u32 = 1 << 24;

/// The adaptive probability that a bit is zero: the mean of a fast and a slow estimate.
#[derive(Debug, Clone, Copy)]
pub struct Bit {
    fast: u16,
    slow: u16,
}

impl Default for Bit {
    fn default() -> Self {
        Self { fast: 1 << 15, slow: 1 << 15 }
    }
}

impl Bit {
    /// Probability of zero in 1/65536, kept away from 0 and 1 so that any bit can be coded.
    fn zero(self) -> u32 {
        u32::midpoint(u32::from(self.fast), u32::from(self.slow)).clamp(24, (1 << PROBABILITY_BITS) - 24)
    }

    fn update(&mut self, bit: bool) {
        if bit {
            self.fast -= self.fast >> 4;
            self.slow -= self.slow >> 7;
        } else {
            self.fast += (u16::MAX - self.fast) >> 4;
            self.slow += (u16::MAX - self.slow) >> 7;
        }
    }
}

/// Codes bits; see the module's documentation for why one trait serves both directions.
pub trait Coder {
    /// Codes one bit with an adaptive probability; answers the bit that holds.
    fn bit(&mut self, model: &mut Bit, bit: bool) -> bool;

    /// Codes the low `count` bits (at most 32) with even probabilities.
    fn direct(&mut self, value: u32, count: u32) -> u32;

    /// Codes a value below `1 << bits` through a binary tree of `1 << bits` models.
    fn tree(&mut self, models: &mut [Bit], bits: u32, value: u32) -> u32 {
        let mut node = 1usize;
        for shift in (0..bits).rev() {
            let bit = self.bit(&mut models[node], (value >> shift) & 1 == 1);
            node = node * 2 + usize::from(bit);
        }
        node as u32 - (1 << bits)
    }

    /// Codes any number: its length in bits, then the two bits after the first, then the rest.
    fn number(&mut self, model: &mut Number, value: u32) -> u32 {
        let length = self.tree(&mut model.length, 6, 32 - value.leading_zeros()).min(32);
        if length <= 1 {
            return length;
        }
        let tail_bits = length - 1;
        let modelled = tail_bits.min(2);
        let rest = tail_bits - modelled;
        let tail = value & ((1 << tail_bits) - 1);
        let head = self.tree(&mut model.head[length as usize], modelled, tail >> rest);
        let low = if rest == 0 { 0 } else { self.direct(tail & ((1 << rest) - 1), rest) };
        (1 << tail_bits) | (head << rest) | low
    }

    /// Codes a byte with an adaptive order-0 model.
    fn byte(&mut self, model: &mut Byte, value: u8) -> u8 {
        self.tree(&mut model.0, 8, u32::from(value)) as u8
    }
}

/// Models of [`Coder::number`].
#[derive(Debug, Clone)]
pub struct Number {
    length: [Bit; 64],
    head: [[Bit; 4]; 33],
}

impl Default for Number {
    fn default() -> Self {
        Self { length: [Bit::default(); 64], head: [[Bit::default(); 4]; 33] }
    }
}

/// Models of [`Coder::byte`].
#[derive(Debug, Clone)]
pub struct Byte([Bit; 256]);

impl Default for Byte {
    fn default() -> Self {
        Self([Bit::default(); 256])
    }
}

/// Writes corrections.
#[derive(Debug)]
pub struct Writer {
    low: u64,
    range: u32,
    /// The byte held back until it is known whether a carry runs into it.
    held: u8,
    /// 0xFF bytes behind `held`, which a carry would turn over.
    pending: u64,
    /// Nothing was held back yet.
    fresh: bool,
    out: Vec<u8>,
}

impl Default for Writer {
    fn default() -> Self {
        Self { low: 0, range: u32::MAX, held: 0, pending: 0, fresh: true, out: Vec::new() }
    }
}

impl Writer {
    fn shift(&mut self) {
        if self.low < 0xFF00_0000 || self.low > u64::from(u32::MAX) {
            let carry = (self.low >> 32) as u8;
            if !self.fresh {
                self.out.push(self.held.wrapping_add(carry));
            }
            self.fresh = false;
            for _ in 0..self.pending {
                self.out.push(0xFFu8.wrapping_add(carry));
            }
            self.pending = 0;
            self.held = (self.low >> 24) as u8;
        } else {
            self.pending += 1;
        }
        self.low = (self.low & 0x00FF_FFFF) << 8;
    }

    /// Bytes written so far, give or take those held back.
    pub fn len(&self) -> usize {
        self.out.len() + self.pending as usize
    }

    /// Ends the stream. Zero bytes at the end are left out: the reader makes them up.
    pub fn finish(mut self) -> Vec<u8> {
        for _ in 0..5 {
            self.shift();
        }
        while self.out.last() == Some(&0) {
            self.out.pop();
        }
        self.out
    }
}

impl Coder for Writer {
    fn bit(&mut self, model: &mut Bit, bit: bool) -> bool {
        let bound = (self.range >> PROBABILITY_BITS) * model.zero();
        if bit {
            self.low += u64::from(bound);
            self.range -= bound;
        } else {
            self.range = bound;
        }
        while self.range < RANGE_TOP {
            self.range <<= 8;
            self.shift();
        }
        model.update(bit);
        bit
    }

    fn direct(&mut self, value: u32, count: u32) -> u32 {
        for shift in (0..count).rev() {
            self.range >>= 1;
            if (value >> shift) & 1 == 1 {
                self.low += u64::from(self.range);
            }
            while self.range < RANGE_TOP {
                self.range <<= 8;
                self.shift();
            }
        }
        value
    }
}

/// Reads corrections. Past the end it reads zeros, and [`Reader::exhausted`] tells.
#[derive(Debug)]
pub struct Reader<B> {
    code: u32,
    range: u32,
    bytes: B,
    position: usize,
}

/// Zero bytes that a well-formed stream may leave out at its end, or read ahead.
const IMPLIED_ZEROS: usize = 8;

impl<B: AsRef<[u8]>> Reader<B> {
    /// Begins to read.
    pub fn new(bytes: B) -> Self {
        let mut reader = Self { code: 0, range: u32::MAX, bytes, position: 0 };
        for _ in 0..4 {
            reader.shift();
        }
        reader
    }

    fn shift(&mut self) {
        let byte = self.bytes.as_ref().get(self.position).copied().unwrap_or(0);
        self.position += 1;
        self.code = (self.code << 8) | u32::from(byte);
    }

    /// Whether more was read than was ever written.
    pub fn exhausted(&self) -> bool {
        self.position > self.bytes.as_ref().len() + IMPLIED_ZEROS
    }
}

impl<B: AsRef<[u8]>> Coder for Reader<B> {
    fn bit(&mut self, model: &mut Bit, _: bool) -> bool {
        let bound = (self.range >> PROBABILITY_BITS) * model.zero();
        let bit = self.code >= bound;
        if bit {
            self.code -= bound;
            self.range -= bound;
        } else {
            self.range = bound;
        }
        while self.range < RANGE_TOP {
            self.range <<= 8;
            self.shift();
        }
        model.update(bit);
        bit
    }

    fn direct(&mut self, _: u32, count: u32) -> u32 {
        let mut value = 0u32;
        for _ in 0..count {
            self.range >>= 1;
            let bit = self.code >= self.range;
            if bit {
                self.code -= self.range;
            }
            value = (value << 1) | u32::from(bit);
            while self.range < RANGE_TOP {
                self.range <<= 8;
                self.shift();
            }
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Bit, Byte, Coder, Number, Reader, Writer};

    fn run<C: Coder>(coder: &mut C, values: &[(u32, u8, bool)]) -> Vec<(u32, u8, bool)> {
        let (mut number, mut byte, mut bit) = (Number::default(), Byte::default(), Bit::default());
        values
            .iter()
            .map(|&(n, b, f)| {
                let n = coder.number(&mut number, n);
                let b = coder.byte(&mut byte, b);
                (coder.direct(n & 7, 3) | (n & !7), b, coder.bit(&mut bit, f))
            })
            .collect()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(values in proptest::collection::vec((any::<u32>(), any::<u8>(), any::<bool>()), 0..300)) {
            let mut writer = Writer::default();
            run(&mut writer, &values);
            let bytes = writer.finish();
            let mut reader = Reader::new(&bytes);
            let blank = vec![(0, 0, false); values.len()];
            let read: Vec<_> = {
                // The reader must not depend on the values it is handed.
                let (mut number, mut byte, mut bit) = (Number::default(), Byte::default(), Bit::default());
                blank.iter().map(|&(n, b, f)| {
                    let n = reader.number(&mut number, n);
                    let b = reader.byte(&mut byte, b);
                    (reader.direct(0, 3) | (n & !7), b, reader.bit(&mut bit, f))
                }).collect()
            };
            prop_assert_eq!(read, values);
            prop_assert!(!reader.exhausted());
        }
    }

    #[test]
    fn expected_bits_cost_next_to_nothing() {
        let mut writer = Writer::default();
        let mut model = Bit::default();
        for _ in 0..1_000_000 {
            writer.bit(&mut model, false);
        }
        assert!(writer.finish().len() < 300);
    }
}
