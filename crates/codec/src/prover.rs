//! Finds recipes and proves them.

use std::io;

use thiserror::Error;

use crate::codec::codec;
use crate::decode::{DecodeError, decode};
use crate::format::Format;
use crate::packer::{PackContext, PackError};
use crate::recipe::{Recipe, Way};

/// How many recipes that worked are remembered.
const RECENT_MAX: usize = 32;
/// After so many streams of a format that no recipe fits, without one that does, only the first
/// few candidates are still tried.
const FAILURES_MAX: u32 = 12;
/// How many candidates are tried then.
const CANDIDATES_AFTER_FAILURES: usize = 2;
/// Content is packed in pieces of this length to prove a recipe, to stop at the first difference.
const PIECE_BYTES: usize = 1 << 20;

/// How long to search for parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Effort {
    /// Only what tools use by default, and what worked before.
    Fast,
    /// What is in common use.
    #[default]
    Default,
    /// Everything.
    Max,
}

/// What packing may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// The most heap that packing may take on the device, in bytes
    /// (see [`Recipe::pack_memory_bytes`]).
    pub memory_bytes: u64,
    /// The longest content that is unpacked, in bytes. The prover holds it in memory whole.
    pub plain_bytes_max: u64,
    /// How long to search.
    pub effort: Effort,
}

/// A stream, unpacked, and how to get it back.
#[derive(Debug, Clone)]
pub struct Unpacked {
    /// Length of the stream: what stands behind it in the bytes that were given is not part of it.
    pub packed_len: usize,
    /// The content.
    pub plain: Vec<u8>,
    /// How to pack it.
    pub recipe: Recipe,
    /// What the recipe needs besides the content; often empty.
    pub corrections: Vec<u8>,
}

/// Why a stream stays packed.
#[derive(Debug, Error)]
pub enum UnpackError {
    /// It could not be decoded.
    #[error("the stream cannot be decoded")]
    Decode(#[source] DecodeError),
    /// Its content is longer than the budget allows.
    #[error("the content is longer than {max} bytes")]
    TooLarge {
        /// The limit, in bytes.
        max: u64,
    },
    /// No recipe gives these bytes.
    #[error("no known way of packing gives these bytes")]
    NotReproducible,
    /// The recipes that are left take more memory than the budget allows.
    #[error("packing takes {needed} bytes of memory, {allowed} are allowed")]
    OverBudget {
        /// The least that a recipe takes which was not tried for its memory.
        needed: u64,
        /// The budget.
        allowed: u64,
    },
}

impl From<DecodeError> for UnpackError {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::TooLong { max, .. } => UnpackError::TooLarge { max },
            other => UnpackError::Decode(other),
        }
    }
}

/// Finds recipes. Use one for all the streams of an image: recipes that worked before are tried
/// first, and searches that led nowhere are cut short.
#[derive(Debug)]
pub struct Prover {
    budget: Budget,
    /// Recipes that worked, the last one first.
    recent: Vec<Recipe>,
    context: PackContext,
    scratch: Vec<u8>,
    /// By format: streams that no recipe fitted, since the last one that worked.
    failures: [u32; 16],
}

impl Prover {
    /// A prover without experience.
    pub fn new(budget: Budget) -> Self {
        Prover {
            budget,
            recent: Vec::new(),
            context: PackContext::new(),
            scratch: Vec::new(),
            failures: [0; 16],
        }
    }

    /// Unpacks the stream at the start of `packed`, and proves how to pack it again.
    ///
    /// Takes memory for the content, for the packed bytes once more, and for the engine.
    ///
    /// # Errors
    /// If the stream cannot be decoded, is too long, or cannot be packed again within the budget.
    pub fn unpack(&mut self, format: Format, packed: &[u8]) -> Result<Unpacked, UnpackError> {
        let mut plain = Vec::new();
        let packed_len = decode(format, packed, self.budget.plain_bytes_max, &mut plain)?;
        let failures = self.failures.get(usize::from(format.code())).copied().unwrap_or(0);
        let mut bench = Bench {
            budget: self.budget,
            recent: &self.recent,
            tries_max: if failures > FAILURES_MAX { CANDIDATES_AFTER_FAILURES } else { usize::MAX },
            context: &mut self.context,
            scratch: &mut self.scratch,
            needed: None,
        };
        let found = codec(format).prove(&packed[..packed_len], &plain, &mut bench);
        let needed = bench.needed;
        if let Some(failures) = self.failures.get_mut(usize::from(format.code())) {
            *failures = if found.is_some() { 0 } else { failures.saturating_add(1) };
        }
        match (found, needed) {
            (Some(found), _) => {
                self.remember(&found.recipe);
                plain.shrink_to_fit();
                let Found { recipe, corrections } = found;
                Ok(Unpacked { packed_len, plain, recipe, corrections })
            }
            (None, Some(needed)) => {
                Err(UnpackError::OverBudget { needed, allowed: self.budget.memory_bytes })
            }
            (None, None) => Err(UnpackError::NotReproducible),
        }
    }

