//! Recipes: engine, version and parameters, and their bytes.

use std::fmt;

use thiserror::Error;

use crate::codec::{Method, deflate, ext4, lz4, reparse, squashfs, stored, xz, zstd};
use crate::packer::{PackContext, PackError, Packer};
use crate::varint;

/// The longest recipe, in bytes.
const RECIPE_BYTES_MAX: usize = 256;

/// How content is packed so that the original bytes come back.
///
/// Its bytes are: the number of the method, one byte, then what the method needs; the version of
/// the engine comes first (numbers as LEB128).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Recipe(Way);

/// The methods there are. Their numbers are part of the patch format and never change.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    Stored(stored::Recipe),
    Zstd(zstd::Recipe),
    Lz4Block(lz4::BlockRecipe),
    Lz4Legacy(lz4::LegacyRecipe),
    Deflate(deflate::Recipe),
    Xz(xz::Recipe),
    Lz4Frame(lz4::FrameRecipe),
    Reparse(reparse::Recipe),
    Ext4Inodes(ext4::Recipe),
    Squashfs(squashfs::Recipe),
}

/// Why the bytes of a recipe were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecipeError {
    /// The bytes break off, go on behind the end, or hold a number out of range.
    #[error("the recipe is malformed")]
    Malformed,
    /// No method of this number is known: the recipe is of a later version of this program.
    #[error("method {0} is not known")]
    Method(u8),
    /// The engine is linked in another version, whose output may differ.
    #[error("{engine} {wanted} is wanted, but {linked} is linked")]
    Version {
        /// Name of the engine.
        engine: &'static str,
        /// The version in the recipe, in the engine's own counting.
        wanted: u32,
        /// The version of this program.
        linked: u32,
    },
    /// The engine packs differently on this kind of machine.
    #[error("{engine} packs differently on this kind of machine")]
    Machine {
        /// Name of the engine.
        engine: &'static str,
    },
}

impl RecipeError {
    /// Checks a version against the linked one.
    pub(crate) fn check_version(engine: &'static str, wanted: u32, linked: u32) -> Result<(), Self> {
        if wanted == linked { Ok(()) } else { Err(RecipeError::Version { engine, wanted, linked }) }
    }
}

impl Recipe {
    fn method(&self) -> &dyn Method {
        match &self.0 {
            Way::Stored(recipe) => recipe,
            Way::Zstd(recipe) => recipe,
            Way::Lz4Block(recipe) => recipe,
            Way::Lz4Legacy(recipe) => recipe,
            Way::Deflate(recipe) => recipe,
            Way::Xz(recipe) => recipe,
            Way::Lz4Frame(recipe) => recipe,
            Way::Reparse(recipe) => recipe,
            Way::Ext4Inodes(recipe) => recipe,
            Way::Squashfs(recipe) => recipe,
        }
    }

    /// The method.
    pub(crate) fn way(&self) -> &Way {
        &self.0
    }

    fn number(&self) -> u8 {
        match self.0 {
            Way::Stored(_) => 0,
            Way::Zstd(_) => 1,
            Way::Lz4Block(_) => 2,
            Way::Lz4Legacy(_) => 3,
            Way::Deflate(_) => 4,
            Way::Xz(_) => 5,
            Way::Lz4Frame(_) => 6,
            Way::Reparse(_) => 7,
            Way::Ext4Inodes(_) => 8,
            Way::Squashfs(_) => 9,
        }
    }

