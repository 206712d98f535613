//! The compressed formats that the crate knows.

use std::fmt;

/// How a run of bytes is packed: told by a magic number, or by the container around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Format {
    /// Not packed at all.
    Stored = 0,
    /// One or more gzip members (RFC 1952).
    Gzip = 1,
    /// A zlib stream (RFC 1950).
    Zlib = 2,
    /// A bare deflate stream (RFC 1951).
    Deflate = 3,
    /// One or more Zstandard frames (RFC 8878).
    Zstd = 4,
    /// An xz file (The .xz File Format 1.2): one or more streams.
    Xz = 5,
    /// A legacy LZMA file (`.lzma`).
    Lzma = 6,
    /// An LZ4 frame (LZ4 Frame Format 1.6), or several.
    Lz4Frame = 7,
    /// A legacy LZ4 frame, as Linux kernels carry it.
    Lz4Legacy = 8,
    /// One bare LZ4 block (LZ4 Block Format).
    Lz4Block = 9,
    /// An inode table of ext4, of inodes of 256 bytes with checksums, from the first inode on. Its content
    /// is the table without the checksums.
    Ext4Inodes = 10,
    /// The inode table of a squashfs, from the first inode on. Its content has differences in the place of
    /// the numbers that move with other files.
    SquashfsInodes = 11,
    /// The fragment table of a squashfs, likewise.
    SquashfsFragments = 12,
}

/// Every format, in the order of the codes.
const ALL: [Format; 13] = [
    Format::Stored,
    Format::Gzip,
    Format::Zlib,
    Format::Deflate,
    Format::Zstd,
    Format::Xz,
    Format::Lzma,
    Format::Lz4Frame,
    Format::Lz4Legacy,
    Format::Lz4Block,
    Format::Ext4Inodes,
    Format::SquashfsInodes,
    Format::SquashfsFragments,
];

/// First bytes of a gzip member with deflate as its method.
pub(crate) const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b, 8];
/// First bytes of a Zstandard frame: 0xFD2FB528, little-endian.
pub(crate) const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// First bytes of an xz stream.
pub(crate) const XZ_MAGIC: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
/// First bytes of an LZ4 frame: 0x184D2204, little-endian.
pub(crate) const LZ4_FRAME_MAGIC: &[u8] = &[0x04, 0x22, 0x4d, 0x18];
/// First bytes of a legacy LZ4 frame: 0x184C2102, little-endian.
pub(crate) const LZ4_LEGACY_MAGIC: &[u8] = &[0x02, 0x21, 0x4c, 0x18];

impl Format {
    /// Whether it is a table of a file system: nothing in it is packed.
    pub fn is_table(self) -> bool {
        matches!(self, Format::Ext4Inodes | Format::SquashfsInodes | Format::SquashfsFragments)
    }

    /// Tells gzip, zstd, xz and both LZ4 frames by their first bytes (six are enough).
    ///
    /// Zlib, bare deflate, `.lzma` and bare LZ4 blocks have no magic worth the name: only a
    /// container can tell.
    pub fn sniff(head: &[u8]) -> Option<Format> {
        [
            (GZIP_MAGIC, Format::Gzip),
            (ZSTD_MAGIC, Format::Zstd),
            (XZ_MAGIC, Format::Xz),
            (LZ4_FRAME_MAGIC, Format::Lz4Frame),
            (LZ4_LEGACY_MAGIC, Format::Lz4Legacy),
        ]
        .into_iter()
        .find_map(|(magic, format)| head.starts_with(magic).then_some(format))
    }

    /// The format's number in a patch. Numbers never change.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The format with this number, if there is one.
    pub fn from_code(code: u8) -> Option<Format> {
        ALL.get(usize::from(code)).copied()
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Stored => "stored",
            Format::Gzip => "gzip",
            Format::Zlib => "zlib",
            Format::Deflate => "deflate",
            Format::Zstd => "zstd",
            Format::Xz => "xz",
            Format::Lzma => "lzma",
            Format::Lz4Frame => "lz4",
            Format::Lz4Legacy => "legacy lz4",
            Format::Lz4Block => "lz4 block",
            Format::Ext4Inodes => "ext4 inodes",
            Format::SquashfsInodes => "squashfs inodes",
            Format::SquashfsFragments => "squashfs fragments",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back_and_others_do_not() {
        for code in 0..=u8::MAX {
            match Format::from_code(code) {
                Some(format) => assert_eq!(format.code(), code),
                None => assert!(usize::from(code) >= ALL.len()),
            }
        }
    }
}
