//! Zstandard, as the linked libzstd's one-shot call makes it: one level, one thread, the whole
//! frame at once. This is how mksquashfs and mkfs.erofs pack their blocks.

use std::fmt;

use zstd_safe::zstd_sys;
use zstd_safe::{CCtx, CParameter, ResetDirective};

use crate::codec::{Codec, Method, reparse};
use crate::packer::{Collector, PackContext, PackError, Packer};
use crate::prover::{Bench, Effort, Found};
use crate::recipe::{RecipeError, Way, take_u8, take_u32};
use crate::varint;

/// The engine's name in messages.
const ENGINE: &str = "libzstd";
/// The levels that exist; of the fastest ones, below zero, those that a byte holds.
const LEVEL_MAX: i8 = 22;
/// The most frames that a stream may have: a frame takes nine bytes and more.
const FRAMES_MAX: usize = 1 << 20;

/// Levels to try, by effort. 15 is the default of mksquashfs, 3 that of zstd itself, -1 that of mkfs.erofs
/// 1.8 (its "unset" is handed to libzstd as a level); 22, 19, 9 and 1 are what people ask for.
const LEVELS_FAST: &[i8] = &[15, 3, -1, 19];
const LEVELS_DEFAULT: &[i8] = &[15, 3, -1, 19, 22, 9, 1, 6, 12, 18, 10, 5];
const LEVELS_MAX: &[i8] = &[
    15, 3, -1, 19, 22, 9, 1, 6, 12, 18, 10, 5, 2, 4, 7, 8, 11, 13, 14, 16, 17, 20, 21, -2, -3, -4, -5, -7,
    -10,
];

/// The whole frame at one level, by `ZSTD_compress2`.
///
/// Corrections are empty for a single frame. For more they are the lengths of the frames' contents.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Recipe {
    version: u32,
    level: i8,
    content_size: bool,
    checksum: bool,
}

/// The engine's working memory.
pub(crate) type Context = CCtx<'static>;

impl Recipe {
    pub(crate) fn read(bytes: &mut &[u8]) -> Result<Self, RecipeError> {
        let version = take_u32(bytes)?;
        let level = take_u8(bytes)?.cast_signed();
        let flags = take_u8(bytes)?;
        if level == 0 || level > LEVEL_MAX || flags > 3 {
            return Err(RecipeError::Malformed);
        }
        Ok(Recipe { version, level, content_size: flags & 1 != 0, checksum: flags & 2 != 0 })
    }

    /// Packs one frame into `packed`, in place of what it held.
    fn pack_frame(
        &self,
        plain: &[u8],
        context: &mut Option<Context>,
        packed: &mut Vec<u8>,
    ) -> Result<(), PackError> {
        let failed = |code| PackError::Engine { engine: ENGINE, reason: zstd_safe::get_error_name(code) };
        if context.is_none() {
            *context = CCtx::try_create();
        }
        let context = context.as_mut().ok_or(PackError::Engine { engine: ENGINE, reason: "no memory" })?;
        context.reset(ResetDirective::SessionAndParameters).map_err(failed)?;
        for parameter in [
            CParameter::CompressionLevel(i32::from(self.level)),
            CParameter::ContentSizeFlag(self.content_size),
            CParameter::ChecksumFlag(self.checksum),
        ] {
            context.set_parameter(parameter).map_err(failed)?;
        }
        packed.clear();
        packed.reserve(zstd_safe::compress_bound(plain.len()));
        context.compress2(packed, plain).map_err(failed)?;
        Ok(())
    }