    /// The bytes of the recipe, for a patch: a handful.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.number()];
        self.method().write(&mut bytes);
        bytes
    }

    /// Reads a recipe, and checks that this program can follow it.
    ///
    /// # Errors
    /// If the bytes are malformed, or the engine is linked in another version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Recipe, RecipeError> {
        let (&number, mut rest) = bytes.split_first().ok_or(RecipeError::Malformed)?;
        if bytes.len() > RECIPE_BYTES_MAX {
            return Err(RecipeError::Malformed);
        }
        let way = match number {
            0 => Way::Stored(stored::Recipe),
            1 => Way::Zstd(zstd::Recipe::read(&mut rest)?),
            2 => Way::Lz4Block(lz4::BlockRecipe::read(&mut rest)?),
            3 => Way::Lz4Legacy(lz4::LegacyRecipe::read(&mut rest)?),
            4 => Way::Deflate(deflate::Recipe::read(&mut rest)?),
            5 => Way::Xz(xz::Recipe::read(&mut rest)?),
            6 => Way::Lz4Frame(lz4::FrameRecipe::read(&mut rest)?),
            7 => Way::Reparse(reparse::Recipe::read(&mut rest)?),
            8 => Way::Ext4Inodes(ext4::Recipe::read(&mut rest)?),
            9 => Way::Squashfs(squashfs::Recipe::read(&mut rest)?),
            _ => return Err(RecipeError::Method(number)),
        };
        if !rest.is_empty() {
            return Err(RecipeError::Malformed);
        }
        let recipe = Recipe(way);
        recipe.method().check_linked()?;
        Ok(recipe)
    }

    /// The most heap that packing `plain_len` bytes takes, in bytes, the packer's own buffers
    /// included; not the corrections, nor the buffer that takes what is packed. `packed_len_max` is what
    /// [`Recipe::packer`] is told; [`Recipe::pack_block`] takes as much as for [`u64::MAX`].
    pub fn pack_memory_bytes(&self, plain_len: u64, packed_len_max: u64) -> u64 {
        self.method().memory_bytes(plain_len, packed_len_max)
    }

    /// Whether a difference shows before all of the content is packed.
    pub(crate) fn streams(&self) -> bool {
        self.method().streams()
    }

    /// Packs `plain` into `packed`, which is cleared first. Made for small blocks: what `context`
    /// holds is used again.
    ///
    /// # Errors
    /// If the corrections do not fit, or the engine fails.
    pub fn pack_block(
        &self,
        plain: &[u8],
        corrections: &[u8],
        context: &mut PackContext,
        packed: &mut Vec<u8>,
    ) -> Result<(), PackError> {
        packed.clear();
        self.check_corrections(corrections)?;
        self.method().pack_block(plain, corrections, context, packed)
    }

    /// Starts to pack `plain_len` bytes as they come. A packer that has to hold packed bytes back fails
    /// rather than hold more than `packed_len_max` bytes; one that need not may make more of them.
    ///
    /// # Errors
    /// If the recipe cannot be followed here, or the corrections do not fit.
    pub fn packer(
        &self,
        plain_len: u64,
        packed_len_max: u64,
        corrections: &[u8],
    ) -> Result<Box<dyn Packer>, PackError> {
        self.method().check_linked()?;
        self.check_corrections(corrections)?;
        self.method().packer(plain_len, packed_len_max, corrections)
    }

    fn check_corrections(&self, corrections: &[u8]) -> Result<(), PackError> {
        let fit = corrections.is_empty() || self.method().takes_corrections();
        if fit { Ok(()) } else { Err(PackError::Corrections) }
    }
}

impl From<Way> for Recipe {
    fn from(way: Way) -> Self {
        Recipe(way)
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.method(), f)
    }
}

impl fmt::Debug for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipe({self})")
    }
}

/// Reads a number that fits 32 bits.
pub(crate) fn take_u32(bytes: &mut &[u8]) -> Result<u32, RecipeError> {
    varint::take(bytes).and_then(|value| u32::try_from(value).ok()).ok_or(RecipeError::Malformed)
}

/// Reads one byte.
pub(crate) fn take_u8(bytes: &mut &[u8]) -> Result<u8, RecipeError> {
    let (&byte, rest) = bytes.split_first().ok_or(RecipeError::Malformed)?;
    *bytes = rest;
    Ok(byte)
}
