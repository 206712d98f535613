//! The index of a payload: what it is made of, and where its chunks stand.

mod files;

use std::fmt;
use std::ops::Range;

use fluvial_delta::header::Sha256Digest;
use fluvial_delta::structure::{Extent, Files};
use fluvial_delta::wire::{WireError, WireReader, WireWriter};

use crate::cutting::Cutting;
use crate::error::IndexError;
use crate::hash::{HashKind, Hasher};
use crate::limits::{
    INDEX_BYTES_MAX, INDEX_UNPACKED_BYTES_MAX, NAME_BYTES_MAX, PACKED_EXTENTS_MAX, PACKED_FILES_MAX,
    PACKING_BYTES_MAX, PAGE_BYTES_MAX, PAGE_CHUNKS_MAX, PAYLOAD_BYTES_MAX, RUNS_MAX, UNPACKED_BYTES_MAX,
    ZERO_RUN_BYTES_MAX,
};
use crate::parity;
use crate::scatter::between;

pub(crate) use files::check as check_files;
pub use files::is_one;

/// How an index begins.
const MAGIC: &[u8; 8] = b"FLUVIALi";
const VERSION: u8 = 7;
/// A page lists the chunks of runs that have so many bytes together, or of more than that by the last run. Most
/// long runs have a page for themselves: where one of several is missing, the others' chunks are listed in vain.
const PAGE_SPAN_BYTES: u64 = 32 << 10;
/// Bytes of a page's digest.
pub(crate) const PAGE_DIGEST_BYTES: usize = 12;
/// Pages whose lists stand together, and then all else that belongs to them: what is wanted of neighbours is one
/// range. Whoever publishes has a segment in memory.
pub(crate) const SEGMENT_PAGES: usize = 128;
/// Bytes of the digest of a packed chunk.
pub(crate) const ROW_DIGEST_BYTES: u64 = 12;
const PACK_LEVEL: i32 = 19;

/// The first 12 bytes of a digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunDigest(pub [u8; 12]);

impl RunDigest {
    /// That of these bytes.
    pub fn of(hash: HashKind, bytes: &[u8]) -> Self {
        Self::cut(&hash.digest(bytes))
    }

    /// That of all that a hasher was given.
    pub fn of_all(hasher: Hasher) -> Self {
        Self::cut(&hasher.finish())
    }

    fn cut(full: &[u8; 32]) -> Self {
        let mut digest = [0; 12];
        digest.copy_from_slice(&full[..12]);
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
    /// The digest of its bytes; that of a run of zeros is zero.
    pub digest: RunDigest,
    /// Where its packed chunks stand in the chunk file.
    pub packed_offset: u64,
    /// How many bytes they have; none for a run of zeros.
    pub packed_len: u32,
}

impl RunInfo {
    /// Whether all its bytes are zero.
    pub fn is_zeros(&self) -> bool {
        self.packed_len == 0
    }
}

/// A page: a list of the chunks of a few runs. It stands before their packed chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PageInfo {
    /// The runs that it lists, zeros among them.
    pub(crate) runs: Range<usize>,
    /// Where it stands in the chunk file.
    pub(crate) offset: u64,
    pub(crate) len: u32,
    pub(crate) digest: [u8; PAGE_DIGEST_BYTES],
    /// How many chunks it lists.
    pub(crate) chunks: u32,
    /// How many chunks the pages before it in its segment list.
    pub(crate) first_chunk: u32,
}

/// Pages in a row, and where in the chunk file stands what belongs to their chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The digests of packed chunks.
    pub(crate) rows: u64,
    /// The syndromes of chunks, by levels ([`crate::parity`]).
    pub(crate) parity: [u64; parity::LEVELS.len()],
}

impl PageInfo {
    pub(crate) fn digest_of(hash: HashKind, bytes: &[u8]) -> [u8; PAGE_DIGEST_BYTES] {
        let mut digest = [0; PAGE_DIGEST_BYTES];
        digest.copy_from_slice(&hash.digest(bytes)[..PAGE_DIGEST_BYTES]);
        digest
    }
}

/// Gathers runs to those of a page.
#[derive(Debug, Default)]
pub(crate) struct PageSpan {
    bytes: u64,
}