    fn pack_frames(
        &self,
        plain: &[u8],
        frames: &[usize],
        context: &mut Option<Context>,
        draft: &mut Vec<u8>,
        packed: &mut Vec<u8>,
    ) -> Result<(), PackError> {
        if frames.is_empty() {
            return self.pack_frame(plain, context, packed);
        }
        let mut rest = plain;
        for &len in frames {
            let frame = varint::take_bytes(&mut rest, len).ok_or(PackError::Corrections)?;
            self.pack_frame(frame, context, draft)?;
            packed.extend_from_slice(draft);
        }
        if rest.is_empty() { Ok(()) } else { Err(PackError::Corrections) }
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) = (self.version / 10_000, self.version / 100 % 100, self.version % 100);
        write!(f, "zstd-{major}.{minor}.{patch} ")?;
        if self.level < 0 {
            write!(f, "--fast={}", -i32::from(self.level))?;
        } else {
            write!(f, "-{}", self.level)?;
        }
        if !self.content_size {
            f.write_str(" --no-content-size")?;
        }
        if self.checksum {
            f.write_str(" --check")?;
        }
        Ok(())
    }
}

impl Method for Recipe {
    fn write(&self, bytes: &mut Vec<u8>) {
        varint::put(bytes, u64::from(self.version));
        bytes.push(self.level.cast_unsigned());
        bytes.push(u8::from(self.content_size) | u8::from(self.checksum) << 1);
    }

    fn check_linked(&self) -> Result<(), RecipeError> {
        RecipeError::check_version(ENGINE, self.version, zstd_safe::version_number())
    }

    /// The content, the engine's working memory, the packed bytes, and once more the packed bytes
    /// of the frame at hand where there are several.
    fn memory_bytes(&self, plain_len: u64, _packed_len_max: u64) -> u64 {
        let packed = plain_len.saturating_add(plain_len >> 8).saturating_add(1 << 10);
        plain_len
            .saturating_add(engine_bytes(self.level, plain_len))
            .saturating_add(packed)
            .saturating_add(packed)
    }

    fn streams(&self) -> bool {
        false
    }

    fn takes_corrections(&self) -> bool {
        true
    }

    fn pack_block(
        &self,
        plain: &[u8],
        corrections: &[u8],
        context: &mut PackContext,
        packed: &mut Vec<u8>,
    ) -> Result<(), PackError> {
        let frames = read_frames(corrections)?;
        self.pack_frames(plain, &frames, &mut context.zstd, &mut context.draft, packed)
    }

    fn packer(
        &self,
        plain_len: u64,
        _packed_len_max: u64,
        corrections: &[u8],
    ) -> Result<Box<dyn Packer>, PackError> {
        let frames = read_frames(corrections)?;
        let recipe = self.clone();
        Ok(Box::new(Collector::new(plain_len, move |plain: &[u8], packed: &mut Vec<u8>| {
            recipe.pack_frames(plain, &frames, &mut None, &mut Vec::new(), packed)
        })))
    }
}

/// Working memory of the engine for content of a known length.
fn engine_bytes(level: i8, plain_len: u64) -> u64 {
    // SAFETY: both functions calculate with the numbers that they are given and touch nothing.
    let bytes = unsafe {
        let parameters = zstd_sys::ZSTD_getCParams(i32::from(level), plain_len.max(1), 0);
        zstd_sys::ZSTD_estimateCCtxSize_usingCParams(parameters)
    };
    bytes as u64
}

/// The logarithm of the window at a level, for content of a known length.
fn window_log(level: i8, plain_len: u64) -> u32 {
    // SAFETY: calculates with the numbers that it is given and touches nothing.
    unsafe { zstd_sys::ZSTD_getCParams(i32::from(level), plain_len.max(1), 0) }.windowLog
}

/// Reads the lengths of the frames from the corrections; none for a single frame.
fn read_frames(mut corrections: &[u8]) -> Result<Vec<usize>, PackError> {
    // A length takes a byte or more: the list is no longer than the corrections.
    if corrections.len() > FRAMES_MAX * 4 {
        return Err(PackError::Corrections);
    }
    let mut frames = Vec::new();
    while !corrections.is_empty() {
        frames.push(varint::take_len(&mut corrections).ok_or(PackError::Corrections)?);
    }
    Ok(frames)
}

