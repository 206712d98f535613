//! Codes of literal lengths, match lengths and offsets (RFC 8878, section 3.1.1.3.2.1.1).

use super::fse::Distribution;

/// Smallest values of the literal length codes from 16 on, and their extra bits.
const LITERAL_LENGTHS: [(u32, u8); 20] = [
    (16, 1),
    (18, 1),
    (20, 1),
    (22, 1),
    (24, 2),
    (28, 2),
    (32, 3),
    (40, 3),
    (48, 4),
    (64, 6),
    (128, 7),
    (256, 8),
    (512, 9),
    (1024, 10),
    (2048, 11),
    (4096, 12),
    (8192, 13),
    (16384, 14),
    (32768, 15),
    (65536, 16),
];
/// Smallest values of the match length codes from 32 on, and their extra bits.
const MATCH_LENGTHS: [(u32, u8); 21] = [
    (35, 1),
    (37, 1),
    (39, 1),
    (41, 1),
    (43, 2),
    (47, 2),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 5),
    (131, 7),
    (259, 8),
    (515, 9),
    (1027, 10),
    (2051, 11),
    (4099, 12),
    (8195, 13),
    (16387, 14),
    (32771, 15),
    (65539, 16),
];

/// The three alphabets of a sequence, in the order in which a block describes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alphabet {
    /// Literal lengths.
    Literals,
    /// Offsets.
    Offsets,
    /// Match lengths.
    Matches,
}

impl Alphabet {
    /// All of them, in the order of the descriptions.
    pub const ALL: [Self; 3] = [Self::Literals, Self::Offsets, Self::Matches];

    /// Number of symbols that a table may have.
    pub fn symbols(self) -> usize {
        match self {
            Self::Literals => 36,
            Self::Offsets => 32,
            Self::Matches => 53,
        }
    }

    /// Binary logarithm of the largest table.
    pub fn log_max(self) -> u32 {
        if self == Self::Offsets { 8 } else { 9 }
    }

    /// The predefined distribution (section 3.1.1.3.2.2).
    pub fn predefined(self) -> Distribution {
        let (log, counts): (u32, &[i16]) = match self {
            Self::Literals => (
                6,
                &[
                    4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1,
                    1, 1, -1, -1, -1, -1,
                ],
            ),
            Self::Offsets => (
                5,
                &[1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1],
            ),
            Self::Matches => (
                6,
                &[
                    1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
                ],
            ),
        };
        Distribution { log, counts: counts.to_vec() }
    }

    /// Code and extra bits (value, count) of a literal length, a match length, or an offset value
    /// (1 to 3 for repeats, else distance + 3). Values are in the format's range.
    pub fn code(self, value: u32) -> (u8, u32, u32) {
        match self {
            Self::Literals if value < 16 => (value as u8, 0, 0),
            Self::Literals => banded(&LITERAL_LENGTHS, 16, value),
            Self::Matches if value < 35 => (value.saturating_sub(3) as u8, 0, 0),
            Self::Matches => banded(&MATCH_LENGTHS, 32, value),
            Self::Offsets => {
                let log = value.max(1).ilog2();
                (log as u8, value - (1 << log).min(value), log)
            }
        }
    }

    /// Smallest value of a code and its number of extra bits. `None` for a code that does not exist.
    pub fn base(self, code: u8) -> Option<(u32, u32)> {
        let index = usize::from(code);
        let band = |bands: &[(u32, u8)], first: usize| {
            bands.get(index - first).map(|&(base, bits)| (base, u32::from(bits)))
        };
        match self {
            Self::Literals if code < 16 => Some((u32::from(code), 0)),
            Self::Literals => band(&LITERAL_LENGTHS, 16),
            Self::Matches if code < 32 => Some((u32::from(code) + 3, 0)),
            Self::Matches => band(&MATCH_LENGTHS, 32),
            Self::Offsets => (code < 32).then(|| (1 << code, u32::from(code))),
        }
    }
}

fn banded(bands: &[(u32, u8)], first: u8, value: u32) -> (u8, u32, u32) {
    let index = bands.partition_point(|&(base, _)| base <= value) - 1;
    let (base, bits) = bands[index];
    (first + index as u8, value - base, u32::from(bits))
}

#[cfg(test)]
mod tests {
    use super::Alphabet;

    #[test]
    fn every_value_has_the_code_it_is_read_from() {
        for alphabet in Alphabet::ALL {
            let least = if alphabet == Alphabet::Literals { 0 } else { 3 };
            for value in (least..70_000).chain([131_071, 131_074]) {
                if alphabet == Alphabet::Literals && value > 131_071 {
                    continue;
                }
                let (code, extra, bits) = alphabet.code(value);
                let (base, base_bits) = alphabet.base(code).unwrap();
                assert_eq!((base + extra, base_bits), (value, bits), "{alphabet:?}");
                assert!(bits == 32 || u64::from(extra) < 1 << bits);
            }
        }
        for alphabet in Alphabet::ALL {
            let distribution = alphabet.predefined();
            assert_eq!(
                distribution.counts.iter().map(|c| c.unsigned_abs()).sum::<u16>(),
                1 << distribution.log
            );
        }
    }
}
