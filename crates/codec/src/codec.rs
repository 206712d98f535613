//! The codecs. Each has a module of its own, and stands behind two traits: [`Method`] packs,
//! [`Codec`] finds out how a stream was packed.

pub(crate) mod deflate;
pub(crate) mod ext4;
pub(crate) mod lz4;
pub(crate) mod reparse;
pub(crate) mod squashfs;
pub(crate) mod stored;
pub(crate) mod xz;
pub(crate) mod zstd;

use std::fmt;

use crate::format::Format;
use crate::packer::{PackContext, PackError, Packer};
use crate::prover::{Bench, Found};
use crate::recipe::RecipeError;

/// A way to pack, with its parameters: what a recipe holds.
pub(crate) trait Method: fmt::Display {
    /// Appends the version and the parameters; the method's `read` takes them back.
    fn write(&self, bytes: &mut Vec<u8>);

    /// Checks that the engine is linked in the version that the recipe asks for.
    fn check_linked(&self) -> Result<(), RecipeError>;

    /// See [`Recipe::pack_memory_bytes`](crate::Recipe::pack_memory_bytes).
    fn memory_bytes(&self, plain_len: u64, packed_len_max: u64) -> u64;

    /// Whether the packer gives packed bytes long before it has all of the content.
    fn streams(&self) -> bool {
        true
    }

    /// Whether it reads corrections. Others are never handed any.
    fn takes_corrections(&self) -> bool {
        false
    }

    /// Packs into `packed`, which is empty.
    fn pack_block(
        &self,
        plain: &[u8],
        corrections: &[u8],
        _context: &mut PackContext,
        packed: &mut Vec<u8>,
    ) -> Result<(), PackError> {
        let mut work = self.packer(plain.len() as u64, u64::MAX, corrections)?;
        work.write(plain, packed)?;
        work.finish(packed)
    }

    /// Packs as content comes.
    fn packer(
        &self,
        plain_len: u64,
        packed_len_max: u64,
        corrections: &[u8],
    ) -> Result<Box<dyn Packer>, PackError>;
}

/// Finds out how the streams of one format were packed.
pub(crate) trait Codec {
    /// Finds a recipe, proven on `bench`, with which `plain` packs to exactly `packed`.
    fn prove(&self, packed: &[u8], plain: &[u8], bench: &mut Bench<'_>) -> Option<Found>;
}

/// The codec of a format.
pub(crate) fn codec(format: Format) -> &'static dyn Codec {
    match format {
        Format::Stored => &stored::Stored,
        Format::Zstd => &zstd::Zstd,
        Format::Lz4Block => &lz4::Block,
        Format::Lz4Legacy => &lz4::Legacy,
        Format::Gzip => &deflate::Deflate(Format::Gzip),
        Format::Zlib => &deflate::Deflate(Format::Zlib),
        Format::Deflate => &deflate::Deflate(Format::Deflate),
        Format::Xz => &xz::Xz,
        Format::Lzma => &xz::Lzma,
        Format::Lz4Frame => &lz4::Frame,
        Format::Ext4Inodes => &ext4::Ext4Inodes,
        Format::SquashfsInodes => &squashfs::Squashfs(Format::SquashfsInodes),
        Format::SquashfsFragments => &squashfs::Squashfs(Format::SquashfsFragments),
    }
}
