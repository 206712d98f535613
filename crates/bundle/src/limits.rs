//! Limits of everything that is read. All are checked before memory is taken.

/// A payload at most, in bytes.
pub const PAYLOAD_BYTES_MAX: u64 = 64 << 30;
/// The name of a payload at most, in bytes.
pub const NAME_BYTES_MAX: usize = 4096;
/// Files of one payload at most.
pub const FILES_MAX: usize = 1 << 22;
/// Extents of one file at most, holes among them: a file of more is cut in pieces.
pub const FILE_EXTENTS_MAX: usize = 1 << 12;
/// Extents of all files of one payload at most, the first of each not counted.
pub const EXTENTS_MAX: usize = 1 << 22;
/// Runs of one payload at most.
pub const RUNS_MAX: usize = 1 << 22;
/// An index at most, packed, in bytes: what a device fetches before it knows anything.
pub const INDEX_BYTES_MAX: usize = 64 << 20;
/// What an index unpacks to at most, in bytes.
pub const INDEX_UNPACKED_BYTES_MAX: usize = 128 << 20;
/// A run at most, however it is cut, in bytes: as much of a payload as stands in memory at a time. Those of one
/// way of cutting may be shorter ([`Cutting::run_bytes_max`](crate::Cutting::run_bytes_max)).
pub const RUN_BYTES_MAX: usize = 1 << 20;
/// A run of several chunks at most, in bytes: what a chunk may copy from.
pub const GROUP_BYTES_MAX: usize = 128 << 10;
/// A chunk at most, however it is cut, in bytes
/// ([`Cutting::chunk_bytes_max`](crate::Cutting::chunk_bytes_max)).
pub const CHUNK_BYTES_MAX: usize = 1 << 20;
/// A chunk at most where files are cut by themselves, in bytes.
pub const FILES_CHUNK_BYTES_MAX: usize = 4 << 10;
/// Chunks of one run at most: they have at least one byte each, ours at least 128 but the last.
pub const RUN_CHUNKS_MAX: usize = 4096;
/// A page at most, packed and unpacked, in bytes.
pub const PAGE_BYTES_MAX: usize = 2 << 20;
/// Files of one payload at most that are unpacked to be cut.
pub const PACKED_FILES_MAX: usize = 1 << 16;
/// Extents of one of them at most.
pub const PACKED_EXTENTS_MAX: usize = 1 << 12;
/// What they unpack to together at most, in bytes: a device has it in temporary storage.
pub const UNPACKED_BYTES_MAX: u64 = 4 << 30;
/// The patch that packs them again at most, in bytes.
pub const PACKING_BYTES_MAX: usize = 8 << 20;
/// Chunks that one page lists at most.
pub const PAGE_CHUNKS_MAX: usize = 1 << 20;
/// A run of zeros at most, in bytes.
pub const ZERO_RUN_BYTES_MAX: usize = 1 << 20;
/// A manifest at most, in bytes.
pub const MANIFEST_BYTES_MAX: usize = 1 << 20;
/// A name in a manifest at most, in bytes.
pub const MANIFEST_NAME_BYTES_MAX: usize = 64;
/// Kinds of hardware that one release fits at most.
pub const HARDWARE_MAX: usize = 256;
/// Components of one release at most.
pub const COMPONENTS_MAX: usize = 64;
/// Files of trust metadata in one bundle at most: four roles, and every root since the first.
pub const METADATA_FILES_MAX: usize = 256;
/// One of them at most, in bytes: as many as `fluvial-trust` reads.
pub const METADATA_FILE_BYTES_MAX: usize = 64 << 10;
/// The header of a bundle at most, in bytes.
pub const BUNDLE_HEADER_BYTES_MAX: usize = 8 << 20;
/// Parts of one bundle at most: five kinds for each component.
pub const PARTS_MAX: usize = 5 * COMPONENTS_MAX;
/// A part of a bundle at most, in bytes.
pub const PART_BYTES_MAX: u64 = 2 * PAYLOAD_BYTES_MAX;
/// Frames of one payload as a whole at most.
pub const FRAMES_MAX: usize = 1 << 15;
/// Bytes of a payload in one frame at most.
pub const FRAME_BYTES_MAX: u64 = 64 << 20;
/// A packed frame at most, in bytes: as many as it unpacks to, and what Zstandard adds to noise.
pub const FRAME_PACKED_BYTES_MAX: u64 = FRAME_BYTES_MAX + (1 << 20);
/// Pieces of all frames of one payload at most.
pub const PIECES_MAX: usize = 1 << 17;
/// A piece of a packed frame at least, in bytes, but the last one.
pub const PIECE_BYTES_MIN: u64 = 4 << 10;
/// A piece of a packed frame at most, in bytes: as many as are fetched at a time.
pub const PIECE_BYTES_MAX: u64 = 1 << 20;
/// The binary logarithm of the window that a frame may take at most: 16 MiB.
pub const WINDOW_LOG_MAX: u8 = 24;
/// Programs of one payload at most whose references are rewritten.
pub const PROGRAMS_MAX: usize = 1 << 17;
/// A table of frames at most, packed, in bytes.
pub const TABLE_BYTES_MAX: usize = 4 << 20;
/// What a table of frames unpacks to at most, in bytes.
pub const TABLE_UNPACKED_BYTES_MAX: usize = 4 << 20;
/// A sketch at most, in bytes.
pub const SKETCH_BYTES_MAX: usize = 4 << 10;
/// Runs in a sketch at most.
pub const SKETCH_RUNS_MAX: usize = 512;
/// The largest chunks that other tools' chunkers may be set to, in KiB.
pub const CHUNKER_KIB_MAX: u16 = 256;
/// The smallest that casync's may be set to, in KiB: the shortest chunk is a quarter, and the hash needs a
/// window of 48 bytes.
pub const CASYNC_KIB_MIN: u16 = 4;
