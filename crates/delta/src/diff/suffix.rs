//! The suffix array of old content: finds the longest match of any pattern.
//!
//! Built by libsais (I. Grebnov; after G. Nong, S. Zhang, W. H. Chan, *Linear Suffix Array
//! Construction by Almost Pure Induced-Sorting*, DCC 2009). Memory: five bytes for each byte of text,
//! and up to 64 MiB for the table of prefixes.

use libsais::SuffixArrayConstruction;

use super::approximate::Finder;
use super::exact::common_prefix;

/// Longer matches are as good as this long: it bounds the time of a comparison.
const MATCH_BYTES_MAX: usize = 4096;
/// Of matches shorter than this it does not matter where they stand: nobody takes them.
const USEFUL_BYTES_MIN: usize = 8;
/// From this length of text on, in bytes, prefixes of three bytes have a table, below it of two.
const LARGE_TEXT_BYTES: usize = 8 << 20;

/// A text and the order of its suffixes.
pub(super) struct SuffixArray {
    text: Vec<u8>,
    order: Vec<i32>,
    /// For each prefix of `prefix_bytes` bytes, the first of its suffixes.
    buckets: Vec<u32>,
    prefix_bytes: usize,
}

/// A match in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Match {
    pub(super) position: usize,
    pub(super) len: usize,
}

impl SuffixArray {
    /// Sorts the suffixes of `text`, of less than 2 GiB.
    pub(super) fn new(text: Vec<u8>) -> Option<Self> {
        if text.is_empty() {
            return Some(Self { text, order: Vec::new(), buckets: vec![0; (1 << 16) + 1], prefix_bytes: 2 });
        }
        let order: Vec<i32> = SuffixArrayConstruction::for_text(&text)
            .in_owned_buffer32()
            .single_threaded()
            .run()
            .ok()?
            .into_vec();
        let prefix_bytes = if text.len() >= LARGE_TEXT_BYTES { 3 } else { 2 };
        let buckets = bucket_starts(&text, &order, prefix_bytes);
        Some(Self { text, order, buckets, prefix_bytes })
    }

    /// Of the suffixes around `index` that match as long, the one that stands nearest.
    fn nearest(&self, index: usize, len: usize, near: usize, start: usize, end: usize) -> Match {
        const NEIGHBOURS_MAX: usize = 16;
        if len < USEFUL_BYTES_MIN {
            return Match { position: self.order[index] as usize, len };
        }
        let at = |index: usize| self.order[index] as usize;
        let matched = &self.text[at(index)..at(index) + len];
        let same = |index: &usize| self.text[at(*index)..].starts_with(matched);
        let before = (start..index).rev().take(NEIGHBOURS_MAX).take_while(same);
        let after = (index + 1..end).take(NEIGHBOURS_MAX).take_while(same);
        let position =
            before.chain(after).map(at).chain([at(index)]).min_by_key(|position| position.abs_diff(near));
        Match { position: position.unwrap_or(at(index)), len }
    }
}

impl Finder for SuffixArray {
    fn text(&self) -> &[u8] {
        &self.text
    }

    /// Among equally long neighbours it is the one nearest to `near`, where the distance costs least.
    fn longest(&self, pattern: &[u8], near: usize) -> Match {
        let pattern = &pattern[..pattern.len().min(MATCH_BYTES_MAX)];
        if pattern.len() < self.prefix_bytes {
            return Match::default();
        }
        let prefix = prefix_of(pattern, self.prefix_bytes);
        let (mut low, mut high) = (self.buckets[prefix] as usize, self.buckets[prefix + 1] as usize);
        if low == high {
            return Match::default();
        }
        let (start, end) = (low, high);
        let (mut low_len, mut high_len) = (self.prefix_bytes, self.prefix_bytes);
        // The invariant: suffixes before `low` sort before the pattern, those from `high` on do not.
        while low < high {
            let middle = usize::midpoint(low, high);
            let suffix = &self.text[self.order[middle] as usize..];
            let known = low_len.min(high_len).min(suffix.len());
            let len = known + common_prefix(&suffix[known..], &pattern[known..]);
            if len == pattern.len() {
                return self.nearest(middle, len, near, start, end);
            }
            if len < suffix.len() && suffix[len] > pattern[len] {
                high = middle;
                high_len = len;
            } else {
                low = middle + 1;
                low_len = len;
            }
        }
        let len_at = |index: usize| common_prefix(&self.text[self.order[index] as usize..], pattern);
        let before = if low > start { len_at(low - 1) } else { 0 };
        let after = if low < end { len_at(low) } else { 0 };
        let (best, len) =
            if after > before { (low, after) } else { (low - usize::from(low > start), before) };
        self.nearest(best, len, near, start, end)
    }
}

fn prefix_of(bytes: &[u8], prefix_bytes: usize) -> usize {
    bytes[..prefix_bytes].iter().fold(0, |prefix, &byte| prefix << 8 | usize::from(byte))
}

fn bucket_starts(text: &[u8], order: &[i32], prefix_bytes: usize) -> Vec<u32> {
    // Suffixes shorter than the prefix sort first among those that they start: they are counted to
    // the bucket of the prefix filled up with zeros, where they stand before all others.
    let prefix_at = |position: usize| {
        let rest = &text[position..];
        if rest.len() >= prefix_bytes {
            prefix_of(rest, prefix_bytes)
        } else {
            rest.iter().fold(0, |prefix, &byte| prefix << 8 | usize::from(byte))
                << (8 * (prefix_bytes - rest.len()))
        }
    };
    let mut starts = vec![0_u32; (1 << (8 * prefix_bytes)) + 1];
    for position in 0..order.len() {
        starts[prefix_at(position) + 1] += 1;
    }
    for index in 1..starts.len() {
        starts[index] += starts[index - 1];
    }
    starts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn longest_by_trying(text: &[u8], pattern: &[u8]) -> usize {
        (0..text.len()).map(|at| common_prefix(&text[at..], pattern)).max().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn the_longest_match_is_found(
            text in proptest::collection::vec(0_u8..4, 0..300),
            pattern in proptest::collection::vec(0_u8..4, 0..40),
        ) {
            let array = SuffixArray::new(text.clone()).unwrap();
            let found = array.longest(&pattern, 0);
            let expected = longest_by_trying(&text, &pattern);
            // Matches shorter than a prefix are of no use.
            if expected >= 2 {
                prop_assert_eq!(found.len, expected);
                prop_assert_eq!(&text[found.position..found.position + found.len], &pattern[..found.len]);
            }
        }
    }
}
