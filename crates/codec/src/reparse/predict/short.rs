//! Positions by the hash of three bytes, for the optimal parser.

use crate::reparse::history::View;

/// The multiplier for three bytes.
const PRIME_3: u32 = 506_832_829;
/// Matches of three bytes are not worth a distance from here on.
const DISTANCE_MAX: u32 = 1 << 18;

/// The table.
#[derive(Debug)]
pub struct Short {
    /// Positions plus one; 0 for none.
    slots: Vec<u32>,
    bits: u32,
    /// The next position to enter.
    pub next: u32,
}

impl Short {
    /// Makes an empty table.
    pub fn new(bits: u32) -> Self {
        Self { slots: vec![0; 1 << bits], bits, next: 0 }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.slots.fill(0);
    }

    fn slot(&self, view: View<'_>, at: u32) -> usize {
        ((view.u32(at) << 8).wrapping_mul(PRIME_3) >> (32 - self.bits)) as usize
    }

    /// Enters what was not entered before `at`; the last position of the same hash, not before `low`.
    pub fn find(&mut self, view: View<'_>, at: u32, low: u32) -> Option<u32> {
        for position in self.next..at {
            let slot = self.slot(view, position);
            self.slots[slot] = position + 1;
        }
        self.next = self.next.max(at);
        let entry = self.slots[self.slot(view, at)];
        (entry > low && entry <= at && at - (entry - 1) < DISTANCE_MAX).then(|| entry - 1)
    }
}
