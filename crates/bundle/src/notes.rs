//! Chunks of old streams, noted while these were cut for their runs.
//!
//! Runs are looked for first, and then the chunks of those that are missing: what was noted need not be cut again.

use std::collections::HashMap;

use crate::cut::{Chunk, Run};

/// Memory that notes take at most, in bytes: streams behind that are cut again.
const NOTES_BYTES_MAX: usize = 6 << 20;

/// The chunks of streams.
#[derive(Debug, Default)]
pub struct Notes {
    streams: HashMap<usize, Noted>,
    bytes: usize,
}

/// The chunks of one stream.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    pub(crate) is_program: bool,
    /// Where each run with chunks begins, and how many it has.
    runs: Vec<(u64, u32)>,
    chunks: Vec<Chunk>,
}

impl Noted {
    pub(crate) fn add(&mut self, run: &Run) {
        self.is_program = run.is_program;
        if !run.is_zeros() {
            self.runs.push((run.offset, run.chunks.len() as u32));
            self.chunks.extend_from_slice(&run.chunks);
        }
    }

    /// All chunks, and where each begins.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = (u64, &Chunk)> {
        let mut first = 0;
        self.runs.iter().flat_map(move |&(start, count)| {
            let chunks = &self.chunks[first..first + count as usize];
            first += count as usize;
            chunks.iter().scan(start, |at, chunk| {
                let here = *at;
                *at += u64::from(chunk.len);
                Some((here, chunk))
            })
        })
    }

    fn bytes(&self) -> usize {
        self.chunks.len() * size_of::<Chunk>() + self.runs.len() * size_of::<(u64, u32)>()
    }
}

impl Notes {
    /// Keeps what was noted of a stream, if there is room.
    pub(crate) fn add(&mut self, stream: usize, mut noted: Noted) {
        let bytes = noted.bytes();
        if self.bytes + bytes <= NOTES_BYTES_MAX {
            self.bytes += bytes;
            noted.chunks.shrink_to_fit();
            noted.runs.shrink_to_fit();
            self.streams.insert(stream, noted);
        }
    }

    /// What was noted of a stream.
    pub(crate) fn of(&self, stream: usize) -> Option<&Noted> {
        self.streams.get(&stream)
    }

    /// Leaves the notes of streams that nobody will look into.
    pub(crate) fn retain(&mut self, is_wanted: impl Fn(usize) -> bool) {
        self.streams.retain(|stream, _| is_wanted(*stream));
        self.streams.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::RunDigest;

    fn run(offset: u64, lens: &[u32]) -> Run {
        let chunks: Vec<Chunk> = lens.iter().map(|&len| Chunk { len, key: len, check: 0 }).collect();
        let len = lens.iter().sum::<u32>() as usize;
        Run { offset, len, digest: RunDigest([0; 12]), is_program: true, chunks }
    }

    #[test]
    fn chunks_are_found_where_they_stood() {
        let mut noted = Noted::default();
        noted.add(&run(0, &[10, 20]));
        noted.add(&Run { len: 1000, ..run(30, &[]) });
        noted.add(&run(1030, &[5, 6]));
        let places: Vec<_> = noted.chunks().map(|(at, chunk)| (at, chunk.len)).collect();
        assert_eq!(places, [(0, 10), (10, 20), (1030, 5), (1035, 6)]);
    }

    #[test]
    fn notes_take_no_more_room_than_they_may() {
        let mut all = Notes::default();
        let lens = vec![1; NOTES_BYTES_MAX / size_of::<Chunk>() / 2];
        for stream in 0..3 {
            let mut noted = Noted::default();
            noted.add(&run(0, &lens));
            all.add(stream, noted);
        }
        assert!(all.of(0).is_some() && all.of(1).is_none());
        all.retain(|stream| stream != 0);
        assert!(all.of(0).is_none());
    }
}
