//! Recipes and corrections out of a hostile patch.
//!
//! Input: length of the recipe, one byte; length of the corrections, two bytes; the recipe, the
//! corrections, the content.

use fluvial_codec::{PackContext, PackError, Recipe};

/// A recipe that would take more is refused by its map: the number is checked before anything is taken.
const MEMORY_BYTES_MAX: u64 = 256 << 20;

/// Content is packed or refused, the same in one go and in pieces, and does not grow without end.
///
/// # Panics
/// Where that does not hold.
pub fn run(bytes: &[u8]) {
    let [recipe_len, low, high, rest @ ..] = bytes else { return };
    let Some((recipe, rest)) = rest.split_at_checked(usize::from(*recipe_len)) else { return };
    let corrections_len = usize::from(u16::from_le_bytes([*low, *high]));
    let Some((corrections, plain)) = rest.split_at_checked(corrections_len) else { return };
    let Ok(recipe) = Recipe::from_bytes(recipe) else { return };
    assert_eq!(Recipe::from_bytes(&recipe.to_bytes()).as_ref(), Ok(&recipe));
    if recipe.pack_memory_bytes(plain.len() as u64, u64::MAX) > MEMORY_BYTES_MAX {
        return;
    }
    let mut block = Vec::new();
    let packed = recipe.pack_block(plain, corrections, &mut PackContext::new(), &mut block);
    let limit = 6 * plain.len() + 4096 + 1000 * corrections.len();
    assert!(block.len() <= limit, "{recipe}: {} bytes of {}", block.len(), plain.len());

    let mut stream = Vec::new();
    let in_pieces = |stream: &mut Vec<u8>| -> Result<(), PackError> {
        let mut making = recipe.packer(plain.len() as u64, u64::MAX, corrections)?;
        for piece in plain.chunks(plain.len() / 3 + 1) {
            making.write(piece, stream)?;
        }
        making.finish(stream)
    };
    let streamed = in_pieces(&mut stream);
    assert_eq!(packed.is_ok(), streamed.is_ok(), "{recipe}: {packed:?} in one go, {streamed:?} in pieces");
    assert!(packed.is_err() || block == stream, "{recipe} makes other bytes in pieces");
}
