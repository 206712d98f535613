//! What the linked libzstd makes, taken apart and put together by this module alone: no search for a recipe.

use super::traits::Traits;
use super::{Reparse, StreamPacker, correct, levels};

fn pack(recipe: Reparse, plain: &[u8], corrections: &[u8], piece: usize) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut stream = StreamPacker::new(recipe, plain.len() as u64, corrections);
    for piece in plain.chunks(piece) {
        stream.write(piece, &mut packed).unwrap();
    }
    stream.finish(&mut packed).unwrap();
    packed
}

fn content(len: usize) -> Vec<u8> {
    let mut seed = 7u64;
    let mut content = Vec::with_capacity(len + 64);
    while content.len() < len {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let value = seed >> 33;
        match value % 5 {
            0 => content.extend_from_slice(&seed.to_le_bytes()),
            1 if content.len() > 99 => {
                let from = (value as usize >> 3) % (content.len() - 90);
                content.extend_from_within(from..from + 9 + (value as usize >> 20) % 80);
            }
            2 => content.resize(content.len() + (value as usize >> 5) % 40, (value >> 12) as u8),
            _ => content.extend_from_slice(format!("line {} of {};\n", value % 97, value % 13).as_bytes()),
        }
    }
    content.truncate(len);
    content
}

#[test]
fn every_level_of_the_linked_version_is_predicted_almost_wholly() {
    /// What 1.5.7 does otherwise than earlier versions.
    const LINKED: Traits = Traits::ROWS
        .or(Traits::SINCE_1_5_5)
        .or(Traits::LONGER_ONLY)
        .or(Traits::FINE_LITERALS)
        .or(Traits::STRETCHES);
    let plain = content(300_000);
    for level in 1..=19 {
        let packed = zstd::bulk::compress(&plain, i32::from(level)).unwrap();
        let mut search = levels::search(level, Some(plain.len() as u64), false);
        search.traits = LINKED;
        let recipe = Reparse { search, job_bytes: 0, overlap_bytes: 0 };
        let corrections = correct(&packed, &plain, recipe, usize::MAX).unwrap().unwrap();
        assert!(pack(recipe, &plain, &corrections, 70_001) == packed, "level {level}");
        assert!(
            corrections.len() < packed.len() / 100,
            "level {level}: {} bytes of corrections by {recipe}",
            corrections.len()
        );
        assert_eq!(Reparse::from_bytes(&recipe.to_bytes()), Some(recipe));
    }
}
