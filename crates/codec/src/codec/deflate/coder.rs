//! A binary range coder whose probabilities learn, after the one of LZMA (I. Pavlov).

/// Probabilities have 16 bits.
const PROBABILITY_BITS: u32 = 16;
/// The range is refilled below this.
const RANGE_MIN: u32 = 1 << 24;
/// How many zeros a decoder may read behind the end: what the encoder leaves out.
const OVERRUN_BYTES_MAX: usize = 8;

/// The probability that a bit is zero, and how fast it still learns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bit {
    zero: u16,
    rate: u8,
}

impl Bit {
    /// Nothing known.
    pub(crate) const NEW: Bit = Bit { zero: 1 << (PROBABILITY_BITS - 1), rate: 2 };
    /// Learns slower and slower, down to one part in two to the power of this.
    const RATE_MAX: u8 = 6;
    /// Neither bit ever gets impossible.
    const ZERO_MIN: u16 = 24;

    fn learn(&mut self, bit: bool) {
        if bit {
            self.zero -= (self.zero - Self::ZERO_MIN) >> self.rate;
        } else {
            self.zero += (u16::MAX - Self::ZERO_MIN - self.zero) >> self.rate;
        }
        self.rate = (self.rate + 1).min(Self::RATE_MAX);
    }

    fn split(self, range: u32) -> u32 {
        (range >> PROBABILITY_BITS) * u32::from(self.zero)
    }
}

/// Either direction of the coder: coding takes a value and gives it back, decoding ignores it.
pub(crate) trait Coder {
    /// Codes one bit.
    fn bit(&mut self, model: &mut Bit, bit: bool) -> bool;

    /// Codes one bit that is as likely set as not.
    fn even(&mut self, bit: bool) -> bool;

    /// Whether more was decoded than there is.
    fn overran(&self) -> bool;

    /// Codes `count` bits that nothing is known of, the highest first.
    fn direct(&mut self, value: u32, count: u32) -> u32 {
        (0..count).rev().fold(0, |all, at| all << 1 | u32::from(self.even(value >> at & 1 != 0)))
    }

    /// Codes a number below the length of `tree`, a power of two, bit by bit from the highest.
    fn tree(&mut self, tree: &mut [Bit], value: u32) -> u32 {
        let count = tree.len().ilog2();
        let mut node = 1;
        for at in (0..count).rev() {
            let bit = self.bit(&mut tree[node], value >> at & 1 != 0);
            node = node << 1 | usize::from(bit);
        }
        node as u32 - (1 << count)
    }

    /// Codes a number: how many bits it has, by a tree of 32, then all but the highest.
    fn number(&mut self, sizes: &mut [Bit; 32], value: u32) -> u32 {
        let value = value.saturating_add(1).min(u32::MAX >> 1);
        let size = self.tree(sizes, value.ilog2()).min(30);
        (1 << size | self.direct(value & ((1 << size) - 1), size)) - 1
    }
}

/// Codes into bytes.
pub(crate) struct Encoder {
    low: u64,
    range: u32,
    /// The last byte that a carry may still change, and how many 0xff follow it.
    held: Option<u8>,
    full: usize,
    bytes: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Encoder { low: 0, range: u32::MAX, held: None, full: 0, bytes: Vec::new() }
    }

    fn shift(&mut self) {
        let carry = (self.low >> 32) as u8;
        let byte = (self.low >> 24) as u8;
        if byte != 0xff || carry != 0 {
            if let Some(held) = self.held {
                self.bytes.push(held.wrapping_add(carry));
            }
            self.bytes.extend(std::iter::repeat_n(0xff_u8.wrapping_add(carry), self.full));
            self.full = 0;
            self.held = Some(byte);
        } else {
            self.full += 1;
        }
        self.low = (self.low & 0x00ff_ffff) << 8;
    }

    fn narrow(&mut self, bit: bool, split: u32) {
        if bit {
            self.low += u64::from(split);
            self.range -= split;
        } else {
            self.range = split;
        }
        while self.range < RANGE_MIN {
            self.range <<= 8;
            self.shift();
        }
    }

    /// The bytes, without zeros at their end: a decoder reads them for itself.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        for _ in 0..5 {
            self.shift();
        }
        let len = self.bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        self.bytes.truncate(len);
        self.bytes
    }
}

