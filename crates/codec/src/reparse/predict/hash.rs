//! The hash functions of libzstd's match finders.

use crate::reparse::history::View;

/// Multipliers for 4 to 8 bytes (the same in all versions, as dictionaries depend on none).
const PRIME_4: u32 = 2_654_435_761;
const PRIME_5: u64 = 889_523_592_379;
const PRIME_6: u64 = 227_718_039_650_203;
const PRIME_7: u64 = 58_295_818_150_454_627;
const PRIME_8: u64 = 0xCF1B_BCDC_B7A5_6463;

/// Hashes the `len` bytes (4 to 8; others count as 4) at `at` to `bits` bits.
#[inline]
pub fn hash(view: View<'_>, at: u32, len: u32, bits: u32) -> u32 {
    let word = |shift: u32, prime: u64| ((view.u64(at) << shift).wrapping_mul(prime) >> (64 - bits)) as u32;
    match len {
        5 => word(24, PRIME_5),
        6 => word(16, PRIME_6),
        7 => word(8, PRIME_7),
        8 => word(0, PRIME_8),
        _ => view.u32(at).wrapping_mul(PRIME_4) >> (32 - bits),
    }
}
