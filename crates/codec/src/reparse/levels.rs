//! libzstd's parameters by level and size (`ZSTD_defaultCParameters`, `ZSTD_adjustCParams`).
//!
//! They are part of what an encoder of a given version does, as much as its algorithms: of 1.5.1 and
//! later, and, where they differ, of 1.4 and 1.5.0.

use super::predict::Search;
use super::traits::Traits;

/// Window, chain, hash and search logarithms, shortest match, target length, strategy.
type Row = (u8, u8, u8, u8, u8, u16, u8);

/// The highest level.
pub const LEVEL_MAX: u8 = 22;

/// By size class (see [`class`]), levels 1 to 22.
#[rustfmt::skip]
const LEVELS: [[Row; LEVEL_MAX as usize]; 4] = [
    [
        (19, 13, 14, 1, 7, 0, 1), (20, 15, 16, 1, 6, 0, 1), (21, 16, 17, 1, 5, 0, 2),
        (21, 18, 18, 1, 5, 0, 2), (21, 18, 19, 3, 5, 2, 3), (21, 18, 19, 3, 5, 4, 4),
        (21, 19, 20, 4, 5, 8, 4), (21, 19, 20, 4, 5, 16, 5), (22, 20, 21, 4, 5, 16, 5),
        (22, 21, 22, 5, 5, 16, 5), (22, 21, 22, 6, 5, 16, 5), (22, 22, 23, 6, 5, 32, 5),
        (22, 22, 22, 4, 5, 32, 6), (22, 22, 23, 5, 5, 32, 6), (22, 23, 23, 6, 5, 32, 6),
        (22, 22, 22, 5, 5, 48, 7), (23, 23, 22, 5, 4, 64, 7), (23, 23, 22, 6, 3, 64, 8),
        (23, 24, 22, 7, 3, 256, 9), (25, 25, 23, 7, 3, 256, 9), (26, 26, 24, 7, 3, 512, 9),
        (27, 27, 25, 9, 3, 999, 9),
    ],
    [
        (18, 13, 14, 1, 6, 0, 1), (18, 14, 14, 1, 5, 0, 2), (18, 16, 16, 1, 4, 0, 2),
        (18, 16, 17, 3, 5, 2, 3), (18, 17, 18, 5, 5, 2, 3), (18, 18, 19, 3, 5, 4, 4),
        (18, 18, 19, 4, 4, 4, 4), (18, 18, 19, 4, 4, 8, 5), (18, 18, 19, 5, 4, 8, 5),
        (18, 18, 19, 6, 4, 8, 5), (18, 18, 19, 5, 4, 12, 6), (18, 19, 19, 7, 4, 12, 6),
        (18, 18, 19, 4, 4, 16, 7), (18, 18, 19, 4, 3, 32, 7), (18, 18, 19, 6, 3, 128, 7),
        (18, 19, 19, 6, 3, 128, 8), (18, 19, 19, 8, 3, 256, 8), (18, 19, 19, 6, 3, 128, 9),
        (18, 19, 19, 8, 3, 256, 9), (18, 19, 19, 10, 3, 512, 9), (18, 19, 19, 12, 3, 512, 9),
        (18, 19, 19, 13, 3, 999, 9),
    ],
    [
        (17, 12, 13, 1, 6, 0, 1), (17, 13, 15, 1, 5, 0, 1), (17, 15, 16, 2, 5, 0, 2),
        (17, 17, 17, 2, 4, 0, 2), (17, 16, 17, 3, 4, 2, 3), (17, 16, 17, 3, 4, 4, 4),
        (17, 16, 17, 3, 4, 8, 5), (17, 16, 17, 4, 4, 8, 5), (17, 16, 17, 5, 4, 8, 5),
        (17, 16, 17, 6, 4, 8, 5), (17, 17, 17, 5, 4, 8, 6), (17, 18, 17, 7, 4, 12, 6),
        (17, 18, 17, 3, 4, 12, 7), (17, 18, 17, 4, 3, 32, 7), (17, 18, 17, 6, 3, 256, 7),
        (17, 18, 17, 6, 3, 128, 8), (17, 18, 17, 8, 3, 256, 8), (17, 18, 17, 10, 3, 512, 8),
        (17, 18, 17, 5, 3, 256, 9), (17, 18, 17, 7, 3, 512, 9), (17, 18, 17, 9, 3, 512, 9),
        (17, 18, 17, 11, 3, 999, 9),
    ],
    [
        (14, 14, 15, 1, 5, 0, 1), (14, 14, 15, 1, 4, 0, 1), (14, 14, 15, 2, 4, 0, 2),
        (14, 14, 14, 4, 4, 2, 3), (14, 14, 14, 3, 4, 4, 4), (14, 14, 14, 4, 4, 8, 5),
        (14, 14, 14, 6, 4, 8, 5), (14, 14, 14, 8, 4, 8, 5), (14, 15, 14, 5, 4, 8, 6),
        (14, 15, 14, 9, 4, 8, 6), (14, 15, 14, 3, 4, 12, 7), (14, 15, 14, 4, 3, 24, 7),
        (14, 15, 14, 5, 3, 32, 8), (14, 15, 15, 6, 3, 64, 8), (14, 15, 15, 7, 3, 256, 8),
        (14, 15, 15, 5, 3, 48, 9), (14, 15, 15, 6, 3, 128, 9), (14, 15, 15, 7, 3, 256, 9),
        (14, 15, 15, 8, 3, 256, 9), (14, 15, 15, 8, 3, 512, 9), (14, 15, 15, 9, 3, 512, 9),
        (14, 15, 15, 10, 3, 999, 9),
    ],
];

