//! xz and `.lzma`, by the linked liblzma.
//!
//! The headers of a stream tell the check, the filters and the dictionary, and whether the encoder
//! knew blocks as a whole (the threaded encoder of `xz -T` and the one-shot call of mksquashfs
//! do). What is left to search is the preset, and there are only nine that differ.

mod container;
mod encoder;
pub(crate) mod header;
pub(crate) mod raw;

use std::fmt;

use crate::codec::{Codec, Method};
use crate::decode::DECODE_WINDOW_BYTES_MAX;
use crate::packer::{PackContext, PackError, Packer};
use crate::prover::{Bench, Effort, Found};
use crate::recipe::{RecipeError, Way, take_u8, take_u32};
use crate::{recipe, varint};
use container::Check;
use header::{BRANCH_FILTERS, Bits, FILTERS_MAX, read_lzma, read_xz};

/// The engine's name in messages.
const ENGINE: &str = "liblzma";
/// The largest block of the threaded encoder that a recipe may ask for.
const BLOCK_BYTES_MAX: u64 = 4 << 30;

/// A preset of xz: a level, and whether it is extreme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Preset {
    level: u8,
    extreme: bool,
}

impl Preset {
    const fn new(level: u8, extreme: bool) -> Self {
        Preset { level, extreme }
    }

    /// The number that liblzma knows the preset by.
    fn number(self) -> u32 {
        u32::from(self.level) | if self.extreme { liblzma::stream::PRESET_EXTREME } else { 0 }
    }
}

/// Presets to try, by effort. Apart from the dictionary, which the stream tells, 6 is the same as
/// 7 to 9; 6e as every other extreme preset but 3e, which is 5e.
const PRESETS_FAST: &[Preset] = &[Preset::new(6, false), Preset::new(6, true)];
const PRESETS_MAX: &[Preset] = &[
    Preset::new(6, false),
    Preset::new(6, true),
    Preset::new(3, true),
    Preset::new(5, false),
    Preset::new(4, false),
    Preset::new(3, false),
    Preset::new(2, false),
    Preset::new(1, false),
    Preset::new(0, false),
];

/// Which encoder, and how it cuts content into blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Shape {
    /// One block, as `xz -T1` packs it: its header does not tell its length.
    Stream,
    /// Blocks of this size, as the threaded encoder packs them.
    Threaded { block_bytes: u64 },
    /// One block, known as a whole, as mksquashfs packs it.
    Whole,
    /// A `.lzma` file.
    Alone,
}

/// An encoder of liblzma with all its parameters. Corrections are empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Recipe {
    version: u32,
    shape: Shape,
    preset: Preset,
    dict_bytes: u32,
    bits: Bits,
    check: u8,
    filters: Vec<u8>,
}

impl Recipe {
    pub(crate) fn read(bytes: &mut &[u8]) -> Result<Self, RecipeError> {
        let version = take_u32(bytes)?;
        let shape = match take_u8(bytes)? {
            0 => Shape::Stream,
            1 => Shape::Threaded {
                block_bytes: varint::take(bytes)
                    .filter(|block_bytes| (1..=BLOCK_BYTES_MAX).contains(block_bytes))
                    .ok_or(RecipeError::Malformed)?,
            },
            2 => Shape::Whole,
            3 => Shape::Alone,
            _ => return Err(RecipeError::Malformed),
        };
        let preset = take_u8(bytes)?;
        let preset = Preset { level: preset & 0x7f, extreme: preset & 0x80 != 0 };
        let dict_bytes = take_u32(bytes)?;
        let bits = Bits::read(take_u8(bytes)?).ok_or(RecipeError::Malformed)?;
        let check = take_u8(bytes)?;
        let count = usize::from(take_u8(bytes)?);
        let filters = varint::take_bytes(bytes, count).ok_or(RecipeError::Malformed)?.to_vec();
        let sane = preset.level <= 9
            && u64::from(dict_bytes) <= DECODE_WINDOW_BYTES_MAX
            && Check::new(check).is_some()
            && count <= FILTERS_MAX
            && filters.iter().all(|number| BRANCH_FILTERS.contains(number));
        let recipe = Recipe { version, shape, preset, dict_bytes, bits, check, filters };
        if sane { Ok(recipe) } else { Err(RecipeError::Malformed) }
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) =
            (self.version / 10_000_000, self.version / 10_000 % 1000, self.version / 10 % 1000);
        write!(f, "xz-{major}.{minor}.{patch} ")?;
        match self.shape {
            Shape::Stream => f.write_str("-T1")?,
            Shape::Threaded { block_bytes } => write!(f, "-T0 --block-size={block_bytes}")?,
            Shape::Whole => f.write_str("whole")?,
            Shape::Alone => f.write_str("--format=lzma")?,
        }
        for number in &self.filters {
            let name = ["x86", "powerpc", "ia64", "arm", "armthumb", "sparc", "arm64", "riscv"];
            let place = usize::from(number - BRANCH_FILTERS.start());
            write!(f, " --{}", name.get(place).copied().unwrap_or("unknown"))?;
        }
        let extreme = if self.preset.extreme { "e" } else { "" };
        write!(f, " --lzma2=preset={}{extreme},dict={}", self.preset.level, self.dict_bytes)?;
        let Bits { literal_context, literal_position, position } = self.bits;
        if (literal_context, literal_position, position) != (3, 0, 2) {
            write!(f, ",lc={literal_context},lp={literal_position},pb={position}")?;
        }
        write!(f, " check={}", self.check)
    }
}

