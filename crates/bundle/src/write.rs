//! Cuts and packs a payload.

use std::io::Write;

use fluvial_delta::header::Sha256Digest;
use fluvial_delta::structure::{Extent, ReadAt};
use rayon::prelude::*;

use crate::cut::{Chunk, Run, cut};
use crate::cutting::Cutting;
use crate::error::WriteError;
use crate::hash::HashKind;
use crate::index::{Index, PageInfo, PageSpan, RunDigest, RunInfo};
use crate::limits::{FILES_MAX, NAME_BYTES_MAX, PAYLOAD_BYTES_MAX, RUNS_MAX};
use crate::pack::pack_run;
use crate::page::{self, Listed};
use crate::scatter::{Scatter, gaps};
use crate::survey::{BATCH_STREAMS, Offer, Seen, survey};

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
    /// Where files stand in it that have bytes, in order and without overlaps: chunks start where they do. They
    /// mean nothing where it is cut to blocks.
    pub files: &'a [Extent],
}

/// What becomes of a run: its chunks, and their packed bytes.
type Packed = Result<(Vec<Listed>, Vec<u8>), &'static str>;

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
/// Memory: about 24 MiB on two threads, and 40 bytes for each run.
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
    let len = payload.bytes.len();
    let files = options.cutting.files(payload.files);
    let mut writer = Writer {
        options,
        chunks,
        progress,
        batch: Vec::new(),
        batch_bytes: 0,
        runs: Vec::new(),
        page: OpenPage::default(),
        pages: Vec::new(),
        offset: 0,
        packed_offset: 0,
    };
    let between = Scatter::new(payload.bytes, gaps(files, len));
    writer.stream(&between)?;
    let mut programs = Vec::with_capacity(files.len());
    for file in files {
        let content = Scatter::new(payload.bytes, [*file]);
        programs.push(writer.stream(&content)?);
    }
    writer.pack_batch()?;
    writer.finish()?;
    let index = Index {
        name: payload.name.into(),
        len,
        sha256: payload.sha256,
        hash: options.hash,
        cutting: options.cutting,
        files: files.to_vec(),
        programs,
        runs: writer.runs,
        pages: writer.pages,
        frames: Vec::new(),
    };
    Ok(index)
}

/// Cuts a payload and packs nothing: answers an index of what somebody has, for [`crate::Assembly::note_indexed`].
/// It has no chunk file. `offer` hears of every run, on several threads, while its bytes are in memory. `progress` hears how many more bytes are done, and cancels by answering `false`.
///
/// Memory: 2 MiB, and 40 bytes for each run; 4 MiB for the longest blocks.
///
/// # Errors
/// [`WriteError`].
pub fn index_of(
    payload: Payload<'_>,
    cutting: Cutting,
    hash: HashKind,
    offer: &Offer<'_>,
    progress: &dyn Fn(u64) -> bool,
) -> Result<Index, WriteError> {
    check(payload)?;
    let len = payload.bytes.len();
    let files = cutting.files(payload.files);
    let mut index = Index {
        name: payload.name.into(),
        len,
        sha256: payload.sha256,
        hash,
        cutting,
        files: files.to_vec(),
        programs: Vec::with_capacity(files.len()),
        runs: Vec::new(),
        pages: Vec::new(),
        frames: Vec::new(),
    };
    let between = Scatter::new(payload.bytes, gaps(files, len));
    let streams = files.iter().map(|file| Scatter::new(payload.bytes, [*file]));
    let streams: Vec<_> = std::iter::once(between).chain(streams).collect();
    let streams: Vec<&dyn ReadAt> = streams.iter().map(|stream| stream as &dyn ReadAt).collect();
    let mut offset = 0;
    let mut is_between = true;
    for batch in streams.chunks(BATCH_STREAMS) {
        for Seen { runs, is_program, fault } in survey(batch, cutting, hash, offer) {
            if let Some(fault) = fault {
                return Err(WriteError::Read(fault));
            }
            for mut run in runs {
                run.offset = offset;
                offset += u64::from(run.len);
                index.runs.push(run);
                if !progress(u64::from(run.len)) {
                    return Err(WriteError::Cancelled);
                }
            }
            if !std::mem::take(&mut is_between) {
                index.programs.push(is_program);
            }
        }
        limit("the payload's list of runs", index.runs.len() as u64, RUNS_MAX as u64)?;
    }
    index.place_unpacked();
    Ok(index)
}

