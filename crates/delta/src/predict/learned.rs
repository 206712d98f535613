//! What decoded references have taught: old target -> new target.

/// Slots of the exact map, at least and at most; 8 bytes each.
const EXACT_SLOTS: [usize; 2] = [1 << 13, 1 << 18];
/// Slots of the exact map for one of each map of neighbourhoods.
const NEAR_SHARE: usize = 8;
/// Bytes of programs for one slot of the exact map: references are not denser.
const BYTES_PER_SLOT: u64 = 64;
/// Sizes of neighbourhoods, as shifts: the closest one that knows anything answers.
const NEAR_SHIFTS: [u32; 3] = [4, 7, 11];

/// Slots that are written or read at a time.
const SLOTS_AT_ONCE: usize = 1 << 10;
/// Bytes of a slot, as it is written.
const SLOT_BYTES: usize = 8;

/// Bytes that the maps take, at most.
pub(super) const LEARNED_BYTES: u64 =
    ((EXACT_SLOTS[1] + NEAR_SHIFTS.len() * EXACT_SLOTS[1] / NEAR_SHARE) * std::mem::size_of::<Slot>()) as u64;

/// Small, because references jump about in tables that are larger than the caches.
#[derive(Clone, Copy, Default)]
struct Slot {
    /// Bits of the key's hash that did not choose the slot; zero means empty. One clash in 2^32 costs
    /// bytes, not correctness.
    check: u32,
    /// New target minus old target: what moves further is not learned.
    delta: i32,
}

/// Direct-mapped tables: a clash forgets the older entry, memory never grows.
pub(super) struct Learned {
    exact: Box<[Slot]>,
    near: [Box<[Slot]>; NEAR_SHIFTS.len()],
}

impl Learned {
    /// Knows nothing of programs that have so many bytes together.
    pub fn new(bytes: u64) -> Self {
        let slots = slots(bytes);
        let table = |slots| vec![Slot::default(); slots].into_boxed_slice();
        Self { exact: table(slots), near: std::array::from_fn(|_| table(slots / NEAR_SHARE)) }
    }

    /// Hands out the maps as bytes, part by part.
    pub fn write(&self, put: &mut dyn FnMut(&[u8])) {
        let mut bytes = Vec::with_capacity(SLOTS_AT_ONCE * SLOT_BYTES);
        for slots in self.tables().flat_map(|table| table.chunks(SLOTS_AT_ONCE)) {
            bytes.clear();
            for slot in slots {
                bytes.extend_from_slice(&slot.check.to_le_bytes());
                bytes.extend_from_slice(&slot.delta.to_le_bytes());
            }
            put(&bytes);
        }
    }

