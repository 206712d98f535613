//! What may be how large. Everything is checked before memory is taken for it.

/// Bytes of a name: of a machine, an image, a version or a partition. Two versions stand in the name of a package
/// (`delta-update-<FROM>-to-<TO>.swu`), and file names end at 255 bytes.
pub const NAME_BYTES_MAX: usize = 100;
/// Bytes of the name of a file.
pub const FILE_NAME_BYTES_MAX: usize = 255;
/// Bytes of a `build-info.json` or a `delta-info.json`.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// Bytes of a `build-info.txt`: what a document tells, each quote as four characters.
pub const TEXT_BYTES_MAX: usize = 5 * DOCUMENT_BYTES_MAX;
/// Partitions of an image.
pub const PARTITIONS_MAX: usize = 64;
/// Lines of build-info of one kind.
pub const BUILD_INFO_LINES_MAX: usize = 1024;
/// Bytes of a key of build-info.
pub const KEY_BYTES_MAX: usize = 128;
/// Bytes of a value of build-info.
pub const VALUE_BYTES_MAX: usize = 4096;
/// Bytes of text about who made something.
pub const CREATOR_BYTES_MAX: usize = 128;
/// Bytes of an image, of a partition, or of a file made from them: 256 TiB.
pub const IMAGE_BYTES_MAX: u64 = 1 << 48;
/// Bytes of a block.
pub const BLOCK_LEN_BYTES_MAX: u32 = 64 << 20;
/// Entries of a folder of the store.
pub const ENTRIES_MAX: usize = 100_000;
/// Patterns of what is collected.
pub const PATTERNS_MAX: usize = 64;
/// Bytes of one of them.
pub const PATTERN_BYTES_MAX: usize = 255;
