//! Which blocks have a weak sum.

use rayon::prelude::*;

use super::signature::Signature;

/// Bits of the filter for each block, as a power of two; with two bits set, one window of 20 to 80 passes it by
/// chance.
const FILTER_BITS_LOG: u32 = 3;
const WORD_BITS_LOG: u32 = u64::BITS.ilog2();

/// A table of a signature's weak sums: a Bloom filter of which a sum looks into one word only, then buckets.
/// Memory: 13 to 18 bytes for each block.
pub(super) struct Index {
    filter: Vec<u64>,
    filter_shift: u32,
    /// Where each bucket begins among the entries, and where the last one ends.
    starts: Vec<u32>,
    bucket_shift: u32,
    /// Scattered weak sums with their blocks, by sum, then by strong sum; of equal blocks only the first.
    entries: Vec<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    key: u32,
    block: u32,
}

/// Scatters sums, which alone are too much alike in their high bits. Different sums stay different.
fn key(weak: u32) -> u32 {
    weak.wrapping_mul(0x9e37_79b1)
}

/// The bits of a sum in its word of the filter.
fn bits(key: u32) -> u64 {
    (1 << ((key >> 10) % u64::BITS)) | (1 << ((key >> 4) % u64::BITS))
}

impl Index {
    /// Sorts the first `blocks` of a signature.
    pub(super) fn new(signature: &Signature, blocks: usize) -> Self {
        let mut entries: Vec<Entry> = signature.weak()[..blocks]
            .iter()
            .zip(0..)
            .map(|(&weak, block)| Entry { key: key(weak), block })
            .collect();
        let strong = |entry: &Entry| signature.strong(entry.block as usize);
        entries.par_sort_unstable_by(|a, b| {
            a.key.cmp(&b.key).then_with(|| strong(a).cmp(strong(b))).then(a.block.cmp(&b.block))
        });
        entries.dedup_by(|later, kept| later.key == kept.key && strong(later) == strong(kept));

        // At least so many buckets that no shift is as long as the number.
        let log = entries.len().next_power_of_two().ilog2().max(WORD_BITS_LOG - FILTER_BITS_LOG + 1);
        let (bucket_shift, filter_shift) = (32 - log, 32 + WORD_BITS_LOG - log - FILTER_BITS_LOG);
        let mut starts = vec![0; (1 << log) + 1];
        let mut filter = vec![0; 1 << (log + FILTER_BITS_LOG - WORD_BITS_LOG)];
        for entry in &entries {
            starts[(entry.key >> bucket_shift) as usize + 1] += 1;
            filter[(entry.key >> filter_shift) as usize] |= bits(entry.key);
        }
        let mut start = 0;
        for count in &mut starts {
            start += *count;
            *count = start;
        }
        Self { filter, filter_shift, starts, bucket_shift, entries }
    }

    /// Whether any block can have this weak sum. Never wrong where the answer is no.
    #[inline]
    pub(super) fn may_have(&self, weak: u32) -> bool {
        let key = key(weak);
        !self.filter[(key >> self.filter_shift) as usize] & bits(key) == 0
    }

    /// The different blocks with this weak sum, in order of their strong sums.
    pub(super) fn blocks(&self, weak: u32) -> impl ExactSizeIterator<Item = usize> {
        self.entries(weak).iter().map(|entry| entry.block as usize)
    }

    /// The block with these sums.
    pub(super) fn block(&self, signature: &Signature, weak: u32, strong: &[u8]) -> Option<usize> {
        let entries = self.entries(weak);
        let place = entries.binary_search_by(|entry| signature.strong(entry.block as usize).cmp(strong));
        place.ok().map(|place| entries[place].block as usize)
    }

    fn entries(&self, weak: u32) -> &[Entry] {
        let key = key(weak);
        let bucket = (key >> self.bucket_shift) as usize;
        let entries = &self.entries[self.starts[bucket] as usize..self.starts[bucket + 1] as usize];
        let entries = &entries[entries.partition_point(|entry| entry.key < key)..];
        &entries[..entries.partition_point(|entry| entry.key == key)]
    }
}