impl PageSpan {
    /// Takes one run more; answers whether the page ends with it. Zeros have no chunks to be listed.
    pub(crate) fn ends_with(&mut self, run_len: u32, is_zeros: bool) -> bool {
        if !is_zeros {
            self.bytes += u64::from(run_len);
        }
        let ends = self.bytes >= PAGE_SPAN_BYTES;
        if ends {
            self.bytes = 0;
        }
        ends
    }

    /// Whether there is a run for another page.
    pub(crate) fn is_begun(&self) -> bool {
        self.bytes > 0
    }
}

/// What is packed in a payload. Packed files are not cut: what they hold is, as if it stood behind the payload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Where each packed file stands in the payload.
    pub files: Vec<Vec<Extent>>,
    /// The digest of each, as it stands there: a device that has one need not pack it.
    pub digests: Vec<RunDigest>,
    /// How many bytes each unpacks to; none where whoever looked has left it packed, because nobody wants what it holds.
    pub lens: Vec<u64>,
    /// A patch (docs/format.md) that makes the packed files, in their order, of what they unpack to. None where
    /// nobody has to make them.
    pub packing: Vec<u8>,
}

impl Unpacked {
    /// How many bytes they unpack to together.
    pub fn len(&self) -> u64 {
        self.lens.iter().sum()
    }

    /// Whether nothing is unpacked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where what each unpacks to stands among all that is unpacked.
    pub fn places(&self) -> impl Iterator<Item = Extent> {
        self.lens.iter().scan(0, |end, &len| {
            let offset = *end;
            *end += len;
            Some(Extent { offset, len })
        })
    }

    /// How many bytes of the payload stand in packed files.
    pub fn packed_bytes(&self) -> u64 {
        self.files.iter().flatten().map(|extent| extent.len).sum()
    }
}

