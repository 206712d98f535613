//! A sketch of a payload: a small sample of its runs, from which a device tells how much of it is there before it
//! fetches an index.
//!
//! The sample are the runs with the lowest digests: as these are random, so is the sample, and whoever makes it
//! cannot choose. Source: the k minimum values of Bar-Yossef et al., "Counting distinct elements in a data stream"
//! (RANDOM 2002).

use fluvial_delta::wire::{WireReader, WireWriter};

use crate::cutting::Cutting;
use crate::error::IndexError;
use crate::hash::HashKind;
use crate::index::{Index, RunInfo};
use crate::limits::{PART_BYTES_MAX, RUN_BYTES_MAX, RUNS_MAX, SKETCH_BYTES_MAX, SKETCH_RUNS_MAX};

const VERSION: u8 = 1;
/// Runs in a sketch: it errs by 3 % of a payload, one time in three by more.
const RUNS: usize = 256;
/// Bytes of a digest that are kept: some ten thousand runs of a device match one by accident once in 100,000 times.
const DIGEST_BYTES: usize = 5;
/// Packed lengths are told in units of this, in bytes.
const LEN_UNIT_BYTES: u32 = 256;
/// So many standard errors below what is likely lies what is sure: one sketch in 700 is further off.
const ERRORS_BELOW: f64 = 3.0;

type Prefix = [u8; DIGEST_BYTES];

/// A sample of a payload's runs. A few KiB of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sketch {
    /// How the payload is cut.
    pub cutting: Cutting,
    /// The hash of its runs.
    pub hash: HashKind,
    /// How long its chunk file is, in bytes.
    pub chunk_bytes: u64,
    /// How many runs there are that are not zeros.
    runs_count: u64,
    /// The first bytes of the lowest digests, in order, and the runs' packed lengths in units.
    runs: Vec<(Prefix, u32)>,
}

/// What is missing of a payload, in packed chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// How many bytes that are, likely.
    pub bytes: u64,
    /// How many are missing surely.
    pub bytes_min: u64,
}

impl Sketch {
    /// That of a payload.
    pub fn of(index: &Index) -> Self {
        let entry = |run: &RunInfo| (prefix(run), run.packed_len.div_ceil(LEN_UNIT_BYTES));
        let mut runs: Vec<_> = index.runs.iter().filter(|run| !run.is_zeros()).map(entry).collect();
        runs.sort_unstable();
        runs.dedup_by_key(|run| run.0);
        let runs_count = runs.len() as u64;
        runs.truncate(RUNS);
        Self {
            cutting: index.cutting,
            hash: index.hash,
            chunk_bytes: index.chunk_file_len(),
            runs_count,
            runs,
        }
    }

    /// Writes it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = WireWriter::default();
        writer.raw(&[VERSION, self.hash.code()]);
        self.cutting.write(&mut writer);
        writer.number(self.chunk_bytes);
        writer.number(self.runs_count);
        writer.number(self.runs.len() as u64);
        self.runs.iter().for_each(|(prefix, _)| writer.raw(prefix));
        self.runs.iter().for_each(|(_, len)| writer.number(u64::from(*len)));
        writer.bytes
    }

    /// Reads it. The caller has checked that the bytes are those that he trusts.
    ///
    /// # Errors
    /// [`IndexError`]. Memory is taken for what is there only.
    pub fn read(bytes: &[u8]) -> Result<Self, IndexError> {
        if bytes.len() > SKETCH_BYTES_MAX {
            return Err(IndexError::TooLong { have: bytes.len() as u64, limit: SKETCH_BYTES_MAX as u64 });
        }
        let mut reader = WireReader::new(bytes);
        let &[version, hash] = reader.raw(2)? else { return Err(IndexError::Invalid("it is cut")) };
        if version != VERSION {
            return Err(IndexError::Version(version));
        }
        let hash = HashKind::of_code(hash).ok_or(IndexError::Invalid("its hash is not known here"))?;
        let cutting = Cutting::read(&mut reader)?;
        let chunk_bytes = reader.limited("the length of the chunks", PART_BYTES_MAX)?;
        let runs_count = reader.limited("the count of runs", RUNS_MAX as u64)?;
        let count = reader.count("runs", SKETCH_RUNS_MAX)?;
        let mut runs = Vec::with_capacity(count);
        for _ in 0..count {
            let mut prefix = [0; DIGEST_BYTES];
            prefix.copy_from_slice(reader.raw(DIGEST_BYTES)?);
            runs.push((prefix, 0));
        }
        for run in &mut runs {
            run.1 = reader.limited("a packed length", RUN_BYTES_MAX as u64)? as u32;
        }
        reader.finish()?;
        if !runs.is_sorted_by(|one, next| one.0 < next.0) || runs_count < runs.len() as u64 {
            return Err(IndexError::Invalid("its runs are out of order, or too many"));
        }
        Ok(Self { cutting, hash, chunk_bytes, runs_count, runs })
    }

    /// How much is missing of the payload where there are the runs of these indexes, of the same way of cutting and the
    /// same hash. `None` where the sketch is empty.
    pub fn missing<'a>(&self, have: impl IntoIterator<Item = &'a Index>) -> Option<Estimate> {
        let mut is_missing = vec![true; self.runs.len()];
        for run in have.into_iter().flat_map(|index| &index.runs).filter(|run| !run.is_zeros()) {
            if let Ok(found) = self.runs.binary_search_by_key(&prefix(run), |run| run.0) {
                is_missing[found] = false;
            }
        }
        let runs: Vec<(f64, f64)> = self
            .runs
            .iter()
            .zip(is_missing)
            .map(|(run, is_missing)| (f64::from(run.1), f64::from(u8::from(is_missing))))
            .collect();
        let all: f64 = runs.iter().map(|run| run.0).sum();
        if all == 0.0 {
            return None;
        }
        let share = runs.iter().map(|(len, missing)| len * missing).sum::<f64>() / all;
        // The variance of a ratio. Where a sample is alike, the next run might not be: it counts as one more that is
        // there. Of a payload that is all in its sketch everything is known.
        let count = runs.len() as f64;
        let squares: f64 = runs.iter().map(|(len, missing)| (len * (missing - share)).powi(2)).sum();
        let one_more = (all / count * share).powi(2);
        let unseen = 1.0 - count / self.runs_count as f64;
        let error = ((squares + one_more) * unseen).sqrt() / all;
        let bytes = |share: f64| (self.chunk_bytes as f64 * share) as u64;
        Some(Estimate { bytes: bytes(share), bytes_min: bytes((share - ERRORS_BELOW * error).max(0.0)) })
    }
}

