//! Bytes made to harm: nothing may panic, nothing may pass its limits.

use fluvial_codec::{DecodeError, Format, PackContext, Prover, Recipe};
use proptest::prelude::*;

use crate::support::{AMPLE, content};

/// Every format that there is.
fn formats() -> impl Iterator<Item = Format> {
    (0..=u8::MAX).filter_map(Format::from_code)
}

/// A valid stream of each format that the tests can pack in the process.
fn valid(format: Format, plain: &[u8]) -> Vec<u8> {
    match format {
        Format::Zstd => zstd::bulk::compress(plain, 3).unwrap(),
        _ => plain.to_vec(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

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
    fn a_cut_zstd_stream_is_refused(plain in content(1 << 14), cut: prop::sample::Index) {
        let packed = valid(Format::Zstd, &plain);
        let cut = &packed[..cut.index(packed.len())];
        let refused = Format::Zstd.decode_block(cut, 1 << 20, &mut Vec::new());
        prop_assert!(matches!(refused, Err(DecodeError::Truncated { .. })), "{:?}", refused);
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
