//! The linked liblz4 behind safe functions.
//!
//! The block functions take slices and never touch a byte outside of them; the states are owned,
//! sized by the library itself and initialised by the library on every call.

use std::ffi::{c_char, c_int, c_void};
use std::io;
use std::ptr;

use lz4_sys as sys;

use super::measure::{SPARE_BYTES, plain_len};

unsafe extern "C" {
    fn LZ4_sizeofState() -> c_int;
    fn LZ4_sizeofStateHC() -> c_int;
    fn LZ4_compress_fast_extState(
        state: *mut c_void,
        src: *const c_char,
        dst: *mut c_char,
        src_len: c_int,
        dst_capacity: c_int,
        acceleration: c_int,
    ) -> c_int;
    fn LZ4_compress_HC_extStateHC(
        state: *mut c_void,
        src: *const c_char,
        dst: *mut c_char,
        src_len: c_int,
        dst_capacity: c_int,
        level: c_int,
    ) -> c_int;
}

/// The longest input of the block functions (`LZ4_MAX_INPUT_SIZE`).
pub(crate) const INPUT_BYTES_MAX: usize = 0x7e00_0000;

/// The linked version: 11000 is 1.10.0.
pub(crate) fn version() -> u32 {
    // SAFETY: takes nothing and returns a constant.
    unsafe { sys::LZ4_versionNumber() }.unsigned_abs()
}

/// The most bytes that `len` bytes can pack to; `None` for more than [`INPUT_BYTES_MAX`].
pub(crate) fn bound(len: usize) -> Option<usize> {
    (len <= INPUT_BYTES_MAX).then(|| len + len / 255 + 16)
}

/// Working memory of the block compressors, kept between calls.
pub(crate) struct State {
    fast: Vec<u64>,
    hc: Vec<u64>,
    /// Content with what follows it.
    ahead: Vec<u8>,
}

impl State {
    pub(crate) fn new() -> Self {
        State { fast: Vec::new(), hc: Vec::new(), ahead: Vec::new() }
    }

    /// Size of the working memory of the fast compressor.
    pub(crate) fn fast_bytes() -> usize {
        // SAFETY: takes nothing and returns a constant.
        unsafe { LZ4_sizeofState() }.unsigned_abs() as usize
    }

    /// Size of the working memory of the high compressor.
    pub(crate) fn hc_bytes() -> usize {
        // SAFETY: takes nothing and returns a constant.
        unsafe { LZ4_sizeofStateHC() }.unsigned_abs() as usize
    }

    /// Packs `plain` as one block behind what `packed` holds already. `None` if `plain` passes [`INPUT_BYTES_MAX`] or there is
    /// no memory.
    pub(crate) fn compress(&mut self, plain: &[u8], level: Level, packed: &mut Vec<u8>) -> Option<()> {
        if let Level::FastAhead = level {
            let mut ahead = std::mem::take(&mut self.ahead);
            ahead.clear();
            ahead.extend_from_slice(plain);
            ahead.resize(plain.len() + AHEAD_BYTES, 0);
            let done = self.compress(&ahead, Level::Fast(1), packed);
            self.ahead = ahead;
            return done;
        }
        if plain.is_empty() {
            // The library reckons backwards from the end of its input, and an empty slice may stand at
            // an address below what it takes off. Such a block is one token without anything.
            packed.push(0);
            return Some(());
        }
        let bound = bound(plain.len())?;
        packed.reserve(bound);
        let spare = packed.spare_capacity_mut();
        let capacity = c_int::try_from(bound).ok()?;
        let plain_len = c_int::try_from(plain.len()).ok()?;
        let written = match level {
            Level::Fast(acceleration) => {
                let state = aligned(&mut self.fast, Self::fast_bytes());
                // SAFETY: `state` is aligned to 8 bytes and of the size that the library asks for,
                // which initialises it itself; `plain` is valid for `plain_len` bytes; `spare` was
                // reserved with at least `capacity` bytes, to which writes are confined; nothing
                // overlaps, for `packed` is borrowed mutably.
                unsafe {
                    LZ4_compress_fast_extState(
                        state,
                        plain.as_ptr().cast(),
                        spare.as_mut_ptr().cast(),
                        plain_len,
                        capacity,
                        c_int::from(acceleration),
                    )
                }
            }
            Level::FastAhead => return None,
            Level::High(level) => {
                let state = aligned(&mut self.hc, Self::hc_bytes());
                // SAFETY: as above, with the state of the high compressor.
                unsafe {
                    LZ4_compress_HC_extStateHC(
                        state,
                        plain.as_ptr().cast(),
                        spare.as_mut_ptr().cast(),
                        plain_len,
                        capacity,
                        c_int::from(level),
                    )
                }
            }
        };
        let written = usize::try_from(written).ok().filter(|&written| written > 0 && written <= bound)?;
        // SAFETY: the library has written `written` bytes, at most `bound`, from the old end on.
        unsafe { packed.set_len(packed.len() + written) };
        Some(())
    }
}

