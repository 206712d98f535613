//! The limits on everything that is read from a patch. Each is checked before memory is taken.

/// Longest header, in bytes. Room for 100,000 named source files.
pub const HEADER_BYTES_MAX: usize = 16 << 20;
/// Longest map section, packed, in bytes.
pub const MAP_PACKED_BYTES_MAX: usize = 32 << 20;
/// Longest map section, unpacked, in bytes.
pub const MAP_BYTES_MAX: usize = 64 << 20;
/// Longest name of a source, target or file, in bytes. `PATH_MAX` of Linux.
pub const NAME_BYTES_MAX: usize = 4096;
/// Longest context of a patch, in bytes: it says how the sources are made.
pub const CONTEXT_BYTES_MAX: usize = 1 << 16;
/// Most sources of one patch: files that it reads, of which a full desktop system has half as many.
pub const SOURCES_MAX: usize = 1 << 18;
/// Most targets of one patch.
pub const TARGETS_MAX: usize = 1 << 16;
/// Most frames of one patch.
pub const FRAMES_MAX: usize = 1 << 20;
/// Longest frame, packed, in bytes.
pub const FRAME_PACKED_BYTES_MAX: usize = 6 << 20;
/// Longest of a frame's streams, unpacked, in bytes.
pub const STREAM_BYTES_MAX: u64 = 1 << 30;
/// Most covers of one frame.
pub const FRAME_COVERS_MAX: usize = 1 << 17;
/// Largest dictionary of a packed stream, in bytes: it stands in memory while a frame is applied.
pub const STREAM_DICTIONARY_BYTES_MAX: u32 = 8 << 20;
/// Longest corrections of one packed piece, in bytes.
pub const CORRECTIONS_BYTES_MAX: usize = 16 << 20;
/// How deep packed streams may stand inside packed streams.
pub const NESTING_MAX: usize = 8;
/// How deep blocks of the sources may stand inside one another: aliases and packed streams in turn.
pub const SOURCE_NESTING_MAX: usize = 2 * NESTING_MAX;
/// Most flattened bytes of one patch. Packed contents may make them more than the targets have.
pub const FLAT_BYTES_MAX: u64 = 4 * STREAM_SIZE_MAX;
/// Most nodes of a target's layout.
pub const LAYOUT_NODES_MAX: usize = 1 << 22;
/// Most recipes of one patch.
pub const RECIPES_MAX: usize = 1 << 16;
/// Longest recipe, in bytes.
pub const RECIPE_BYTES_MAX: usize = 1 << 16;
/// Most unpacked source streams, and most blocks in all of them together.
pub const DERIVED_BLOCKS_MAX: usize = 1 << 22;
/// A packed piece up to this plain size, in bytes, can be unpacked again wherever it is read.
pub const BLOCK_PLAIN_BYTES_MAX: u64 = 1 << 20;
/// So is a packed block of a source only up to this packed length, in bytes: it is held in memory whole.
pub const BLOCK_PACKED_BYTES_MAX: u64 = 2 << 20;
/// Largest size of a source or target, in bytes: 1 EiB would be a lie, 16 TiB is ext4's limit.
pub const STREAM_SIZE_MAX: u64 = 16 << 40;
