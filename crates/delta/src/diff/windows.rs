//! Large programs are searched window by window: code that stays seldom moves far.

use std::ops::Range;

use super::lanes::{self, WINDOWS_AT_A_TIME};
use crate::predict::Cover;

/// More windows than this are not searched: what is left of each would be too small to be found.
const WINDOWS_MAX: usize = 64;
/// A window's old side is at most so many times as long as its new one.
const OLD_PER_NEW: usize = 2;

/// Parts of both sides that are compared with one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) old: Range<usize>,
    pub(super) new: Range<usize>,
}

/// How many windows there have to be for the search to take no more than `memory_bytes_max`; `None` where
/// no number is enough.
pub(super) fn count(old_len: u64, new_len: u64, memory_bytes_max: u64) -> Option<usize> {
    (1..=WINDOWS_MAX).find(|&count| memory_bytes(old_len, new_len, count) <= memory_bytes_max)
}

/// How much memory so many windows take, in bytes.
pub(super) fn memory_bytes(old_len: u64, new_len: u64, count: usize) -> u64 {
    let new = new_len.div_ceil(count as u64);
    let old = if count == 1 { old_len } else { old_len.min(OLD_PER_NEW as u64 * new) };
    lanes::memory_bytes(old, new) * count.min(WINDOWS_AT_A_TIME) as u64
}

/// Cuts the new side into `count` windows of equal length, and takes for each the old bytes around those
/// that most of its `covers` come from. `covers` are in order.
pub(super) fn windows(old_len: usize, new_len: usize, count: usize, covers: &[Cover]) -> Vec<Window> {
    if count <= 1 {
        return vec![Window { old: 0..old_len, new: 0..new_len }];
    }
    let len = new_len.div_ceil(count).max(1);
    let old_len_max = old_len.min(OLD_PER_NEW * len);
    let starts = (0..new_len).step_by(len);
    starts
        .map(|start| {
            let new = start..(start + len).min(new_len);
            // Without covers, as far from the start as in the new side.
            let guess = (start as u128 * old_len as u128 / new_len as u128) as usize + new.len() / 2;
            let middle = middle(covers, &new).unwrap_or(guess);
            let old_start = middle.saturating_sub(old_len_max / 2).min(old_len - old_len_max);
            Window { old: old_start..old_start + old_len_max, new }
        })
        .collect()
}

/// The old offset before which half of the covered bytes of a range come from.
fn middle(covers: &[Cover], range: &Range<usize>) -> Option<usize> {
    let from = covers.partition_point(|cover| cover.new + cover.len <= range.start as u64);
    let to = covers.partition_point(|cover| cover.new < range.end as u64);
    let clipped = |cover: &Cover| {
        let skip = (range.start as u64).saturating_sub(cover.new);
        let end = (range.end as u64 - cover.new).min(cover.len);
        Cover { old: cover.old + skip, new: cover.new + skip, len: end - skip }
    };
    let mut inside: Vec<Cover> = covers.get(from..to)?.iter().map(clipped).collect();
    inside.sort_unstable_by_key(|cover| cover.old);
    let mut left = inside.iter().map(|cover| cover.len).sum::<u64>() / 2;
    for cover in inside {
        if cover.len > left {
            return Some((cover.old + left) as usize);
        }
        left -= cover.len;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_lie_around_what_most_covers_come_from() {
        let covers = [
            Cover { old: 500, new: 0, len: 400 },
            Cover { old: 10, new: 400, len: 50 },
            Cover { old: 1000, new: 500, len: 300 },
        ];
        let windows = windows(1500, 1000, 4, &covers);
        let window = |old: Range<usize>, new: Range<usize>| Window { old, new };
        assert_eq!(
            windows,
            [
                window(375..875, 0..250),
                window(550..1050, 250..500),
                window(875..1375, 500..750),
                window(1000..1500, 750..1000),
            ]
        );
        assert_eq!(super::windows(7, 5, 1, &[]), [window(0..7, 0..5)]);
    }

    #[test]
    fn as_few_windows_as_memory_allows() {
        let all = memory_bytes(1 << 20, 1 << 20, 1);
        assert_eq!(count(1 << 20, 1 << 20, all), Some(1));
        let count = count(1 << 20, 1 << 20, all / 3).expect("windows help");
        assert!(count > 3 && memory_bytes(1 << 20, 1 << 20, count) <= all / 3);
        assert_eq!(super::count(1 << 40, 1 << 40, all), None);
    }
}
