//! The index of a payload: what it is made of, and where its chunks stand.

use std::fmt;

use fluvial_delta::header::Sha256Digest;
use fluvial_delta::structure::Extent;
use fluvial_delta::wire::{WireError, WireReader, WireWriter};

use crate::error::IndexError;
use crate::limits::{
    FILES_MAX, INDEX_BYTES_MAX, INDEX_UNPACKED_BYTES_MAX, NAME_BYTES_MAX, PAGE_BYTES_MAX, PAYLOAD_BYTES_MAX,
    RUN_BYTES_MAX, RUNS_MAX,
};
use crate::scatter::gaps;

/// How an index begins.
const MAGIC: &[u8; 8] = b"FLUVIALi";
const VERSION: u8 = 1;
/// Runs of several chunks whose chunks one page lists.
pub(crate) const PAGE_RUNS: usize = 16;
/// Bytes of a page's digest.
const PAGE_DIGEST_BYTES: usize = 16;
const PACK_LEVEL: i32 = 19;

/// The first 12 bytes of a run's BLAKE3 digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunDigest(pub [u8; 12]);

impl RunDigest {
    /// That of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut digest = [0; 12];
        digest.copy_from_slice(&blake3::hash(bytes).as_bytes()[..12]);
        Self(digest)
    }
}

impl fmt::Debug for RunDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A run of chunks, as an index tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunInfo {
    /// Where it stands in the order of cutting.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u32,
    /// The digest of its bytes.
    pub digest: RunDigest,
    /// Where its packed chunks stand in the chunk file.
    pub packed_offset: u64,
    /// How many bytes they have.
    pub packed_len: u32,
    /// Whether it is several chunks, which a page lists.
    pub is_listed: bool,
}

/// A page: a list of the chunks of a few runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageInfo {
    /// Counted from the first page.
    pub(crate) offset: u64,
    pub(crate) len: u32,
    pub(crate) digest: [u8; PAGE_DIGEST_BYTES],
}

impl PageInfo {
    pub(crate) fn digest_of(bytes: &[u8]) -> [u8; PAGE_DIGEST_BYTES] {
        let mut digest = [0; PAGE_DIGEST_BYTES];
        digest.copy_from_slice(&blake3::hash(bytes).as_bytes()[..PAGE_DIGEST_BYTES]);
        digest
    }
}

/// What a payload is made of. Memory: about 40 bytes for each run, of which there is one for each short file
/// and one for about 40 KiB of longer ones, and 17 for each file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The payload's name.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
    /// Its SHA-256.
    pub sha256: Sha256Digest,
    /// Where its files stand, in order.
    pub files: Vec<Extent>,
    /// Which files are programs whose references were masked.
    pub programs: Vec<bool>,
    /// Its runs, in the order of cutting.
    pub runs: Vec<RunInfo>,
    pub(crate) pages: Vec<PageInfo>,
}

/// Numbers, column by column.
struct Columns<'a> {
    reader: WireReader<'a>,
}

impl Columns<'_> {
    fn column(&mut self, what: &'static str, count: usize, limit: u64) -> Result<Vec<u64>, WireError> {
        (0..count).map(|_| self.reader.limited(what, limit)).collect()
    }
}

impl Index {
    /// Where pages begin in the chunk file: behind the packed chunks.
    pub(crate) fn pages_offset(&self) -> u64 {
        self.runs.last().map_or(0, |run| run.packed_offset + u64::from(run.packed_len))
    }

    /// How long the chunk file is, in bytes.
    pub fn chunk_file_len(&self) -> u64 {
        self.pages_offset() + self.pages.last().map_or(0, |page| page.offset + u64::from(page.len))
    }

