//! The search for recipes: whatever it says it can pack again, it packs again.
//!
//! Input: one byte with the format's code and, above, the effort; packed bytes.

use std::io::Read as _;

use fluvial_codec::{Budget, Effort, Format, PackContext, Prover, Recipe, UnpackError};

/// The longest content that is searched, in bytes.
const PLAIN_BYTES_MAX: u64 = 1 << 17;
/// What packing may take, in bytes.
const MEMORY_BYTES_MAX: u64 = 64 << 20;

/// Unpack, then pack by the recipe as it stands in a patch: the same bytes.
///
/// # Panics
/// Where that does not hold.
pub fn run(bytes: &[u8]) {
    let Some((choice, packed)) = bytes.split_first() else { return };
    let Some(format) = Format::from_code(choice % 13) else { return };
    let effort = match choice / 13 {
        0..10 => Effort::Fast,
        10..20 => Effort::Default,
        _ => Effort::Max,
    };
    let budget = Budget { memory_bytes: MEMORY_BYTES_MAX, plain_bytes_max: PLAIN_BYTES_MAX, effort };
    let mut prover = Prover::new(budget);
    let unpacked = match prover.unpack(format, packed) {
        Ok(unpacked) => unpacked,
        Err(UnpackError::OverBudget { needed, allowed }) => {
            assert!(needed > allowed);
            return;
        }
        Err(_) => return,
    };
    assert!(unpacked.plain.len() as u64 <= PLAIN_BYTES_MAX);
    let plain_len = unpacked.plain.len() as u64;
    let stream = &packed[..unpacked.packed_len];
    let recipe = Recipe::from_bytes(&unpacked.recipe.to_bytes()).expect("a recipe that was written is read");
    assert_eq!(recipe, unpacked.recipe);
    assert!(recipe.pack_memory_bytes(plain_len, u64::MAX) <= MEMORY_BYTES_MAX);

    let mut again = Vec::new();
    let mut context = PackContext::new();
    recipe
        .pack_block(&unpacked.plain, &unpacked.corrections, &mut context, &mut again)
        .expect("it is proven");
    assert!(again == stream, "{recipe} makes other bytes in one go");

    again.clear();
    let mut making =
        recipe.packer(plain_len, stream.len() as u64, &unpacked.corrections).expect("it is proven");
    for piece in unpacked.plain.chunks(unpacked.plain.len() / 3 + 1) {
        making.write(piece, &mut again).expect("it is proven");
    }
    making.finish(&mut again).expect("it is proven");
    assert!(again == stream, "{recipe} makes other bytes in pieces");

    again.clear();
    format.reader(Box::new(packed)).expect("it is opened").read_to_end(&mut again).expect("it is decoded");
    assert!(again == unpacked.plain, "{format} is read as something else");
}
