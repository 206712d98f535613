//! Cuts and packs a payload.

use std::io::Write;

use fluvial_delta::header::Sha256Digest;
use fluvial_delta::structure::{Extent, Files, ReadAt};
use rayon::prelude::*;

use crate::cut::{Chunk, Run, cut};
use crate::cutting::Cutting;
use crate::error::WriteError;
use crate::hash::HashKind;
use crate::index::{
    Index, PAGE_DIGEST_BYTES, PageInfo, PageSpan, RunDigest, RunInfo, SEGMENT_PAGES, Unpacked, check_files,
};
use crate::limits::{EXTENTS_MAX, FILES_MAX, NAME_BYTES_MAX, PAYLOAD_BYTES_MAX, RUNS_MAX};
use crate::notes::Notes;
use crate::pack::pack_run;
use crate::page::{self, Listed, Page};
use crate::parity::{self, PARITY_BYTES};
use crate::scatter::{Scatter, between};
use crate::survey::{Offer, Seen, Survey};

/// Runs that are packed at a time, on all threads.
const BATCH_RUNS: usize = 64;
/// Fewer of them where they have so many bytes together.
const BATCH_BYTES: usize = 8 << 20;

/// What is cut.
#[derive(Clone, Copy)]
pub struct Payload<'a> {
    /// Its name, [`NAME_BYTES_MAX`] bytes at most.
    pub name: &'a str,
    /// Its SHA-256, which the caller has made or checked.
    pub sha256: Sha256Digest,
    /// Its bytes.
    pub bytes: &'a dyn ReadAt,
    /// Where files stand in it that have bytes, in the order in which they begin and without overlaps: chunks start
    /// where they do. Each [`is_one`](crate::is_one). They mean nothing where it is cut to blocks.
    pub files: &'a Files,
    /// What is packed in it: it stands behind the payload in `bytes`, and `files` may stand in it. Means nothing
    /// where it is cut to blocks, and then nothing stands behind.
    pub unpacked: Option<&'a Unpacked>,
}

impl Payload<'_> {
    /// The payload's own length in bytes.
    fn len(&self) -> u64 {
        self.bytes.len() - self.unpacked.map_or(0, Unpacked::len)
    }

    /// What stands between files.
    fn between(&self, files: &Files) -> Vec<Extent> {
        let packed = self.unpacked.map_or(&[][..], |unpacked| &unpacked.files);
        between(files, packed, self.bytes.len())
    }
}

/// What becomes of a run.
struct PackedRun {
    chunks: Vec<Listed>,
    /// The digest of each packed chunk.
    row: Vec<u8>,
    /// The syndromes of each chunk; none where there is no parity.
    parity: Vec<[u8; PARITY_BYTES]>,
    /// All packed chunks.
    bytes: Vec<u8>,
}

/// How a payload is written.
#[derive(Debug, Clone, Copy)]
pub struct WriteOptions {
    /// The level of Zstandard, from 1 to 22.
    pub level: i32,
    /// How it is cut.
    pub cutting: Cutting,
    /// The hash of runs, chunks and pages.
    pub hash: HashKind,
}

/// Cuts a payload, writes its chunk file to `chunks`, and answers its index. `progress` hears how many more bytes are done, and cancels by answering `false`.
///
/// Memory: about 24 MiB on two threads, 128 pages with their packed chunks (about 6 MiB), and 40 bytes for each
/// run.
///
/// # Errors
/// [`WriteError`].
pub fn write(
    payload: Payload<'_>,
    options: WriteOptions,
    chunks: &mut dyn Write,
    progress: &dyn Fn(u64) -> bool,
) -> Result<Index, WriteError> {
    check(payload)?;
    let len = payload.len();
    let files = options.cutting.files(payload.files);
    let mut writer = Writer {
        options,
        chunks,
        progress,
        batch: Vec::new(),
        batch_bytes: 0,
        runs: Vec::new(),
        page: OpenPage::default(),
        segment: OpenSegment::default(),
        pages: Vec::new(),
        offset: 0,
    };
    let between = Scatter::new(payload.bytes, payload.between(files));
    writer.stream(&between)?;
    let mut programs = Vec::with_capacity(files.len());
    for file in files.iter() {
        let content = Scatter::new(payload.bytes, file.iter().copied());
        programs.push(writer.stream(&content)?);
    }
    writer.pack_batch()?;
    writer.finish()?;
    let mut index = Index {
        name: payload.name.into(),
        len,
        sha256: payload.sha256,
        hash: options.hash,
        cutting: options.cutting,
        files: files.clone(),
        programs,
        unpacked: payload.unpacked.cloned().unwrap_or_default(),
        runs: writer.runs,
        pages: writer.pages,
        segments: Vec::new(),
        chunk_file_len: 0,
    };
    index.place();
    Ok(index)
}