    /// Fills maps of programs that have so many bytes together with what [`Learned::write`] has handed out.
    pub fn read<E>(bytes: u64, fill: &mut dyn FnMut(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let mut learned = Self::new(bytes);
        let mut bytes = vec![0; SLOTS_AT_ONCE * SLOT_BYTES];
        let Self { exact, near } = &mut learned;
        let tables = std::iter::once(exact).chain(near);
        for slots in tables.flat_map(|table| table.chunks_mut(SLOTS_AT_ONCE)) {
            let bytes = &mut bytes[..slots.len() * SLOT_BYTES];
            fill(bytes)?;
            for (slot, &[a, b, c, d, e, f, g, h]) in slots.iter_mut().zip(bytes.as_chunks().0) {
                let (check, delta) = (u32::from_le_bytes([a, b, c, d]), i32::from_le_bytes([e, f, g, h]));
                *slot = Slot { check, delta };
            }
        }
        Ok(learned)
    }

    fn tables(&self) -> impl Iterator<Item = &[Slot]> {
        std::iter::once(&*self.exact).chain(self.near.iter().map(|table| &**table))
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

    /// Asks for what is known of a target before it is needed.
    pub fn prefetch(&self, space: u64, target: u64) {
        fluvial_codec::prefetch(&self.exact, place(key(space, target), self.exact.len()).0);
        for (&shift, table) in NEAR_SHIFTS.iter().zip(&self.near) {
            fluvial_codec::prefetch(table, place(key(space, target >> shift), table.len()).0);
        }
    }

    /// Notes that `target` has moved by `delta`.
    pub fn note(&mut self, space: u64, target: u64, delta: u64) {
        store(&mut self.exact, key(space, target), delta);
        for (&shift, table) in NEAR_SHIFTS.iter().zip(&mut self.near) {
            store(table, key(space, target >> shift), delta);
        }
    }
}

/// Slots of the exact map of programs that have so many bytes together.
fn slots(bytes: u64) -> usize {
    let [least, most] = EXACT_SLOTS;
    let slots = (bytes / BYTES_PER_SLOT).clamp(least as u64, most as u64) as usize;
    slots.next_power_of_two()
}

pub(super) fn key(space: u64, target: u64) -> u64 {
    // Targets use 48 bits at most in practice; a clash of two spaces costs bytes, not correctness.
    (target ^ space.rotate_right(16)).wrapping_add(1)
}

/// The slot of a key, and what tells it from others in that slot.
pub(super) fn place(key: u64, slots: usize) -> (usize, u32) {
    // Fibonacci hashing (Knuth, TAOCP 6.4): the top bits of the product are well mixed.
    let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((hash >> (64 - slots.trailing_zeros())) as usize, (hash >> 8) as u32 | 1)
}

fn look_up(table: &[Slot], key: u64) -> Option<u64> {
    let (index, check) = place(key, table.len());
    let slot = table[index];
    (slot.check == check).then_some(i64::from(slot.delta) as u64)
}

fn store(table: &mut [Slot], key: u64, delta: u64) {
    let (index, check) = place(key, table.len());
    if let Ok(delta) = i32::try_from(delta as i64) {
        table[index] = Slot { check, delta };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_known_until_something_else_takes_its_place() {
        let mut learned = Learned::new(u64::MAX);
        assert_eq!(learned.exact(1, 0x1234), None);
        assert_eq!(learned.near(1, 0x1234), None);
        learned.note(1, 0x1234, 0x50);
        learned.note(1, 0x9000, 16_u64.wrapping_neg());
        assert_eq!(learned.exact(1, 0x1234), Some(0x50));
        assert_eq!(learned.exact(1, 0x9000), Some(16_u64.wrapping_neg()));
        assert_eq!(learned.exact(2, 0x1234), None, "another space");
        assert_eq!(learned.exact(1, 0x1235), None);
        assert_eq!(learned.near(1, 0x1235), Some(0x50), "the next byte");
        assert_eq!(learned.near(1, 0x1300), Some(0x50), "256 bytes on");
        learned.note(1, 0x1234, 1 << 40);
        assert_eq!(learned.exact(1, 0x1234), Some(0x50), "too far to be learned");
    }

    #[test]
    fn what_was_written_is_read() {
        let mut learned = Learned::new(1 << 20);
        for target in 0..1000 {
            learned.note(1, target * 64, (target * 8).wrapping_neg());
        }
        let mut bytes = Vec::new();
        learned.write(&mut |part| bytes.extend_from_slice(part));
        assert_eq!(bytes.len(), ((1 << 14) + 3 * (1 << 11)) * SLOT_BYTES);
        let mut rest = &bytes[..];
        let read = Learned::read(1 << 20, &mut |part| std::io::Read::read_exact(&mut rest, part)).unwrap();
        assert!(rest.is_empty());
        for target in 0..1000 {
            let known = |learned: &Learned| (learned.exact(1, target * 64), learned.near(1, target * 64 + 3));
            assert_eq!(known(&read), known(&learned));
        }
        assert!(
            Learned::read(1 << 21, &mut |part| std::io::Read::read_exact(&mut &bytes[..5], part)).is_err()
        );
    }

    #[test]
    fn small_programs_take_small_tables() {
        for (bytes, slots) in [(0, 1 << 13), (1 << 20, 1 << 14), (3 << 20, 1 << 16), (1 << 30, 1 << 18)] {
            let learned = Learned::new(bytes);
            assert_eq!((learned.exact.len(), learned.near[0].len()), (slots, slots / 8), "{bytes}");
        }
    }

    #[test]
    fn most_targets_are_found_again_and_no_others() {
        let mut learned = Learned::new(u64::MAX);
        for target in 0..EXACT_SLOTS[1] as u64 / 4 {
            learned.note(7, target * 37, target);
        }
        let found = |target: u64| learned.exact(7, target * 37);
        let right = (0..EXACT_SLOTS[1] as u64 / 4).filter(|&target| found(target) == Some(target)).count();
        assert!(right > EXACT_SLOTS[1] / 5, "{right}");
        assert!((0..100_000).all(|target| learned.exact(8, target * 37).is_none()));
    }
}
