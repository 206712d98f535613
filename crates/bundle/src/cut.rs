//! Content-defined chunks, and runs of them.
//!
//! In programs chunks are cut by bytes in which references are masked: code that only moved gives equal cuts
//! and keys. Long stretches of zeros are runs of their own, which have no chunks: a file system's free space
//! costs nothing. Or a chunker of other tools says where chunks end (`blocks.rs`).

mod blocks;

use std::io;

use fluvial_delta::gear::Cutter;
use fluvial_delta::predict::{MASK_STEP_BYTES, Masker};
use fluvial_delta::structure::ReadAt;

use crate::cutting::Cutting;
use crate::hash::HashKind;
use crate::index::RunDigest;
use crate::limits::{FILES_CHUNK_BYTES_MAX, GROUP_BYTES_MAX, RUN_BYTES_MAX, ZERO_RUN_BYTES_MAX};

const CUTTER: Cutter = Cutter { bytes_min: 128, bytes_max: FILES_CHUNK_BYTES_MAX, cut_bits: 9 };
/// No run ends before this length, in bytes, but the last one of a stream.
const RUN_BYTES_MIN: usize = 24 << 10;
/// Further bits of the hash that are zero where a run ends: 16 chunks behind its shortest length on average.
const RUN_BITS: u32 = 4;
/// Bytes that are read ahead at least: several runs end inside. Two of them where runs are long.
const AHEAD_BYTES_MIN: usize = 4 * GROUP_BYTES_MAX;
/// So many zeros in a row are a run of zeros, in bytes.
const ZEROS_BYTES_MIN: usize = 16 << 10;
/// Such a run is a multiple of this, so that what stands behind it begins where a file system's block does.
const ZEROS_STEP_BYTES: usize = 4 << 10;
// Whoever has room for a run of zeros has it for any other.
const _: () = assert!(RUN_BYTES_MAX <= ZERO_RUN_BYTES_MAX);

/// A chunk of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Its length in bytes, from 1 to [`Cutting::chunk_bytes_max`].
    pub len: u32,
    /// Bytes 0 to 3 of the digest of its bytes, in programs with references masked.
    pub key: u32,
    /// Bytes 4 to 7 of the digest of its bytes.
    pub check: u32,
}

/// Chunks in a row, [`Cutting::run_bytes_max`] bytes at most; or zeros, [`ZERO_RUN_BYTES_MAX`] bytes at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Where it stands in its stream.
    pub offset: u64,
    /// Its length in bytes.
    pub len: usize,
    /// The digest of its bytes.
    pub digest: RunDigest,
    /// Whether its stream is a program whose references are known.
    pub is_program: bool,
    /// Its chunks in order. Their digests are zero where they were not asked for. None where all its bytes are
    /// zero.
    pub chunks: Vec<Chunk>,
}

impl Run {
    /// Whether it is a run of zeros.
    pub fn is_zeros(&self) -> bool {
        self.chunks.is_empty()
    }
}

/// Hears of a run and its bytes.
pub type Each<'a, E> = dyn FnMut(&Run, &[u8]) -> Result<(), E> + 'a;

/// Cuts a stream: a file, or what stands between files, or a payload as it is. Calls `each` with every run and
/// its bytes, in order. Digests of chunks are made if `with_digests`, with the same hash as those of runs.
/// Memory: 1.2 MiB, and what [`Masker`] takes; for blocks 640 KiB, or twice the longest run and 64 KiB.
///
/// # Errors
/// Whatever the medium reports, and what `each` answers.
pub fn cut<E>(
    stream: &dyn ReadAt,
    cutting: Cutting,
    hash: HashKind,
    with_digests: bool,
    failed: impl Fn(io::Error) -> E,
    each: &mut Each<'_, E>,
) -> Result<(), E> {
    let mut window = Window::open(stream, cutting);
    loop {
        window.fill().map_err(&failed)?;
        if window.raw().is_empty() {
            return Ok(());
        }
        let run = window.next_run(hash, with_digests);
        each(&run, &window.raw()[..run.len])?;
        window.drop_front(run.len);
    }
}

/// The bytes that are looked at.
struct Window<'a> {
    stream: &'a dyn ReadAt,
    cutting: Cutting,
    masker: Option<Masker<'a>>,
    /// Where the first byte stands in the stream.
    start: u64,
    /// Bytes that were cut already, and are moved out of the way only when more are read: so each is moved once at most.
    cut_bytes: usize,
    /// Those, and the bytes that are looked at.
    raw: Vec<u8>,
    /// The same with references masked; nothing where the stream is no program.
    masked: Vec<u8>,
}

impl<'a> Window<'a> {
    fn open(stream: &'a dyn ReadAt, cutting: Cutting) -> Self {
        let masker = if cutting == Cutting::Files { Masker::open(stream) } else { None };
        Self { stream, cutting, masker, start: 0, cut_bytes: 0, raw: Vec::new(), masked: Vec::new() }
    }

    /// The bytes that are looked at.
    fn raw(&self) -> &[u8] {
        &self.raw[self.cut_bytes..]
    }

