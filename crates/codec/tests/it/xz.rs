//! xz streams and `.lzma` files.

use fluvial_codec::{Budget, Effort, Format, PackError, Prover, UnpackError};
use liblzma::stream::{Check, Filters, LzmaOptions, MtStreamBuilder, Stream};
use proptest::prelude::*;

use crate::support::{AMPLE, content, program, prove, run, text};

fn finish(mut stream: Stream, plain: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(plain.len() + plain.len() / 2 + 4096);
    let status = stream.process_vec(plain, &mut packed, liblzma::stream::Action::Finish).unwrap();
    assert!(matches!(status, liblzma::stream::Status::StreamEnd));
    packed
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn streams_of_both_encoders_come_back(
        plain in content(1 << 15),
        preset in 0_u32..=9,
        extreme: bool,
        threaded: bool,
        tail in proptest::collection::vec(1_u8.., 0..20),
    ) {
        let preset = preset | if extreme { liblzma::stream::PRESET_EXTREME } else { 0 };
        let mut options = LzmaOptions::new_preset(preset).unwrap();
        options.dict_size(1 << 20);
        let mut filters = Filters::new();
        filters.x86().lzma2(&options);
        let stream = if threaded {
            MtStreamBuilder::new().threads(2).filters(filters).check(Check::Crc32).encoder().unwrap()
        } else {
            Stream::new_stream_encoder(&filters, Check::Sha256).unwrap()
        };
        let mut packed = finish(stream, &plain);
        let packed_len = packed.len();
        packed.extend(tail);
        match prove(&mut Prover::new(AMPLE), Format::Xz, &packed) {
            Ok(unpacked) => {
                prop_assert_eq!(unpacked.packed_len, packed_len);
                prop_assert_eq!(unpacked.plain, plain);
            }
            // An empty stream has no block that would tell how it was packed.
            Err(UnpackError::NotReproducible) => prop_assert!(plain.is_empty()),
            Err(error) => prop_assert!(false, "{}", error),
        }
    }
}

/// Packs with `xz` by some options, and tells the recipe that was found.
fn recipe_of(plain: &[u8], args: &[&str], format: Format) -> Option<String> {
    let packed = run("xz", &[&["-c"], args].concat(), plain)?;
    let mut prover = Prover::new(Budget { effort: Effort::Default, ..AMPLE });
    let unpacked = prove(&mut prover, format, &packed).unwrap_or_else(|error| panic!("{args:?}: {error}"));
    assert!(unpacked.plain == plain);
    assert_eq!(unpacked.packed_len, packed.len());
    Some(unpacked.recipe.to_string())
}

#[test]
fn what_the_xz_tool_makes_comes_back() {
    let plain = [program(), text(700_000)].concat();
    for (args, expected) in [
        // Debian's kernel modules.
        (
            &["-T2", "--check=crc32", "--lzma2=dict=1MiB"][..],
            "-T0 --block-size=3145728 --lzma2=preset=6,dict=1048576 check=1",
        ),
        // Linux' build.
        (
            &["-T1", "--check=crc32", "--x86", "--lzma2=dict=32MiB"],
            "-T1 --x86 --lzma2=preset=6,dict=33554432 check=1",
        ),
        (&["-T1", "-0"], "-T1 --lzma2=preset=0,dict=262144 check=4"),
        (&["-T1", "-6"], "-T1 --lzma2=preset=6,dict=8388608 check=4"),
        (&["-T1", "-6e"], "-T1 --lzma2=preset=6e,dict=8388608 check=4"),
        (
            &["-T2", "--block-size=600000", "-3", "--check=sha256"],
            "-T0 --block-size=600000 --lzma2=preset=3,dict=4194304 check=10",
        ),
        (
            &["-T1", "--lzma2=lc=1,lp=2,pb=0,dict=64KiB"],
            "-T1 --lzma2=preset=6,dict=65536,lc=1,lp=2,pb=0 check=4",
        ),
    ] {
        let Some(recipe) = recipe_of(&plain, args, Format::Xz) else { return };
        assert_eq!(recipe.split_once(' ').unwrap().1, expected);
    }
    let Some(recipe) = recipe_of(&plain, &["--format=lzma", "-5"], Format::Lzma) else { return };
    assert!(recipe.ends_with("--format=lzma --lzma2=preset=5,dict=8388608 check=0"), "{recipe}");
}

#[test]
fn memory_is_that_of_the_content_where_blocks_are_larger() {
    let plain = text(500_000);
    let Some(packed) = run("xz", &["-c", "-T2", "-9"], &plain) else { return };
    let unpacked =
        prove(&mut Prover::new(Budget { effort: Effort::Fast, ..AMPLE }), Format::Xz, &packed).unwrap();
    // The encoder for a dictionary of 64 MiB takes 674 MiB; a block of 192 MiB would take that much more.
    assert!(unpacked.recipe.pack_memory_bytes(plain.len() as u64, u64::MAX) < 700 << 20);
}

#[test]
fn memory_is_that_of_the_packed_bytes_where_their_length_is_known() {
    let plain = text(2 << 20);
    let Some(packed) = run("xz", &["-c", "-T2", "--block-size=4MiB", "-0"], &plain) else { return };
    let unpacked = prove(&mut Prover::new(AMPLE), Format::Xz, &packed).unwrap();
    let (recipe, plain_len, packed_len) = (unpacked.recipe, plain.len() as u64, packed.len() as u64);
    assert!(packed_len < 1 << 20);
    let memory_bytes = |packed_len_max| recipe.pack_memory_bytes(plain_len, packed_len_max);
    assert!(memory_bytes(packed_len) + (1 << 20) < memory_bytes(u64::MAX));
    // A length that is not true is found out before more is held than it says.
    let mut packer = recipe.packer(plain_len, packed_len / 2, &[]).unwrap();
    let mut made = Vec::new();
    let refused = packer.write(&plain, &mut made).and_then(|()| packer.finish(&mut made));
    assert!(matches!(refused, Err(PackError::Engine { .. })), "{refused:?}");
}
