//! Which published file holds the chunks of which payloads.

use std::ops::Range;

use crate::error::FetchError;
use crate::ranges::join;
use crate::store::Store;

/// Where a payload's chunks stand among the published files. Several payloads may stand in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkFile {
    /// The file's name, below the site.
    pub name: String,
    /// Where the chunks begin in it, in bytes.
    pub offset: u64,
    /// How many bytes they have: that is `Index::chunk_file_len`.
    pub len: u64,
}

impl ChunkFile {
    fn end(&self) -> u64 {
        // What no file can hold will be found missing.
        self.offset.saturating_add(self.len)
    }

    /// A range of the chunks, by where it stands in the file.
    pub(crate) fn place(&self, offset: u64, len: u64) -> Range<u64> {
        let start = self.offset.saturating_add(offset).min(self.end());
        start..start.saturating_add(len).min(self.end())
    }
}

/// A published file, and the payloads whose chunks stand in it.
pub(crate) struct PublishedFile<'a> {
    pub(crate) name: &'a str,
    /// Each payload, as the store knows it.
    pub(crate) payloads: Vec<(usize, &'a ChunkFile)>,
    store: &'a Store,
}

impl<'a> PublishedFile<'a> {
    /// All files of these payloads, in the order of their first ones.
    pub(crate) fn all(chunk_files: &'a [ChunkFile], store: &'a Store) -> Vec<Self> {
        let mut files: Vec<Self> = Vec::new();
        for (payload, chunks) in chunk_files.iter().enumerate() {
            match files.iter_mut().find(|file| file.name == chunks.name) {
                Some(file) => file.payloads.push((payload, chunks)),
                None => files.push(Self { name: &chunks.name, payloads: vec![(payload, chunks)], store }),
            }
        }
        files
    }

    /// Where the last chunk ends that anybody wants.
    pub(crate) fn end(&self) -> u64 {
        self.payloads.iter().map(|(_, chunks)| chunks.end()).max().unwrap_or(0)
    }

    /// The parts of a range of the file that belong to a payload and are not in the store, in order; none is
    /// longer than `longest`.
    pub(crate) fn missing(&self, range: &Range<u64>, longest: u64) -> Vec<Range<u64>> {
        let mut missing = Vec::new();
        for (payload, chunks) in &self.payloads {
            let part = range.start.max(chunks.offset)..range.end.min(chunks.end());
            if part.is_empty() {
                continue;
            }
            let inside = part.start - chunks.offset..part.end - chunks.offset;
            let there = |range: Range<u64>| range.start + chunks.offset..range.end + chunks.offset;
            missing.extend(self.store.missing(*payload, inside).into_iter().map(there));
        }
        // Chunks of several payloads may touch.
        join(missing, 0, longest)
    }

    /// Keeps bytes that stand at `offset` in the file; those of no payload are dropped.
    pub(crate) fn put(&self, offset: u64, bytes: &[u8]) -> Result<(), FetchError> {
        let end = offset.saturating_add(bytes.len() as u64);
        for (payload, chunks) in &self.payloads {
            let (from, to) = (offset.max(chunks.offset), end.min(chunks.end()));
            if from < to {
                let part = &bytes[(from - offset) as usize..(to - offset) as usize];
                self.store.put(*payload, from - chunks.offset, part)?;
            }
        }
        Ok(())
    }
}
