//! What somebody has is cut, several streams at a time.

use std::io;

use fluvial_delta::structure::ReadAt;
use rayon::prelude::*;

use crate::cut::{Run, cut};
use crate::cutting::Cutting;
use crate::hash::HashKind;
use crate::index::RunInfo;

/// Streams that are cut at a time, on all threads.
pub(crate) const BATCH_STREAMS: usize = 256;

/// Hears of every run and its bytes, on any thread and in any order.
pub type Offer<'a> = dyn Fn(&Run, &[u8]) + Sync + 'a;

/// A stream that was cut.
pub(crate) struct Seen {
    /// Its runs, with places in it.
    pub(crate) runs: Vec<RunInfo>,
    pub(crate) is_program: bool,
    /// Why no more of it could be read.
    pub(crate) fault: Option<io::Error>,
}

/// Cuts streams on all threads.
pub(crate) fn survey(
    streams: &[&dyn ReadAt],
    cutting: Cutting,
    hash: HashKind,
    offer: &Offer<'_>,
) -> Vec<Seen> {
    streams.par_iter().map(|stream| see(*stream, cutting, hash, offer)).collect()
}

fn see(stream: &dyn ReadAt, cutting: Cutting, hash: HashKind, offer: &Offer<'_>) -> Seen {
    let (mut runs, mut is_program) = (Vec::new(), false);
    let result = cut(stream, cutting, hash, false, |error| error, &mut |run, bytes| {
        is_program = run.is_program;
        offer(run, bytes);
        let len = run.len as u32;
        let packed_len = if run.is_zeros() { 0 } else { len };
        runs.push(RunInfo { offset: run.offset, len, digest: run.digest, packed_offset: 0, packed_len });
        Ok(())
    });
    Seen { runs, is_program, fault: result.err() }
}
