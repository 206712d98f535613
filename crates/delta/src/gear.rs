//! Where content-defined chunks end.
//!
//! A chunk ends where the high bits of a rolling hash are zero, so that equal content gives equal chunks
//! wherever it stands (gear hash: W. Xia et al., *FastCDC*, USENIX ATC 2016).

/// The hash forgets bytes after so many.
const HASHED_BYTES: usize = 64;

/// Lengths of chunks.
#[derive(Debug, Clone, Copy)]
pub struct Cutter {
    /// No chunk ends before this length, in bytes, but the last one; at least 64, the bytes that are hashed.
    pub bytes_min: usize,
    /// Every chunk ends at this length, in bytes.
    pub bytes_max: usize,
    /// High bits of the hash that are zero at a cut, from 1 to 63: a chunk is longer than the shortest by
    /// 2^bits bytes on average.
    pub cut_bits: u32,
}

impl Cutter {
    /// The length in bytes of the chunk at the start of `bytes`, and the hash at its end: `u64::MAX` where
    /// the longest length or the end of `bytes` cut it. 0 bytes if `bytes` is empty.
    pub fn first(&self, bytes: &[u8]) -> (usize, u64) {
        let end = bytes.len().min(self.bytes_max);
        let start = self.bytes_min.saturating_sub(HASHED_BYTES).min(end);
        let mut hash = 0_u64;
        for (index, &byte) in bytes[start..end].iter().enumerate() {
            hash = (hash << 1).wrapping_add(GEAR[usize::from(byte)]);
            let len = start + index + 1;
            if len >= self.bytes_min && hash >> (64 - self.cut_bits) == 0 {
                return (len, hash);
            }
        }
        (end, u64::MAX)
    }
}

/// A random number for each byte, from splitmix64 (S. Vigna, public domain) with seed 0.
static GEAR: [u64; 256] = gear();

const fn gear() -> [u64; 256] {
    let mut table = [0; 256];
    let mut state = 0_u64;
    let mut index = 0;
    while index < 256 {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        table[index] = mixed ^ (mixed >> 31);
        index += 1;
    }
    table
}
