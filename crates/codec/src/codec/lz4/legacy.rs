//! Legacy LZ4 frames, as `lz4 -l` writes them and Linux kernels carry them.

use std::fmt;
use std::io;

use crate::codec::lz4::stream::LEGACY_BLOCK_BYTES;
use crate::codec::lz4::{Context, ENGINE, Level, Parameters, ffi};
use crate::codec::{Codec, Method};
use crate::format::LZ4_LEGACY_MAGIC;
use crate::packer::{PackContext, PackError, Packer, Promise};
use crate::prover::{Bench, Effort, Found};
use crate::recipe::{RecipeError, Way};

/// Levels to try: Linux' build packs at 9; 12 is the highest; 1 the default of the tool.
const LEVELS_FAST: &[Level] = &[Level::High(9), Level::High(12), Level::Fast(1)];
const LEVELS_MAX: &[Level] = &[
    Level::High(9),
    Level::High(12),
    Level::Fast(1),
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

/// Blocks of 8 MiB, each at the same level and on its own. Corrections are empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Recipe(Parameters);

impl Recipe {
    pub(crate) fn read(bytes: &mut &[u8]) -> Result<Self, RecipeError> {
        Parameters::read(bytes).map(Recipe)
    }

    /// Appends one block with its length.
    fn pack_one(&self, plain: &[u8], state: &mut Context, packed: &mut Vec<u8>) -> Result<(), PackError> {
        let failed = PackError::Engine { engine: ENGINE, reason: "the block is too long" };
        let start = packed.len();
        packed.extend([0; 4]);
        state.compress(plain, self.0.level, packed).ok_or(failed)?;
        let len = (packed.len() - start - 4) as u32;
        packed[start..start + 4].copy_from_slice(&len.to_le_bytes());
        Ok(())
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -l", self.0)
    }
}

impl Method for Recipe {
    fn write(&self, bytes: &mut Vec<u8>) {
        self.0.write(bytes);
    }

    fn check_linked(&self) -> Result<(), RecipeError> {
        self.0.check_linked()
    }

    /// The engine's working memory, a block and its packed bytes.
    fn memory_bytes(&self, plain_len: u64, _packed_len_max: u64) -> u64 {
        let block = plain_len.min(LEGACY_BLOCK_BYTES as u64);
        self.0.engine_bytes() + 2 * block + block / 255 + 32
    }

    fn pack_block(
        &self,
        plain: &[u8],
        _corrections: &[u8],
        context: &mut PackContext,
        packed: &mut Vec<u8>,
    ) -> Result<(), PackError> {
        let state = context.lz4.get_or_insert_with(Context::new);
        packed.extend_from_slice(LZ4_LEGACY_MAGIC);
        plain.chunks(LEGACY_BLOCK_BYTES).try_for_each(|block| self.pack_one(block, state, packed))
    }

    fn packer(
        &self,
        plain_len: u64,
        _packed_len_max: u64,
        _corrections: &[u8],
    ) -> Result<Box<dyn Packer>, PackError> {
        Ok(Box::new(LegacyPacker {
            recipe: self.clone(),
            promise: Promise::new(plain_len),
            state: Context::new(),
            block: Vec::new(),
            block_bytes: plain_len.min(LEGACY_BLOCK_BYTES as u64) as usize,
            packed: LZ4_LEGACY_MAGIC.to_vec(),
        }))
    }
}

/// Gathers blocks and packs each as soon as it is full.
struct LegacyPacker {
    recipe: Recipe,
    promise: Promise,
    state: Context,
    block: Vec<u8>,
    block_bytes: usize,
    /// Not written yet.
    packed: Vec<u8>,
}

impl LegacyPacker {
    fn flush(&mut self, sink: &mut dyn io::Write) -> Result<(), PackError> {
        if !self.block.is_empty() {
            self.packed.reserve_exact(4 + ffi::bound(self.block_bytes).unwrap_or(0));
            self.recipe.pack_one(&self.block, &mut self.state, &mut self.packed)?;
            self.block.clear();
        }
        sink.write_all(&self.packed).map_err(PackError::Sink)?;
        self.packed.clear();
        Ok(())
    }
}

impl Packer for LegacyPacker {
    fn write(&mut self, mut plain: &[u8], sink: &mut dyn io::Write) -> Result<(), PackError> {
        self.promise.take(plain.len())?;
        while !plain.is_empty() {
            if self.block.capacity() == 0 {
                self.block.reserve_exact(self.block_bytes);
            }
            let (head, rest) = plain.split_at(plain.len().min(self.block_bytes - self.block.len()));
            self.block.extend_from_slice(head);
            plain = rest;
            if self.block.len() == self.block_bytes {
                self.flush(sink)?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, sink: &mut dyn io::Write) -> Result<(), PackError> {
        self.promise.keep()?;
        self.flush(sink)
    }
}

/// How legacy LZ4 frames were packed.
pub(crate) struct Legacy;

impl Codec for Legacy {
    fn prove(&self, packed: &[u8], plain: &[u8], bench: &mut Bench<'_>) -> Option<Found> {
        let levels = match bench.effort() {
            Effort::Fast | Effort::Default => LEVELS_FAST,
            Effort::Max => LEVELS_MAX,
        };
        let candidates =
            levels.iter().map(|&level| Way::Lz4Legacy(Recipe(Parameters::new(level))).into()).collect();
        let recipe = bench
            .rank(candidates, plain.len())
            .into_iter()
            .find(|recipe| bench.reproduces(recipe, &[], plain, packed))?;
        Some(Found { recipe, corrections: Vec::new() })
    }
}
