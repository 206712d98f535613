//! Lists of ranges, in order and apart from each other.

use std::ops::Range;

/// Makes each range so much longer at both ends, within `0..end`, and one of those that touch. The ranges are in order
/// and do not overlap.
pub(crate) fn widened(ranges: impl IntoIterator<Item = Range<u64>>, by: u64, end: u64) -> Vec<Range<u64>> {
    let mut wide: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        let range = range.start.saturating_sub(by)..range.end.saturating_add(by).min(end);
        match wide.last_mut() {
            Some(before) if range.start <= before.end => before.end = before.end.max(range.end),
            _ if range.is_empty() => {}
            _ => wide.push(range),
        }
    }
    wide
}

/// What `ranges` have and `taken` lacks.
pub(crate) fn without(ranges: &[Range<u64>], taken: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut left = Vec::new();
    let mut taken = taken.iter().peekable();
    for range in ranges {
        let mut at = range.start;
        while let Some(one) = taken.peek() {
            if one.start >= range.end {
                break;
            }
            if one.start > at {
                left.push(at..one.start);
            }
            at = at.max(one.end);
            if one.end > range.end {
                break;
            }
            taken.next();
        }
        if at < range.end {
            left.push(at..range.end);
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_ranges() -> impl Strategy<Value = Vec<Range<u64>>> {
        proptest::collection::vec((1_u64..9, 1_u64..9), 0..12).prop_map(|steps| {
            let mut at = 0;
            let range = |(gap, len)| {
                let start = at + gap;
                at = start + len;
                start..at
            };
            steps.into_iter().map(range).collect()
        })
    }

    fn holds(ranges: &[Range<u64>], at: u64) -> bool {
        ranges.iter().any(|range| range.contains(&at))
    }

    proptest! {
        #[test]
        fn each_byte_is_where_it_should_be(ranges in any_ranges(), taken in any_ranges(), by in 0_u64..5) {
            let left = without(&ranges, &taken);
            let wide = widened(ranges.clone(), by, 100);
            for list in [&left, &wide] {
                prop_assert!(list.iter().all(|range| !range.is_empty()));
                prop_assert!(list.is_sorted_by(|one, next| one.end <= next.start));
            }
            for at in 0..100 {
                prop_assert_eq!(holds(&left, at), holds(&ranges, at) && !holds(&taken, at));
                let is_near = (at.saturating_sub(by)..=at + by).any(|near| holds(&ranges, near));
                prop_assert_eq!(holds(&wide, at), is_near);
            }
        }
    }
}
