//! Packs wrapped deflate streams step by step.

use std::collections::VecDeque;
use std::io;

use crate::codec::deflate::plan::{self, Step};
use crate::codec::deflate::wrapper::{Trailer, Wrapper};
use crate::codec::deflate::{Engine, preflate, tokens, zlib};
use crate::packer::{PackError, Packer, Promise};

/// Takes one step after the other as the content for it comes.
pub(crate) struct DeflatePacker {
    promise: Promise,
    steps: VecDeque<Step>,
    wrapper: Wrapper,
    engine: Engine,
    work: Work,
    trailer: Trailer,
    /// How much content of the chunk at hand has come.
    chunk_len: u64,
}

/// The engine at work on a member.
enum Work {
    None,
    Zlib(zlib::Engine),
    Tokens(Box<tokens::Engine>),
    /// With the content of the chunk at hand, if it came in several pieces.
    Preflate(preflate::Engine, Vec<u8>),
}

impl DeflatePacker {
    pub(crate) fn new(
        wrapper: Wrapper,
        engine: Engine,
        plain_len: u64,
        corrections: &[u8],
    ) -> Result<Self, PackError> {
        let steps = plan::read(plain_len, corrections)?;
        let fits = |step: &Step| match (step, engine) {
            (Step::Chunk(_, corrections), Engine::Zlib(_)) => corrections.is_empty(),
            // A longer chunk would take more memory than was declared.
            (Step::Chunk(..), Engine::Tokens(_)) => true,
            (Step::Chunk(len, _), Engine::Preflate { chunk_log }) => *len <= 1 << chunk_log,
            _ => true,
        };
        if !steps.iter().all(fits) {
            return Err(PackError::Corrections);
        }
        Ok(DeflatePacker {
            promise: Promise::new(plain_len),
            steps: steps.into(),
            wrapper,
            engine,
            work: Work::None,
            trailer: wrapper.trailer(),
            chunk_len: 0,
        })
    }

    /// Takes all the steps for which there is content.
    fn step(&mut self, mut plain: &[u8], sink: &mut dyn io::Write) -> Result<(), PackError> {
        while let Some(step) = self.steps.front() {
            match step {
                Step::Begin(header) => {
                    let header = header.clone().unwrap_or_else(|| self.wrapper.header());
                    sink.write_all(&header).map_err(PackError::Sink)?;
                    self.trailer = self.wrapper.trailer();
                    self.work = match self.engine {
                        Engine::Zlib(parameters) => Work::Zlib(zlib::Engine::new(parameters)?),
                        // Takes its corrections first.
                        Engine::Tokens(_) => Work::None,
                        Engine::Preflate { .. } => Work::Preflate(preflate::Engine::new(), Vec::new()),
                    };
                }
                Step::Chunk(len, corrections) => {
                    if let (Engine::Tokens(parameters), Work::None) = (self.engine, &self.work) {
                        let engine = tokens::Engine::new(parameters, *len, corrections)?;
                        self.work = Work::Tokens(Box::new(engine));
                    }
                    let missing = usize::try_from(len - self.chunk_len).unwrap_or(usize::MAX);
                    let (head, rest) = plain.split_at(missing.min(plain.len()));
                    plain = rest;
                    self.chunk_len += head.len() as u64;
                    self.trailer.update(head);
                    let complete = head.len() == missing;
                    self.work.take(head, *len as usize, complete.then_some(corrections), sink)?;
                    if !complete {
                        return Ok(());
                    }
                    self.chunk_len = 0;
                }
                Step::End => {
                    match &mut self.work {
                        Work::Zlib(engine) => engine.finish(sink)?,
                        Work::Tokens(engine) => engine.finish(sink)?,
                        Work::Preflate(..) | Work::None => {}
                    }
                    self.work = Work::None;
                    sink.write_all(&self.trailer.bytes()).map_err(PackError::Sink)?;
                }
            }
            self.steps.pop_front();
        }
        Ok(())
    }
}

impl Work {
    /// Takes content of a chunk of `len` bytes; its corrections come with the last piece.
    fn take(
        &mut self,
        plain: &[u8],
        len: usize,
        corrections: Option<&Vec<u8>>,
        sink: &mut dyn io::Write,
    ) -> Result<(), PackError> {
        match self {
            // Steps are read from corrections: nothing says that a member begins with its header.
            Work::None => Err(PackError::Corrections),
            Work::Zlib(engine) => engine.write(plain, sink),
            Work::Tokens(engine) => engine.write(plain, sink),
            Work::Preflate(engine, chunk) => {
                let packed = match corrections {
                    Some(corrections) if chunk.is_empty() => engine.pack(plain, corrections)?,
                    Some(corrections) => {
                        chunk.extend_from_slice(plain);
                        let packed = engine.pack(chunk, corrections)?;
                        chunk.clear();
                        packed
                    }
                    None => {
                        if chunk.capacity() < len && !plain.is_empty() {
                            chunk.reserve_exact(len - chunk.len());
                        }
                        chunk.extend_from_slice(plain);
                        return Ok(());
                    }
                };
                sink.write_all(&packed).map_err(PackError::Sink)
            }
        }
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
