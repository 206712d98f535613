//! A table of seeds: finds long matches of a pattern fast, and not always the longest.
//!
//! Every fourth position of the text is entered under a hash of the eight bytes there; the last
//! entry of a slot stays, as in the table of Xdelta (J. P. Macdonald, 2000). A match of eleven
//! bytes or more is found from one of its first four, unless its slot was taken by another. Memory:
//! the text and at most one byte for each of its bytes, 16 MiB at most.

use super::approximate::Finder;
use super::exact::common_prefix;
use super::suffix::Match;

/// Bytes under a hash.
const SEED_BYTES: usize = 8;
/// Positions from one entry to the next.
const STRIDE: usize = 4;
/// The most slots of a table, as a power of two.
const SLOTS_BITS_MAX: u32 = 22;
/// The least.
const SLOTS_BITS_MIN: u32 = 8;
/// A position that is none.
const NONE: u32 = u32::MAX;

/// A text and its seeds.
pub(super) struct SeedTable {
    text: Vec<u8>,
    slots: Vec<u32>,
    /// How far a hash is shifted to be the index of a slot.
    shift: u32,
}

impl SeedTable {
    /// Enters the seeds of `text`, of less than 4 GiB.
    pub(super) fn new(text: Vec<u8>) -> Self {
        let bits = (text.len() / STRIDE).next_power_of_two().ilog2().clamp(SLOTS_BITS_MIN, SLOTS_BITS_MAX);
        let shift = 64 - bits;
        let mut slots = vec![NONE; 1 << bits];
        for position in (0..text.len().saturating_sub(SEED_BYTES)).step_by(STRIDE) {
            if let Some(slot) = slot_of(&text[position..], shift) {
                slots[slot] = position as u32;
            }
        }
        Self { text, slots, shift }
    }
}

impl Finder for SeedTable {
    fn text(&self) -> &[u8] {
        &self.text
    }

    fn longest(&self, pattern: &[u8], _near: usize) -> Match {
        let Some(slot) = slot_of(pattern, self.shift) else { return Match::default() };
        let position = self.slots[slot];
        if position == NONE {
            return Match::default();
        }
        let len = common_prefix(&self.text[position as usize..], pattern);
        Match { position: position as usize, len }
    }
}

/// The slot of the seed at the start of some bytes; `None` where it is too short, or of one byte
/// repeated, which stands everywhere and tells nothing.
fn slot_of(bytes: &[u8], shift: u32) -> Option<usize> {
    let seed = u64::from_le_bytes(*bytes.first_chunk::<SEED_BYTES>()?);
    if seed == seed.rotate_left(8) {
        return None;
    }
    // A multiplicative hash (D. Knuth, The Art of Computer Programming 3, 6.4): 2^64 by the golden ratio.
    Some((seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> shift) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_match_is_found_wherever_it_starts() {
        let text: Vec<u8> =
            (0..40_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let table = SeedTable::new(text.clone());
        for start in 1000..1100 {
            let pattern = &text[start..start + 40];
            let found = (0..30).any(|skip| {
                let found = table.longest(&pattern[skip..], 0);
                found.position == start + skip && found.len == 40 - skip
            });
            assert!(found, "{start}");
        }
    }

    #[test]
    fn runs_and_ends_are_no_seeds() {
        let table = SeedTable::new(vec![0; 1000]);
        assert_eq!(table.longest(&[0; 100], 0), Match::default());
        assert_eq!(table.longest(&[1, 2, 3], 0), Match::default());
        assert_eq!(SeedTable::new(Vec::new()).longest(&[1; 20], 0), Match::default());
    }
}
