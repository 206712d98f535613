//! What somebody has is cut, several streams at a time.

use std::io;
use std::sync::atomic::AtomicUsize;

use fluvial_delta::structure::ReadAt;

use crate::cut::cut;
use crate::cutting::Cutting;
use crate::guide::Guide;
use crate::hash::HashKind;
use crate::in_order::in_order;
use crate::index::RunInfo;
use crate::notes::{NOTES_BYTES_MAX, Noted};

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
        in_order(streams, threads, |window, stream| self.see_one(*stream, window, offer), hear)
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
