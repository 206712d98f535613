//! Bits as deflate packs them: from the lowest bit of each byte up (RFC 1951, section 3.1.1).

/// Takes bits off a slice.
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    /// Bits taken so far.
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        BitReader { bytes, at: 0 }
    }

    /// Bits taken so far.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// The next bits, 32 or more of them; zeros behind the end.
    pub(crate) fn peek(&self) -> u64 {
        let byte = self.at / 8;
        let word = match self.bytes.get(byte..byte + 8) {
            Some(bytes) => bytes.try_into().map_or(0, u64::from_le_bytes),
            None => self
                .bytes
                .get(byte..)
                .unwrap_or_default()
                .iter()
                .rev()
                .fold(0, |word, &byte| word << 8 | u64::from(byte)),
        };
        word >> (self.at % 8)
    }

    /// Takes `count` bits that were looked at; `None` if there are not as many.
    pub(crate) fn skip(&mut self, count: u32) -> Option<()> {
        self.at += count as usize;
        (self.at <= 8 * self.bytes.len()).then_some(())
    }

    /// Takes up to 32 bits.
    pub(crate) fn take(&mut self, count: u32) -> Option<u32> {
        let bits = self.peek() & ((1 << count) - 1);
        self.skip(count)?;
        Some(bits as u32)
    }

    /// Takes the bits up to the next byte, all of which have to be zero.
    pub(crate) fn align(&mut self) -> Option<()> {
        let padding = (8 - self.at as u32 % 8) % 8;
        (self.take(padding)? == 0).then_some(())
    }
}

/// Puts bits behind bytes.
#[derive(Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    word: u64,
    count: u32,
}

impl BitWriter {
    /// Appends the lowest `count` bits, at most 32.
    pub(crate) fn put(&mut self, bits: u32, count: u32) {
        self.word |= u64::from(bits) << self.count;
        self.count += count;
        while self.count >= 8 {
            self.bytes.push(self.word as u8);
            self.word >>= 8;
            self.count -= 8;
        }
    }

    /// Appends zeros up to the next byte.
    pub(crate) fn align(&mut self) {
        self.put(0, (8 - self.count) % 8);
    }

    /// How many bits stand in it.
    pub(crate) fn bit_count(&self) -> usize {
        8 * self.bytes.len() + self.count as usize
    }

    /// The whole bytes so far, for the caller to take away.
    pub(crate) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}