/// Rows of 1.4 and 1.5.0 that differ: size class, level, row.
#[rustfmt::skip]
const OLD_LEVELS: [(usize, u8, Row); 16] = [
    (0, 5, (21, 18, 19, 2, 5, 2, 3)), (0, 6, (21, 19, 19, 3, 5, 4, 3)), (0, 7, (21, 19, 19, 3, 5, 8, 4)),
    (0, 8, (21, 19, 19, 3, 5, 16, 5)), (0, 9, (21, 19, 20, 4, 5, 16, 5)), (0, 10, (22, 20, 21, 4, 5, 16, 5)),
    (0, 11, (22, 21, 22, 4, 5, 16, 5)), (0, 12, (22, 21, 22, 5, 5, 16, 5)), (0, 13, (22, 21, 22, 5, 5, 32, 6)),
    (1, 4, (18, 16, 17, 2, 5, 2, 3)), (1, 5, (18, 18, 18, 3, 5, 2, 3)), (2, 6, (17, 17, 17, 3, 4, 4, 4)),
    (2, 7, (17, 17, 17, 3, 4, 8, 5)), (2, 8, (17, 17, 17, 4, 4, 8, 5)), (2, 9, (17, 17, 17, 5, 4, 8, 5)),
    (2, 10, (17, 17, 17, 6, 4, 8, 5)),
];

/// The size class of content, the length of which may be unknown.
fn class(content: Option<u64>) -> usize {
    match content {
        Some(0..=0x4000) => 3,
        Some(0x4001..=0x2_0000) => 2,
        Some(0x2_0001..=0x4_0000) => 1,
        _ => 0,
    }
}

/// The parameters of a level for content of a length that the encoder knew, or not.
pub fn search(level: u8, content: Option<u64>, old: bool) -> Search {
    let class = class(content);
    let row = OLD_LEVELS
        .iter()
        .find(|&&(row_class, row_level, _)| old && row_class == class && row_level == level)
        .map_or(LEVELS[class][usize::from(level.clamp(1, LEVEL_MAX)) - 1], |&(_, _, row)| row);
    let (mut window_log, mut chain_log, mut hash_log, search_log, min_match, target_length, strategy) = row;
    if let Some(content) = content {
        let needed = (64 - content.saturating_sub(1).leading_zeros()).max(6) as u8;
        window_log = window_log.min(needed);
        hash_log = hash_log.min(window_log + 1);
        let cycle = chain_log - u8::from(strategy >= 6);
        chain_log -= cycle.saturating_sub(window_log);
    }
    Search {
        strategy,
        window_log: window_log.max(10),
        chain_log,
        hash_log,
        search_log,
        min_match,
        target_length,
        traits: Traits::default(),
    }
}
