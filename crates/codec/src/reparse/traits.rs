//! In what the versions of libzstd, and the ways to call it, differ.

use std::fmt;

/// A set of differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Traits(u16);

impl Traits {
    /// Nothing special.
    pub const NONE: Self = Self(0);
    /// The greedy and lazy strategies look for matches by rows: from 1.5.0 on, for windows of more
    /// than 16 KiB.
    pub const ROWS: Self = Self(1);
    /// Rows lack a slot, and searches in noise enter fewer positions: from 1.5.5 on.
    pub const SINCE_1_5_5: Self = Self(1 << 1);
    /// dfast takes a long match one byte on only if it is longer: from 1.5.7 on.
    pub const LONGER_ONLY: Self = Self(1 << 2);
    /// fast and dfast look at one position, or pair of positions, at a time, and rows take every
    /// position of long matches: before 1.5.1.
    pub const CLASSIC: Self = Self(1 << 3);
    /// The content comes through a ring buffer of window and block: streaming with one thread.
    pub const RING: Self = Self(1 << 4);
    /// Symbols of equal counts keep their order when a Huffman tree is built: before 1.5.1.
    pub const STABLE_SORT: Self = Self(1 << 5);
    /// Short literals are coded the earlier the higher the strategy, and the depth of trees is
    /// searched for: from 1.5.3 on.
    pub const FINE_LITERALS: Self = Self(1 << 6);

    /// The optimal parser keeps stretches rather than sequences: from 1.5.6 on.
    pub const STRETCHES: Self = Self(1 << 7);

    /// Names, by bit.
    const NAMES: [&str; 8] = [
        "rows",
        "since 1.5.5",
        "longer only",
        "classic",
        "ring",
        "stable sort",
        "fine literals",
        "stretches",
    ];

    /// Whether all of `other` are in the set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The set with or without `other`.
    #[must_use]
    pub fn with(self, other: Self, on: bool) -> Self {
        if on { Self(self.0 | other.0) } else { Self(self.0 & !other.0) }
    }

    /// As a number.
    pub fn bits(self) -> u16 {
        self.0
    }

    /// From a number. `None` when it has bits that nobody knows.
    pub fn from_bits(bits: u16) -> Option<Self> {
        (bits >> Self::NAMES.len() == 0).then_some(Self(bits))
    }
}

impl fmt::Display for Traits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names =
            Self::NAMES.iter().enumerate().filter(|(bit, _)| self.0 >> bit & 1 == 1).map(|(_, name)| name);
        if let Some(name) = names.next() {
            f.write_str(name)?;
        }
        names.try_for_each(|name| write!(f, ", {name}"))
    }
}