/// How hard a block compressor works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Level {
    /// The fast compressor with this acceleration.
    Fast(u8),
    /// The fast compressor, with 64 KiB of zeros behind the content: it works on short input with
    /// another table than on long input, and EROFS cuts its blocks out of long input.
    FastAhead,
    /// The high compressor at this level.
    High(u8),
}

/// Input from this length on is long to the fast compressor (`LZ4_64Klimit`).
pub(crate) const AHEAD_BYTES: usize = 65_547;

/// A buffer of at least `len` bytes, aligned to 8 bytes.
fn aligned(buf: &mut Vec<u64>, len: usize) -> *mut c_void {
    buf.resize(len.div_ceil(8), 0);
    buf.as_mut_ptr().cast()
}

/// Decodes one block behind what `plain` holds already, at most `plain_len_max` bytes of it.
pub(crate) fn decompress(packed: &[u8], plain_len_max: usize, plain: &mut Vec<u8>) -> io::Result<()> {
    let invalid =
        || io::Error::new(io::ErrorKind::InvalidData, "malformed LZ4 block, or longer than allowed");
    let packed_len = c_int::try_from(packed.len()).map_err(|_| invalid())?;
    let len =
        plain_len(packed).filter(|&len| len <= plain_len_max.min(INPUT_BYTES_MAX)).ok_or_else(invalid)?;
    let capacity = len + SPARE_BYTES;
    plain.reserve(capacity);
    let spare = plain.spare_capacity_mut();
    // SAFETY: `packed` is valid for `packed_len` bytes, `spare` was reserved with at least
    // `capacity` bytes, and this function is made for untrusted input: it stays inside of both.
    let written = unsafe {
        sys::LZ4_decompress_safe(
            packed.as_ptr().cast(),
            spare.as_mut_ptr().cast(),
            packed_len,
            c_int::try_from(capacity).map_err(|_| invalid())?,
        )
    };
    let written = usize::try_from(written).map_err(|_| invalid())?;
    if written != len {
        return Err(invalid());
    }
    // SAFETY: the library has written `written` bytes, no more than there was room for, from the old end on.
    unsafe { plain.set_len(plain.len() + written) };
    Ok(())
}

/// A decoder of LZ4 frames.
pub(crate) struct FrameContext(sys::LZ4FDecompressionContext);

// SAFETY: the context is plain memory that only its owner touches; it has no tie to a thread.
unsafe impl Send for FrameContext {}

impl FrameContext {
    pub(crate) fn new() -> io::Result<Self> {
        let mut context = sys::LZ4FDecompressionContext(ptr::null_mut());
        // SAFETY: writes a pointer to a new context to `context`, or answers with an error code.
        let code = unsafe { sys::LZ4F_createDecompressionContext(&mut context, sys::LZ4F_VERSION) };
        check(code)?;
        Ok(FrameContext(context))
    }

    /// Decodes from `packed` into `plain`. Tells the bytes taken and given, and whether the frame
    /// has ended.
    pub(crate) fn step(&mut self, packed: &[u8], plain: &mut [u8]) -> io::Result<(usize, usize, bool)> {
        let (mut taken, mut given) = (packed.len(), plain.len());
        // SAFETY: both pointers are valid for the lengths that stand behind them, which the library
        // replaces by what it took and gave; no options are passed; the context is alive.
        let hint = unsafe {
            sys::LZ4F_decompress(
                self.0,
                plain.as_mut_ptr(),
                &mut given,
                packed.as_ptr(),
                &mut taken,
                ptr::null(),
            )
        };
        check(hint)?;
        Ok((taken.min(packed.len()), given.min(plain.len()), hint == 0))
    }
}

