//! Limits of everything that is read. All are checked before memory is taken.

/// A payload at most, in bytes.
pub const PAYLOAD_BYTES_MAX: u64 = 64 << 30;
/// The name of a payload at most, in bytes.
pub const NAME_BYTES_MAX: usize = 4096;
/// Files of one payload at most.
pub const FILES_MAX: usize = 1 << 22;
/// Runs of one payload at most.
pub const RUNS_MAX: usize = 1 << 22;
/// An index at most, packed, in bytes: what a device fetches before it knows anything.
pub const INDEX_BYTES_MAX: usize = 64 << 20;
/// What an index unpacks to at most, in bytes.
pub const INDEX_UNPACKED_BYTES_MAX: usize = 128 << 20;
/// A run at most, in bytes: as much of a payload as stands in memory at a time, and what a chunk may copy
/// from.
pub const RUN_BYTES_MAX: usize = 128 << 10;
/// A chunk at most, in bytes.
pub const CHUNK_BYTES_MAX: usize = 4 << 10;
/// Chunks of one run at most: they have at least one byte each, ours at least 128 but the last.
pub const RUN_CHUNKS_MAX: usize = 4096;
/// A page at most, packed and unpacked, in bytes.
pub const PAGE_BYTES_MAX: usize = 2 << 20;
/// The largest chunks that other tools' chunkers may be set to, in KiB.
pub const CHUNKER_KIB_MAX: u16 = 256;
/// The smallest that casync's may be set to, in KiB: the shortest chunk is a quarter, and the hash needs a
/// window of 48 bytes.
pub const CASYNC_KIB_MIN: u16 = 4;
