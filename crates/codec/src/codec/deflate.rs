//! Deflate, bare and in gzip and zlib wrappings.
//!
//! Two engines: the linked zlib, where its own output is what is wanted, and for all the rest a
//! prediction of what zlib would do, with corrections.

mod bits;
mod coder;
mod huffman;
mod matcher;
mod model;
mod pack;
mod plan;
mod token;
mod tokens;
mod wrapper;
mod zlib;

use std::fmt;

use crate::codec::{Codec, Method};
use crate::decode::decode;
use crate::format::Format;
use crate::packer::{PackError, Packer};
use crate::prover::{Bench, Found};
use crate::recipe::{RecipeError, Way, take_u8, take_u32};
use crate::varint;
use pack::DeflatePacker;
use plan::Part;
use wrapper::Wrapper;

/// A wrapped deflate stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Recipe {
    version: u32,
    wrapper: Wrapper,
    engine: Engine,
}

/// What packs the members of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Engine {
    /// zlib: corrections only where there are several members, or uncommon headers.
    Zlib(zlib::Parameters),
    /// Prediction and corrections.
    Tokens(tokens::Parameters),
}

impl Engine {
    fn version(self) -> u32 {
        match self {
            Engine::Zlib(_) => zlib::version(),
            Engine::Tokens(_) => tokens::VERSION,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Engine::Zlib(_) => zlib::ENGINE,
            Engine::Tokens(_) => tokens::ENGINE,
        }
    }
}

impl Recipe {
    fn new(wrapper: Wrapper, engine: Engine) -> Self {
        Recipe { version: engine.version(), wrapper, engine }
    }

    pub(crate) fn read(bytes: &mut &[u8]) -> Result<Self, RecipeError> {
        let version = take_u32(bytes)?;
        let wrapper = Wrapper::read(bytes)?;
        let engine = match take_u8(bytes)? {
            0 => {
                let parameters = zlib::Parameters { level: take_u8(bytes)?, memory_level: take_u8(bytes)? };
                if !parameters.is_valid() {
                    return Err(RecipeError::Malformed);
                }
                Engine::Zlib(parameters)
            }
            1 => {
                let style = matcher::Style { level: take_u8(bytes)?, hash_bits: take_u8(bytes)? };
                let parameters = tokens::Parameters { style, tokens_log: take_u8(bytes)? };
                if !parameters.is_valid() {
                    return Err(RecipeError::Malformed);
                }
                Engine::Tokens(parameters)
            }
            _ => return Err(RecipeError::Malformed),
        };
        Ok(Recipe { version, wrapper, engine })
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) = (self.version / 10_000, self.version / 100 % 100, self.version % 100);
        write!(f, "{}-{major}.{minor}.{patch} {}", self.engine.name(), self.wrapper.name())?;
        match self.engine {
            Engine::Zlib(zlib::Parameters { level, memory_level }) => {
                write!(f, " -{level}")?;
                if memory_level == 8 { Ok(()) } else { write!(f, " memory={memory_level}") }
            }
            Engine::Tokens(tokens::Parameters { style, tokens_log }) => {
                write!(f, " -{} hash={} block=2^{tokens_log}", style.level, style.hash_bits)
            }
        }
    }
}

impl Method for Recipe {
    fn write(&self, bytes: &mut Vec<u8>) {
        varint::put(bytes, u64::from(self.version));
        self.wrapper.write(bytes);
        match self.engine {
            Engine::Zlib(zlib::Parameters { level, memory_level }) => bytes.extend([0, level, memory_level]),
            Engine::Tokens(tokens::Parameters { style, tokens_log }) => {
                bytes.extend([1, style.level, style.hash_bits, tokens_log]);
            }
        }
    }

    fn check_linked(&self) -> Result<(), RecipeError> {
        RecipeError::check_version(self.engine.name(), self.version, self.engine.version())
    }

    fn memory_bytes(&self, plain_len: u64, _packed_len_max: u64) -> u64 {
        match self.engine {
            Engine::Zlib(parameters) => parameters.memory_bytes(),
            Engine::Tokens(parameters) => parameters.memory_bytes(plain_len),
        }
    }

