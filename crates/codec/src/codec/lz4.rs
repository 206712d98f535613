//! LZ4: bare blocks, legacy frames and frames, by the linked liblz4.

mod block;
mod ffi;
mod frame;
mod legacy;
mod measure;
mod stream;

pub(crate) use block::{Block, Recipe as BlockRecipe};
pub(crate) use ffi::State as Context;
pub(crate) use frame::{Frame, Recipe as FrameRecipe};
pub(crate) use legacy::{Legacy, Recipe as LegacyRecipe};
pub(crate) use stream::{FrameDecoder, LegacyDecoder};

use std::fmt;
use std::io;

use crate::recipe::{RecipeError, take_u8, take_u32};
use crate::varint;
use ffi::Level;

/// The engine's name in messages.
const ENGINE: &str = "liblz4";
/// The lowest level of the high compressor (new in 1.10), and the highest.
const LEVEL_MIN: u8 = 2;
const LEVEL_MAX: u8 = 12;

/// Decodes one bare block into `plain` (cleared first).
pub(crate) fn decode_block(packed: &[u8], plain_len_max: u64, plain: &mut Vec<u8>) -> io::Result<()> {
    plain.clear();
    ffi::decompress(packed, usize::try_from(plain_len_max).unwrap_or(usize::MAX), plain)
}

/// Version and level: what all recipes for LZ4 have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Parameters {
    version: u32,
    level: Level,
}

/// The fast compressor hashes in machine words: its output differs between 32 and 64 bits.
const WORD_BITS: u8 = usize::BITS as u8;

impl Parameters {
    fn new(level: Level) -> Self {
        Parameters { version: ffi::version(), level }
    }

    /// The high compressor is written as its level, the fast one as 128 + its acceleration, or 128
    /// with content ahead; with the width of a machine word behind it.
    fn write(&self, bytes: &mut Vec<u8>) {
        varint::put(bytes, u64::from(self.version));
        match self.level {
            Level::High(level) => bytes.push(level),
            Level::Fast(acceleration) => bytes.extend([128 + acceleration, WORD_BITS]),
            Level::FastAhead => bytes.extend([128, WORD_BITS]),
        }
    }

    fn read(bytes: &mut &[u8]) -> Result<Self, RecipeError> {
        let version = take_u32(bytes)?;
        let level = match take_u8(bytes)? {
            level @ LEVEL_MIN..=LEVEL_MAX => Level::High(level),
            fast @ 128.. => {
                if take_u8(bytes)? != WORD_BITS {
                    return Err(RecipeError::Machine { engine: ENGINE });
                }
                if fast == 128 { Level::FastAhead } else { Level::Fast(fast - 128) }
            }
            _ => return Err(RecipeError::Malformed),
        };
        Ok(Parameters { version, level })
    }

    fn check_linked(&self) -> Result<(), RecipeError> {
        RecipeError::check_version(ENGINE, self.version, ffi::version())
    }

    /// Working memory of the compressor, in bytes.
    fn engine_bytes(&self) -> u64 {
        // From level 10 on the optimal parser takes a table of its own (LZ4_OPT_NUM nodes of 16
        // bytes); the rest is slack.
        const PARSER_BYTES: u64 = 80 << 10;
        match self.level {
            Level::Fast(_) => Context::fast_bytes() as u64,
            Level::FastAhead => Context::fast_bytes() as u64 + 3 * ffi::AHEAD_BYTES as u64,
            Level::High(_) => Context::hc_bytes() as u64 + PARSER_BYTES,
        }
    }
}

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) = (self.version / 10_000, self.version / 100 % 100, self.version % 100);
        write!(f, "lz4-{major}.{minor}.{patch} ")?;
        match self.level {
            Level::Fast(acceleration) => write!(f, "--fast={acceleration}"),
            Level::FastAhead => f.write_str("--fast=1 ahead"),
            Level::High(level) => write!(f, "-{level}"),
        }
    }
}
