//! Zstandard frames of any encoder, by predicting its parse; see [`crate::reparse`].

use std::fmt;
use std::io;

use crate::codec::Method;
use crate::packer::{PackContext, PackError, Packer};
use crate::prover::{Bench, Found};
use crate::recipe::{RecipeError, Way};
use crate::reparse::{self, PackError as ReparseError, Reparse, StreamPacker};
use crate::varint;

/// How a parse is predicted. Corrections hold what the prediction misses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Recipe(Reparse);

impl Recipe {
    /// Whether it may be how content of this length was packed: an encoder that knows the length takes no
    /// window that is much longer. What packed a long stream says nothing of the blocks around it.
    pub(crate) fn suits(&self, plain_len: usize) -> bool {
        const WINDOW_LOG_ANY: u8 = 17;
        let window_log = self.0.search.window_log;
        window_log <= WINDOW_LOG_ANY || 1_u64 << (window_log - 1) < plain_len as u64
    }

    pub(crate) fn read(bytes: &mut &[u8]) -> Result<Self, RecipeError> {
        let parameters = varint::take_bytes(bytes, Reparse::BYTES).ok_or(RecipeError::Malformed)?;
        Reparse::from_bytes(parameters).map(Self).ok_or(RecipeError::Malformed)
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Method for Recipe {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.0.to_bytes());
    }

    /// The engine is this crate; its version is the first byte of the parameters.
    fn check_linked(&self) -> Result<(), RecipeError> {
        Ok(())
    }

    fn memory_bytes(&self, plain_len: u64, _packed_len_max: u64) -> u64 {
        self.0.pack_memory_bytes(plain_len)
    }

    fn takes_corrections(&self) -> bool {
        true
    }

    fn pack_block(
        &self,
        plain: &[u8],
        corrections: &[u8],
        _context: &mut PackContext,
        packed: &mut Vec<u8>,
    ) -> Result<(), PackError> {
        let mut stream = StreamPacker::new(self.0, plain.len() as u64, corrections);
        stream.write(plain, packed).map_err(into_pack_error)?;
        stream.finish(packed).map_err(into_pack_error)
    }

    fn packer(
        &self,
        plain_len: u64,
        _packed_len_max: u64,
        corrections: &[u8],
    ) -> Result<Box<dyn Packer>, PackError> {
        Ok(Box::new(StreamPacker::new(self.0, plain_len, corrections.to_vec())))
    }
}

impl Packer for StreamPacker<Vec<u8>> {
    fn write(&mut self, plain: &[u8], sink: &mut dyn io::Write) -> Result<(), PackError> {
        StreamPacker::write(self, plain, sink).map_err(into_pack_error)
    }

    fn finish(self: Box<Self>, sink: &mut dyn io::Write) -> Result<(), PackError> {
        StreamPacker::finish(*self, sink).map_err(into_pack_error)
    }
}

fn into_pack_error(error: ReparseError) -> PackError {
    match error {
        ReparseError::Corrections(_) => PackError::Corrections,
        ReparseError::PlainLen { promised, got } => PackError::PlainLen { promised, got },
        ReparseError::OutOfMemory => PackError::Engine { engine: "reparse", reason: "no memory" },
        ReparseError::Sink(source) => PackError::Sink(source),
    }
}

/// Finds a prediction that comes near enough; the result is proven.
pub(crate) fn prove(packed: &[u8], plain: &[u8], bench: &mut Bench<'_>) -> Option<Found> {
    let recent: Vec<Reparse> = bench
        .recent()
        .filter_map(|way| match way {
            Way::Reparse(recipe) if recipe.suits(plain.len()) => Some(recipe.0),
            _ => None,
        })
        .collect();
    let searches_max = bench.tries_max();
    let mut affords = |recipe: &Reparse| bench.affords(&Way::Reparse(Recipe(*recipe)).into(), plain.len());
    let fit = reparse::fit(packed, plain, &recent, searches_max, &mut affords).ok()?;
    let recipe = Way::Reparse(Recipe(fit.recipe)).into();
    bench
        .reproduces(&recipe, &fit.corrections, plain, packed)
        .then_some(Found { recipe, corrections: fit.corrections })
}
