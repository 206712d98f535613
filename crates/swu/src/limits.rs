//! Limits of everything that is read and written. All are checked before memory is taken. Where `SWUpdate` cuts
//! a text silently, the limit is what it keeps (`SWUpdate` 2022.12, `include/swupdate_image.h`).

/// The name of a file in an archive at most, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Files of one archive at most.
pub const FILES_MAX: usize = 1024;
/// A file in an archive at most, in bytes: its header has 32 bits for the length.
pub const FILE_BYTES_MAX: u64 = u32::MAX as u64;
/// Zeros behind the end of an archive at most, in bytes: writers fill up a block.
pub const PADDING_BYTES_MAX: usize = 512;

/// A description at most, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 1 << 20;
/// Groups, lists and arrays in one another at most.
pub const DEPTH_MAX: usize = 32;
/// Settings and values of one description at most.
pub const VALUES_MAX: usize = 1 << 16;
/// A text in a description at most, in bytes.
pub const TEXT_BYTES_MAX: usize = 254;
/// The name of a boot variable at most, in bytes.
pub const VARIABLE_NAME_BYTES_MAX: usize = 31;

/// A signature at most, in bytes: with certificates.
pub const SIGNATURE_BYTES_MAX: usize = 64 << 10;
/// A file with a key or certificates at most, in bytes.
pub const KEY_FILE_BYTES_MAX: usize = 256 << 10;
/// Certificates of one signature or file at most.
pub const CERTIFICATES_MAX: usize = 16;
/// The modulus of an RSA key at least, in bits.
pub const RSA_BITS_MIN: usize = 2048;
/// The modulus of an RSA key at most, in bits.
pub const RSA_BITS_MAX: usize = 4096;

/// A partition at most, in bytes.
pub const PARTITION_BYTES_MAX: u64 = 1 << 40;
/// What `SWUpdate` reads back at most, in bytes: it keeps the length in 32 bits.
pub const READBACK_BYTES_MAX: u64 = u32::MAX as u64;
/// Partitions of one package at most.
pub const PARTITIONS_MAX: usize = 64;
/// Choices of slots that one package knows at most.
pub const CHOICES_MAX: usize = 16;
