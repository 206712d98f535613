//! Packs wrapped deflate streams, member by member.

use std::collections::VecDeque;
use std::io;

use crate::codec::deflate::plan::{self, Part};
use crate::codec::deflate::wrapper::{Trailer, Wrapper};
use crate::codec::deflate::{Engine, tokens, zlib};
use crate::packer::{PackError, Packer, Promise};

/// Takes one member after the other as the content for it comes.
pub(crate) struct DeflatePacker {
    promise: Promise,
    wrapper: Wrapper,
    engine: Engine,
    /// Members that have yet to begin.
    parts: VecDeque<Part>,
    member: Option<Member>,
}

/// The member at hand.
struct Member {
    work: Work,
    trailer: Trailer,
    /// How much of its content has yet to come.
    missing: u64,
}

/// An engine at work.
enum Work {
    Zlib(zlib::Engine),
    Tokens(Box<tokens::Engine>),
}

impl DeflatePacker {
    pub(crate) fn new(
        wrapper: Wrapper,
        engine: Engine,
        plain_len: u64,
        corrections: &[u8],
    ) -> Result<Self, PackError> {
        let parts = plan::read(plain_len, corrections)?;
        if matches!(engine, Engine::Zlib(_)) && parts.iter().any(|part| !part.corrections.is_empty()) {
            return Err(PackError::Corrections);
        }
        let promise = Promise::new(plain_len);
        Ok(DeflatePacker { promise, wrapper, engine, parts: parts.into(), member: None })
    }

    /// Goes on as far as there is content.
    fn run(&mut self, mut plain: &[u8], sink: &mut dyn io::Write) -> Result<(), PackError> {
        loop {
            let Some(member) = &mut self.member else {
                let Some(part) = self.parts.pop_front() else { return Ok(()) };
                self.member = Some(self.begin(part, sink)?);
                continue;
            };
            let len = usize::try_from(member.missing).unwrap_or(usize::MAX).min(plain.len());
            let (head, rest) = plain.split_at(len);
            plain = rest;
            member.missing -= len as u64;
            member.trailer.update(head);
            match &mut member.work {
                Work::Zlib(engine) => engine.write(head, sink)?,
                Work::Tokens(engine) => engine.write(head, sink)?,
            }
            if member.missing > 0 {
                return Ok(());
            }
            match &mut member.work {
                Work::Zlib(engine) => engine.finish(sink)?,
                Work::Tokens(engine) => engine.finish(sink)?,
            }
            sink.write_all(&member.trailer.bytes()).map_err(PackError::Sink)?;
            self.member = None;
        }
    }

    fn begin(&self, part: Part, sink: &mut dyn io::Write) -> Result<Member, PackError> {
        let work = match self.engine {
            Engine::Zlib(parameters) => Work::Zlib(zlib::Engine::new(parameters)?),
            Engine::Tokens(parameters) => {
                let engine = tokens::Engine::new(parameters, part.plain_len, part.corrections)?;
                Work::Tokens(Box::new(engine))
            }
        };
        let header = part.header.unwrap_or_else(|| self.wrapper.header());
        sink.write_all(&header).map_err(PackError::Sink)?;
        Ok(Member { work, trailer: self.wrapper.trailer(), missing: part.plain_len })
    }
}

impl Packer for DeflatePacker {
    fn write(&mut self, plain: &[u8], sink: &mut dyn io::Write) -> Result<(), PackError> {
        self.promise.take(plain.len())?;
        if plain.is_empty() { Ok(()) } else { self.run(plain, sink) }
    }

    fn finish(mut self: Box<Self>, sink: &mut dyn io::Write) -> Result<(), PackError> {
        self.promise.keep()?;
        self.run(&[], sink)
    }
}