fn prefix(run: &RunInfo) -> Prefix {
    let mut prefix = [0; DIGEST_BYTES];
    prefix.copy_from_slice(&run.digest.0[..DIGEST_BYTES]);
    prefix
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::index::RunDigest;

    /// An index of so many runs from `first` on, of different lengths.
    fn index(runs: std::ops::Range<u64>) -> Index {
        let mut offset = 0;
        let run = |number: u64| {
            let len = 1000 + (number % 7) as u32 * 20_000;
            let digest = RunDigest::of(HashKind::Blake3, &number.to_le_bytes());
            let run = RunInfo { offset, len, digest, packed_offset: offset / 2, packed_len: len / 2 };
            offset += u64::from(len);
            run
        };
        let runs: Vec<RunInfo> = runs.map(run).collect();
        Index {
            name: String::new(),
            len: offset,
            sha256: [0; 32],
            hash: HashKind::Blake3,
            cutting: Cutting::Files,
            files: fluvial_delta::structure::Files::new(),
            programs: Vec::new(),
            unpacked: crate::Unpacked::default(),
            chunk_file_len: runs.iter().map(|run| u64::from(run.packed_len)).sum(),
            runs,
            pages: Vec::new(),
            segments: Vec::new(),
        }
    }

    #[test]
    fn what_is_missing_is_told_from_a_small_sample() {
        let new = index(0..10_000);
        let sketch = Sketch::of(&new);
        assert!(sketch.to_bytes().len() < 2 << 10, "{}", sketch.to_bytes().len());
        let missing = |have: std::ops::Range<u64>| sketch.missing([&index(have)]).unwrap();
        for missing_percent in [0, 10, 50, 90, 100_u64] {
            let truth = new.chunk_file_len() * missing_percent / 100;
            let told = missing(missing_percent * 100..12_000);
            assert!(
                told.bytes_min <= truth && told.bytes.abs_diff(truth) < new.chunk_file_len() / 10,
                "{told:?}"
            );
            assert!(told.bytes_min >= truth.saturating_sub(new.chunk_file_len() / 5), "{told:?}");
        }
        let both = sketch.missing([&index(0..5_000), &index(5_000..10_000)]).unwrap();
        assert_eq!((both.bytes, both.bytes_min), (0, 0));
    }

    #[test]
    fn a_small_payload_is_known_wholly() {
        let sketch = Sketch::of(&index(0..100));
        let told = sketch.missing([&index(50..100)]).unwrap();
        assert_eq!(told.bytes, told.bytes_min);
        assert_eq!(sketch.missing([]).unwrap().bytes_min, sketch.chunk_bytes);
        assert_eq!(Sketch::of(&index(0..0)).missing([]), None);
    }

    #[test]
    fn what_is_written_is_read_and_what_makes_no_sense_refused() {
        let sketch = Sketch::of(&index(0..1000));
        assert_eq!(Sketch::read(&sketch.to_bytes()).unwrap(), sketch);
        let refused = |change: &dyn Fn(&mut Sketch)| {
            let mut sketch = sketch.clone();
            change(&mut sketch);
            Sketch::read(&sketch.to_bytes()).unwrap_err().to_string()
        };
        assert!(refused(&|sketch| sketch.runs.swap(3, 4)).contains("order"));
        assert!(refused(&|sketch| sketch.runs_count = 10).contains("too many"));
        assert!(refused(&|sketch| sketch.runs[0].1 = RUN_BYTES_MAX as u32 + 1).contains("damaged"));
        assert!(refused(&|sketch| sketch.chunk_bytes = PART_BYTES_MAX + 1).contains("damaged"));
        assert!(matches!(Sketch::read(&[2; 100]), Err(IndexError::Version(2))));
        assert!(matches!(Sketch::read(&vec![1; SKETCH_BYTES_MAX + 1]), Err(IndexError::TooLong { .. })));
    }

    proptest! {
        #[test]
        fn damaged_sketches_are_read_without_panic(at: usize, byte: u8, cut: usize) {
            let mut bytes = Sketch::of(&index(0..300)).to_bytes();
            let len = bytes.len();
            bytes[at % len] = byte;
            if let Ok(sketch) = Sketch::read(&bytes) {
                prop_assert!(sketch.missing([]).is_none_or(|told| told.bytes_min <= told.bytes));
            }
            prop_assert!(Sketch::read(&bytes[..cut % len]).is_err());
        }
    }
}