fn check(payload: Payload<'_>) -> Result<(), WriteError> {
    let len = payload.bytes.len();
    limit("the payload", len, PAYLOAD_BYTES_MAX)?;
    limit("the payload's name", payload.name.len() as u64, NAME_BYTES_MAX as u64)?;
    limit("the payload's list of files", payload.files.len() as u64, FILES_MAX as u64)?;
    let mut end = 0;
    for (index, file) in payload.files.iter().enumerate() {
        match file.offset.checked_add(file.len) {
            Some(file_end) if file.offset >= end && file.len > 0 && file_end <= len => end = file_end,
            _ => return Err(WriteError::Files(index)),
        }
    }
    Ok(())
}

/// The runs of a page that is not full.
#[derive(Default)]
struct OpenPage {
    span: PageSpan,
    /// Its first run.
    first: usize,
    /// The chunks of each that is not zeros.
    lists: Vec<Vec<Listed>>,
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
    pages: Vec<PageInfo>,
    /// Where the next run stands in the order of cutting.
    offset: u64,
    /// What is written of the chunk file.
    packed_offset: u64,
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
        let packed: Vec<Packed> = batch.par_iter().map(|(run, bytes)| pack(run, bytes, options)).collect();
        for ((run, _), packed) in batch.iter().zip(packed) {
            let (list, bytes) = packed.map_err(WriteError::Pack)?;
            self.runs.push(RunInfo {
                offset: self.offset,
                len: run.len as u32,
                digest: run.digest,
                // Counted from the page's end, whose length is not known yet.
                packed_offset: self.page.packed.len() as u64,
                packed_len: bytes.len() as u32,
            });
            self.offset += run.len as u64;
            if !run.is_zeros() {
                self.page.lists.push(list);
                self.page.packed.extend_from_slice(&bytes);
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

    /// Writes the last page; what stands behind it is zeros.
    fn finish(&mut self) -> Result<(), WriteError> {
        if self.page.span.is_begun() {
            self.close_page()?;
        }
        let end = self.packed_offset;
        self.runs[self.page.first..].iter_mut().for_each(|run| run.packed_offset = end);
        Ok(())
    }

    fn close_page(&mut self) -> Result<(), WriteError> {
        let open = std::mem::take(&mut self.page);
        let runs = open.first..self.runs.len();
        self.page.first = runs.end;
        let page = page::write(&open.lists).map_err(|_| WriteError::Pack("a page"))?;
        self.chunks.write_all(&page).map_err(WriteError::Write)?;
        self.chunks.write_all(&open.packed).map_err(WriteError::Write)?;
        let digest = PageInfo::digest_of(self.options.hash, &page);
        let packed_start = self.packed_offset + page.len() as u64;
        self.runs[runs.clone()].iter_mut().for_each(|run| run.packed_offset += packed_start);
        self.pages.push(PageInfo { runs, offset: self.packed_offset, len: page.len() as u32, digest });
        self.packed_offset = packed_start + open.packed.len() as u64;
        Ok(())
    }
}

fn pack(run: &Run, bytes: &[u8], options: WriteOptions) -> Packed {
    let mut out = Vec::new();
    let mut packed = Vec::with_capacity(run.chunks.len());
    pack_run(bytes, &run.chunks, options.level, &mut |bytes| {
        out.extend_from_slice(bytes);
        packed.push((bytes.len() as u32, RunDigest::of(options.hash, bytes)));
    })?;
    let is_only = run.chunks.len() == 1;
    let listed = |(chunk, (packed_len, packed_digest)): (&Chunk, _)| {
        let (key, check) = if is_only { (0, 0) } else { (chunk.key, chunk.check) };
        Listed { chunk: Chunk { key, check, ..*chunk }, packed_len, packed_digest }
    };
    Ok((run.chunks.iter().zip(packed).map(listed).collect(), out))
}

fn limit(what: &'static str, have: u64, limit: u64) -> Result<(), WriteError> {
    if have <= limit { Ok(()) } else { Err(WriteError::Limit { what, have, limit }) }
}
