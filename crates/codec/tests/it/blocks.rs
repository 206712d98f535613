//! Blocks as squashfs and EROFS hold them, packed by the same engines.

use fluvial_codec::{Budget, Effort, Format, Prover, Recipe, RecipeError, UnpackError};
use proptest::prelude::*;

use crate::support::{AMPLE, content, program, prove, text};

/// An initrd in a squashfs: a long stream by another encoder says nothing of the blocks around it.
#[test]
fn a_long_stream_between_blocks_does_not_mislead_the_prover() {
    let text: Vec<u8> =
        (0..400_000_u32).flat_map(|line| format!("{} {line}\n", line * 7919).into_bytes()).collect();
    // The engine's own parameters, but for one: no level gives these bytes.
    let mut packer = zstd::bulk::Compressor::new(6).unwrap();
    packer.set_parameter(zstd::zstd_safe::CParameter::SearchLog(2)).unwrap();
    let long = packer.compress(&text).unwrap();
    let budget = Budget { effort: Effort::Default, ..AMPLE };
    let mut prover = Prover::new(budget);
    let unpacked = prover.unpack(Format::Zstd, &long).unwrap();
    assert!(unpacked.recipe.to_string().contains("predicted"), "{}", unpacked.recipe);
    for block in text.chunks(128 << 10).take(4) {
        let packed = zstd::bulk::compress(block, 15).unwrap();
        let unpacked = prover.unpack(Format::Zstd, &packed).unwrap();
        assert_eq!(unpacked.recipe.to_string(), "zstd-1.5.7 -15");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn zstd_blocks_come_back(plain in content(1 << 16), level in prop_oneof![-5_i32..=-1, 1_i32..=22], tail: Vec<u8>) {
        let mut packed = zstd::bulk::compress(&plain, level).unwrap();
        let packed_len = packed.len();
        packed.extend(tail);
        let unpacked = prove(&mut Prover::new(AMPLE), Format::Zstd, &packed).unwrap();
        prop_assert_eq!(unpacked.packed_len, packed_len);
        prop_assert_eq!(unpacked.plain, plain);
        prop_assert!(unpacked.corrections.is_empty());
    }

    #[test]
    fn zstd_frames_in_a_row_come_back(one in content(1 << 14), other in content(1 << 14)) {
        let frame = |plain: &[u8]| zstd::bulk::compress(plain, 15).unwrap();
        let packed = [frame(&one), frame(&other), frame(&one)].concat();
        let unpacked = prove(&mut Prover::new(AMPLE), Format::Zstd, &packed).unwrap();
        prop_assert_eq!(unpacked.plain, [&one[..], &other, &one].concat());
    }

    #[test]
    fn any_bytes_come_back_as_an_inode_table(zeros in 0_usize..600, bytes in content(1 << 12)) {
        let table = [vec![0; zeros], bytes].concat();
        prove(&mut Prover::new(AMPLE), Format::Ext4Inodes, &table).unwrap();
    }

    #[test]
    fn stored_bytes_come_back(plain: Vec<u8>) {
        prop_assert_eq!(prove(&mut Prover::new(AMPLE), Format::Stored, &plain).unwrap().plain, plain);
    }
}

#[test]
fn squashfs_blocks_of_a_program_come_back_with_one_recipe() {
    let mut prover = Prover::new(Budget { effort: Effort::Fast, ..AMPLE });
    for block in program().chunks(128 << 10) {
        let packed = zstd::bulk::compress(block, 15).unwrap();
        let unpacked = prove(&mut prover, Format::Zstd, &packed).unwrap();
        assert_eq!(unpacked.recipe.to_string(), "zstd-1.5.7 -15");
    }
}

#[test]
fn checksum_and_missing_content_size_are_read_from_the_frame() {
    let plain = text(200_000);
    for (size, checksum, name) in
        [(false, false, "zstd-1.5.7 -9 --no-content-size"), (true, true, "zstd-1.5.7 -9 --check")]
    {
        let mut packer = zstd::bulk::Compressor::new(9).unwrap();
        packer.include_contentsize(size).unwrap();
        packer.include_checksum(checksum).unwrap();
        let packed = packer.compress(&plain).unwrap();
        let unpacked = prove(&mut Prover::new(AMPLE), Format::Zstd, &packed).unwrap();
        assert_eq!(unpacked.recipe.to_string(), name);
    }
}

#[test]
fn the_budget_is_kept() {
    let plain = text(300_000);
    let packed = zstd::bulk::compress(&plain, 19).unwrap();
    let needed = prove(&mut Prover::new(AMPLE), Format::Zstd, &packed)
        .unwrap()
        .recipe
        .pack_memory_bytes(plain.len() as u64, u64::MAX);
    let mut tight = Prover::new(Budget { memory_bytes: needed - 1, ..AMPLE });
    assert!(matches!(tight.unpack(Format::Zstd, &packed), Err(UnpackError::OverBudget { .. })));
    let mut enough = Prover::new(Budget { memory_bytes: needed, ..AMPLE });
    assert!(enough.unpack(Format::Zstd, &packed).is_ok());
    let mut short = Prover::new(Budget { plain_bytes_max: plain.len() as u64 - 1, ..AMPLE });
    assert!(matches!(short.unpack(Format::Zstd, &packed), Err(UnpackError::TooLarge { max: 299_999 })));
}

#[test]
fn a_recipe_of_another_version_is_refused() {
    let packed = zstd::bulk::compress(b"some content", 3).unwrap();
    let mut bytes = Prover::new(AMPLE).unpack(Format::Zstd, &packed).unwrap().recipe.to_bytes();
    assert_eq!(Recipe::from_bytes(&bytes).unwrap().to_bytes(), bytes);
    bytes[1] -= 1;
    assert_eq!(
        Recipe::from_bytes(&bytes),
        Err(RecipeError::Version { engine: "libzstd", wanted: 10_506, linked: 10_507 })
    );
}
