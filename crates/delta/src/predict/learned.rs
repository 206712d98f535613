//! What decoded references have taught: old target -> new target.

/// Slots of the exact map; 16 bytes each.
const EXACT_SLOTS: usize = 1 << 18;
/// Slots of each map of neighbourhoods; 16 bytes each.
const NEAR_SLOTS: usize = 1 << 15;
/// Sizes of neighbourhoods, as shifts: the closest one that knows anything answers.
const NEAR_SHIFTS: [u32; 3] = [4, 7, 11];

/// Bytes that the maps take.
pub(super) const LEARNED_BYTES: u64 =
    ((EXACT_SLOTS + NEAR_SHIFTS.len() * NEAR_SLOTS) * std::mem::size_of::<Slot>()) as u64;

#[derive(Clone, Copy, Default)]
struct Slot {
    /// Key plus one, so that zero means empty.
    key: u64,
    /// New target minus old target.
    delta: u64,
}

/// Direct-mapped tables: a clash forgets the older entry, memory never grows.
pub(super) struct Learned {
    exact: Box<[Slot]>,
    near: [Box<[Slot]>; NEAR_SHIFTS.len()],
}

impl Learned {
    pub fn new() -> Self {
        let table = |slots| vec![Slot::default(); slots].into_boxed_slice();
        Self { exact: table(EXACT_SLOTS), near: std::array::from_fn(|_| table(NEAR_SLOTS)) }
    }

    /// The distance that this very target has moved by, when it was last seen.
    pub fn exact(&self, space: u64, target: u64) -> Option<u64> {
        look_up(&self.exact, key(space, target))
    }

    /// The distance that a target close by has moved by.
    pub fn near(&self, space: u64, target: u64) -> Option<u64> {
        NEAR_SHIFTS
            .iter()
            .zip(&self.near)
            .find_map(|(&shift, table)| look_up(table, key(space, target >> shift)))
    }

    /// Notes that `target` has moved by `delta`.
    pub fn note(&mut self, space: u64, target: u64, delta: u64) {
        store(&mut self.exact, key(space, target), delta);
        for (&shift, table) in NEAR_SHIFTS.iter().zip(&mut self.near) {
            store(table, key(space, target >> shift), delta);
        }
    }
}

fn key(space: u64, target: u64) -> u64 {
    // Targets use 48 bits at most in practice; a clash of two spaces costs bytes, not correctness.
    (target ^ space.rotate_right(16)).wrapping_add(1)
}

fn index(key: u64, slots: usize) -> usize {
    // Fibonacci hashing (Knuth, TAOCP 6.4): the top bits of the product are well mixed.
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - slots.trailing_zeros())) as usize
}

fn look_up(table: &[Slot], key: u64) -> Option<u64> {
    let slot = table[index(key, table.len())];
    (slot.key == key && key != 0).then_some(slot.delta)
}

fn store(table: &mut [Slot], key: u64, delta: u64) {
    table[index(key, table.len())] = Slot { key, delta };
}
