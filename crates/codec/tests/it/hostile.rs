//! Bytes made to harm: nothing may panic, nothing may pass its limits.

use std::io::Read;

use fluvial_codec::{Budget, DecodeError, Effort, Format, PackContext, Prover, Recipe, Unpacked};
use proptest::prelude::*;

use crate::support::{AMPLE, content};

/// Every format that any content can be packed in. The content of an inode table cannot be chosen: its
/// first checksum is always right.
fn formats() -> impl Iterator<Item = Format> {
    (0..=u8::MAX).filter_map(Format::from_code).filter(|&format| !format.is_table())
}

/// A valid stream of each format.
fn valid(format: Format, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match format {
        Format::Stored | Format::Ext4Inodes | Format::SquashfsInodes | Format::SquashfsFragments => {
            return plain.to_vec();
        }
        Format::Zstd => return zstd::bulk::compress(plain, 3).unwrap(),
        // One sequence of literals.
        Format::Lz4Block => return lz4_literals(plain),
        Format::Lz4Legacy => {
            let block = lz4_literals(plain);
            return [&[2, 0x21, 0x4c, 0x18], &(block.len() as u32).to_le_bytes()[..], &block].concat();
        }
        // 64 KiB blocks without checksums; one stored block, then the end.
        Format::Lz4Frame => {
            let len = plain.len() as u32 | 1 << 31;
            return [&[4, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82], &len.to_le_bytes()[..], plain, &[0; 4]]
                .concat();
        }
        Format::Gzip => {
            flate2::read::GzEncoder::new(plain, flate2::Compression::new(6)).read_to_end(&mut out)
        }
        Format::Zlib => {
            flate2::read::ZlibEncoder::new(plain, flate2::Compression::new(6)).read_to_end(&mut out)
        }
        Format::Deflate => {
            flate2::read::DeflateEncoder::new(plain, flate2::Compression::new(6)).read_to_end(&mut out)
        }
        Format::Xz => liblzma::read::XzEncoder::new(plain, 0).read_to_end(&mut out),
        Format::Lzma => {
            let options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
            let stream = liblzma::stream::Stream::new_lzma_encoder(&options).unwrap();
            liblzma::read::XzEncoder::new_stream(plain, stream).read_to_end(&mut out)
        }
    }
    .unwrap();
    out
}

fn lz4_literals(plain: &[u8]) -> Vec<u8> {
    if plain.len() < 15 {
        return [&[(plain.len() as u8) << 4], plain].concat();
    }
    let rest = plain.len() - 15;
    let mut block = vec![0xf0];
    block.resize(1 + rest / 255, 255);
    block.push((rest % 255) as u8);
    [&block[..], plain].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes: Vec<u8>, limit in 0_usize..5000) {
        for format in formats() {
            let mut plain = Vec::new();
            if format.decode_block(&bytes, limit, &mut plain).is_ok() {
                prop_assert!(plain.len() <= limit);
            }
            let _ = Prover::new(AMPLE).unpack(format, &bytes);
        }
    }

    #[test]
    fn a_cut_stream_is_refused(plain in content(1 << 12), cut: prop::sample::Index) {
        for format in formats() {
            let packed = valid(format, &plain);
            let mut out = Vec::new();
            format.decode_block(&packed, plain.len(), &mut out).unwrap();
            prop_assert_eq!(&out, &plain, "{}", format);
            let cut = &packed[..cut.index(packed.len().max(1))];
            // Without magic and length, the start of stored bytes or of a block is one, too.
            if !matches!(format, Format::Stored | Format::Lz4Block | Format::Lz4Legacy) {
                let refused = format.decode_block(cut, 1 << 20, &mut Vec::new());
                let cut_short = matches!(refused, Err(DecodeError::Truncated { .. }));
                prop_assert!(cut_short || (cut.is_empty() && refused.is_err()), "{} {:?}", format, refused);
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed_or_comes_back(plain in content(1 << 12), at: prop::sample::Index, bit in 0..8) {
        for format in formats() {
            let mut packed = valid(format, &plain);
            if packed.is_empty() {
                continue;
            }
            let at = at.index(packed.len());
            packed[at] ^= 1_u8 << bit;
            let limit = 4 * plain.len() + 100;
            let mut prover = Prover::new(Budget { plain_bytes_max: limit as u64, effort: Effort::Fast, ..AMPLE });
            if let Ok(unpacked) = prover.unpack(format, &packed) {
                prop_assert!(unpacked.plain.len() <= limit);
                let mut again = Vec::new();
                let Unpacked { plain, recipe, corrections, packed_len } = unpacked;
                recipe.pack_block(&plain, &corrections, &mut PackContext::new(), &mut again).unwrap();
                prop_assert_eq!(&again[..], &packed[..packed_len]);
            }
        }
    }

    #[test]
    fn spoilt_corrections_end_soon(
        plain in content(1 << 14),
        spoils in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut: Option<prop::sample::Index>,
    ) {
        for format in [Format::Gzip, Format::Zlib, Format::Deflate] {
            let Ok(unpacked) = Prover::new(AMPLE).unpack(format, &valid(format, &plain)) else { continue };
            let mut corrections = unpacked.corrections;
            for (at, value) in &spoils {
                if !corrections.is_empty() {
                    let at = at.index(corrections.len());
                    corrections[at] = *value;
                }
            }
            if let Some(cut) = cut {
                corrections.truncate(cut.index(corrections.len() + 1));
            }
            let mut out = Vec::new();
            let _ = unpacked.recipe.pack_block(&plain, &corrections, &mut PackContext::new(), &mut out);
            // A token takes six bytes at most, and a block that is empty a hundred.
            prop_assert!(out.len() <= 6 * plain.len() + 4096 + 1000 * corrections.len(), "{}", out.len());
        }
    }

    #[test]
    fn any_recipe_is_read_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..12),
        corrections: Vec<u8>,
        plain: Vec<u8>,
    ) {
        for number in 0..=u8::MAX {
            let bytes = [&[number], &bytes[..]].concat();
            let Ok(recipe) = Recipe::from_bytes(&bytes) else { continue };
            let mut packed = Vec::new();
            let _ = recipe.pack_block(&plain, &corrections, &mut PackContext::new(), &mut packed);
        }
    }
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
    assert!(bomb.len() < 1 << 14);
    let mut plain = Vec::new();
    let refused = Format::Zstd.decode_block(&bomb, 100_000, &mut plain);
    assert!(matches!(refused, Err(DecodeError::TooLong { max: 100_000, .. })));
    assert!(plain.capacity() < 1 << 20, "{}", plain.capacity());
}

#[test]
fn a_window_that_is_too_large_is_refused() {
    // A frame header that asks for a window of 1 GiB, without a content size.
    let packed = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 20 << 3, 0x01, 0x00, 0x00];
    let refused = Format::Zstd.decode_block(&packed, 100, &mut Vec::new());
    assert!(matches!(refused, Err(DecodeError::Corrupt { .. })), "{refused:?}");
}
