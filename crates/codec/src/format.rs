//! The compressed formats that the crate knows.

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
    /// An xz file (The .xz File Format 1.2).
    Xz = 5,
    /// A legacy LZMA file (`.lzma`).
    Lzma = 6,
    /// An LZ4 frame (LZ4 Frame Format 1.6).
    Lz4Frame = 7,
    /// A legacy LZ4 frame, as Linux kernels carry it.
    Lz4Legacy = 8,
    /// One bare LZ4 block (LZ4 Block Format).
    Lz4Block = 9,
}
