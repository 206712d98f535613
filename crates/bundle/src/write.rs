//! Cuts and packs a payload.

use std::io::Write;

use fluvial_delta::header::Sha256Digest;
use fluvial_delta::structure::{Extent, ReadAt};
use rayon::prelude::*;

use crate::cut::{Run, cut};
use crate::error::{IndexError, WriteError};
use crate::index::{Index, PAGE_RUNS, PageInfo, RunInfo};
use crate::limits::{FILES_MAX, NAME_BYTES_MAX, PAYLOAD_BYTES_MAX, RUNS_MAX};
use crate::pack::pack_run;
use crate::page::{self, Listed};
use crate::scatter::{Scatter, gaps};

/// Runs that are packed at a time, on all threads.
const BATCH_RUNS: usize = 64;

/// What is cut.
#[derive(Clone, Copy)]
pub struct Payload<'a> {
    /// Its name, [`NAME_BYTES_MAX`] bytes at most.
    pub name: &'a str,
    /// Its SHA-256, which the caller has made or checked.
    pub sha256: Sha256Digest,
    /// Its bytes.
    pub bytes: &'a dyn ReadAt,
    /// Where files stand in it that have bytes, in order and without overlaps: chunks start where they do.
    pub files: &'a [Extent],
}

/// A run with its bytes, and what becomes of it.
type Packed = Result<(Vec<Listed>, Vec<u8>), &'static str>;

/// Cuts a payload, writes its chunk file to `chunks`, packed at a level of Zstandard from 1 to 22, and answers
/// its index. `progress` hears how many more bytes are done, and cancels by answering `false`.
///
/// Memory: about 24 MiB on two threads, 40 bytes for each run and 12 for each chunk.
///
/// # Errors
/// [`WriteError`].
pub fn write(
    payload: Payload<'_>,
    level: i32,
    chunks: &mut dyn Write,
    progress: &dyn Fn(u64) -> bool,
) -> Result<Index, WriteError> {
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
    let mut writer = Writer {
        level,
        chunks,
        progress,
        batch: Vec::new(),
        runs: Vec::new(),
        lists: Vec::new(),
        offset: 0,
        packed_offset: 0,
    };
    let between = Scatter::new(payload.bytes, gaps(payload.files, len));
    writer.stream(&between)?;
    let mut programs = Vec::with_capacity(payload.files.len());
    for file in payload.files {
        let content = Scatter::new(payload.bytes, [*file]);
        programs.push(writer.stream(&content)?);
    }
    writer.pack_batch()?;
    let (pages, bytes) = writer.pages().map_err(|_| WriteError::Pack("a page"))?;
    writer.chunks.write_all(&bytes).map_err(WriteError::Write)?;
    let index = Index {
        name: payload.name.into(),
        len,
        sha256: payload.sha256,
        files: payload.files.to_vec(),
        programs,
        runs: writer.runs,
        pages,
    };
    Ok(index)
}

struct Writer<'a> {
    level: i32,
    chunks: &'a mut dyn Write,
    progress: &'a dyn Fn(u64) -> bool,
    /// Runs that are not packed yet.
    batch: Vec<(Run, Vec<u8>)>,
    runs: Vec<RunInfo>,
    /// The chunks of the runs that are listed.
    lists: Vec<Vec<Listed>>,
    /// Where the next run stands in the order of cutting.
    offset: u64,
    packed_offset: u64,
}

impl Writer<'_> {
    /// Cuts a stream; answers whether it is a program.
    fn stream(&mut self, stream: &dyn ReadAt) -> Result<bool, WriteError> {
        let mut is_program = false;
        cut(stream, true, WriteError::Read, &mut |run, bytes| {
            is_program = run.is_program;
            self.batch.push((run.clone(), bytes.to_vec()));
            if self.batch.len() < BATCH_RUNS { Ok(()) } else { self.pack_batch() }
        })?;
        Ok(is_program)
    }

    fn pack_batch(&mut self) -> Result<(), WriteError> {
        let batch = std::mem::take(&mut self.batch);
        limit("the payload's list of runs", (self.runs.len() + batch.len()) as u64, RUNS_MAX as u64)?;
        let level = self.level;
        let packed: Vec<Packed> = batch.par_iter().map(|(run, bytes)| pack(run, bytes, level)).collect();
        for ((run, _), packed) in batch.iter().zip(packed) {
            let (list, bytes) = packed.map_err(WriteError::Pack)?;
            self.chunks.write_all(&bytes).map_err(WriteError::Write)?;
            self.runs.push(RunInfo {
                offset: self.offset,
                len: run.len as u32,
                digest: run.digest,
                packed_offset: self.packed_offset,
                packed_len: bytes.len() as u32,
                is_listed: list.len() > 1,
            });
            if list.len() > 1 {
                self.lists.push(list);
            }
            self.offset += run.len as u64;
            self.packed_offset += bytes.len() as u64;
            if !(self.progress)(run.len as u64) {
                return Err(WriteError::Cancelled);
            }
        }
        Ok(())
    }

    fn pages(&self) -> Result<(Vec<PageInfo>, Vec<u8>), IndexError> {
        let (mut pages, mut bytes) = (Vec::new(), Vec::new());
        for lists in self.lists.chunks(PAGE_RUNS) {
            let page = page::write(lists)?;
            let digest = PageInfo::digest_of(&page);
            pages.push(PageInfo { offset: bytes.len() as u64, len: page.len() as u32, digest });
            bytes.extend_from_slice(&page);
        }
        Ok((pages, bytes))
    }
}

fn pack(run: &Run, bytes: &[u8], level: i32) -> Packed {
    let mut out = Vec::new();
    let mut lens = Vec::with_capacity(run.chunks.len());
    pack_run(bytes, &run.chunks, level, &mut |packed| {
        out.extend_from_slice(packed);
        lens.push(packed.len() as u16);
    })?;
    let list = run.chunks.iter().zip(lens).map(|(&chunk, packed_len)| Listed { chunk, packed_len }).collect();
    Ok((list, out))
}

fn limit(what: &'static str, have: u64, limit: u64) -> Result<(), WriteError> {
    if have <= limit { Ok(()) } else { Err(WriteError::Limit { what, have, limit }) }
}
