//! Packing: what a device runs.

use std::io;

use thiserror::Error;

use crate::codec::xz::raw::RawEncoder;
use crate::codec::{lz4, zstd};
use crate::recipe::RecipeError;

/// Packs a stream of known length as it comes.
///
/// The result is that of [`Recipe::pack_block`], whatever the pieces in which it is written.
///
/// [`Recipe::pack_block`]: crate::Recipe::pack_block
pub trait Packer: Send {
    /// Takes the next bytes of the content, and writes what is packed by now to `sink`.
    ///
    /// # Errors
    /// If the content is longer than promised, the engine fails, or `sink` does.
    fn write(&mut self, plain: &[u8], sink: &mut dyn io::Write) -> Result<(), PackError>;

    /// Writes what is left to `sink`.
    ///
    /// # Errors
    /// If the content is shorter than promised, the engine fails, or `sink` does.
    fn finish(self: Box<Self>, sink: &mut dyn io::Write) -> Result<(), PackError>;
}

/// Why content could not be packed.
#[derive(Debug, Error)]
pub enum PackError {
    /// The recipe cannot be followed here.
    #[error("the recipe cannot be followed by this program")]
    Recipe(#[from] RecipeError),
    /// The corrections do not fit the recipe or the content.
    #[error("the corrections do not fit the recipe and the content")]
    Corrections,
    /// The content is not as long as it was said to be.
    #[error("the content has {got} bytes so far, but was to have {promised}")]
    PlainLen {
        /// The length that was given beforehand.
        promised: u64,
        /// How much came.
        got: u64,
    },
    /// The engine refused to go on: no memory, or content that it cannot take.
    #[error("{engine} failed: {reason}")]
    Engine {
        /// Name of the engine.
        engine: &'static str,
        /// What it said.
        reason: &'static str,
    },
    /// The sink failed.
    #[error("writing the packed bytes failed")]
    Sink(#[source] io::Error),
}

/// Working memory of the engines, kept between calls of [`Recipe::pack_block`].
///
/// It holds what the most demanding recipe so far needed. Use one per thread.
///
/// [`Recipe::pack_block`]: crate::Recipe::pack_block
#[derive(Default)]
pub struct PackContext {
    pub(crate) zstd: Option<zstd::Context>,
    pub(crate) lz4: Option<lz4::Context>,
    pub(crate) xz: Option<RawEncoder>,
    /// A buffer for what an engine makes before it is corrected.
    pub(crate) draft: Vec<u8>,
}

impl PackContext {
    /// An empty context; memory is taken when the first recipe asks for it.
    pub fn new() -> Self {
        Self::default()
    }
}

impl std::fmt::Debug for PackContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PackContext").finish_non_exhaustive()
    }
}

/// Collects the whole content, then packs it at once: for engines whose output depends on seeing
/// all of it.
pub(crate) struct Collector<F> {
    plain: Vec<u8>,
    promised: u64,
    pack: F,
}

/// The most that is reserved on a promise alone; more is reserved as content comes.
const RESERVE_BYTES_MAX: u64 = 1 << 20;

impl<F> Collector<F>
where
    F: FnOnce(&[u8], &mut Vec<u8>) -> Result<(), PackError> + Send,
{
    pub(crate) fn new(promised: u64, pack: F) -> Self {
        let reserved = promised.min(RESERVE_BYTES_MAX) as usize;
        Collector { plain: Vec::with_capacity(reserved), promised, pack }
    }
}

impl<F> Packer for Collector<F>
where
    F: FnOnce(&[u8], &mut Vec<u8>) -> Result<(), PackError> + Send,
{
    fn write(&mut self, plain: &[u8], _sink: &mut dyn io::Write) -> Result<(), PackError> {
        let got = self.plain.len() as u64 + plain.len() as u64;
        if got > self.promised {
            return Err(PackError::PlainLen { promised: self.promised, got });
        }
        if self.plain.capacity() - self.plain.len() < plain.len() {
            // Twice as much each time, but never more than promised: the declared bound holds.
            let wanted = got.max(2 * self.plain.len() as u64).min(self.promised);
            self.plain.reserve_exact(wanted as usize - self.plain.len());
        }
        self.plain.extend_from_slice(plain);
        Ok(())
    }

    fn finish(self: Box<Self>, sink: &mut dyn io::Write) -> Result<(), PackError> {
        let got = self.plain.len() as u64;
        if got != self.promised {
            return Err(PackError::PlainLen { promised: self.promised, got });
        }
        let mut packed = Vec::new();
        (self.pack)(&self.plain, &mut packed)?;
        sink.write_all(&packed).map_err(PackError::Sink)
    }
}

/// Counts content against its promised length.
#[derive(Debug)]
pub(crate) struct Promise {
    promised: u64,
    got: u64,
}

impl Promise {
    pub(crate) fn new(promised: u64) -> Self {
        Promise { promised, got: 0 }
    }

    /// Notes that `len` bytes came.
    pub(crate) fn take(&mut self, len: usize) -> Result<(), PackError> {
        self.got += len as u64;
        if self.got > self.promised { Err(self.broken()) } else { Ok(()) }
    }

    /// Checks that everything came.
    pub(crate) fn keep(&self) -> Result<(), PackError> {
        if self.got == self.promised { Ok(()) } else { Err(self.broken()) }
    }

    fn broken(&self) -> PackError {
        PackError::PlainLen { promised: self.promised, got: self.got }
    }
}
