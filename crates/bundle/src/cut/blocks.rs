//! Where chunks and runs end that another tool's chunker cuts.

use crate::chunker::Chunker;
use crate::cutting::is_alone;
use crate::limits::GROUP_BYTES_MAX;

/// A run of several chunks has so many bytes, on average where chunks are cut by content.
const RUN_BYTES: usize = 64 << 10;
/// No run ends before this length, in bytes, where chunks are cut by content.
const RUN_BYTES_MIN: usize = RUN_BYTES / 2;

/// The length of the chunk that stands `run_len` bytes behind the start of a run, and whether the run ends with
/// it. The run stands at `start` of its stream. `window` is not empty and has the longest run from its start, or
/// all that is left.
pub(super) fn next_chunk(chunker: Chunker, window: &[u8], start: u64, run_len: usize) -> (usize, bool) {
    let rest = &window[run_len..];
    let chunk_len = chunker.first(rest, true).unwrap_or(rest.len());
    let len = run_len + chunk_len;
    let ends = if is_alone(chunker) {
        true
    } else if chunker.is_fixed() {
        (start + len as u64).is_multiple_of(RUN_BYTES.next_multiple_of(chunker.bytes_avg()) as u64)
    } else {
        // The length of a chunk is told by its content, so runs are found again behind what was inserted.
        let chunks_more = (RUN_BYTES - RUN_BYTES_MIN) / chunker.bytes_avg();
        len >= RUN_BYTES_MIN && chunk_len.is_multiple_of(chunks_more)
    };
    (chunk_len, ends || len + chunker.bytes_max() > GROUP_BYTES_MAX)
}