/// Cuts a payload and packs nothing: answers an index of what somebody has, for [`crate::Assembly::note_indexed`].
/// It has no chunk file. `offer` hears of every run, on several threads, while its bytes are in memory. `progress` hears how many more bytes are done, and cancels by answering `false`.
///
/// Memory: 2 MiB, and 40 bytes for each run; 4 MiB for the longest blocks; 6 MiB for notes.
///
/// # Errors
/// [`WriteError`].
pub fn index_of(
    payload: Payload<'_>,
    survey: &Survey<'_>,
    offer: &Offer<'_>,
    progress: &dyn Fn(u64) -> bool,
) -> Result<(Index, Notes), WriteError> {
    check(payload)?;
    let (cutting, hash) = (survey.cutting, survey.hash);
    let len = payload.len();
    let files = cutting.files(payload.files);
    let mut index = Index {
        name: payload.name.into(),
        len,
        sha256: payload.sha256,
        hash,
        cutting,
        files: files.clone(),
        programs: Vec::with_capacity(files.len()),
        unpacked: payload.unpacked.cloned().unwrap_or_default(),
        runs: Vec::new(),
        pages: Vec::new(),
        segments: Vec::new(),
        chunk_file_len: 0,
    };
    let between = Scatter::new(payload.bytes, payload.between(files));
    let streams = files.iter().map(|file| Scatter::new(payload.bytes, file.iter().copied()));
    let streams: Vec<_> = std::iter::once(between).chain(streams).collect();
    let streams: Vec<&dyn ReadAt> = streams.iter().map(|stream| stream as &dyn ReadAt).collect();
    let mut offset = 0;
    let mut notes = Notes::default();
    survey.see(&streams, offer, |stream, Seen { runs, is_program, noted, fault }| {
        if let Some(fault) = fault {
            return Err(WriteError::Read(fault));
        }
        if let Some(noted) = noted {
            notes.add(stream, noted);
        }
        for mut run in runs {
            run.offset = offset;
            offset += u64::from(run.len);
            index.runs.push(run);
            if !progress(u64::from(run.len)) {
                return Err(WriteError::Cancelled);
            }
        }
        // What stands between files is none of them.
        if stream > 0 {
            index.programs.push(is_program);
        }
        limit("the payload's list of runs", index.runs.len() as u64, RUNS_MAX as u64)
    })?;
    index.place_unpacked();
    Ok((index, notes))
}

fn check(payload: Payload<'_>) -> Result<(), WriteError> {
    let len = payload.bytes.len();
    limit("the payload", len, PAYLOAD_BYTES_MAX)?;
    limit("the payload's name", payload.name.len() as u64, NAME_BYTES_MAX as u64)?;
    limit("the payload's list of files", payload.files.len() as u64, FILES_MAX as u64)?;
    let further = payload.files.iter().map(|file| file.len().saturating_sub(1)).sum::<usize>();
    limit("the payload's list of extents", further as u64, EXTENTS_MAX as u64)?;
    let packed = payload.unpacked.map_or(&[][..], |unpacked| &unpacked.files);
    check_files(payload.files, packed, len).map_err(WriteError::Files)
}

/// The runs of a page that is not full.
#[derive(Default)]
struct OpenPage {
    span: PageSpan,
    /// Its first run.
    first: usize,
    /// The chunks of each that is not zeros.
    lists: Vec<Vec<Listed>>,
    row: Vec<u8>,
}

/// What is written of pages once there are enough of them.
#[derive(Default)]
struct OpenSegment {
    pages: usize,
    lists: Vec<u8>,
    rows: Vec<u8>,
    parity: [Vec<u8>; parity::LEVELS.len()],
    packed: Vec<u8>,
}

struct Writer<'a> {
    options: WriteOptions,
    chunks: &'a mut dyn Write,
    progress: &'a dyn Fn(u64) -> bool,
    /// Runs that are not packed yet.
    batch: Vec<(Run, Vec<u8>)>,
    /// How many bytes they have, zeros not counted.
    batch_bytes: usize,
    runs: Vec<RunInfo>,
    page: OpenPage,
    segment: OpenSegment,
    pages: Vec<PageInfo>,
    /// Where the next run stands in the order of cutting.
    offset: u64,
}

