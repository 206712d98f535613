//! Chunks of old streams, noted while these were cut for their runs.
//!
//! Runs are looked for first, and then the chunks of those that are missing: what was noted need not be cut again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cut::{Chunk, Run};

/// Memory that notes take at most, in bytes: streams for which there is no room are cut again.
pub(crate) const NOTES_BYTES_MAX: usize = 6 << 20;

/// The chunks of streams.
#[derive(Debug, Default)]
pub struct Notes {
    streams: HashMap<usize, Noted>,
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
    /// Begins to note the chunks of a stream, if there is room.
    pub(crate) fn begin(room: &AtomicUsize) -> Option<Self> {
        (room.load(Ordering::Relaxed) > 0).then(Self::default)
    }

    /// Notes one run more; where there is no room for it, all that was noted of the stream is given up.
    pub(crate) fn with(mut self, run: &Run, room: &AtomicUsize) -> Option<Self> {
        self.is_program = run.is_program;
        if run.is_zeros() {
            return Some(self);
        }
        let bytes = size_of_val(run.chunks.as_slice()) + size_of::<(u64, u32)>();
        let take = |room: usize| room.checked_sub(bytes);
        if room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
            room.fetch_add(self.bytes(), Ordering::Relaxed);
            return None;
        }
        self.runs.push((run.offset, run.chunks.len() as u32));
        self.chunks.extend_from_slice(&run.chunks);
        Some(self)
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
    /// Keeps what was noted of a stream.
    pub(crate) fn add(&mut self, stream: usize, mut noted: Noted) {
        noted.chunks.shrink_to_fit();
        noted.runs.shrink_to_fit();
        self.streams.insert(stream, noted);
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
        let room = AtomicUsize::new(1000);
        let zeros = Run { len: 1000, ..run(30, &[]) };
        let mut noted = Noted::begin(&room).unwrap();
        for run in [run(0, &[10, 20]), zeros, run(1030, &[5, 6])] {
            noted = noted.with(&run, &room).unwrap();
        }
        assert_eq!(room.into_inner() + noted.bytes(), 1000);
        let places: Vec<_> = noted.chunks().map(|(at, chunk)| (at, chunk.len)).collect();
        assert_eq!(places, [(0, 10), (10, 20), (1030, 5), (1035, 6)]);
    }

    #[test]
    fn a_stream_without_room_gives_back_what_it_has_taken() {
        let room = AtomicUsize::new(100);
        let first = Noted::begin(&room).unwrap().with(&run(0, &[1, 2]), &room).unwrap();
        let left = room.load(Ordering::Relaxed);
        assert_eq!(left, 100 - first.bytes());
        let second = Noted::begin(&room).unwrap().with(&run(0, &[1]), &room).unwrap();
        assert!(room.load(Ordering::Relaxed) < left);
        assert!(second.with(&run(1, &[1, 2, 3, 4]), &room).is_none());
        assert_eq!(room.load(Ordering::Relaxed), left);
        assert!(Noted::begin(&AtomicUsize::new(0)).is_none());
        let mut notes = Notes::default();
        notes.add(7, first);
        notes.retain(|stream| stream == 7);
        assert!(notes.of(7).is_some());
        notes.retain(|stream| stream != 7);
        assert!(notes.of(7).is_none());
    }
}
