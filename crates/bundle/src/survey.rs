//! What somebody has is cut, several streams at a time.

use std::io;
use std::sync::atomic::AtomicUsize;
use std::sync::{Mutex, PoisonError};

use fluvial_delta::structure::ReadAt;

use crate::cut::cut;
use crate::cutting::Cutting;
use crate::guide::Guide;
use crate::hash::HashKind;
use crate::in_order::in_order;
use crate::index::RunInfo;
use crate::notes::{NOTES_BYTES_MAX, Noted};

/// So much is fetched before it is looked at.
const AHEAD_BYTES: u64 = 4 << 20;

/// Hears of every run and its bytes, on any thread and in any order.
pub type Offer<'a> = dyn Fn(&RunInfo, &[u8]) + Sync + 'a;

/// How streams are looked at.
pub struct Survey<'a> {
    pub(crate) cutting: Cutting,
    pub(crate) hash: HashKind,
    /// What it knows is compared instead of cut.
    guide: Guide<'a>,
    /// Bytes that notes of what the guide does not know may still take.
    room: AtomicUsize,
}

/// A stream that was cut.
pub(crate) struct Seen {
    /// Its runs, with places in it.
    pub(crate) runs: Vec<RunInfo>,
    pub(crate) is_program: bool,
    pub(crate) noted: Option<Noted>,
    /// Why no more of it could be read.
    pub(crate) fault: Option<io::Error>,
}

/// Has streams fetched while others are looked at: who looks at one waits for the medium else, while the processor is
/// idle.
struct ReadAhead<'a> {
    streams: &'a [&'a dyn ReadAt],
    progress: Mutex<AheadProgress>,
}

#[derive(Default)]
struct AheadProgress {
    /// How long the streams are that somebody has begun with.
    begun_bytes: u64,
    /// How many are fetched, or begun with, and how long these are.
    ahead: usize,
    ahead_bytes: u64,
}

impl<'a> ReadAhead<'a> {
    fn of(streams: &'a [&'a dyn ReadAt]) -> Self {
        Self { streams, progress: Mutex::default() }
    }

    /// Hears that somebody begins with the next stream, which is so long.
    fn go_on(&self, len: u64) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let here = progress.begun_bytes;
        progress.begun_bytes += len;
        while progress.ahead_bytes < progress.begun_bytes + AHEAD_BYTES
            && let Some(stream) = self.streams.get(progress.ahead)
        {
            // What is behind the start of a long one is noticed by the system, or asked for on the way.
            if progress.ahead_bytes > here {
                stream.prefetch(0, stream.len().min(AHEAD_BYTES));
            }
            progress.ahead += 1;
            progress.ahead_bytes += stream.len();
        }
    }
}

impl<'a> Survey<'a> {
    /// Cuts all streams, and notes nothing.
    pub fn plain(cutting: Cutting, hash: HashKind) -> Self {
        Self { cutting, hash, guide: Guide::default(), room: AtomicUsize::new(0) }
    }

    /// Compares what the guide knows, cuts the rest, and notes its chunks.
    pub(crate) fn guided(cutting: Cutting, hash: HashKind, guide: Guide<'a>) -> Self {
        Self { cutting, hash, guide, room: AtomicUsize::new(NOTES_BYTES_MAX) }
    }

    /// The same, but nothing is noted.
    #[must_use]
    pub fn without_notes(self) -> Self {
        Self { room: AtomicUsize::new(0), ..self }
    }

    /// Looks at streams, on all threads; `offer` hears of every run while its bytes are in memory, and `hear` of every
    /// stream, in their order.
    ///
    /// # Errors
    /// What `hear` answers.
    pub(crate) fn see<E>(
        &self,
        streams: &[&dyn ReadAt],
        offer: &Offer<'_>,
        hear: impl FnMut(usize, Seen) -> Result<(), E>,
    ) -> Result<(), E> {
        let threads = rayon::current_num_threads();
        let ahead = ReadAhead::of(streams);
        let see_one = |window: &mut Vec<u8>, stream: &&dyn ReadAt| {
            ahead.go_on(stream.len());
            self.see_one(*stream, window, offer)
        };
        in_order(streams, threads, see_one, hear)
    }

    fn see_one(&self, stream: &dyn ReadAt, window: &mut Vec<u8>, offer: &Offer<'_>) -> Seen {
        match self.guide.runs_of(stream, window, self.hash, offer) {
            Ok(Some((runs, is_program))) => Seen { runs, is_program, noted: None, fault: None },
            Ok(None) => self.cut(stream, offer),
            Err(fault) => Seen { runs: Vec::new(), is_program: false, noted: None, fault: Some(fault) },
        }
    }

    fn cut(&self, stream: &dyn ReadAt, offer: &Offer<'_>) -> Seen {
        let (mut runs, mut is_program) = (Vec::new(), false);
        let mut noted = Noted::begin(&self.room);
        let (with_digests, fail) = (noted.is_some(), |error| error);
        let result = cut(stream, self.cutting, self.hash, with_digests, fail, &mut |run, bytes| {
            is_program = run.is_program;
            noted = noted.take().and_then(|noted| noted.with(run, &self.room));
            let len = run.len as u32;
            let packed_len = if run.is_zeros() { 0 } else { len };
            let run = RunInfo { offset: run.offset, len, digest: run.digest, packed_offset: 0, packed_len };
            offer(&run, bytes);
            runs.push(run);
            Ok(())
        });
        Seen { runs, is_program, noted, fault: result.err() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Zeros that note which of them will be read.
    struct Noting {
        len: u64,
        asked: Mutex<Vec<(u64, u64)>>,
    }

    impl ReadAt for Noting {
        fn len(&self) -> u64 {
            self.len
        }

        fn read_at(&self, _offset: u64, buf: &mut [u8]) -> io::Result<()> {
            buf.fill(0);
            Ok(())
        }

        fn prefetch(&self, offset: u64, len: u64) {
            self.asked.lock().unwrap().push((offset, len));
        }
    }

    #[test]
    fn streams_are_fetched_once_and_not_all_at_once() {
        let lens = [AHEAD_BYTES * 3, 10, AHEAD_BYTES / 2, AHEAD_BYTES, 7, AHEAD_BYTES * 2, 5];
        let streams = lens.map(|len| Noting { len, asked: Mutex::default() });
        let list: Vec<&dyn ReadAt> = streams.iter().map(|stream| stream as &dyn ReadAt).collect();
        let ahead = ReadAhead::of(&list);
        let counts = lens.map(|len| {
            ahead.go_on(len);
            streams.iter().filter(|stream| !stream.asked.lock().unwrap().is_empty()).count()
        });
        // The first one is begun with already.
        assert_eq!(counts, [3, 3, 3, 5, 5, 6, 6]);
        for stream in &streams[1..] {
            assert_eq!(*stream.asked.lock().unwrap(), [(0, stream.len.min(AHEAD_BYTES))]);
        }
    }
}
