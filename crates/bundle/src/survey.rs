//! What somebody has is cut, several streams at a time.

use std::io;

use fluvial_delta::structure::ReadAt;
use rayon::prelude::*;

use crate::cut::cut;
use crate::cutting::Cutting;
use crate::guide::Guide;
use crate::hash::HashKind;
use crate::index::RunInfo;
use crate::notes::Noted;

/// Streams that are cut at a time, on all threads.
pub(crate) const BATCH_STREAMS: usize = 256;

/// Hears of every run and its bytes, on any thread and in any order.
pub type Offer<'a> = dyn Fn(&RunInfo, &[u8]) + Sync + 'a;

/// How streams are looked at.
pub struct Survey<'a> {
    /// How they are cut.
    pub cutting: Cutting,
    /// The hash of their runs and chunks.
    pub hash: HashKind,
    /// What it knows is compared instead of cut.
    pub guide: Guide<'a>,
    /// Hears of every run while its bytes are in memory.
    pub offer: &'a Offer<'a>,
    /// Whether chunks of what the guide does not know are noted, too.
    pub with_notes: bool,
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

impl Survey<'_> {
    /// Cuts streams, and tells nobody but by what it answers.
    pub fn plain(cutting: Cutting, hash: HashKind) -> Self {
        Self { cutting, hash, guide: Guide::default(), offer: &|_, _| {}, with_notes: false }
    }

    /// Looks at streams, on all threads.
    pub(crate) fn see(&self, streams: &[&dyn ReadAt]) -> Vec<Seen> {
        streams.par_iter().map(|stream| self.see_one(*stream)).collect()
    }

    fn see_one(&self, stream: &dyn ReadAt) -> Seen {
        match self.guide.runs_of(stream, self.hash, self.offer) {
            Ok(Some((runs, is_program))) => Seen { runs, is_program, noted: None, fault: None },
            Ok(None) => self.cut(stream),
            Err(fault) => Seen { runs: Vec::new(), is_program: false, noted: None, fault: Some(fault) },
        }
    }

    fn cut(&self, stream: &dyn ReadAt) -> Seen {
        let (mut runs, mut is_program) = (Vec::new(), false);
        let mut noted = self.with_notes.then(Noted::default);
        let fail = |error| error;
        let result = cut(stream, self.cutting, self.hash, self.with_notes, fail, &mut |run, bytes| {
            is_program = run.is_program;
            if let Some(noted) = &mut noted {
                noted.add(run);
            }
            let len = run.len as u32;
            let packed_len = if run.is_zeros() { 0 } else { len };
            let run = RunInfo { offset: run.offset, len, digest: run.digest, packed_offset: 0, packed_len };
            (self.offer)(&run, bytes);
            runs.push(run);
            Ok(())
        });
        Seen { runs, is_program, noted, fault: result.err() }
    }
}