    /// The same, with references masked where the stream is a program.
    fn masked(&self) -> &[u8] {
        if self.masker.is_some() { &self.masked[self.cut_bytes..] } else { self.raw() }
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut at = self.start + self.raw().len() as u64;
        let run_bytes_max = self.cutting.run_bytes_max();
        if self.raw().len() >= run_bytes_max || at == self.stream.len() {
            return Ok(());
        }
        self.raw.drain(..self.cut_bytes);
        self.masked.drain(..self.cut_bytes.min(self.masked.len()));
        self.cut_bytes = 0;
        let wanted = AHEAD_BYTES_MIN.max(2 * run_bytes_max);
        let more = (self.stream.len() - at).min((wanted - self.raw.len() + MASK_STEP_BYTES) as u64) as usize;
        self.raw.reserve_exact(more);
        if self.masker.is_some() {
            self.masked.reserve_exact(more);
        }
        while self.raw.len() < wanted && at < self.stream.len() {
            // Steps begin at multiples of their length, whatever was cut before.
            let len = (self.stream.len() - at).min(MASK_STEP_BYTES as u64) as usize;
            let held = self.raw.len();
            self.raw.resize(held + len, 0);
            self.stream.read_at(at, &mut self.raw[held..])?;
            if let Some(masker) = &mut self.masker {
                self.masked.extend_from_slice(&self.raw[held..]);
                masker.mask(at, &mut self.masked[held..])?;
            }
            at += len as u64;
        }
        // What stands between files is read in thousands of little pieces.
        self.stream.prefetch(at, (wanted as u64).min(self.stream.len() - at));
        Ok(())
    }

    fn next_run(&self, kind: HashKind, with_digests: bool) -> Run {
        let zeros = self.zeros();
        if zeros > 0 {
            let is_program = self.masker.is_some();
            let digest = RunDigest([0; 12]);
            return Run { offset: self.start, len: zeros, digest, is_program, chunks: Vec::new() };
        }
        let (raw, masked) = (self.raw(), self.masked());
        let mut chunks = Vec::new();
        let mut len = 0;
        while len < masked.len() {
            // Zeros are a run of their own.
            if len > 0 && raw.get(len..len + ZEROS_BYTES_MIN).is_some_and(is_zeros) {
                break;
            }
            let (chunk_len, ends) = self.next_chunk(masked, len);
            let here = len..len + chunk_len;
            let mut chunk = Chunk { len: chunk_len as u32, key: 0, check: 0 };
            if with_digests {
                let (key, check) = digests(kind, &raw[here.clone()]);
                chunk.check = check;
                chunk.key = if self.masker.is_some() { digests(kind, &masked[here]).0 } else { key };
            }
            chunks.push(chunk);
            len += chunk_len;
            if ends {
                break;
            }
        }
        let digest = RunDigest::of(kind, &raw[..len]);
        Run { offset: self.start, len, digest, is_program: self.masker.is_some(), chunks }
    }

    /// The length of the chunk that stands `run_len` bytes behind the start, and whether a run ends with it.
    fn next_chunk(&self, ahead: &[u8], run_len: usize) -> (usize, bool) {
        if let Cutting::Blocks(chunker) = self.cutting {
            return blocks::next_chunk(chunker, ahead, self.start, run_len);
        }
        let (chunk_len, hash) = CUTTER.first(&ahead[run_len..]);
        let len = run_len + chunk_len;
        let ends = len >= RUN_BYTES_MIN && hash >> (64 - CUTTER.cut_bits - RUN_BITS) == 0;
        (chunk_len, ends || len + FILES_CHUNK_BYTES_MAX > GROUP_BYTES_MAX)
    }

    /// How many bytes at the start are zeros, if that is enough for a run of them; else 0.
    fn zeros(&self) -> usize {
        let ahead = &self.raw()[..self.raw().len().min(ZERO_RUN_BYTES_MAX)];
        let zeros = leading_zeros(ahead);
        let is_end = self.start + zeros as u64 == self.stream.len();
        let step = match self.cutting {
            // Blocks stand at multiples of their length, also behind zeros.
            Cutting::Blocks(chunker) if chunker.is_fixed() => chunker.bytes_avg(),
            _ => ZEROS_STEP_BYTES,
        };
        let zeros = if is_end { zeros } else { zeros / step * step };
        if zeros >= ZEROS_BYTES_MIN { zeros } else { 0 }
    }

    fn drop_front(&mut self, len: usize) {
        self.cut_bytes += len;
        self.start += len as u64;
    }
}

/// How many bytes at the start are zeros.
fn leading_zeros(bytes: &[u8]) -> usize {
    let (blocks, _) = bytes.as_chunks::<64>();
    let blocks = blocks.iter().take_while(|block| block.iter().fold(0, |any, byte| any | byte) == 0).count();
    let rest = &bytes[blocks * 64..];
    blocks * 64 + rest.iter().take_while(|&&byte| byte == 0).count()
}

/// Whether all bytes are zeros.
pub(crate) fn is_zeros(bytes: &[u8]) -> bool {
    leading_zeros(bytes) == bytes.len()
}

