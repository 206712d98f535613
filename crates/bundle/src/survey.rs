//! What somebody has is cut, several streams at a time.

use std::io;

use fluvial_delta::structure::ReadAt;
use rayon::prelude::*;

use crate::cut::cut;
use crate::cutting::Cutting;
use crate::guide::Guide;
use crate::hash::HashKind;
use crate::index::RunInfo;

/// Streams that are cut at a time, on all threads.
pub(crate) const BATCH_STREAMS: usize = 256;

/// Hears of every run and its bytes, on any thread and in any order.
pub type Offer<'a> = dyn Fn(&RunInfo, &[u8]) + Sync + 'a;

/// A stream that was cut.
pub(crate) struct Seen {
    /// Its runs, with places in it.
    pub(crate) runs: Vec<RunInfo>,
    pub(crate) is_program: bool,
    /// Why no more of it could be read.
    pub(crate) fault: Option<io::Error>,
}

/// Cuts streams on all threads; those that the guide knows are compared instead.
pub(crate) fn survey(
    streams: &[&dyn ReadAt],
    cutting: Cutting,
    hash: HashKind,
    guide: &Guide<'_>,
    offer: &Offer<'_>,
) -> Vec<Seen> {
    let see = |stream: &&dyn ReadAt| match guide.runs_of(*stream, hash, offer) {
        Ok(Some((runs, is_program))) => Seen { runs, is_program, fault: None },
        Ok(None) => see(*stream, cutting, hash, offer),
        Err(fault) => Seen { runs: Vec::new(), is_program: false, fault: Some(fault) },
    };
    streams.par_iter().map(see).collect()
}

fn see(stream: &dyn ReadAt, cutting: Cutting, hash: HashKind, offer: &Offer<'_>) -> Seen {
    let (mut runs, mut is_program) = (Vec::new(), false);
    let result = cut(stream, cutting, hash, false, |error| error, &mut |run, bytes| {
        is_program = run.is_program;
        let len = run.len as u32;
        let packed_len = if run.is_zeros() { 0 } else { len };
        let run = RunInfo { offset: run.offset, len, digest: run.digest, packed_offset: 0, packed_len };
        offer(&run, bytes);
        runs.push(run);
        Ok(())
    });
    Seen { runs, is_program, fault: result.err() }
}
