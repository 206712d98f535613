//! Deltas: a target told by a base.

use std::io::{self, Write};

use fluvial_delta::structure::ReadAt;
use rayon::prelude::*;
use thiserror::Error;

use super::command::{Command, DELTA_MAGIC};
use super::find::Finder;
use super::original::Original;
use super::scan::{Scanned, Segment, scan};
use super::signature::Signature;
use super::weak::{RabinKarp, Rollsum};

/// Segments of the target, in bytes: at least so long that what is scanned twice, a block, is little.
const SEGMENT_BYTES: usize = 1 << 20;
const SEGMENT_BLOCKS_MIN: usize = 4;
/// Short blocks make more commands, and so shorter segments.
const SEGMENT_BLOCKS_MAX: usize = 4096;
/// Segments for each thread that are scanned before any is written: one that takes long holds up fewer.
const SEGMENTS_AHEAD: usize = 4;
/// The longest literal that is written, in bytes: as long as the ones of `rdiff`, and two bytes tell its length.
const LITERAL_BYTES_MAX: usize = 0xffff;
/// The longest copy, in bytes. librsync holds what is left of a copy in an `int`.
const COPY_BYTES_MAX: u64 = 1 << 30;

/// A delta cannot be made.
#[derive(Debug, Error)]
pub enum DeltaError {
    /// The base has another length than the one that was signed.
    #[error(
        "the base is not the one of the signature: it has {base_len} bytes, the signature {blocks} blocks"
    )]
    OtherBase {
        /// Length of the base that was given, in bytes.
        base_len: u64,
        /// Blocks of the signature.
        blocks: usize,
    },
    /// The base or the target cannot be read.
    #[error("the base or the target cannot be read")]
    Read(#[source] io::Error),
    /// The delta cannot be written.
    #[error("the delta cannot be written")]
    Write(#[source] io::Error),
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// What a delta is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeltaReport {
    /// Its length in bytes.
    pub delta_bytes: u64,
    /// Bytes of the target that stand in it.
    pub literal_bytes: u64,
    /// Bytes of the target that are copied from the base.
    pub copied_bytes: u64,
    /// Commands that copy.
    pub copies: u64,
}

/// Writes the delta that makes `target` of the base that `signature` was made of. On all threads of rayon's
/// pool; `out` has the same bytes for any number of them. `progress` hears how many bytes of the target were
/// scanned and answers whether to go on.
///
/// With `base` copies go beyond blocks, what was changed in place costs few bytes, and every byte that is copied
/// was compared. Without it two blocks with the same sums make a wrong delta, as with `rdiff`: the strong sums of
/// a signature from elsewhere should be long.
///
/// Memory beside the signature: 13 to 18 bytes for each block, and for each thread 6 segments at most: one that it
/// scans, 4 whose literals wait to be written, and their commands. A segment is 1 MiB; 4 blocks where that is
/// longer, 4096 blocks where that is shorter. So an image of 800 MiB in blocks of 1 KiB takes, with its signature
/// and two threads, 56 MiB at most.
///
/// # Errors
/// `base` is of another length than the signature; whatever the base, the target and `out` report; or it was
/// cancelled.
pub fn write_delta(
    signature: &Signature,
    base: Option<&dyn ReadAt>,
    target: &dyn ReadAt,
    out: &mut dyn Write,
    progress: &(dyn Fn(u64) -> bool + Sync),
) -> Result<DeltaReport, DeltaError> {
    if let Some(base_len) = base.map(ReadAt::len).filter(|&len| !signature.may_be_of(len)) {
        return Err(DeltaError::OtherBase { base_len, blocks: signature.blocks() });
    }
    let base_len = base.map(ReadAt::len).or(signature.base_len());
    let finder = Finder::new(signature, base_len);
    let block_len = finder.block_len;
    let segment_bytes = SEGMENT_BYTES.min(SEGMENT_BLOCKS_MAX * block_len).max(SEGMENT_BLOCKS_MIN * block_len);
    let scan_one = |bytes: &mut Vec<u8>, start: u64| {
        let left = target.len() - start;
        bytes.resize(left.min((segment_bytes + block_len) as u64) as usize, 0);
        target.read_at(start, bytes).map_err(DeltaError::Read)?;
        let len = bytes.len().min(segment_bytes);
        let segment = Segment { start, len, bytes, is_last: bytes.len() as u64 == left };
        let original = base.map(Original::new);
        let is_rabin_karp = signature.options().magic.is_rabin_karp();
        let scan = if is_rabin_karp { scan::<RabinKarp> } else { scan::<Rollsum> };
        let scanned = scan(&finder, original, segment).map_err(DeltaError::Read)?;
        if progress(len as u64) { Ok(scanned) } else { Err(DeltaError::Cancelled) }
    };

    let mut writer = DeltaWriter::new(out);
    writer.begin().map_err(DeltaError::Write)?;
    let together = SEGMENTS_AHEAD * rayon::current_num_threads();
    for first in (0..target.len()).step_by(segment_bytes * together) {
        let end = target.len().min(first.saturating_add((segment_bytes * together) as u64));
        let starts: Vec<u64> = (first..end).step_by(segment_bytes).collect();
        let scanned: Vec<_> = starts
            .par_iter()
            .with_max_len(1)
            .map_init(Vec::new, |bytes, &start| scan_one(bytes, start))
            .collect();
        for (start, scanned) in starts.into_iter().zip(scanned) {
            writer.put(start, &scanned?).map_err(DeltaError::Write)?;
        }
    }
    writer.finish().map_err(DeltaError::Write)
}

/// Writes commands; those that go on are made one.
struct DeltaWriter<'a> {
    out: &'a mut dyn Write,
    /// How much of the target is told.
    target_offset: u64,
    literal: Vec<u8>,
    copy_offset: u64,
    copy_len: u64,
    report: DeltaReport,
}