    /// The payload in the order of cutting: what stands between files, then the files.
    pub fn order(&self) -> impl Iterator<Item = Extent> + '_ {
        gaps(&self.files, self.len).into_iter().chain(self.files.iter().copied())
    }

    /// Where each stream begins and ends in the order of cutting: what stands between files, then each file.
    pub(crate) fn streams(&self) -> Vec<Extent> {
        let files_len: u64 = self.files.iter().map(|file| file.len).sum();
        let mut at = self.len - files_len;
        let mut streams = vec![Extent { offset: 0, len: at }];
        for file in &self.files {
            streams.push(Extent { offset: at, len: file.len });
            at += file.len;
        }
        streams
    }

    /// The runs that pages list, in order.
    pub(crate) fn listed(&self) -> impl Iterator<Item = usize> + '_ {
        self.runs.iter().enumerate().filter(|(_, run)| run.is_listed).map(|(index, _)| index)
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`IndexError::TooLong`], and [`IndexError::Packed`] where Zstandard fails.
    pub fn to_bytes(&self) -> Result<Vec<u8>, IndexError> {
        let mut writer = WireWriter::default();
        writer.string(self.name.as_bytes());
        writer.number(self.len);
        writer.raw(&self.sha256);
        writer.number(self.files.len() as u64);
        let mut at = 0;
        for file in &self.files {
            writer.number(file.offset - at);
            at = file.end();
        }
        self.files.iter().for_each(|file| writer.number(file.len));
        writer.bytes.extend(self.programs.iter().map(|&is_program| u8::from(is_program)));
        writer.number(self.runs.len() as u64);
        let ends: std::collections::HashSet<u64> = self.streams().iter().map(|stream| stream.end()).collect();
        for run in &self.runs {
            let is_last = ends.contains(&(run.offset + u64::from(run.len)));
            writer.number(if is_last { 0 } else { u64::from(run.len) });
        }
        writer.bytes.extend(self.runs.iter().map(|run| u8::from(run.is_listed)));
        self.runs.iter().for_each(|run| writer.number(u64::from(run.packed_len)));
        self.runs.iter().for_each(|run| writer.raw(&run.digest.0));
        self.pages.iter().for_each(|page| writer.number(u64::from(page.len)));
        self.pages.iter().for_each(|page| writer.raw(&page.digest));
        check_len(writer.bytes.len(), INDEX_UNPACKED_BYTES_MAX)?;
        let packed =
            zstd::bulk::compress(&writer.bytes, PACK_LEVEL).map_err(|_| IndexError::Packed("Zstandard"))?;
        let unpacked_len = (writer.bytes.len() as u32).to_le_bytes();
        let bytes = [&MAGIC[..], &[VERSION], &unpacked_len, &packed].concat();
        check_len(bytes.len(), INDEX_BYTES_MAX)?;
        Ok(bytes)
    }

    /// Takes the pages that stand in a chunk file for right, for fuzzing: they get other digests.
    #[doc(hidden)]
    pub fn seal_pages(&mut self, chunk_file: &[u8]) {
        let start = self.pages_offset();
        for page in &mut self.pages {
            let from = (start + page.offset) as usize;
            if let Some(bytes) = chunk_file.get(from..from + page.len as usize) {
                page.digest = PageInfo::digest_of(bytes);
            }
        }
    }

    /// Reads it. The caller has checked that the bytes are those that he trusts.
    ///
    /// # Errors
    /// [`IndexError`]. Memory is taken for what is there only.
    pub fn read(bytes: &[u8]) -> Result<Self, IndexError> {
        check_len(bytes.len(), INDEX_BYTES_MAX)?;
        let rest = bytes.strip_prefix(MAGIC).ok_or(IndexError::NotAnIndex)?;
        let (&version, rest) = rest.split_first().ok_or(IndexError::NotAnIndex)?;
        if version != VERSION {
            return Err(IndexError::Version(version));
        }
        let (&unpacked_len, packed) = rest.split_first_chunk().ok_or(IndexError::NotAnIndex)?;
        let unpacked_len = u32::from_le_bytes(unpacked_len) as usize;
        check_len(unpacked_len, INDEX_UNPACKED_BYTES_MAX)?;
        let body = unpack(packed, unpacked_len)?;
        Self::read_body(&body)
    }

    fn read_body(body: &[u8]) -> Result<Self, IndexError> {
        let mut reader = WireReader::new(body);
        let name = reader.name(NAME_BYTES_MAX)?;
        let len = reader.limited("a payload's length", PAYLOAD_BYTES_MAX)?;
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(reader.raw(32)?);
        let files_count = reader.count("files", FILES_MAX)?;
        let mut columns = Columns { reader };
        let distances = columns.column("a file's distance", files_count, len)?;
        let lens = columns.column("a file's length", files_count, len)?;
        let mut files = Vec::with_capacity(files_count);
        let mut at = 0_u64;
        for (distance, file_len) in distances.into_iter().zip(lens) {
            // None of them is above the payload's length: the sum fits.
            let offset = at + distance;
            at = offset + file_len;
            if at > len || file_len == 0 {
                return Err(IndexError::Invalid("a file is empty or outside the payload"));
            }
            files.push(Extent { offset, len: file_len });
        }
        let programs = columns.reader.raw(files_count)?.iter().map(|&flag| flag != 0).collect();
        let mut index = Self { name, len, sha256, files, programs, runs: Vec::new(), pages: Vec::new() };
        index.read_runs(&mut columns)?;
        index.read_pages(&mut columns)?;
        columns.reader.finish()?;
        Ok(index)
    }

    fn read_runs(&mut self, columns: &mut Columns<'_>) -> Result<(), IndexError> {
        let count = columns.reader.count("runs", RUNS_MAX)?;
        let mut streams = self.streams().into_iter().filter(|stream| stream.len > 0);
        let mut stream = streams.next();
        let mut offset = 0;
        self.runs.reserve_exact(count);
        for len in columns.column("a run's length", count, RUN_BYTES_MAX as u64)? {
            let end = stream.ok_or(IndexError::Invalid("there are more runs than bytes"))?.end();
            let len = if len == 0 { end - offset } else { len };
            if len > RUN_BYTES_MAX as u64 || len > end - offset {
                return Err(IndexError::Invalid("a run is too long"));
            }
            let digest = RunDigest([0; 12]);
            let run = RunInfo {
                offset,
                len: len as u32,
                digest,
                packed_offset: 0,
                packed_len: 0,
                is_listed: false,
            };
            self.runs.push(run);
            offset += len;
            if offset == end {
                stream = streams.next();
            }
        }
        if stream.is_some() {
            return Err(IndexError::Invalid("there are fewer runs than bytes"));
        }
        for (run, &flag) in self.runs.iter_mut().zip(columns.reader.raw(count)?) {
            run.is_listed = flag != 0;
        }
        let mut packed_offset = 0;
        for (run, packed_len) in
            self.runs.iter_mut().zip(columns.column("a run's packed length", count, RUN_BYTES_MAX as u64)?)
        {
            if packed_len == 0 || packed_len > u64::from(run.len) {
                return Err(IndexError::Invalid("a run is packed in more bytes than it has, or in none"));
            }
            (run.packed_offset, run.packed_len) = (packed_offset, packed_len as u32);
            packed_offset += packed_len;
        }
        for run in &mut self.runs {
            run.digest.0.copy_from_slice(columns.reader.raw(12)?);
        }
        Ok(())
    }

    fn read_pages(&mut self, columns: &mut Columns<'_>) -> Result<(), IndexError> {
        let count = self.listed().count().div_ceil(PAGE_RUNS);
        let mut offset = 0;
        for len in columns.column("a page's length", count, PAGE_BYTES_MAX as u64)? {
            self.pages.push(PageInfo { offset, len: len as u32, digest: [0; PAGE_DIGEST_BYTES] });
            offset += len;
        }
        for page in &mut self.pages {
            page.digest.copy_from_slice(columns.reader.raw(PAGE_DIGEST_BYTES)?);
        }
        Ok(())
    }
}

