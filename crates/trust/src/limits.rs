//! What there may be at most. Everything that comes from outside is held against these numbers before
//! memory is taken for it.

/// The bytes of a manifest.
pub const MANIFEST_BYTES_MAX: usize = 16 << 20;
/// The files of a release's metadata: 253 versions of the root, and three more.
pub const METADATA_FILES_MAX: usize = 256;
/// The bytes of each of them. A root with 16 keys for each role has 30 KB. Parsed, a file of small objects
/// takes 125 times as much, which is 8 MB.
pub const METADATA_FILE_BYTES_MAX: usize = 64 << 10;
/// The bytes of all of them together.
pub const METADATA_BYTES_MAX: usize = 8 << 20;
/// The bytes of a file's name.
pub const METADATA_NAME_BYTES_MAX: usize = 64;
/// The highest version of a root that can be trusted. Its successor is a number, too.
pub const ROOT_VERSION_MAX: u64 = u32::MAX as u64;
/// The keys of a role.
pub const KEYS_PER_ROLE_MAX: u8 = 16;

/// How many versions of the root a key folder may come to: beside them stand timestamp, snapshot and targets.
pub(crate) const ROOTS_MAX: usize = METADATA_FILES_MAX - 3;
/// The bytes of a key file. An Ed25519 key has 119; a PEM file may have words around it.
pub(crate) const KEY_FILE_BYTES_MAX: usize = 16 << 10;
/// The files in a role's folder that are looked at: its keys, and those that it had.
pub(crate) const KEY_FILES_MAX: usize = KEYS_PER_ROLE_MAX as usize * METADATA_FILES_MAX;
/// The bytes of what a device keeps: root, timestamp, snapshot, and a line for each version of the root.
pub(crate) const STATE_BYTES_MAX: usize = 4 * METADATA_FILE_BYTES_MAX;