impl Coder for Encoder {
    fn bit(&mut self, model: &mut Bit, bit: bool) -> bool {
        let split = model.split(self.range);
        self.narrow(bit, split);
        model.learn(bit);
        bit
    }

    fn even(&mut self, bit: bool) -> bool {
        self.narrow(bit, self.range >> 1);
        bit
    }

    fn overran(&self) -> bool {
        false
    }
}

/// Decodes what an [`Encoder`] made.
pub(crate) struct Decoder {
    code: u32,
    range: u32,
    bytes: std::vec::IntoIter<u8>,
    overrun: usize,
}

impl Decoder {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let mut decoder = Decoder { code: 0, range: u32::MAX, bytes: bytes.into_iter(), overrun: 0 };
        for _ in 0..4 {
            decoder.code = decoder.code << 8 | u32::from(decoder.byte());
        }
        decoder
    }

    fn byte(&mut self) -> u8 {
        self.bytes.next().unwrap_or_else(|| {
            self.overrun += 1;
            0
        })
    }

    fn narrow(&mut self, split: u32) -> bool {
        let bit = self.code >= split;
        if bit {
            self.code -= split;
            self.range -= split;
        } else {
            self.range = split;
        }
        while self.range < RANGE_MIN {
            self.range <<= 8;
            self.code = self.code << 8 | u32::from(self.byte());
        }
        bit
    }
}

impl Coder for Decoder {
    fn bit(&mut self, model: &mut Bit, _bit: bool) -> bool {
        let bit = self.narrow(model.split(self.range));
        model.learn(bit);
        bit
    }

    fn even(&mut self, _bit: bool) -> bool {
        self.narrow(self.range >> 1)
    }

    fn overran(&self) -> bool {
        self.overrun > OVERRUN_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn everything_comes_back(
            values in proptest::collection::vec((any::<bool>(), 0_u32..1 << 31, 0_u32..32, 0_u32..64), 0..400),
            skewed: bool,
        ) {
            let mut encoder = Encoder::new();
            let (mut bit, mut sizes, mut tree) = (Bit::NEW, [Bit::NEW; 32], [Bit::NEW; 64]);
            for &(flag, number, count, node) in &values {
                encoder.bit(&mut bit, flag && !skewed);
                encoder.number(&mut sizes, number >> 2);
                encoder.direct(number & ((1 << count) - 1), count);
                encoder.tree(&mut tree, node);
            }
            let mut decoder = Decoder::new(encoder.finish());
            let (mut bit, mut sizes, mut tree) = (Bit::NEW, [Bit::NEW; 32], [Bit::NEW; 64]);
            for &(flag, number, count, node) in &values {
                prop_assert_eq!(decoder.bit(&mut bit, false), flag && !skewed);
                prop_assert_eq!(decoder.number(&mut sizes, 0), number >> 2);
                prop_assert_eq!(decoder.direct(0, count), number & ((1 << count) - 1));
                prop_assert_eq!(decoder.tree(&mut tree, 0), node);
                prop_assert!(!decoder.overran());
            }
        }
    }

    #[test]
    fn what_is_expected_costs_next_to_nothing() {
        let mut encoder = Encoder::new();
        let mut bit = Bit::NEW;
        for _ in 0..1_000_000 {
            encoder.bit(&mut bit, false);
        }
        assert!(encoder.finish().len() < 200);
    }

    #[test]
    fn a_decoder_notices_that_it_has_read_on() {
        let mut decoder = Decoder::new(vec![1, 2, 3]);
        decoder.direct(0, 32);
        assert!(!decoder.overran());
        (0..3).for_each(|_| {
            decoder.direct(0, 32);
        });
        assert!(decoder.overran());
    }
}
