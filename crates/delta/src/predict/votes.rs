//! Several sources say where a target went; this weighs them.

use super::elf::Region;
use super::field::Form;

/// The bound of a counter of trust, either way.
const TRUST_MAX: i8 = 8;

/// Bytes of the counters of one context.
pub(super) const TRUST_BYTES: usize = 4;

/// Who predicted a reference, as an index into [`super::Tally::sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Exact,
    Covered,
    Near,
    Extrapolated,
    Around,
    Shared,
}

/// Which source has been right lately where two disagreed. Not negative: the first one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Trust {
    exact_or_cover: i8,
    exact_or_near: i8,
    cover_or_near: i8,
    shared_or_near: i8,
}

impl Trust {
    /// Believes covers before all else, as befits a first look.
    pub const COVERS_FIRST: Self =
        Self { exact_or_cover: -1, exact_or_near: 0, cover_or_near: 0, shared_or_near: 0 };

    pub fn to_bytes(self) -> [u8; TRUST_BYTES] {
        [self.exact_or_cover, self.exact_or_near, self.cover_or_near, self.shared_or_near]
            .map(i8::cast_unsigned)
    }

    /// Takes what [`Trust::to_bytes`] has made, and anything else for what is closest to it.
    pub fn from_bytes(bytes: [u8; TRUST_BYTES]) -> Self {
        let [exact_or_cover, exact_or_near, cover_or_near, shared_or_near] =
            bytes.map(|byte| byte.cast_signed().clamp(-TRUST_MAX, TRUST_MAX));
        Self { exact_or_cover, exact_or_near, cover_or_near, shared_or_near }
    }

    /// Learns from what a target turned out to be.
    pub fn learn(&mut self, votes: &Votes, found: u64) {
        let compare = |trust: &mut i8, first: Option<u64>, second: Option<u64>| {
            let (Some(first), Some(second)) = (first, second) else { return };
            match (first == found, second == found) {
                (true, false) => *trust = (*trust + 1).min(TRUST_MAX),
                (false, true) => *trust = (*trust - 1).max(-TRUST_MAX),
                _ => {}
            }
        };
        compare(&mut self.exact_or_cover, votes.exact, votes.covered);
        compare(&mut self.exact_or_near, votes.exact, votes.near);
        compare(&mut self.cover_or_near, votes.covered, votes.near);
        compare(&mut self.shared_or_near, votes.shared, votes.near);
    }
}

/// What the sources say about a target: new targets.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Votes {
    /// The cover that holds the reference, or one close to it.
    pub around: Option<u64>,
    /// The same target, seen before.
    pub exact: Option<u64>,
    /// A cover.
    pub covered: Option<u64>,
    /// The same target, seen in another program.
    pub shared: Option<u64>,
    /// A target close by, seen before.
    pub near: Option<u64>,
    /// The end of a cover close by.
    pub extrapolated: Option<u64>,
}

impl Votes {
    /// The vote that counts, and whose it is.
    pub fn choose(&self, trust: Trust) -> Option<(u64, Source)> {
        if let Some(new) = self.around {
            return Some((new, Source::Around));
        }
        let exact = self.exact.map(|new| (new, Source::Exact));
        let covered = self.covered.map(|new| (new, Source::Covered));
        let near = self.near.map(|new| (new, Source::Near));
        let better = |first: Option<(u64, Source)>, second, trust: i8| {
            if trust >= 0 { first.or(second) } else { second.or(first) }
        };
        let best = better(exact, covered, trust.exact_or_cover);
        let shared = self.shared.map(|new| (new, Source::Shared));
        let best = best.or(shared);
        let against_near = match best {
            Some((_, Source::Exact)) => trust.exact_or_near,
            Some((_, Source::Shared)) => trust.shared_or_near,
            _ => trust.cover_or_near,
        };
        better(best, near, against_near).or(self.extrapolated.map(|new| (new, Source::Extrapolated)))
    }
}

/// References that the same source tends to predict best: one form in one section.
pub(super) fn context(region: &Region, form: Form) -> u8 {
    let form = match form {
        Form::Relative(_) => 1,
        Form::Back => 2,
        Form::Absolute64 => 3,
        Form::Absolute32 => 4,
        Form::Based => 5,
        Form::InFile => 6,
        Form::InFile64 => 7,
        Form::Number => 8,
        Form::Branch26 => 9,
        Form::Branch19 | Form::Branch14 | Form::Byte21 => 10,
        Form::Page(_) => 11,
        Form::PageLow(..) => 12,
        Form::Below => 13,
        Form::Length64 => 14,
        Form::Loaded64 => 15,
    };
    // Fibonacci hashing, as for learned targets.
    ((region.offset ^ form << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}