/// What a payload is made of. Memory: about 40 bytes for each run, of which there is one for each short file
/// and one for about 40 KiB of longer ones, and 21 for each file. Where it is cut to blocks there is a run for
/// each of 16 KiB or more, or for 64 KiB of shorter ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The payload's name.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
    /// Its SHA-256.
    pub sha256: Sha256Digest,
    /// The hash of runs, chunks and pages.
    pub hash: HashKind,
    /// How it is cut.
    pub cutting: Cutting,
    /// Where its files stand, in the order in which they begin. There are none where it is cut to blocks.
    pub files: Files,
    /// Which files are programs whose references were masked.
    pub programs: Vec<bool>,
    /// What is packed in it, and was unpacked to be cut.
    pub unpacked: Unpacked,
    /// Its runs, in the order of cutting.
    pub runs: Vec<RunInfo>,
    pub(crate) pages: Vec<PageInfo>,
    pub(crate) segments: Vec<Segment>,
    pub(crate) chunk_file_len: u64,
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
    /// How long the chunk file is, in bytes.
    pub fn chunk_file_len(&self) -> u64 {
        self.chunk_file_len
    }

    /// Whether chunks have parity: where nothing is masked nothing is told, and parity would be of no use.
    pub(crate) fn has_parity(&self) -> bool {
        self.cutting == Cutting::Files
    }

    /// The payload and what is unpacked behind it, in bytes. Files may stand in either.
    pub fn cut_len(&self) -> u64 {
        self.len + self.unpacked.len()
    }

    /// The payload in the order of cutting: what stands between files, then the files.
    pub fn order(&self) -> impl Iterator<Item = Extent> + '_ {
        let between = between(&self.files, &self.unpacked.files, self.cut_len());
        between.into_iter().chain(self.files.iter().flatten().copied())
    }

    /// Where each stream begins and ends in the order of cutting: what stands between files, then each file.
    pub(crate) fn streams(&self) -> Vec<Extent> {
        let files_len: u64 = self.files.stored().map(|extent| extent.len).sum();
        // Whoever made or read it has seen to it that no file overlaps another one.
        let mut at = self.cut_len().saturating_sub(files_len + self.unpacked.packed_bytes());
        let mut streams = vec![Extent { offset: 0, len: at }];
        for file in self.files.iter() {
            let len = file.iter().map(|extent| extent.len).sum();
            streams.push(Extent { offset: at, len });
            at += len;
        }
        streams
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`IndexError::TooLong`], and [`IndexError::Packed`] where Zstandard fails.
    pub fn to_bytes(&self) -> Result<Vec<u8>, IndexError> {
        self.to_bytes_at(PACK_LEVEL)
    }

    /// Writes it packed at another level of Zstandard: a device that keeps an index has less memory than who
    /// publishes it.
    ///
    /// # Errors
    /// As [`Index::to_bytes`].
    pub fn to_bytes_at(&self, level: i32) -> Result<Vec<u8>, IndexError> {
        let mut writer = WireWriter::default();
        writer.string(self.name.as_bytes());
        writer.number(self.len);
        writer.raw(&self.sha256);
        writer.raw(&[self.hash.code()]);
        self.cutting.write(&mut writer);
        self.write_files(&mut writer);
        self.write_unpacked(&mut writer);
        writer.number(self.runs.len() as u64);
        let ends: std::collections::HashSet<u64> = self.streams().iter().map(|stream| stream.end()).collect();
        for run in &self.runs {
            let is_last = ends.contains(&(run.offset + u64::from(run.len)));
            writer.number(if is_last { 0 } else { u64::from(run.len) });
        }
        self.runs.iter().for_each(|run| writer.number(u64::from(run.packed_len)));
        self.runs.iter().filter(|run| !run.is_zeros()).for_each(|run| writer.raw(&run.digest.0));
        self.pages.iter().for_each(|page| writer.number(u64::from(page.len)));
        self.pages.iter().for_each(|page| writer.number(u64::from(page.chunks)));
        self.pages.iter().for_each(|page| writer.raw(&page.digest));
        check_len(writer.bytes.len(), INDEX_UNPACKED_BYTES_MAX)?;
        let packed =
            zstd::bulk::compress(&writer.bytes, level).map_err(|_| IndexError::Packed("Zstandard"))?;
        let unpacked_len = (writer.bytes.len() as u32).to_le_bytes();
        let bytes = [&MAGIC[..], &[VERSION], &unpacked_len, &packed].concat();
        check_len(bytes.len(), INDEX_BYTES_MAX)?;
        Ok(bytes)
    }

    /// Takes the pages that stand in a chunk file for right, for fuzzing: they get other digests.
    #[doc(hidden)]
    pub fn seal_pages(&mut self, chunk_file: &[u8]) {
        for page in &mut self.pages {
            let from = page.offset as usize;
            if let Some(bytes) = chunk_file.get(from..from + page.len as usize) {
                page.digest = PageInfo::digest_of(self.hash, bytes);
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
        let hash = reader.raw(1)?[0];
        let hash = HashKind::of_code(hash).ok_or(IndexError::Invalid("its hash is not known here"))?;
        let cutting = Cutting::read(&mut reader)?;
        let mut columns = Columns { reader };
        // Files may stand in what is told to be unpacked further on: they are looked at then.
        let (files, programs) = Self::read_files(&mut columns, cutting, len + UNPACKED_BYTES_MAX)?;
        let mut index = Self {
            name,
            len,
            sha256,
            hash,
            cutting,
            files,
            programs,
            unpacked: Unpacked::default(),
            runs: Vec::new(),
            pages: Vec::new(),
            segments: Vec::new(),
            chunk_file_len: 0,
        };
        index.read_unpacked(&mut columns.reader)?;
        index.read_runs(&mut columns)?;
        index.read_pages(&mut columns)?;
        columns.reader.finish()?;
        Ok(index)
    }

    fn write_unpacked(&self, writer: &mut WireWriter) {
        let unpacked = &self.unpacked;
        writer.number(unpacked.files.len() as u64);
        for ((file, digest), len) in unpacked.files.iter().zip(&unpacked.digests).zip(&unpacked.lens) {
            writer.raw(&digest.0);
            writer.number(*len);
            writer.number(file.len() as u64);
            for extent in file {
                writer.number(extent.offset);
                writer.number(extent.len);
            }
        }
        if !unpacked.files.is_empty() {
            writer.string(&unpacked.packing);
        }
    }

    fn read_unpacked(&mut self, reader: &mut WireReader<'_>) -> Result<(), IndexError> {
        let (mut unpacked, mut unpacked_len) = (Unpacked::default(), 0);
        for _ in 0..reader.count("packed files", PACKED_FILES_MAX)? {
            let mut digest = RunDigest([0; 12]);
            digest.0.copy_from_slice(reader.raw(12)?);
            unpacked.digests.push(digest);
            let len = reader.limited("an unpacked length", UNPACKED_BYTES_MAX - unpacked_len)?;
            unpacked_len += len;
            unpacked.lens.push(len);
            let mut file = Vec::new();
            for _ in 0..reader.count("extents of a packed file", PACKED_EXTENTS_MAX)? {
                let offset = reader.limited("where a packed file stands", self.len)?;
                file.push(Extent {
                    offset,
                    len: reader.limited("a packed file's length", self.len - offset)?,
                });
            }
            unpacked.files.push(file);
        }
        if !unpacked.files.is_empty() {
            unpacked.packing = reader.string("a packing", PACKING_BYTES_MAX)?.to_vec();
        }
        self.unpacked = unpacked;
        check_files(&self.files, &self.unpacked.files, self.cut_len()).map_err(|_| {
            IndexError::Invalid("a file is empty, outside the payload, in another one, or mostly holes")
        })
    }

    fn read_runs(&mut self, columns: &mut Columns<'_>) -> Result<(), IndexError> {
        let count = columns.reader.count("runs", RUNS_MAX)?;
        let mut streams = self.streams().into_iter().filter(|stream| stream.len > 0);
        let mut stream = streams.next();
        let mut offset = 0;
        self.runs.reserve_exact(count);
        for len in columns.column("a run's length", count, ZERO_RUN_BYTES_MAX as u64)? {
            let end = stream.ok_or(IndexError::Invalid("there are more runs than bytes"))?.end();
            let len = if len == 0 { end - offset } else { len };
            if len > ZERO_RUN_BYTES_MAX as u64 || len > end - offset {
                return Err(IndexError::Invalid("a run is too long"));
            }
            let digest = RunDigest([0; 12]);
            self.runs.push(RunInfo { offset, len: len as u32, digest, packed_offset: 0, packed_len: 0 });
            offset += len;
            if offset == end {
                stream = streams.next();
            }
        }
        if stream.is_some() {
            return Err(IndexError::Invalid("there are fewer runs than bytes"));
        }
        let run_bytes_max = self.cutting.run_bytes_max();
        let packed_lens = columns.column("a run's packed length", count, run_bytes_max as u64)?;
        for (run, packed_len) in self.runs.iter_mut().zip(packed_lens) {
            run.packed_len = packed_len as u32;
            if run.packed_len > run.len {
                return Err(IndexError::Invalid("a run is packed in more bytes than it has"));
            }
            if !run.is_zeros() && run.len as usize > run_bytes_max {
                return Err(IndexError::Invalid("a run is too long"));
            }
        }
        for run in self.runs.iter_mut().filter(|run| !run.is_zeros()) {
            run.digest.0.copy_from_slice(columns.reader.raw(12)?);
        }
        Ok(())
    }

    fn read_pages(&mut self, columns: &mut Columns<'_>) -> Result<(), IndexError> {
        let spans = self.page_spans();
        let lens = columns.column("a page's length", spans.len(), PAGE_BYTES_MAX as u64)?;
        let counts = columns.column("a page's count of chunks", spans.len(), PAGE_CHUNKS_MAX as u64)?;
        self.pages.reserve_exact(spans.len());
        for ((runs, len), chunks) in spans.into_iter().zip(lens).zip(counts) {
            let mut digest = [0; PAGE_DIGEST_BYTES];
            digest.copy_from_slice(columns.reader.raw(PAGE_DIGEST_BYTES)?);
            let (len, chunks) = (len as u32, chunks as u32);
            if len == 0 {
                return Err(IndexError::Invalid("a page has no bytes"));
            }
            self.pages.push(PageInfo { runs, offset: 0, len, digest, chunks, first_chunk: 0 });
        }
        self.place();
        Ok(())
    }

    /// Where the digests of the packed chunks of a page stand in the chunk file.
    pub(crate) fn row_of(&self, page: usize) -> Range<u64> {
        let info = &self.pages[page];
        let start = self.segments[page / SEGMENT_PAGES].rows + u64::from(info.first_chunk) * ROW_DIGEST_BYTES;
        start..start + u64::from(info.chunks) * ROW_DIGEST_BYTES
    }

    /// Where the syndromes of a chunk stand that a level adds, by its place among those of the page's segment.
    pub(crate) fn parity_of(&self, page: usize, chunk: u32, level: usize) -> Range<u64> {
        let width = parity::widths()[level] as u64;
        let start = self.segments[page / SEGMENT_PAGES].parity[level] + u64::from(chunk) * width;
        start..start + width
    }

    /// Tells where everything stands in the chunk file, of the lengths of all.
    pub(crate) fn place(&mut self) {
        let widths = if self.has_parity() { parity::widths() } else { [0; parity::LEVELS.len()] };
        let (mut offset, mut run) = (0, 0);
        self.segments.clear();
        for pages in self.pages.chunks_mut(SEGMENT_PAGES) {
            let mut chunks = 0;
            for page in &mut *pages {
                (page.offset, page.first_chunk) = (offset, chunks);
                offset += u64::from(page.len);
                chunks += page.chunks;
            }
            let rows = offset;
            offset += u64::from(chunks) * ROW_DIGEST_BYTES;
            let parity = widths.map(|width| {
                let at = offset;
                offset += u64::from(chunks) * width as u64;
                at
            });
            self.segments.push(Segment { rows, parity });
            let end = pages.last().map_or(run, |page| page.runs.end);
            for run in &mut self.runs[run..end] {
                run.packed_offset = offset;
                offset += u64::from(run.packed_len);
            }
            run = end;
        }
        // Zeros at the end, which no page lists.
        self.runs[run..].iter_mut().for_each(|run| run.packed_offset = offset);
        self.chunk_file_len = offset;
    }

    /// Gives runs that were not packed the places and pages that a reader expects: none is empty.
    pub(crate) fn place_unpacked(&mut self) {
        let digest = [0; PAGE_DIGEST_BYTES];
        let page = |runs| PageInfo { runs, offset: 0, len: 1, digest, chunks: 0, first_chunk: 0 };
        self.pages = self.page_spans().into_iter().map(page).collect();
        self.place();
    }

    /// The runs of each page.
    fn page_spans(&self) -> Vec<Range<usize>> {
        let mut spans = Vec::new();
        let (mut span, mut first) = (PageSpan::default(), 0);
        for (index, run) in self.runs.iter().enumerate() {
            if span.ends_with(run.len, run.is_zeros()) {
                spans.push(first..index + 1);
                first = index + 1;
            }
        }
        if span.is_begun() {
            spans.push(first..self.runs.len());
        }
        spans
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
        let run = |offset, len, packed_len| RunInfo {
            offset,
            len,
            digest: RunDigest(if packed_len == 0 { [0; 12] } else { [len as u8; 12] }),
            packed_offset: 0,
            packed_len,
        };
        let page = |runs, len| PageInfo { runs, offset: 0, len, digest: [9; 12], chunks: 7, first_chunk: 0 };
        let mut index = Index {
            name: "layer".into(),
            len: 700_000,
            sha256: [7; 32],
            hash: HashKind::Sha256,
            cutting: Cutting::Files,
            files: [
                &[Extent { offset: 512, len: 100_000 }, Extent { offset: 200_000, len: 50_000 }][..],
                &[Extent { offset: 460_000, len: 40_000 }, Extent::hole(10_000)],
            ]
            .into_iter()
            .collect(),
            programs: vec![true, false],
            unpacked: Unpacked::default(),
            runs: vec![
                run(0, 10_000, 900),
                run(10_000, 300_000, 0),
                run(310_000, 20_000, 6_000),
                run(330_000, 100_000, 50_000),
                run(430_000, 80_000, 40_000),
                run(510_000, 50_000, 40_000),
                run(560_000, 100_000, 90_000),
                run(660_000, 50_000, 30_000),
            ],
            pages: vec![page(0..4, 1234), page(4..5, 100), page(5..6, 100), page(6..7, 100), page(7..8, 100)],
            segments: Vec::new(),
            chunk_file_len: 0,
        };
        index.place();
        index
    }

    #[test]
    fn a_page_without_bytes_is_refused() {
        let mut index = sample();
        index.pages[2].len = 0;
        index.place();
        let refused = Index::read(&index.to_bytes().unwrap());
        assert!(matches!(refused, Err(IndexError::Invalid("a page has no bytes"))), "{refused:?}");
    }

    #[test]
    fn what_is_written_is_read() {
        let index = sample();
        assert_eq!(Index::read(&index.to_bytes().unwrap()).unwrap(), index);
        // Lists, then digests and parity of five times seven chunks, then the packed chunks.
        let (lists, packed) = (1634, 256_900);
        assert_eq!(index.chunk_file_len(), lists + 35 * (12 + 32) + packed);
        assert_eq!(index.runs[0].packed_offset, lists + 35 * (12 + 32));
        let order: u64 = index.order().map(|extent| extent.len).sum();
        // A hole is cut, too.
        assert_eq!(order, index.len + 10_000);
    }

    /// A run for each chunk, which are longer than files have them.
    pub(super) fn blocks_sample() -> Index {
        let run = |offset, len| RunInfo {
            offset,
            len,
            digest: RunDigest([len as u8; 12]),
            packed_offset: 0,
            packed_len: 10_000,
        };
        let page = |runs| PageInfo { runs, offset: 0, len: 100, digest: [9; 12], chunks: 1, first_chunk: 0 };
        let mut index = Index {
            len: 300_000,
            cutting: "casync-64".parse().unwrap(),
            files: Files::new(),
            programs: Vec::new(),
            runs: vec![run(0, 200_000), run(200_000, 100_000)],
            pages: vec![page(0..1), page(1..2)],
            ..sample()
        };
        index.place();
        index
    }

    #[test]
    fn an_index_of_blocks_is_read() {
        let index = blocks_sample();
        assert_eq!(Index::read(&index.to_bytes().unwrap()).unwrap(), index);
    }

    #[test]
    fn an_empty_payload_has_an_index() {
        let index = Index {
            len: 0,
            files: Files::new(),
            programs: Vec::new(),
            runs: Vec::new(),
            pages: Vec::new(),
            segments: Vec::new(),
            chunk_file_len: 0,
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
        assert!(refused(&|index| index.runs[3].packed_len = 100_001).contains("more bytes"));
        let files = |index: &mut Index, further: Extent| {
            let first = Extent { offset: 512, len: 100_000 };
            index.files =
                [&[first, further][..], &[Extent { offset: 460_000, len: 50_000 }]].into_iter().collect();
        };
        for further in [
            Extent { offset: 480_000, len: 50_000 },
            Extent { offset: 1000, len: 50_000 },
            Extent { offset: 700_000, len: 50_000 },
            Extent { offset: 200_000, len: 0 },
            Extent::hole(100_001),
        ] {
            assert!(refused(&|index| files(index, further)).contains("mostly holes"), "{further:?}");
        }
        let far = Extent { offset: UNPACKED_BYTES_MAX + 800_000, len: 50_000 };
        assert!(refused(&|index| files(index, far)).contains("outside the payload"));
        assert!(refused(&|index| index.runs[1].packed_len = 1).contains("too long"));
        let blocks = |index: &mut Index, name: &str| index.cutting = name.parse().unwrap();
        assert!(refused(&|index| blocks(index, "casync-64")).contains("has files"));
        assert!(
            refused(&|index| {
                *index = blocks_sample();
                blocks(index, "fixed-16");
            })
            .contains("too long")
        );
        assert!(refused(&|index| index.pages.clear()).contains("damaged"));
        assert!(matches!(Index::read(b"FLUVIALi\x01"), Err(IndexError::Version(1))));
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
                prop_assert_eq!(sum, index.streams().last().unwrap().end());
            }
        }
    }
}
