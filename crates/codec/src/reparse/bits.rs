//! Bit streams of RFC 8878: written forwards, read backwards (section 4.1.1).

/// Reads a bit stream from its end to its start.
#[derive(Debug)]
pub struct Backward<'a> {
    bytes: &'a [u8],
    /// Bits not yet read; negative once more was read than there is (zeros are made up).
    left: i64,
}

impl<'a> Backward<'a> {
    /// Begins below the end mark, the highest bit set in the last byte. `None` without a mark.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let last = *bytes.last()?;
        let left = (bytes.len() as i64) * 8 - 1 - i64::from(last.checked_ilog2().map(|log| 7 - log)?);
        Some(Self { bytes, left })
    }

    /// The 64 bits from bit `at` on, zeros past the end. `at` is below the stream's length.
    fn load(&self, at: usize) -> u64 {
        let byte = at >> 3;
        let word = if let Some(run) = self.bytes.get(byte..byte + 8) {
            u64::from_le_bytes(run.try_into().unwrap_or([0; 8]))
        } else {
            let mut run = [0; 8];
            let rest = &self.bytes[byte.min(self.bytes.len())..];
            run[..rest.len()].copy_from_slice(rest);
            u64::from_le_bytes(run)
        };
        word >> (at & 7)
    }

    /// The next `count` bits (at most 32) without taking them.
    pub fn peek(&self, count: u32) -> u32 {
        let mask = (1u64 << count) - 1;
        let at = self.left - i64::from(count);
        if at >= 0 {
            (self.load(at as usize) & mask) as u32
        } else if self.left <= 0 {
            0
        } else {
            ((self.load(0) << -at) & mask) as u32
        }
    }

    /// Takes `count` bits.
    pub fn skip(&mut self, count: u32) {
        self.left -= i64::from(count);
    }

    /// Takes and answers `count` bits (at most 32).
    pub fn read(&mut self, count: u32) -> u32 {
        let bits = self.peek(count);
        self.skip(count);
        bits
    }

    /// Bits not yet read; negative after an overrun.
    pub fn left(&self) -> i64 {
        self.left
    }
}

/// Appends bits to bytes, lowest bit first.
#[derive(Debug)]
pub struct Forward<'a> {
    out: &'a mut Vec<u8>,
    held: u64,
    count: u32,
}

impl<'a> Forward<'a> {
    /// Appends to `out`, from a whole byte on.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, held: 0, count: 0 }
    }

    /// Adds the low `count` bits (at most 32) of `value`.
    pub fn add(&mut self, value: u32, count: u32) {
        let bits = u64::from(value) & ((1 << count) - 1);
        self.held |= bits << self.count;
        self.count += count;
        if self.count >= 32 {
            self.out.extend_from_slice(&(self.held as u32).to_le_bytes());
            self.held >>= 32;
            self.count -= 32;
        }
    }

    /// Pads the last byte with zeros.
    pub fn pad(self) {
        let bytes = self.count.div_ceil(8) as usize;
        self.out.extend_from_slice(&self.held.to_le_bytes()[..bytes]);
    }

    /// Sets the end mark for a backward reader and pads.
    pub fn close(mut self) {
        self.add(1, 1);
        self.pad();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Backward, Forward};

    proptest! {
        #[test]
        fn bits_come_back_in_reverse(fields in proptest::collection::vec((any::<u32>(), 0u32..=32), 0..100)) {
            let mut bytes = Vec::new();
            let mut forward = Forward::new(&mut bytes);
            for &(value, count) in &fields {
                forward.add(value, count);
            }
            forward.close();
            let mut backward = Backward::new(&bytes).unwrap();
            for &(value, count) in fields.iter().rev() {
                let mask = ((1u64 << count) - 1) as u32;
                prop_assert_eq!(backward.read(count), value & mask);
            }
            prop_assert_eq!(backward.left(), 0);
            prop_assert_eq!(backward.read(9), 0);
            prop_assert_eq!(backward.left(), -9);
        }
    }

    #[test]
    fn a_stream_without_end_mark_is_refused() {
        assert!(Backward::new(&[]).is_none());
        assert!(Backward::new(&[1, 0]).is_none());
    }
}
