//! Deflate, bare and in gzip and zlib wrappings.

mod plan;
mod preflate;
mod wrapper;

use std::collections::VecDeque;
use std::fmt;
use std::io;

use crate::codec::{Codec, Method};
use crate::format::Format;
use crate::packer::{PackContext, PackError, Packer, Promise};
use crate::prover::{Bench, Found};
use crate::recipe::{RecipeError, Way, take_u8, take_u32};
use crate::varint;
use plan::Step;
use wrapper::{Trailer, Wrapper};

/// The largest chunk a recipe may ask for, as a logarithm.
const CHUNK_LOG_MAX: u8 = 30;

/// A wrapped deflate stream, packed in chunks of at most two to the power of `chunk_log` bytes of
/// content.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Recipe {
    version: u32,
    wrapper: Wrapper,
    chunk_log: u8,
}

impl Recipe {
    pub(crate) fn read(bytes: &mut &[u8]) -> Result<Self, RecipeError> {
        let version = take_u32(bytes)?;
        let wrapper = Wrapper::read(bytes)?;
        let chunk_log = take_u8(bytes)?;
        if chunk_log > CHUNK_LOG_MAX {
            return Err(RecipeError::Malformed);
        }
        Ok(Recipe { version, wrapper, chunk_log })
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (minor, patch) = (self.version / 100, self.version % 100);
        write!(f, "preflate-0.{minor}.{patch} {} 2^{}", self.wrapper.name(), self.chunk_log)
    }
}

impl Method for Recipe {
    fn write(&self, bytes: &mut Vec<u8>) {
        varint::put(bytes, u64::from(self.version));
        self.wrapper.write(bytes);
        bytes.push(self.chunk_log);
    }

    fn check_linked(&self) -> Result<(), RecipeError> {
        RecipeError::check_version(preflate::ENGINE, self.version, preflate::VERSION)
    }

    fn memory_bytes(&self, plain_len: u64) -> u64 {
        preflate::memory_bytes(self.chunk_log, plain_len)
    }

    fn pack_block(
        &self,
        plain: &[u8],
        corrections: &[u8],
        _context: &mut PackContext,
        packed: &mut Vec<u8>,
    ) -> Result<(), PackError> {
        let mut work = DeflatePacker::new(self, plain.len() as u64, corrections)?;
        work.write(plain, packed)?;
        Box::new(work).finish(packed)
    }

    fn packer(&self, plain_len: u64, corrections: &[u8]) -> Result<Box<dyn Packer>, PackError> {
        Ok(Box::new(DeflatePacker::new(self, plain_len, corrections)?))
    }
}

/// Takes one step after the other as the content for it has come.
struct DeflatePacker {
    promise: Promise,
    steps: VecDeque<Step>,
    wrapper: Wrapper,
    engine: preflate::Engine,
    trailer: Trailer,
    /// Content of the chunk at hand.
    chunk: Vec<u8>,
}

impl DeflatePacker {
    fn new(recipe: &Recipe, plain_len: u64, corrections: &[u8]) -> Result<Self, PackError> {
        let steps = plan::read(plain_len, corrections)?;
        // A chunk that is longer than the recipe says would take more memory than was declared.
        if steps.iter().any(|step| matches!(step, Step::Chunk(len, _) if *len > 1 << recipe.chunk_log)) {
            return Err(PackError::Corrections);
        }
        Ok(DeflatePacker {
            promise: Promise::new(plain_len),
            steps: steps.into(),
            wrapper: recipe.wrapper,
            engine: preflate::Engine::new(),
            trailer: recipe.wrapper.trailer(),
            chunk: Vec::new(),
        })
    }

    /// Takes all the steps that need no more content than `plain`, and keeps what is left of it.
    fn step(&mut self, mut plain: &[u8], sink: &mut dyn io::Write) -> Result<(), PackError> {
        while let Some(step) = self.steps.front() {
            match step {
                Step::Begin(header) => {
                    let header = header.clone().unwrap_or_else(|| self.wrapper.header());
                    sink.write_all(&header).map_err(PackError::Sink)?;
                    self.engine = preflate::Engine::new();
                    self.trailer = self.wrapper.trailer();
                }
                Step::Chunk(len, corrections) => {
                    let missing = *len as usize - self.chunk.len();
                    let (head, rest) = plain.split_at(missing.min(plain.len()));
                    plain = rest;
                    if self.chunk.is_empty() && head.len() == missing {
                        self.trailer.update(head);
                        let packed = self.engine.pack(head, corrections)?;
                        sink.write_all(&packed).map_err(PackError::Sink)?;
                    } else {
                        if self.chunk.capacity() < *len as usize && !head.is_empty() {
                            self.chunk.reserve_exact(*len as usize - self.chunk.len());
                        }
                        self.chunk.extend_from_slice(head);
                        if head.len() < missing {
                            return Ok(());
                        }
                        self.trailer.update(&self.chunk);
                        let packed = self.engine.pack(&self.chunk, corrections)?;
                        self.chunk.clear();
                        sink.write_all(&packed).map_err(PackError::Sink)?;
                    }
                }
                Step::End => sink.write_all(&self.trailer.bytes()).map_err(PackError::Sink)?,
            }
            self.steps.pop_front();
        }
        Ok(())
    }
}

impl Packer for DeflatePacker {
    fn write(&mut self, plain: &[u8], sink: &mut dyn io::Write) -> Result<(), PackError> {
        self.promise.take(plain.len())?;
        self.step(plain, sink)
    }

    fn finish(mut self: Box<Self>, sink: &mut dyn io::Write) -> Result<(), PackError> {
        self.promise.keep()?;
        self.step(&[], sink)
    }
}

/// How deflate streams in one wrapping were packed.
pub(crate) struct Deflate(pub(crate) Format);

impl Codec for Deflate {
    fn prove(&self, packed: &[u8], plain: &[u8], bench: &mut Bench<'_>) -> Option<Found> {
        let wrapper = Wrapper::of(self.0, packed)?;
        let mut chunk_log = 0;
        let mut steps = Vec::new();
        let mut rest = packed;
        while !rest.is_empty() {
            let header_len = wrapper.header_len(rest)?;
            let header = varint::take_bytes(&mut rest, header_len)?;
            steps.push(Step::Begin((header != wrapper.header()).then(|| header.to_vec())));
            let (log, chunks, packed_len) = preflate::analyse(rest, chunk_log)?;
            chunk_log = log;
            steps.extend(chunks);
            steps.push(Step::End);
            varint::take_bytes(&mut rest, packed_len)?;
            varint::take_bytes(&mut rest, wrapper.trailer().bytes().len())?;
        }
        let recipe = Way::Deflate(Recipe { version: preflate::VERSION, wrapper, chunk_log }).into();
        let corrections = plan::write(&steps);
        let proven = bench.affords(&recipe, plain.len())
            && corrections.len() < packed.len()
            && bench.reproduces(&recipe, &corrections, plain, packed);
        proven.then_some(Found { recipe, corrections })
    }
}
