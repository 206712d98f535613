//! Deflate streams that the linked zlib gives exactly: no corrections, little memory.
//!
//! zlib's output has been the same for decades at each level and memory level; its wrappings differ,
//! and so may what gzip, libdeflate and others make of the same levels.

use std::ffi::{CStr, c_int, c_uint};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use libz_sys as sys;

use crate::codec::deflate::wrapper::Wrapper;
use crate::packer::PackError;
use crate::prover::Effort;

/// The engine's name in messages.
pub(crate) const ENGINE: &str = "zlib";
/// How much packed data is fetched at a time.
const OUTPUT_BYTES: usize = 32 << 10;
/// The window of every stream: 32 KiB.
const WINDOW_BITS: c_int = 15;

/// The parameters of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Parameters {
    /// From 1 to 9.
    pub(crate) level: u8,
    /// From 1 to 9; 8 by default.
    pub(crate) memory_level: u8,
}

impl Parameters {
    pub(crate) fn is_valid(self) -> bool {
        (1..=9).contains(&self.level) && (1..=9).contains(&self.memory_level)
    }

    /// Memory of the engine: the window twice, links and heads of chains, tokens, the state and the
    /// output buffer.
    pub(crate) fn memory_bytes(self) -> u64 {
        let (window, heads) = (64 << 10, 2 << (self.memory_level + 7));
        let tokens = 5 << (self.memory_level + 6);
        2 * window + heads + tokens + OUTPUT_BYTES as u64 + (32 << 10)
    }
}

/// The linked version as a number: 10302 is 1.3.2.
pub(crate) fn version() -> u32 {
    // SAFETY: the library returns a string of static lifetime, ended by a zero.
    let version = unsafe { CStr::from_ptr(sys::zlibVersion()) };
    version
        .to_bytes()
        .split(|byte| !byte.is_ascii_digit())
        .take(3)
        .map(|part| part.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0')))
        .fold(0, |version, part| version * 100 + part)
}

/// What to try, most likely first: the header tells the level, or a few.
pub(crate) fn guesses(wrapper: Wrapper, effort: Effort) -> Vec<Parameters> {
    let levels = wrapper.levels();
    let memory_levels: &[u8] = if effort == Effort::Fast { &[8] } else { &[8, 9] };
    memory_levels
        .iter()
        .flat_map(|&memory_level| levels.iter().map(move |&level| Parameters { level, memory_level }))
        .collect()
}

/// zlib's compressor, for one bare stream.
pub(crate) struct Engine {
    /// In a box: the library keeps a pointer back to it.
    stream: Box<MaybeUninit<sys::z_stream>>,
    out: Vec<u8>,
}

// SAFETY: the stream is memory that only its owner touches; zlib ties nothing to a thread.
unsafe impl Send for Engine {}

impl Engine {
    pub(crate) fn new(parameters: Parameters) -> Result<Self, PackError> {
        let mut stream = Box::new(MaybeUninit::<sys::z_stream>::zeroed());
        // SAFETY: all fields are zero, which asks the library for its own allocation functions; it
        // writes them into the stream, to which no reference exists, and which stays in its box
        // until `deflateEnd`. The version and the size are those that the binding was made for.
        let code = unsafe {
            sys::deflateInit2_(
                stream.as_mut_ptr(),
                c_int::from(parameters.level),
                sys::Z_DEFLATED,
                -WINDOW_BITS,
                c_int::from(parameters.memory_level),
                sys::Z_DEFAULT_STRATEGY,
                sys::zlibVersion(),
                size_of::<sys::z_stream>() as c_int,
            )
        };
        if code != sys::Z_OK {
            return Err(PackError::Engine { engine: ENGINE, reason: "it could not be set up" });
        }
        Ok(Engine { stream, out: vec![0; OUTPUT_BYTES] })
    }

    /// Packs a piece of content.
    pub(crate) fn write(&mut self, plain: &[u8], sink: &mut dyn io::Write) -> Result<(), PackError> {
        plain.chunks(c_uint::MAX as usize).try_for_each(|piece| self.run(piece, sys::Z_NO_FLUSH, sink))
    }

    /// Ends the stream.
    pub(crate) fn finish(&mut self, sink: &mut dyn io::Write) -> Result<(), PackError> {
        self.run(&[], sys::Z_FINISH, sink)
    }

    fn run(&mut self, plain: &[u8], flush: c_int, sink: &mut dyn io::Write) -> Result<(), PackError> {
        let stream = self.stream.as_mut_ptr();
        // SAFETY: `stream` was initialised by the library; the input stays borrowed while the
        // library reads it below, and is not written to, though the field is not `const`.
        unsafe {
            (*stream).next_in = plain.as_ptr().cast_mut();
            (*stream).avail_in = plain.len() as c_uint;
        }
        loop {
            // SAFETY: the output buffer is valid for its whole length and borrowed mutably; the
            // input is as above, advanced by the library.
            let (code, left, room) = unsafe {
                (*stream).next_out = self.out.as_mut_ptr();
                (*stream).avail_out = self.out.len() as c_uint;
                let code = sys::deflate(stream, flush);
                (code, (*stream).avail_in, (*stream).avail_out as usize)
            };
            let given = self.out.len().saturating_sub(room);
            sink.write_all(&self.out[..given]).map_err(PackError::Sink)?;
            match code {
                sys::Z_STREAM_END => break,
                sys::Z_OK | sys::Z_BUF_ERROR if flush == sys::Z_NO_FLUSH && left == 0 && room > 0 => break,
                sys::Z_OK => {}
                _ => return Err(PackError::Engine { engine: ENGINE, reason: "deflate failed" }),
            }
        }
        // SAFETY: as above; the pointers into what was lent do not outlive this call.
        unsafe {
            (*stream).next_in = ptr::null_mut();
            (*stream).next_out = ptr::null_mut();
        }
        Ok(())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // SAFETY: the stream was initialised, and nobody uses it after.
        unsafe { sys::deflateEnd(self.stream.as_mut_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_version_is_a_number() {
        assert!((10_200..20_000).contains(&version()), "{}", version());
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            plain in proptest::collection::vec(0_u8..6, 0..20_000),
            piece in 1_usize..5000,
            level in 1_u8..=9,
            memory_level in 1_u8..=9,
        ) {
            let parameters = Parameters { level, memory_level };
            let pack = |piece: usize| {
                let mut packed = Vec::new();
                let mut engine = Engine::new(parameters).unwrap();
                plain.chunks(piece).for_each(|piece| engine.write(piece, &mut packed).unwrap());
                engine.finish(&mut packed).unwrap();
                packed
            };
            let packed = pack(piece);
            prop_assert_eq!(&packed, &pack(usize::MAX));
            let mut out = Vec::new();
            flate2::read::DeflateDecoder::new(&packed[..]).read_to_end(&mut out).unwrap();
            prop_assert_eq!(out, plain);
        }
    }
}
