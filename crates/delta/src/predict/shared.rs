//! What the references of one program have taught that holds for others: modules refer to the types and names of
//! their kernel by number, and to versions of its symbols by checksum, all of them the same ones.

use super::field::{SYMBOL_VERSIONS, TYPE_IDS, TYPE_NAMES};
use super::learned::{key, place};

/// Slots of the map of targets, and of each map of neighbourhoods; 12 bytes each.
const SLOTS: [usize; 2] = [1 << 17, 1 << 14];
/// Sizes of neighbourhoods, as shifts: the closest one that knows anything answers. What modules add to their
/// kernel's types and names stands behind these, and moves as they grow.
const NEAR_SHIFTS: [u32; 4] = [4, 7, 11, 15];
/// Lines of one lesson; 12 bytes each.
const LINES_MAX: usize = 1 << 14;
/// What all programs share.
const SPACES: [u64; 3] = [TYPE_IDS, TYPE_NAMES, SYMBOL_VERSIONS];
/// Lessons that agree count so often at most: those that contradict are heard then.
const VOTES_MAX: u8 = 8;

#[derive(Clone, Copy, Default)]
struct Slot {
    /// Bits of the key's hash that did not choose the slot; zero means empty.
    check: u32,
    delta: i32,
    /// Lessons that agree beyond those that contradict.
    votes: u8,
}

/// What programs have taught, in direct-mapped tables of 2.3 MiB, made with the first lesson that has lines. It says
/// the same whoever asks until it is taught, so that several programs can be told at a time and what is told does not hang on which comes first.
#[derive(Default)]
pub struct Shared {
    exact: Box<[Slot]>,
    near: [Box<[Slot]>; NEAR_SHIFTS.len()],
}

/// What one program has taught. Memory: 192 KiB at most.
#[derive(Debug, Default)]
pub struct Lesson {
    lines: Vec<Line>,
}

#[derive(Debug, Clone, Copy)]
struct Line {
    /// Which of [`SPACES`].
    space: u8,
    target: u32,
    delta: i32,
}

impl Shared {
    /// Whether what is learned in a space holds for other programs.
    pub(super) fn holds(space: u64) -> bool {
        SPACES.contains(&space)
    }

    /// Learns from one program more. What the last ones have taught counts most where they contradict.
    pub fn learn(&mut self, lesson: &Lesson) {
        if self.exact.is_empty() && !lesson.lines.is_empty() {
            let table = |slots| vec![Slot::default(); slots].into_boxed_slice();
            *self = Self { exact: table(SLOTS[0]), near: std::array::from_fn(|_| table(SLOTS[1])) };
        }
        for line in &lesson.lines {
            let (space, target) = (SPACES[usize::from(line.space)], u64::from(line.target));
            vote(&mut self.exact, key(space, target), line.delta);
            if space != SYMBOL_VERSIONS {
                for (shift, table) in NEAR_SHIFTS.iter().zip(&mut self.near) {
                    vote(table, key(space, target >> shift), line.delta);
                }
            }
        }
    }

    /// The distance that this very target has moved by.
    pub(super) fn exact(&self, space: u64, target: u64) -> Option<u64> {
        look_up(&self.exact, key(space, target))
    }

    /// The distance that a target close by has moved by.
    pub(super) fn near(&self, space: u64, target: u64) -> Option<u64> {
        let look_up = |(shift, table): (u32, &[Slot])| look_up(table, key(space, target >> shift));
        let tables = self.near.iter().map(|table| &**table);
        NEAR_SHIFTS.into_iter().zip(tables).find_map(look_up)
    }
}

impl Lesson {
    /// Puts another lesson behind this one.
    pub fn append(&mut self, other: Self) {
        let room = LINES_MAX - self.lines.len();
        self.lines.extend(other.lines.into_iter().take(room));
    }

    /// Notes that `target` has moved by `delta`.
    pub(super) fn note(&mut self, space: u64, target: u64, delta: u64) {
        if self.lines.len() < LINES_MAX
            && let Some(space) = SPACES.iter().position(|&one| one == space)
            && let Ok(target) = u32::try_from(target)
            && let Ok(delta) = i32::try_from(delta as i64)
        {
            self.lines.push(Line { space: space as u8, target, delta });
        }
    }
}

fn look_up(table: &[Slot], key: u64) -> Option<u64> {
    if table.is_empty() {
        return None;
    }
    let (index, check) = place(key, table.len());
    let slot = table[index];
    (slot.check == check && slot.votes > 0).then_some(i64::from(slot.delta) as u64)
}

fn vote(table: &mut [Slot], key: u64, delta: i32) {
    let (index, check) = place(key, table.len());
    let slot = &mut table[index];
    if (slot.check, slot.delta) == (check, delta) {
        slot.votes = (slot.votes + 1).min(VOTES_MAX);
    } else if slot.votes <= 1 {
        *slot = Slot { check, delta, votes: 1 };
    } else {
        slot.votes -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lesson(lines: &[(u64, u64, u64)]) -> Lesson {
        let mut lesson = Lesson::default();
        for &(space, target, delta) in lines {
            lesson.note(space, target, delta);
        }
        lesson
    }

    #[test]
    fn most_lessons_win_against_one_that_contradicts() {
        let mut shared = Shared::default();
        assert_eq!(shared.exact(TYPE_IDS, 400), None);
        let right = lesson(&[(TYPE_IDS, 400, 7)]);
        let wrong = lesson(&[(TYPE_IDS, 400, 3_u64.wrapping_neg())]);
        for _ in 0..100 {
            shared.learn(&right);
        }
        shared.learn(&wrong);
        assert_eq!(shared.exact(TYPE_IDS, 400), Some(7));
        for _ in 0..VOTES_MAX {
            shared.learn(&wrong);
        }
        assert_eq!(shared.exact(TYPE_IDS, 400), Some(3_u64.wrapping_neg()), "what holds lately");
    }

    #[test]
    fn neighbours_are_told_but_those_of_versions() {
        let mut shared = Shared::default();
        shared.learn(&lesson(&[(TYPE_NAMES, 0x1000, 0x50), (SYMBOL_VERSIONS, 0x8000_1000, 9)]));
        assert_eq!(shared.exact(TYPE_NAMES, 0x1001), None);
        assert_eq!(shared.near(TYPE_NAMES, 0x1001), Some(0x50));
        assert_eq!(shared.near(TYPE_IDS, 0x1001), None, "another space");
        assert_eq!(shared.exact(SYMBOL_VERSIONS, 0x8000_1000), Some(9));
        assert_eq!(shared.near(SYMBOL_VERSIONS, 0x8000_1001), None);
    }

    #[test]
    fn lessons_are_bounded() {
        let mut lesson = Lesson::default();
        for target in 0..LINES_MAX as u64 * 2 {
            lesson.note(TYPE_IDS, target, 1);
        }
        assert_eq!(lesson.lines.len(), LINES_MAX);
        assert!(LINES_MAX * size_of::<Line>() <= 192 << 10);
    }
}