impl Drop for FrameContext {
    fn drop(&mut self) {
        // SAFETY: the context came from the library, and nobody uses it after.
        unsafe { sys::LZ4F_freeDecompressionContext(self.0) };
    }
}

/// What the header of a frame says, apart from the length of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "they are the bits of the frame descriptor")]
pub(crate) struct FrameFlags {
    /// Blocks may refer to what stands before them.
    pub(crate) linked: bool,
    pub(crate) block_checksum: bool,
    pub(crate) content_size: bool,
    pub(crate) content_checksum: bool,
    /// The largest block: 4 to 7 for 64 KiB, 256 KiB, 1 MiB, 4 MiB.
    pub(crate) block_size: u8,
}

impl FrameFlags {
    /// Content of a full block, in bytes.
    pub(crate) fn block_bytes(self) -> usize {
        1 << (8 + 2 * u32::from(self.block_size))
    }
}

/// An encoder of LZ4 frames.
pub(crate) struct FrameEncoder {
    context: sys::LZ4FCompressionContext,
    preferences: sys::LZ4FPreferences,
}

// SAFETY: the context is plain memory that only its owner touches; it has no tie to a thread.
unsafe impl Send for FrameEncoder {}

impl FrameEncoder {
    /// Starts a frame, whose header goes behind what `packed` holds.
    pub(crate) fn new(
        level: Level,
        flags: FrameFlags,
        plain_len: u64,
        packed: &mut Vec<u8>,
    ) -> io::Result<Self> {
        let level = match level {
            Level::Fast(1) => 1,
            Level::Fast(acceleration) => -c_int::from(acceleration),
            Level::High(level) => c_int::from(level),
            Level::FastAhead => return Err(io::ErrorKind::Unsupported.into()),
        };
        let preferences = sys::LZ4FPreferences {
            frame_info: sys::LZ4FFrameInfo {
                block_size_id: match flags.block_size {
                    4 => sys::BlockSize::Max64KB,
                    5 => sys::BlockSize::Max256KB,
                    6 => sys::BlockSize::Max1MB,
                    _ => sys::BlockSize::Max4MB,
                },
                block_mode: if flags.linked { sys::BlockMode::Linked } else { sys::BlockMode::Independent },
                content_checksum_flag: if flags.content_checksum {
                    sys::ContentChecksum::ChecksumEnabled
                } else {
                    sys::ContentChecksum::NoChecksum
                },
                frame_type: sys::FrameType::Frame,
                content_size: if flags.content_size { plain_len } else { 0 },
                dict_id: 0,
                block_checksum_flag: if flags.block_checksum {
                    sys::BlockChecksum::BlockChecksumEnabled
                } else {
                    sys::BlockChecksum::NoBlockChecksum
                },
            },
            compression_level: level.cast_unsigned(),
            auto_flush: 1,
            favor_dec_speed: 0,
            reserved: [0; 3],
        };
        let mut context = sys::LZ4FCompressionContext(ptr::null_mut());
        // SAFETY: writes a pointer to a new context to `context`, or answers with an error code.
        check(unsafe { sys::LZ4F_createCompressionContext(&mut context, sys::LZ4F_VERSION) })?;
        let encoder = FrameEncoder { context, preferences };
        Self::append(FRAME_HEADER_BYTES_MAX, packed, |out, capacity| {
            // SAFETY: `out` is valid for `capacity` bytes; the preferences have the library's layout
            // and outlive the call.
            unsafe { sys::LZ4F_compressBegin(encoder.context, out, capacity, &raw const encoder.preferences) }
        })?;
        Ok(encoder)
    }

    /// Packs content: one full block, or the last one.
    pub(crate) fn block(&mut self, plain: &[u8], packed: &mut Vec<u8>) -> io::Result<()> {
        // SAFETY: calculates with numbers and the preferences, which have the library's layout.
        let bound = unsafe { sys::LZ4F_compressBound(plain.len(), &raw const self.preferences) };
        Self::append(bound, packed, |out, capacity| {
            // SAFETY: `out` is valid for `capacity` bytes, `plain` for its length; no options.
            unsafe {
                sys::LZ4F_compressUpdate(
                    self.context,
                    out,
                    capacity,
                    plain.as_ptr(),
                    plain.len(),
                    ptr::null(),
                )
            }
        })
    }

