//! Images for tests.

use fluvial_delta::structure::ReadAt;

use crate::stream::Pair;

/// Bytes that cannot be packed, the same at each run (xorshift, G. Marsaglia, 2003).
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[3]
    };
    (0..len).map(next).collect()
}

/// An image of no bytes.
pub const NOTHING: &&[u8] = &(&[] as &[u8]);

/// Two images, and nobody who hears of them.
pub fn pair<'a>(old: &'a dyn ReadAt, new: &'a dyn ReadAt) -> Pair<'a> {
    Pair { old, new, watch: &|_| true }
}
