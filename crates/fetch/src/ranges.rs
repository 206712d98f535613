//! Sets of byte ranges.

use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges that do not touch, by where they start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds a range.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        while let Some((&before, &before_end)) = self.0.range(..=end).next_back() {
            if before_end < start {
                break;
            }
            self.0.remove(&before);
            (start, end) = (start.min(before), end.max(before_end));
        }
        self.0.insert(start, end);
    }

    /// Removes a range.
    pub fn remove(&mut self, range: Range<u64>) {
        let first = self.0.range(..=range.start).next_back().map_or(range.start, |(&start, _)| start);
        let touched: Vec<(u64, u64)> =
            self.0.range(first..range.end).map(|(&start, &end)| (start, end)).collect();
        for (start, end) in touched {
            if end <= range.start {
                continue;
            }
            self.0.remove(&start);
            self.insert(start..range.start.max(start));
            self.insert(range.end.min(end)..end);
        }
    }

    /// The parts of a range that are not there.
    pub fn missing(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut at = range.start;
        let mut parts = Vec::new();
        let first = self.0.range(..=at).next_back().map_or(at, |(&start, _)| start);
        for (&start, &end) in self.0.range(first..range.end) {
            if start > at {
                parts.push(at..start);
            }
            at = at.max(end);
        }
        if at < range.end {
            parts.push(at..range.end);
        }
        parts
    }
}

/// Joins ranges between which `gap` bytes lie at most, and cuts what is longer than `longest`.
pub fn join(mut ranges: Vec<Range<u64>>, gap: u64, longest: u64) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(gap) => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    let cut = |range: Range<u64>| {
        let starts = range.clone().step_by(longest as usize);
        starts.map(move |start| start..range.end.min(start.saturating_add(longest)))
    };
    joined.into_iter().flat_map(cut).collect()
}

/// Puts ranges together, so many and of so many bytes at most.
pub fn groups(ranges: Vec<Range<u64>>, count_max: usize, bytes_max: u64) -> Vec<Vec<Range<u64>>> {
    let mut groups: Vec<Vec<Range<u64>>> = Vec::new();
    let mut bytes = 0;
    for range in ranges {
        let len = range.end - range.start;
        match groups.last_mut() {
            Some(group) if group.len() < count_max && bytes + len <= bytes_max => {
                group.push(range);
                bytes += len;
            }
            _ => {
                groups.push(vec![range]);
                bytes = len;
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_is_what_was_put_in(
            list in proptest::collection::vec((0_u64..200, 0_u64..30), 0..30),
            gone in (0_u64..200, 0_u64..50).prop_map(|(start, len)| start..start + len),
        ) {
            let mut set = Ranges::default();
            let mut flags = [false; 256];
            for (start, len) in list {
                set.insert(start..start + len);
                flags[start as usize..(start + len) as usize].fill(true);
            }
            set.remove(gone.clone());
            flags[gone.start as usize..gone.end as usize].fill(false);
            let mut missing = [false; 256];
            for part in set.missing(0..256) {
                prop_assert!(!part.is_empty());
                missing[part.start as usize..part.end as usize].fill(true);
            }
            for at in 0..256 {
                prop_assert_eq!(flags[at], !missing[at]);
            }
            let inside: u64 = set.missing(50..120).iter().map(|part| part.end - part.start).sum();
            prop_assert_eq!(inside as usize, flags[50..120].iter().filter(|flag| !**flag).count());
        }
    }

    #[test]
    fn near_ranges_are_one_and_a_request_has_several() {
        let ranges = join(vec![500..600, 0..10, 12..20, 700..1000], 4, 200);
        assert_eq!(ranges, [0..20, 500..600, 700..900, 900..1000]);
        assert_eq!(groups(ranges.clone(), 3, 310), [vec![0..20, 500..600], vec![700..900, 900..1000]]);
        assert_eq!(groups(ranges, 1, 1000).len(), 4);
    }
}