    fn takes_corrections(&self) -> bool {
        true
    }

    fn packer(
        &self,
        plain_len: u64,
        _packed_len_max: u64,
        corrections: &[u8],
    ) -> Result<Box<dyn Packer>, PackError> {
        Ok(Box::new(DeflatePacker::new(self.wrapper, self.engine, plain_len, corrections)?))
    }
}

/// How deflate streams in one wrapping were packed.
pub(crate) struct Deflate(pub(crate) Format);

/// A member of a stream.
struct Member<'a> {
    /// Its header, where it is not the usual one.
    header: Option<Vec<u8>>,
    /// The deflate stream.
    body: &'a [u8],
    plain_len: u64,
}

/// Cuts a stream into its members.
fn members<'a>(wrapper: Wrapper, packed: &'a [u8], plain: &[u8]) -> Option<Vec<Member<'a>>> {
    let mut members = Vec::new();
    let (mut rest, mut scratch) = (packed, Vec::new());
    while !rest.is_empty() {
        let header_len = wrapper.header_len(rest)?;
        let header = varint::take_bytes(&mut rest, header_len)?;
        let body_len = decode(Format::Deflate, rest, plain.len() as u64, &mut scratch).ok()?;
        members.push(Member {
            header: (header != wrapper.header()).then(|| header.to_vec()),
            body: varint::take_bytes(&mut rest, body_len)?,
            plain_len: scratch.len() as u64,
        });
        varint::take_bytes(&mut rest, wrapper.trailer().bytes().len())?;
    }
    Some(members)
}

impl Codec for Deflate {
    fn prove(&self, packed: &[u8], plain: &[u8], bench: &mut Bench<'_>) -> Option<Found> {
        let wrapper = Wrapper::of(self.0, packed)?;
        let members = members(wrapper, packed, plain)?;
        by_zlib(wrapper, &members, packed, plain, bench)
            .or_else(|| by_tokens(wrapper, &members, packed, plain, bench))
    }
}

fn by_zlib(
    wrapper: Wrapper,
    members: &[Member<'_>],
    packed: &[u8],
    plain: &[u8],
    bench: &mut Bench<'_>,
) -> Option<Found> {
    let part = |member: &Member<'_>| {
        let Member { header, plain_len, .. } = member;
        Part { header: header.clone(), plain_len: *plain_len, corrections: Vec::new() }
    };
    let corrections = plan::write(&members.iter().map(part).collect::<Vec<_>>());
    let guesses = zlib::guesses(wrapper, bench.effort());
    let candidates = guesses
        .into_iter()
        .map(|parameters| Way::Deflate(Recipe::new(wrapper, Engine::Zlib(parameters))).into())
        .collect();
    let recipe = bench
        .rank(candidates, plain.len())
        .into_iter()
        .find(|recipe| bench.reproduces(recipe, &corrections, plain, packed))?;
    Some(Found { recipe, corrections })
}

fn by_tokens(
    wrapper: Wrapper,
    members: &[Member<'_>],
    packed: &[u8],
    plain: &[u8],
    bench: &mut Bench<'_>,
) -> Option<Found> {
    let mut parts = Vec::new();
    let mut parameters: Option<tokens::Parameters> = None;
    let mut rest = plain;
    for member in members {
        let content = varint::take_bytes(&mut rest, member.plain_len as usize)?;
        let (found, corrections) = tokens::analyse(member.body, content, wrapper.levels(), parameters)?;
        parameters = Some(found);
        parts.push(Part { header: member.header.clone(), plain_len: member.plain_len, corrections });
    }
    let recipe = Way::Deflate(Recipe::new(wrapper, Engine::Tokens(parameters?))).into();
    let corrections = plan::write(&parts);
    let proven = corrections.len() < packed.len()
        && bench.affords(&recipe, plain.len())
        && bench.reproduces(&recipe, &corrections, plain, packed);
    proven.then_some(Found { recipe, corrections })
}