/// Key and check of bytes that are as they are.
pub(crate) fn digests(hash: HashKind, bytes: &[u8]) -> (u32, u32) {
    let digest = hash.digest(bytes);
    let word = |at: usize| digest[at..at + 4].iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte));
    (word(0), word(4))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    pub(crate) fn noise(len: usize, seed: u32) -> Vec<u8> {
        let mut state = seed;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..len).map(next).collect()
    }

    fn runs(cutting: Cutting, bytes: &[u8]) -> Vec<Run> {
        let mut runs = Vec::new();
        let mut each = |run: &Run, content: &[u8]| {
            assert_eq!(content, &bytes[run.offset as usize..][..run.len]);
            runs.push(run.clone());
            Ok(())
        };
        cut(&bytes.to_vec(), cutting, HashKind::default(), true, |error| error, &mut each).unwrap();
        runs
    }

    fn any_cutting() -> impl Strategy<Value = Cutting> {
        let names = ["files", "casync-4", "casync-15", "casync-16", "casync-64", "casync-256"];
        let names = names.into_iter().chain(["fixed-1", "fixed-3", "fixed-4", "fixed-64", "fixed-256"]);
        let cuttings: Vec<Cutting> = names.map(|name| name.parse().unwrap()).collect();
        proptest::sample::select(cuttings)
    }

    /// How many runs and chunks of `new` are not in `old`.
    fn differing(cutting: Cutting, old: &[u8], new: &[u8]) -> (usize, usize) {
        let [old, new] = [old, new].map(|bytes| runs(cutting, bytes));
        assert!(old.len() > 10, "{}", old.len());
        let digests = |runs: &[Run]| runs.iter().map(|run| run.digest).collect::<HashSet<_>>();
        let keys =
            |runs: &[Run]| runs.iter().flat_map(|run| &run.chunks).map(|one| one.key).collect::<HashSet<_>>();
        (digests(&new).difference(&digests(&old)).count(), keys(&new).difference(&keys(&old)).count())
    }

    #[test]
    fn an_insertion_changes_only_what_stands_around_it() {
        let old = noise(4 << 20, 1);
        let mut new = old.clone();
        new.splice(1_000_000..1_000_000, *b"inserted");
        for (name, runs_max, chunks_max) in
            [("files", 3, 3), ("casync-4", 6, 6), ("casync-16", 6, 6), ("casync-64", 6, 6)]
        {
            let (runs, chunks) = differing(name.parse().unwrap(), &old, &new);
            assert!((1..=runs_max).contains(&runs) && chunks <= chunks_max, "{name}: {runs}, {chunks}");
        }
    }

    #[test]
    fn blocks_stand_at_multiples_of_their_length_also_behind_zeros() {
        let mut old = noise(4 << 20, 1);
        old[1_000_001..1_500_001].fill(0);
        let mut new = old.clone();
        new[1_200_000..1_300_000].copy_from_slice(&noise(100_000, 2));
        new[3_000_000] ^= 1;
        for name in ["fixed-3", "fixed-4", "fixed-64", "fixed-100"] {
            let cutting: Cutting = name.parse().unwrap();
            let Cutting::Blocks(chunker) = cutting else { panic!("{name}") };
            for run in runs(cutting, &new) {
                assert_eq!(run.offset % chunker.bytes_avg() as u64, 0, "{name}");
            }
            let (_, chunks) = differing(cutting, &old, &new);
            let inside = 100_000_usize.div_ceil(chunker.bytes_avg()) + 1;
            // Beside what was changed, both ends of what was zeros before.
            assert!(chunks <= inside + 3, "{name}: {chunks}");
        }
    }

    #[test]
    fn zeros_end_where_something_else_stands() {
        for len in [0, 1, 63, 64, 65, 1000] {
            let mut bytes = vec![0; len];
            assert_eq!(leading_zeros(&bytes), len);
            for at in (0..len).rev() {
                bytes[at] = 1 + at as u8 % 200;
                assert_eq!(leading_zeros(&bytes), at);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn runs_and_chunks_leave_nothing_out(
            cutting in any_cutting(),
            len in 0_usize..700_000,
            seed: u32,
            zeros in 0_usize..3_000_000,
            tail in 0_usize..300_000,
        ) {
            let mut bytes = noise(len, seed);
            bytes.resize(len + zeros, 0);
            bytes.extend_from_slice(&noise(tail, !seed));
            let mut at = 0;
            for run in runs(cutting, &bytes) {
                prop_assert_eq!(run.offset, at);
                let limit = if run.is_zeros() { ZERO_RUN_BYTES_MAX } else { cutting.run_bytes_max() };
                prop_assert!(run.len <= limit);
                let longest = run.chunks.iter().map(|chunk| chunk.len as usize).max();
                prop_assert!(longest.unwrap_or(0) <= cutting.chunk_bytes_max());
                prop_assert!(run.chunks.len() <= crate::limits::RUN_CHUNKS_MAX);
                let sum: usize = run.chunks.iter().map(|chunk| chunk.len as usize).sum();
                prop_assert_eq!(sum, if run.is_zeros() { 0 } else { run.len });
                at += run.len as u64;
            }
            prop_assert_eq!(at, bytes.len() as u64);
        }
    }
}