impl<'a> DeltaWriter<'a> {
    fn new(out: &'a mut dyn Write) -> Self {
        let literal = Vec::with_capacity(LITERAL_BYTES_MAX);
        Self { out, target_offset: 0, literal, copy_offset: 0, copy_len: 0, report: DeltaReport::default() }
    }

    fn begin(&mut self) -> io::Result<()> {
        self.report.delta_bytes += DELTA_MAGIC.len() as u64;
        self.out.write_all(&DELTA_MAGIC)
    }

    /// Tells a segment that starts at `start`, but for what a copy of the one before has told of it already.
    fn put(&mut self, start: u64, scanned: &Scanned) -> io::Result<()> {
        let (mut at, mut literals) = (start, &scanned.literals[..]);
        for piece in &scanned.pieces {
            let (literal, rest) = literals.split_at(piece.literal_len as usize);
            literals = rest;
            let told = (self.target_offset - at).min(literal.len() as u64);
            self.literal(&literal[told as usize..])?;
            at += literal.len() as u64;
            let len = u64::from(piece.copy_len);
            let told = (self.target_offset - at).min(len);
            self.copy(piece.copy_offset + told, len - told)?;
            at += len;
        }
        Ok(())
    }

    fn literal(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if !bytes.is_empty() {
            self.flush_copy()?;
        }
        self.target_offset += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(LITERAL_BYTES_MAX - self.literal.len()));
            self.literal.extend_from_slice(now);
            bytes = later;
            if self.literal.len() == LITERAL_BYTES_MAX {
                self.flush_literal()?;
            }
        }
        Ok(())
    }

    fn copy(&mut self, mut offset: u64, mut len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        self.target_offset += len;
        self.flush_literal()?;
        if self.copy_len > 0 && self.copy_offset + self.copy_len == offset {
            let more = len.min(COPY_BYTES_MAX - self.copy_len);
            self.copy_len += more;
            (offset, len) = (offset + more, len - more);
        }
        if len > 0 {
            self.flush_copy()?;
            (self.copy_offset, self.copy_len) = (offset, len);
        }
        Ok(())
    }

    fn flush_literal(&mut self) -> io::Result<()> {
        if !self.literal.is_empty() {
            let len = self.literal.len() as u64;
            let command_bytes = Command::Literal { len }.write(self.out)?;
            self.out.write_all(&self.literal)?;
            self.report.delta_bytes += command_bytes as u64 + len;
            self.report.literal_bytes += len;
            self.literal.clear();
        }
        Ok(())
    }

    fn flush_copy(&mut self) -> io::Result<()> {
        if self.copy_len > 0 {
            let command = Command::Copy { offset: self.copy_offset, len: self.copy_len };
            self.report.delta_bytes += command.write(self.out)? as u64;
            self.report.copied_bytes += self.copy_len;
            self.report.copies += 1;
            self.copy_len = 0;
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<DeltaReport> {
        self.flush_literal()?;
        self.flush_copy()?;
        self.report.delta_bytes += Command::End.write(self.out)? as u64;
        Ok(self.report)
    }
}

#[cfg(test)]
mod tests {
    use super::super::scan::Piece;
    use super::*;

    fn written(puts: &[(u64, Scanned)]) -> (Vec<u8>, DeltaReport) {
        let mut bytes = Vec::new();
        let mut writer = DeltaWriter::new(&mut bytes);
        for (start, scanned) in puts {
            writer.put(*start, scanned).unwrap();
        }
        let report = writer.finish().unwrap();
        (bytes, report)
    }

    fn piece(literal_len: u32, copy_len: u32, copy_offset: u64) -> Piece {
        Piece { literal_len, copy_len, copy_offset }
    }

    #[test]
    fn copies_of_neighbouring_segments_are_one_and_nothing_is_told_twice() {
        let one = Scanned { pieces: vec![piece(3, 10, 1000)], literals: vec![1, 2, 3] };
        // The copy before went two bytes into this one.
        let two = Scanned { pieces: vec![piece(0, 6, 1008), piece(2, 1, 7)], literals: vec![4, 5] };
        // And one that it covers wholly, then a literal of which it covers a part.
        let three = Scanned { pieces: vec![piece(1, 4, 99), piece(4, 0, 0)], literals: vec![6, 7, 8, 9, 10] };
        let (bytes, report) = written(&[(0, one), (11, two), (20, three)]);
        assert_eq!(
            bytes,
            [3, 1, 2, 3, 0x49, 3, 0xe8, 14, 2, 4, 5, 0x45, 7, 1, 1, 6, 0x45, 99, 4, 4, 7, 8, 9, 10, 0]
        );
        assert_eq!(report.copies, 3);

        let long = Scanned { pieces: vec![piece(0, 20, 50)], literals: Vec::new() };
        let covered = Scanned { pieces: vec![piece(0, 4, 99), piece(9, 0, 0)], literals: (0..9).collect() };
        let (bytes, _) = written(&[(0, long), (10, covered)]);
        assert_eq!(bytes, [0x45, 50, 20, 3, 6, 7, 8, 0]);
    }

    #[test]
    fn long_copies_are_parted_where_librsync_counts_with_32_bits() {
        let mut bytes = Vec::new();
        let mut writer = DeltaWriter::new(&mut bytes);
        writer.copy(0, COPY_BYTES_MAX - 1).unwrap();
        writer.copy(COPY_BYTES_MAX - 1, 5).unwrap();
        writer.copy(COPY_BYTES_MAX + 4, 1).unwrap();
        let report = writer.finish().unwrap();
        assert_eq!(bytes, [0x47, 0, 0x40, 0, 0, 0, 0x4d, 0x40, 0, 0, 0, 5, 0]);
        assert_eq!((report.copies, report.copied_bytes), (2, COPY_BYTES_MAX + 5));
    }

    #[test]
    fn long_literals_are_parted() {
        let bytes = vec![7; LITERAL_BYTES_MAX + 2];
        let pieces = vec![piece(1, 0, 0), piece(bytes.len() as u32 - 1, 0, 0)];
        let (delta, report) = written(&[(0, Scanned { pieces, literals: bytes.clone() })]);
        assert_eq!(delta[..4], [0x42, 0xff, 0xff, 7]);
        assert_eq!(delta[3 + LITERAL_BYTES_MAX..], [2, 7, 7, 0]);
        assert_eq!(report.literal_bytes, bytes.len() as u64);
    }
}
