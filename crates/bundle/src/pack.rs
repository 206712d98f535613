//! Packed chunks: each by itself, with what stands before it in its run as a prefix.
//!
//! A Zstandard frame (RFC 8878) without magic number, content size and checksum, whose matches may reach
//! into the prefix. Whoever unpacks a chunk has what stands before it: from what he had, or fetched.

use zstd_safe::{CCtx, CParameter, DCtx, DParameter, ErrorCode, FrameFormat};

use crate::cut::Chunk;
use crate::limits::{GROUP_BYTES_MAX, RUN_BYTES_MAX};

/// The window that a frame may ask for, as a power of two: a run, or what stands before a chunk and the chunk.
/// It takes no memory: chunks are unpacked to where they go.
const WINDOW_BITS_MAX: u32 = 20;
const _: () = assert!(1 << WINDOW_BITS_MAX >= RUN_BYTES_MAX && RUN_BYTES_MAX >= 2 * GROUP_BYTES_MAX);
/// How a dictionary of Zstandard begins. A run that begins so is not packed: as a prefix it would be taken
/// for one.
const DICTIONARY_MAGIC: [u8; 4] = [0x37, 0xa4, 0x30, 0xec];

fn text(code: ErrorCode) -> &'static str {
    zstd_safe::get_error_name(code)
}

/// Packs the chunks of a run at a level of Zstandard; calls `each` with the packed chunks in order. One that
/// packing makes no shorter comes as it is.
pub(crate) fn pack_run(
    run: &[u8],
    chunks: &[Chunk],
    level: i32,
    each: &mut dyn FnMut(&[u8]),
) -> Result<(), &'static str> {
    let mut context = CCtx::create();
    for parameter in [
        CParameter::CompressionLevel(level),
        CParameter::Format(FrameFormat::Magicless),
        CParameter::ContentSizeFlag(false),
        CParameter::ChecksumFlag(false),
    ] {
        context.set_parameter(parameter).map_err(text)?;
    }
    let longest = chunks.iter().map(|chunk| chunk.len as usize).max().unwrap_or(0);
    let mut out = vec![0; zstd_safe::compress_bound(longest)];
    let mut at = 0;
    for chunk in chunks {
        let bytes = &run[at..at + chunk.len as usize];
        if run.starts_with(&DICTIONARY_MAGIC) {
            each(bytes);
        } else {
            if at > 0 {
                context.ref_prefix(&run[..at]).map_err(text)?;
            }
            let len = context.compress2(&mut out[..], bytes).map_err(text)?;
            each(if len < bytes.len() { &out[..len] } else { bytes });
        }
        at += bytes.len();
    }
    Ok(())
}

/// Unpacks chunks.
pub(crate) struct Unpacker {
    context: DCtx<'static>,
}

impl Unpacker {
    /// Takes about 200 KiB.
    pub(crate) fn new() -> Result<Self, &'static str> {
        let mut context = DCtx::create();
        context.set_parameter(DParameter::Format(FrameFormat::Magicless)).map_err(text)?;
        context.set_parameter(DParameter::WindowLogMax(WINDOW_BITS_MAX)).map_err(text)?;
        Ok(Self { context })
    }

    /// Unpacks a chunk to `out`, which it fills. `prefix` is what stands before it in its run. Answers whether
    /// that was possible.
    pub(crate) fn unpack(&mut self, packed: &[u8], prefix: &[u8], out: &mut [u8]) -> bool {
        if packed.len() == out.len() {
            out.copy_from_slice(packed);
            return true;
        }
        self.context.decompress_using_dict(out, packed, prefix).is_ok_and(|len| len == out.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(run: &[u8], len: usize) -> Vec<Vec<u8>> {
        let chunks: Vec<Chunk> =
            run.chunks(len).map(|part| Chunk { len: part.len() as u32, key: 0, check: 0 }).collect();
        let mut packed = Vec::new();
        pack_run(run, &chunks, 5, &mut |bytes| packed.push(bytes.to_vec())).unwrap();
        let mut unpacker = Unpacker::new().unwrap();
        let mut at = 0;
        for (chunk, packed) in chunks.iter().zip(&packed) {
            let mut out = vec![0; chunk.len as usize];
            assert!(unpacker.unpack(packed, &run[..at], &mut out));
            assert_eq!(out, run[at..at + out.len()]);
            at += out.len();
        }
        packed
    }

    #[test]
    fn chunks_are_packed_with_what_stands_before() {
        let text = b"one chunk is much like the one before it, but for the number: ";
        let run: Vec<u8> = (0..50).flat_map(|i| [&text[..], &[i, i, i]].concat()).collect();
        let packed = round_trip(&run, 130);
        assert!(packed[0].len() > 60);
        assert!(packed[9].len() < 30, "{}", packed[9].len());
        let dictionary = [&DICTIONARY_MAGIC[..], &run].concat();
        round_trip(&dictionary, 500);
    }

    proptest! {
        #[test]
        fn any_bytes_unpack_without_panic(packed: Vec<u8>, prefix: Vec<u8>, len in 0_usize..5000) {
            Unpacker::new().unwrap().unpack(&packed, &prefix, &mut vec![0; len]);
        }

        #[test]
        fn what_is_packed_comes_back(run in proptest::collection::vec(0_u8..4, 1..3000), len in 1_usize..2000) {
            round_trip(&run, len);
        }
    }
}