    /// Moves a recipe that worked to the front.
    fn remember(&mut self, recipe: &Recipe) {
        let place = self.recent.iter().position(|known| known == recipe);
        let recipe = place.map_or_else(|| recipe.clone(), |place| self.recent.remove(place));
        self.recent.insert(0, recipe);
        self.recent.truncate(RECENT_MAX);
    }
}

/// A recipe that was proven.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) recipe: Recipe,
    pub(crate) corrections: Vec<u8>,
}

/// Where codecs try their guesses.
pub(crate) struct Bench<'a> {
    budget: Budget,
    recent: &'a [Recipe],
    tries_max: usize,
    context: &'a mut PackContext,
    scratch: &'a mut Vec<u8>,
    /// The least memory that a recipe takes which was refused for it.
    needed: Option<u64>,
}

impl Bench<'_> {
    pub(crate) fn effort(&self) -> Effort {
        self.budget.effort
    }

    /// How many candidates are worth trying, as far as earlier streams tell.
    pub(crate) fn tries_max(&self) -> usize {
        self.tries_max
    }

    /// The methods that worked before, the last one first.
    pub(crate) fn recent(&self) -> impl Iterator<Item = &Way> {
        self.recent.iter().map(Recipe::way)
    }

    /// Sorts candidates by how lately they worked, leaves out those that take too much memory,
    /// and cuts the list short where searching has led nowhere for long.
    pub(crate) fn rank(&mut self, candidates: Vec<Recipe>, plain_len: usize) -> Vec<Recipe> {
        let place = |recipe: &Recipe| self.recent.iter().position(|known| known == recipe);
        let mut ranked: Vec<(usize, Recipe)> =
            candidates.into_iter().map(|recipe| (place(&recipe).unwrap_or(usize::MAX), recipe)).collect();
        ranked.sort_by_key(|(place, _)| *place);
        ranked.truncate(self.tries_max);
        ranked
            .into_iter()
            .map(|(_, recipe)| recipe)
            .filter(|recipe| self.affords(recipe, plain_len))
            .collect()
    }

    /// Whether a recipe keeps within the memory budget. Notes those that do not.
    pub(crate) fn affords(&mut self, recipe: &Recipe, plain_len: usize) -> bool {
        let needed = recipe.pack_memory_bytes(plain_len as u64, u64::MAX);
        let affords = needed <= self.budget.memory_bytes;
        if !affords {
            self.needed = Some(self.needed.map_or(needed, |least| least.min(needed)));
        }
        affords
    }

    /// Packs `plain` by a recipe without any corrections.
    pub(crate) fn draft(&mut self, recipe: &Recipe, plain: &[u8]) -> Option<&[u8]> {
        recipe.pack_block(plain, &[], self.context, self.scratch).ok()?;
        Some(self.scratch)
    }

    /// Whether `plain` packs to exactly `packed`.
    pub(crate) fn reproduces(
        &mut self,
        recipe: &Recipe,
        corrections: &[u8],
        plain: &[u8],
        packed: &[u8],
    ) -> bool {
        if !recipe.streams() {
            let done = recipe.pack_block(plain, corrections, self.context, self.scratch);
            return done.is_ok() && self.scratch == packed;
        }
        let mut rest = Expected(packed);
        let mut pack = || -> Result<(), PackError> {
            let mut work = recipe.packer(plain.len() as u64, packed.len() as u64, corrections)?;
            for piece in plain.chunks(PIECE_BYTES) {
                work.write(piece, &mut rest)?;
            }
            work.finish(&mut rest)
        };
        pack().is_ok() && rest.0.is_empty()
    }
}

/// A sink that fails at the first byte that is not the expected one.
struct Expected<'a>(&'a [u8]);

impl io::Write for Expected<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.strip_prefix(bytes) {
            Some(rest) => {
                self.0 = rest;
                Ok(bytes.len())
            }
            None => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