/// Unpacks a Zstandard frame of exactly so many bytes. The room for them is a named limit at most.
pub(crate) fn unpack(packed: &[u8], len: usize) -> Result<Vec<u8>, IndexError> {
    let bytes =
        zstd::bulk::decompress(packed, len).map_err(|_| IndexError::Packed("the frame is damaged"))?;
    if bytes.len() == len { Ok(bytes) } else { Err(IndexError::Packed("the length is wrong")) }
}

fn check_len(have: usize, limit: usize) -> Result<(), IndexError> {
    let (have, limit) = (have as u64, limit as u64);
    if have <= limit { Ok(()) } else { Err(IndexError::TooLong { have, limit }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Index {
        let run = |offset, len, packed_offset, packed_len, is_listed| RunInfo {
            offset,
            len,
            digest: RunDigest::of(&[offset as u8]),
            packed_offset,
            packed_len,
            is_listed,
        };
        Index {
            name: "layer".into(),
            len: 200_000,
            sha256: [7; 32],
            files: vec![Extent { offset: 512, len: 150_000 }, Extent { offset: 160_000, len: 40_000 }],
            programs: vec![true, false],
            runs: vec![
                run(0, 10_000, 0, 900, false),
                run(10_000, 100_000, 900, 60_000, true),
                run(110_000, 50_000, 60_900, 50_000, true),
                run(160_000, 40_000, 110_900, 30_000, true),
            ],
            pages: vec![PageInfo { offset: 0, len: 1234, digest: [9; 16] }],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let index = sample();
        assert_eq!(Index::read(&index.to_bytes().unwrap()).unwrap(), index);
        assert_eq!(index.chunk_file_len(), 140_900 + 1234);
        let order: u64 = index.order().map(|extent| extent.len).sum();
        assert_eq!(order, index.len);
    }

    #[test]
    fn an_empty_payload_has_an_index() {
        let index = Index {
            len: 0,
            files: Vec::new(),
            programs: Vec::new(),
            runs: Vec::new(),
            pages: Vec::new(),
            ..sample()
        };
        assert_eq!(Index::read(&index.to_bytes().unwrap()).unwrap(), index);
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let refused = |change: &dyn Fn(&mut Index)| {
            let mut index = sample();
            change(&mut index);
            Index::read(&index.to_bytes().unwrap()).unwrap_err().to_string()
        };
        assert!(refused(&|index| index.runs.truncate(3)).contains("damaged"));
        assert!(refused(&|index| index.runs[1].packed_len = 100_001).contains("more bytes"));
        assert!(refused(&|index| index.runs[0].packed_len = 0).contains("none"));
        assert!(refused(&|index| index.pages.clear()).contains("damaged"));
        assert!(matches!(Index::read(b"FLUVIALi\x02"), Err(IndexError::Version(2))));
        assert!(matches!(Index::read(b"something else"), Err(IndexError::NotAnIndex)));
        let bomb = [&MAGIC[..], &[VERSION], &u32::MAX.to_le_bytes()].concat();
        assert!(matches!(Index::read(&bomb), Err(IndexError::TooLong { .. })));
    }

    proptest! {
        #[test]
        fn any_body_is_read_without_panic(body: Vec<u8>) {
            let _ = Index::read_body(&body);
        }

        #[test]
        fn damaged_bodies_are_read_without_panic(at in 0_usize..120, byte: u8) {
            let bytes = sample().to_bytes().unwrap();
            let mut body = unpack(&bytes[13..], u32::from_le_bytes(bytes[9..13].try_into().unwrap()) as usize).unwrap();
            let at = at % body.len();
            body[at] = byte;
            if let Ok(index) = Index::read_body(&body) {
                let sum: u64 = index.runs.iter().map(|run| u64::from(run.len)).sum();
                prop_assert_eq!(sum, index.len);
            }
        }
    }
}
