//! Chunks fetched by HTTP range, as Rugix does.

use std::collections::HashSet;

use fluvial_bundle::Chunker;
use rayon::prelude::*;

use crate::cost::{Cost, RANGE_BYTES_MIN};
use crate::error::{Side, SimulateError};
use crate::pack::xz_len;
use crate::stream::{Pair, Piece};

/// The length of a chunk's packed bytes, as the index has it.
const SIZE_BYTES: u64 = 4;

/// What Rugix fetches of a bundle that is cut by `chunker`, as `rugix-ctrl` reads it (`reader.rs` and
/// `http_source.rs`; the chunks that stand twice in the image are kept once).
///
/// Chunks are packed with xz, one by one. A first request asks whether the server knows ranges, a second one
/// fetches the index: a digest of 32 bytes for each chunk, packed with xz, and a length for each one that is
/// kept. Then chunks are gone through in order. One that is missing is read from the range at hand as far as
/// that goes, and from there in a new one as long as what is missing of the chunk, and
/// [`RANGE_BYTES_MIN`] at least; so neighbours come together, and what stands behind them, too, where it was
/// there already. Memory: 100 bytes for each chunk.
///
/// # Errors
/// Where an image cannot be read, or the caller cancels.
pub fn by_ranges(pair: Pair<'_>, chunker: Chunker) -> Result<Cost, SimulateError> {
    let old: HashSet<[u8; 32]> = pair.cut(Side::Old, chunker)?.iter().map(|piece| piece.digest).collect();
    let mut kept = pair.cut(Side::New, chunker)?;
    let digests: Vec<u8> = kept.iter().flat_map(|piece| piece.digest).collect();
    let mut seen = HashSet::new();
    kept.retain(|piece| seen.insert(piece.digest));

    let is_missing = |piece: &Piece| !old.contains(&piece.digest);
    let starts: Vec<usize> = (0..kept.len())
        .filter(|&index| is_missing(&kept[index]) && (index == 0 || !is_missing(&kept[index - 1])))
        .collect();
    let ends = starts.iter().skip(1).copied().chain([kept.len()]);
    let stretches: Vec<&[Piece]> = starts.iter().zip(ends).map(|(&start, end)| &kept[start..end]).collect();
    let lens = |stretch: &&[Piece]| packed_lens(pair, stretch, &is_missing);
    let stretches = stretches.par_iter().map(lens).collect::<Result<Vec<_>, _>>()?;

    let index_bytes = xz_len(&digests)? + SIZE_BYTES * kept.len() as u64;
    let mut ranges = Ranges { data_bytes: 0, requests: 2, left: RANGE_BYTES_MIN.saturating_sub(index_bytes) };
    // The second request asks for as much as any other, and what is left of it is there.
    ranges.data_bytes += ranges.left;
    for Stretch { missing, there } in &stretches {
        for &len in missing {
            ranges.fetch(len);
        }
        for &len in there {
            ranges.skip(len);
        }
    }
    Ok(Cost { data_bytes: ranges.data_bytes, index_bytes, requests: ranges.requests })
}

/// Chunks in a row, packed: first those that are missing, then those that are there.
struct Stretch {
    missing: Vec<u64>,
    /// Only as many as one range can reach.
    there: Vec<u64>,
}

fn packed_lens(
    pair: Pair<'_>,
    pieces: &[Piece],
    is_missing: &(dyn Fn(&Piece) -> bool + Sync),
) -> Result<Stretch, SimulateError> {
    let mut stretch = Stretch { missing: Vec::new(), there: Vec::new() };
    for piece in pieces {
        if !(pair.watch)(0) {
            return Err(SimulateError::Cancelled);
        }
        let is_missing = is_missing(piece);
        if !is_missing && stretch.there.iter().sum::<u64>() >= RANGE_BYTES_MIN {
            break;
        }
        let len = xz_len(&pair.read(Side::New, piece.offset, piece.len as usize)?)?;
        if is_missing { stretch.missing.push(len) } else { stretch.there.push(len) }
    }
    Ok(stretch)
}

/// The ranges that are asked for, one after another.
struct Ranges {
    data_bytes: u64,
    requests: u64,
    /// What of the last range has not been read.
    left: u64,
}

impl Ranges {
    fn fetch(&mut self, len: u64) {
        let rest = len.saturating_sub(self.left);
        self.left = self.left.saturating_sub(len);
        if rest > 0 {
            let range = rest.max(RANGE_BYTES_MIN);
            self.requests += 1;
            self.data_bytes += range;
            self.left = range - rest;
        }
    }

    fn skip(&mut self, len: u64) {
        self.left = self.left.saturating_sub(len);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{noise, pair};

    fn chunker() -> Chunker {
        Chunker::casync(4).unwrap()
    }

    #[test]
    fn an_image_that_is_there_costs_its_index() {
        let image = noise(1, 300_000);
        let cost = by_ranges(pair(&image, &image), chunker()).unwrap();
        assert_eq!(cost.requests, 2);
        assert_eq!(cost.index_bytes + cost.data_bytes, RANGE_BYTES_MIN);
    }

    #[test]
    fn chunks_that_stand_twice_come_once() {
        let (old, part) = (noise(1, 300_000), noise(2, 500_000));
        let once = by_ranges(pair(&old, &part), chunker()).unwrap();
        let twice = by_ranges(pair(&old, &[&part[..], &part].concat()), chunker()).unwrap();
        // One chunk more, where the two meet, and the index.
        assert!(twice.data_bytes < once.data_bytes + 3 * RANGE_BYTES_MIN, "{once:?} {twice:?}");
        assert!(twice.index_bytes > once.index_bytes);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn no_less_is_fetched_than_is_missing(at in 0_usize..900_000, len in 0_usize..100_000) {
            let old = noise(1, 1_000_000);
            let mut new = old.clone();
            let end = (at + len).min(new.len());
            new[at..end].copy_from_slice(&noise(7, end - at));
            let cost = by_ranges(pair(&old, &new), chunker()).unwrap();
            // Noise cannot be packed.
            prop_assert!(cost.data_bytes + cost.index_bytes >= (end - at) as u64);
            // A chunk before and one behind, four times the average each, and what ranges have too much.
            let most = (end - at + 2 * chunker().bytes_max()) as u64 * 102 / 100;
            prop_assert!(cost.data_bytes <= most + RANGE_BYTES_MIN * cost.requests, "{:?}", cost);
        }
    }

    #[test]
    fn ranges_are_as_long_as_what_is_missing_and_never_short() {
        let mut ranges = Ranges { data_bytes: 0, requests: 0, left: 0 };
        let state = |ranges: &Ranges| (ranges.data_bytes, ranges.requests, ranges.left);
        ranges.skip(1_000_000);
        assert_eq!(state(&ranges), (0, 0, 0));
        ranges.fetch(10_000);
        assert_eq!(state(&ranges), (65_536, 1, 55_536));
        ranges.fetch(20_000);
        ranges.skip(30_000);
        assert_eq!(state(&ranges), (65_536, 1, 5_536));
        // The end of one range and the start of the next.
        ranges.fetch(6_000);
        assert_eq!(state(&ranges), (131_072, 2, 65_072));
        ranges.skip(65_073);
        ranges.fetch(100_000);
        assert_eq!(state(&ranges), (231_072, 3, 0));
    }
}