impl Method for Recipe {
    fn write(&self, bytes: &mut Vec<u8>) {
        varint::put(bytes, u64::from(self.version));
        match self.shape {
            Shape::Stream => bytes.push(0),
            Shape::Threaded { block_bytes } => {
                bytes.push(1);
                varint::put(bytes, block_bytes);
            }
            Shape::Whole => bytes.push(2),
            Shape::Alone => bytes.push(3),
        }
        bytes.push(self.preset.level | u8::from(self.preset.extreme) << 7);
        varint::put(bytes, u64::from(self.dict_bytes));
        bytes.extend([self.bits.byte(), self.check, self.filters.len() as u8]);
        bytes.extend_from_slice(&self.filters);
    }

    fn check_linked(&self) -> Result<(), RecipeError> {
        RecipeError::check_version(ENGINE, self.version, encoder::version())
    }

    fn memory_bytes(&self, plain_len: u64, packed_len_max: u64) -> u64 {
        encoder::memory_bytes(self, plain_len, packed_len_max)
    }

    fn streams(&self) -> bool {
        matches!(self.shape, Shape::Stream | Shape::Alone)
    }

    fn pack_block(
        &self,
        plain: &[u8],
        _corrections: &[u8],
        context: &mut PackContext,
        packed: &mut Vec<u8>,
    ) -> Result<(), PackError> {
        encoder::pack_block(self, plain, &mut context.xz, packed)
    }

    fn packer(
        &self,
        plain_len: u64,
        packed_len_max: u64,
        _corrections: &[u8],
    ) -> Result<Box<dyn Packer>, PackError> {
        encoder::packer(self, plain_len, packed_len_max)
    }
}

/// How xz streams were packed.
pub(crate) struct Xz;

impl Codec for Xz {
    fn prove(&self, packed: &[u8], plain: &[u8], bench: &mut Bench<'_>) -> Option<Found> {
        let header = read_xz(packed)?;
        Check::new(header.check)?;
        let plain_len = plain.len() as u64;
        let shapes = match header.block_bytes {
            None => vec![Shape::Stream],
            Some(first) if first < plain_len => vec![Shape::Threaded { block_bytes: first }],
            Some(_) => {
                let block_bytes = encoder::default_block_bytes(header.dict_bytes);
                vec![Shape::Threaded { block_bytes }, Shape::Whole]
            }
        };
        let recipe = Recipe {
            version: encoder::version(),
            shape: Shape::Stream,
            preset: PRESETS_FAST[0],
            dict_bytes: header.dict_bytes,
            bits: header.bits,
            check: header.check,
            filters: header.filters,
        };
        search(&recipe, &shapes, packed, plain, bench)
    }
}

/// How `.lzma` files were packed.
pub(crate) struct Lzma;

impl Codec for Lzma {
    fn prove(&self, packed: &[u8], plain: &[u8], bench: &mut Bench<'_>) -> Option<Found> {
        let (bits, dict_bytes) = read_lzma(packed)?;
        let recipe = Recipe {
            version: encoder::version(),
            shape: Shape::Alone,
            preset: PRESETS_FAST[0],
            dict_bytes,
            bits,
            check: 0,
            filters: Vec::new(),
        };
        search(&recipe, &[Shape::Alone], packed, plain, bench)
    }
}

/// Tries all shapes with all presets.
fn search(
    recipe: &Recipe,
    shapes: &[Shape],
    packed: &[u8],
    plain: &[u8],
    bench: &mut Bench<'_>,
) -> Option<Found> {
    let presets = match bench.effort() {
        Effort::Fast => PRESETS_FAST,
        Effort::Default | Effort::Max => PRESETS_MAX,
    };
    let candidates = presets
        .iter()
        .flat_map(|&preset| shapes.iter().map(move |&shape| (preset, shape)))
        .map(|(preset, shape)| Way::Xz(Recipe { shape, preset, ..recipe.clone() }).into())
        .collect();
    let recipe: recipe::Recipe = bench
        .rank(candidates, plain.len())
        .into_iter()
        .find(|recipe| bench.reproduces(recipe, &[], plain, packed))?;
    Some(Found { recipe, corrections: Vec::new() })
}
