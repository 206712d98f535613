//! Bare LZ4 blocks, as squashfs and EROFS hold them.
//!
//! mksquashfs packs a whole block of content, which comes back exactly. mkfs.erofs fills blocks of
//! a fixed packed size: the engine stops in the middle of the content, and only the last few
//! sequences differ from those of the same content packed on its own. They stand in the corrections.

use std::fmt;

use crate::codec::lz4::{Context, ENGINE, Level, Parameters};
use crate::codec::{Codec, Method};
use crate::packer::{Collector, PackContext, PackError, Packer};
use crate::prover::{Bench, Effort, Found};
use crate::recipe::{RecipeError, Way};
use crate::{recipe, splice};

/// Corrections are kept up to one part in so many of the packed bytes.
const CORRECTIONS_SHARE: usize = 8;

/// So few corrections are not worth a search for fewer.
const GOOD_SHARE: usize = 128;

/// Levels to try, by effort: the highest is that of mksquashfs with `-Xhc`, 9 that of mkfs.erofs
/// with `lz4hc`, and the fast one that of both without: mkfs.erofs has the rest of the file ahead.
const LEVELS_FAST: &[Level] = &[Level::High(12), Level::Fast(1), Level::High(9), Level::FastAhead];
const LEVELS_MAX: &[Level] = &[
    Level::High(12),
    Level::Fast(1),
    Level::High(9),
    Level::FastAhead,
    Level::High(10),
    Level::High(11),
    Level::High(8),
    Level::High(7),
    Level::High(6),
    Level::High(5),
    Level::High(4),
    Level::High(3),
    Level::High(2),
];

/// One block at one level. Corrections are a splice script, empty where nothing differs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Recipe(Parameters);

impl Recipe {
    pub(crate) fn read(bytes: &mut &[u8]) -> Result<Self, RecipeError> {
        Parameters::read(bytes).map(Recipe)
    }

    fn pack(
        &self,
        plain: &[u8],
        corrections: &[u8],
        state: &mut Context,
        draft: &mut Vec<u8>,
        packed: &mut Vec<u8>,
    ) -> Result<(), PackError> {
        let failed = PackError::Engine { engine: ENGINE, reason: "the block is too long" };
        if corrections.is_empty() {
            return state.compress(plain, self.0.level, packed).ok_or(failed);
        }
        draft.clear();
        state.compress(plain, self.0.level, draft).ok_or(failed)?;
        splice::apply(draft, corrections, packed).ok_or(PackError::Corrections)
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (block)", self.0)
    }
}

impl Method for Recipe {
    fn write(&self, bytes: &mut Vec<u8>) {
        self.0.write(bytes);
    }

    fn check_linked(&self) -> Result<(), RecipeError> {
        self.0.check_linked()
    }

    /// The engine's working memory, the content (twice as it is with content ahead), and the packed bytes before and after correction.
    fn memory_bytes(&self, plain_len: u64, _packed_len_max: u64) -> u64 {
        let packed = plain_len.saturating_add(plain_len / 255).saturating_add(16);
        [self.0.engine_bytes(), plain_len, plain_len, packed, packed].into_iter().fold(0, u64::saturating_add)
    }

    fn streams(&self) -> bool {
        false
    }

    fn takes_corrections(&self) -> bool {
        true
    }

    fn pack_block(
        &self,
        plain: &[u8],
        corrections: &[u8],
        context: &mut PackContext,
        packed: &mut Vec<u8>,
    ) -> Result<(), PackError> {
        let state = context.lz4.get_or_insert_with(Context::new);
        self.pack(plain, corrections, state, &mut context.draft, packed)
    }

    fn packer(
        &self,
        plain_len: u64,
        _packed_len_max: u64,
        corrections: &[u8],
    ) -> Result<Box<dyn Packer>, PackError> {
        let (recipe, corrections) = (self.clone(), corrections.to_vec());
        Ok(Box::new(Collector::new(plain_len, move |plain: &[u8], packed: &mut Vec<u8>| {
            recipe.pack(plain, &corrections, &mut Context::new(), &mut Vec::new(), packed)
        })))
    }
}

/// How bare LZ4 blocks were packed.
pub(crate) struct Block;

impl Codec for Block {
    fn prove(&self, packed: &[u8], plain: &[u8], bench: &mut Bench<'_>) -> Option<Found> {
        let levels = match bench.effort() {
            Effort::Fast | Effort::Default => LEVELS_FAST,
            Effort::Max => LEVELS_MAX,
        };
        let candidates = levels
            .iter()
            .map(|&level| recipe::Recipe::from(Way::Lz4Block(Recipe(Parameters::new(level)))))
            .collect();
        let mut best: Option<Found> = None;
        for recipe in bench.rank(candidates, plain.len()) {
            let script_len_max =
                best.as_ref().map_or(packed.len() / CORRECTIONS_SHARE, |best| best.corrections.len() - 1);
            let Some(draft) = bench.draft(&recipe, plain) else { continue };
            if let Some(corrections) = splice::script(draft, packed, script_len_max) {
                let good = corrections.len() <= packed.len() / GOOD_SHARE;
                best = Some(Found { recipe, corrections });
                if good {
                    break;
                }
            }
        }
        best.filter(|found| bench.reproduces(&found.recipe, &found.corrections, plain, packed))
    }
}