    /// Ends the frame.
    pub(crate) fn end(&mut self, packed: &mut Vec<u8>) -> io::Result<()> {
        // SAFETY: calculates with numbers and the preferences, which have the library's layout.
        let bound = unsafe { sys::LZ4F_compressBound(0, &raw const self.preferences) };
        Self::append(bound, packed, |out, capacity| {
            // SAFETY: `out` is valid for `capacity` bytes; no options.
            unsafe { sys::LZ4F_compressEnd(self.context, out, capacity, ptr::null()) }
        })
    }

    /// Lets the library write at most `bound` bytes behind what `packed` holds.
    fn append(
        bound: usize,
        packed: &mut Vec<u8>,
        write: impl FnOnce(*mut u8, usize) -> usize,
    ) -> io::Result<()> {
        packed.reserve(bound);
        let written = write(packed.spare_capacity_mut().as_mut_ptr().cast(), bound);
        check(written)?;
        if written > bound {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // SAFETY: `bound` bytes were reserved, and the library has written `written` of them.
        unsafe { packed.set_len(packed.len() + written) };
        Ok(())
    }
}

impl Drop for FrameEncoder {
    fn drop(&mut self) {
        // SAFETY: the context came from the library, and nobody uses it after.
        unsafe { sys::LZ4F_freeCompressionContext(self.context) };
    }
}

/// The longest header of a frame (`LZ4F_HEADER_SIZE_MAX`).
const FRAME_HEADER_BYTES_MAX: usize = 19;

/// Turns an error code of the frame functions into an error.
fn check(code: usize) -> io::Result<()> {
    // SAFETY: only looks at the number.
    if unsafe { sys::LZ4F_isError(code) } == 0 {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "malformed LZ4 frame"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_odd_empty_block_is_empty_with_and_without_room() {
        for limit in [0, 1, 100] {
            let mut plain = Vec::new();
            decompress(&[2], limit, &mut plain).unwrap();
            assert_eq!(plain, []);
        }
        assert!(decompress(&[0x10, 7], 0, &mut Vec::new()).is_err(), "a byte has no room");
    }

    #[test]
    fn the_bound_is_the_library_s() {
        for len in [0, 1, 254, 255, 256, 65_536, 8 << 20, INPUT_BYTES_MAX] {
            // SAFETY: only looks at the number.
            let theirs = unsafe { sys::LZ4_compressBound(c_int::try_from(len).unwrap()) };
            assert_eq!(bound(len), Some(usize::try_from(theirs).unwrap()));
        }
        assert_eq!(bound(INPUT_BYTES_MAX + 1), None);
    }

    proptest! {
        #[test]
        fn blocks_come_back_and_stay_in_their_bounds(
            plain in proptest::collection::vec(0_u8..4, 0..5000),
            before: Vec<u8>,
            level in 0_u8..=12,
        ) {
            let level = if level < 3 { Level::Fast(level + 1) } else { Level::High(level) };
            let mut state = State::new();
            let mut packed = before.clone();
            state.compress(&plain, level, &mut packed).unwrap();
            prop_assert_eq!(&packed[..before.len()], &before[..]);
            let mut again = Vec::new();
            state.compress(&plain, level, &mut again).unwrap();
            prop_assert_eq!(&packed[before.len()..], &again[..]);
            let mut out = before.clone();
            decompress(&again, plain.len(), &mut out).unwrap();
            prop_assert_eq!(&out[before.len()..], &plain[..]);
            prop_assert_eq!(plain_len(&again), Some(plain.len()));
            if !plain.is_empty() {
                prop_assert!(decompress(&again, plain.len() - 1, &mut Vec::new()).is_err());
            }
        }

        #[test]
        fn any_block_decodes_within_its_limit(packed: Vec<u8>, limit in 0_usize..10_000) {
            let mut plain = Vec::new();
            let decoded = decompress(&packed, limit, &mut plain);
            prop_assert!(plain.len() <= limit);
            prop_assert!(decoded.is_err() || plain_len(&packed) == Some(plain.len()));
        }

        #[test]
        fn any_frame_is_decoded_or_refused(tail: Vec<u8>) {
            let mut context = FrameContext::new().unwrap();
            let mut packed = [&[0x04_u8, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82][..], &tail].concat();
            let mut plain = [0; 512];
            while let Ok((taken, given, false)) = context.step(&packed, &mut plain) {
                if taken + given == 0 {
                    break;
                }
                packed.drain(..taken);
            }
        }
    }
}