/// What a frame header tells (RFC 8878, section 3.1.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    content_size: bool,
    checksum: bool,
    /// The logarithm of the window and whether more is added to it; none for a single segment.
    window: Option<(u32, bool)>,
}

impl Header {
    /// Reads the header of a frame; `None` if it wants a dictionary.
    fn read(frame: &[u8]) -> Option<Header> {
        let descriptor = *frame.get(4)?;
        let single_segment = descriptor & 0x20 != 0;
        if descriptor & 3 != 0 {
            return None;
        }
        let window = if single_segment {
            None
        } else {
            let window = *frame.get(5)?;
            Some((10 + u32::from(window >> 3), window & 7 != 0))
        };
        Some(Header {
            content_size: single_segment || descriptor & 0xc0 != 0,
            checksum: descriptor & 4 != 0,
            window,
        })
    }

    /// Whether the engine would write this window at a level.
    fn fits(&self, level: i8, plain_len: u64) -> bool {
        let log = window_log(level, plain_len);
        match self.window {
            None => 1 << log >= plain_len,
            Some((window, more)) => window == log && !more,
        }
    }
}

/// How Zstandard streams were packed.
pub(crate) struct Zstd;

impl Codec for Zstd {
    fn prove(&self, packed: &[u8], plain: &[u8], bench: &mut Bench<'_>) -> Option<Found> {
        if bench.effort() == Effort::Fast {
            // Taking a foreign parse apart costs a second for every ten megabytes.
            return prove_exact(packed, plain, bench);
        }
        // Where the last stream was another version's, this one will be as well.
        let last = bench.recent().find(|way| match way {
            Way::Zstd(_) => true,
            Way::Reparse(recipe) => recipe.suits(plain.len()),
            _ => false,
        });
        if matches!(last, Some(Way::Reparse(_)))
            && let Some(found) = reparse::prove(packed, plain, bench)
        {
            return Some(found);
        }
        prove_exact(packed, plain, bench).or_else(|| reparse::prove(packed, plain, bench))
    }
}

/// Finds the level at which the linked version gives the very same bytes.
fn prove_exact(packed: &[u8], plain: &[u8], bench: &mut Bench<'_>) -> Option<Found> {
    let header = Header::read(packed)?;
    let frames = frame_lens(packed)?;
    let mut corrections = Vec::new();
    if frames.len() > 1 {
        for &len in &frames {
            varint::put(&mut corrections, len as u64);
        }
    }
    let levels = match bench.effort() {
        Effort::Fast => LEVELS_FAST,
        Effort::Default => LEVELS_DEFAULT,
        Effort::Max => LEVELS_MAX,
    };
    let first_len = frames.first().map_or(plain.len(), |&len| len) as u64;
    let candidates = levels
        .iter()
        .filter(|&&level| header.fits(level, first_len))
        .map(|&level| {
            let Header { content_size, checksum, .. } = header;
            let version = zstd_safe::version_number();
            Way::Zstd(Recipe { version, level, content_size, checksum }).into()
        })
        .collect();
    let recipe = bench
        .rank(candidates, plain.len())
        .into_iter()
        .find(|recipe| bench.reproduces(recipe, &corrections, plain, packed))?;
    Some(Found { recipe, corrections })
}

/// The lengths of the contents of all frames; `None` where one does not tell and there are several.
fn frame_lens(packed: &[u8]) -> Option<Vec<usize>> {
    let mut rest = packed;
    let mut lens = Vec::new();
    while !rest.is_empty() {
        let packed_len = zstd_safe::find_frame_compressed_size(rest).ok()?;
        if packed_len == packed.len() {
            return Some(Vec::new());
        }
        let plain_len = zstd_safe::get_frame_content_size(rest).ok()??;
        lens.push(usize::try_from(plain_len).ok()?);
        varint::take_bytes(&mut rest, packed_len)?;
        if lens.len() > FRAMES_MAX {
            return None;
        }
    }
    Some(lens)
}