impl Writer<'_> {
    /// Cuts a stream; answers whether it is a program.
    fn stream(&mut self, stream: &dyn ReadAt) -> Result<bool, WriteError> {
        let mut is_program = false;
        cut(stream, self.options.cutting, self.options.hash, true, WriteError::Read, &mut |run, bytes| {
            is_program = run.is_program;
            let bytes = if run.is_zeros() { Vec::new() } else { bytes.to_vec() };
            self.batch_bytes += bytes.len();
            self.batch.push((run.clone(), bytes));
            let is_full = self.batch.len() >= BATCH_RUNS || self.batch_bytes >= BATCH_BYTES;
            if is_full { self.pack_batch() } else { Ok(()) }
        })?;
        Ok(is_program)
    }

    fn pack_batch(&mut self) -> Result<(), WriteError> {
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        limit("the payload's list of runs", (self.runs.len() + batch.len()) as u64, RUNS_MAX as u64)?;
        let options = self.options;
        let packed: Vec<Result<PackedRun, &'static str>> =
            batch.par_iter().map(|(run, bytes)| pack(run, bytes, options)).collect();
        for ((run, _), packed) in batch.iter().zip(packed) {
            let packed = packed.map_err(WriteError::Pack)?;
            self.runs.push(RunInfo {
                offset: self.offset,
                len: run.len as u32,
                digest: run.digest,
                // The index tells where, once everything is written.
                packed_offset: 0,
                packed_len: packed.bytes.len() as u32,
            });
            self.offset += run.len as u64;
            if !run.is_zeros() {
                self.take(packed);
            }
            if self.page.span.ends_with(run.len as u32, run.is_zeros()) {
                self.close_page()?;
            }
            if !(self.progress)(run.len as u64) {
                return Err(WriteError::Cancelled);
            }
        }
        Ok(())
    }

    /// Puts a packed run where it belongs.
    fn take(&mut self, packed: PackedRun) {
        self.page.lists.push(packed.chunks);
        self.page.row.extend_from_slice(&packed.row);
        for parity in &packed.parity {
            let mut at = 0;
            for (column, end) in self.segment.parity.iter_mut().zip(parity::LEVELS) {
                column.extend_from_slice(&parity[at..end]);
                at = end;
            }
        }
        self.segment.packed.extend_from_slice(&packed.bytes);
    }

    /// Writes what is left. What stands behind the last page is zeros.
    fn finish(&mut self) -> Result<(), WriteError> {
        if self.page.span.is_begun() {
            self.close_page()?;
        }
        self.close_segment()
    }

    fn close_page(&mut self) -> Result<(), WriteError> {
        let open = std::mem::take(&mut self.page);
        let runs = open.first..self.runs.len();
        self.page.first = runs.end;
        let mut row_digest = [0; PAGE_DIGEST_BYTES];
        row_digest.copy_from_slice(&self.options.hash.digest(&open.row)[..PAGE_DIGEST_BYTES]);
        let chunks = open.lists.iter().map(Vec::len).sum::<usize>() as u32;
        let page = page::write(&Page { row_digest, runs: open.lists });
        let page = page.map_err(|_| WriteError::Pack("a page"))?;
        let digest = PageInfo::digest_of(self.options.hash, &page);
        self.pages.push(PageInfo { runs, offset: 0, len: page.len() as u32, digest, chunks, first_chunk: 0 });
        self.segment.lists.extend_from_slice(&page);
        self.segment.rows.extend_from_slice(&open.row);
        self.segment.pages += 1;
        if self.segment.pages == SEGMENT_PAGES { self.close_segment() } else { Ok(()) }
    }

    fn close_segment(&mut self) -> Result<(), WriteError> {
        let segment = std::mem::take(&mut self.segment);
        let parity = segment.parity.iter();
        for column in [&segment.lists, &segment.rows].into_iter().chain(parity).chain([&segment.packed]) {
            self.chunks.write_all(column).map_err(WriteError::Write)?;
        }
        Ok(())
    }
}

fn pack(run: &Run, bytes: &[u8], options: WriteOptions) -> Result<PackedRun, &'static str> {
    let has_parity = options.cutting == Cutting::Files;
    let count = run.chunks.len();
    let mut packed = PackedRun {
        chunks: Vec::with_capacity(count),
        row: Vec::with_capacity(count * 12),
        parity: Vec::with_capacity(if has_parity { count } else { 0 }),
        bytes: Vec::new(),
    };
    let mut lens = Vec::with_capacity(count);
    pack_run(bytes, &run.chunks, options.level, &mut |bytes| {
        packed.bytes.extend_from_slice(bytes);
        packed.row.extend_from_slice(&RunDigest::of(options.hash, bytes).0);
        lens.push(bytes.len() as u32);
    })?;
    let mut at = 0;
    for (chunk, packed_len) in run.chunks.iter().zip(lens) {
        let here = &bytes[at..at + chunk.len as usize];
        at += here.len();
        let (key, check) = if count == 1 { (0, 0) } else { (chunk.key, chunk.check) };
        packed.chunks.push(Listed { chunk: Chunk { key, check, ..*chunk }, packed_len });
        if has_parity {
            packed.parity.push(parity::to_bytes(&parity::syndromes(here)));
        }
    }
    Ok(packed)
}

fn limit(what: &'static str, have: u64, limit: u64) -> Result<(), WriteError> {
    if have <= limit { Ok(()) } else { Err(WriteError::Limit { what, have, limit }) }
}
