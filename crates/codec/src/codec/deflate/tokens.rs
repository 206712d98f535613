//! Any deflate stream: what zlib would have done is predicted, token by token, and corrections say
//! where the stream differs.
//!
//! Works in a window, whatever the length of the stream, and holds the tokens of one block. Wrong
//! corrections give wrong bytes or an error, within the same memory and time.

use std::io;

use crate::codec::deflate::bits::{BitReader, BitWriter};
use crate::codec::deflate::coder::{Coder, Decoder, Encoder};
use crate::codec::deflate::huffman::Codes;
use crate::codec::deflate::matcher::{LOOKAHEAD_BYTES, Matcher, Style, WINDOW_BYTES, Window};
use crate::codec::deflate::model::{Coding, Head, Model};
use crate::codec::deflate::token::{Block, Blocks, Kind, Token, frequencies, put_tokens};
use crate::packer::PackError;

/// The engine's name in messages.
pub(crate) const ENGINE: &str = "deflate predictor";
/// Its version: of the prediction and of the corrections.
pub(crate) const VERSION: u32 = 1;
/// Tokens in a block, as a logarithm: what zlib and gzip make; and the most that is taken.
const TOKENS_LOG_MIN: u8 = 15;
pub(crate) const TOKENS_LOG_MAX: u8 = 21;
/// Blocks without content in a row. Flushing makes one or two.
const EMPTY_BLOCKS_MAX: u32 = 8;
/// The longest stream.
const PLAIN_BYTES_MAX: u64 = 1 << 31;
/// How much content is taken at a time, and how much of it is kept before old content is dropped.
const PIECE_BYTES: usize = 64 << 10;
const KEPT_BYTES: usize = 128 << 10;
/// With more wrong predictions than one in so many, a style is not the stream's.
const MISSES_PART: usize = 16;
/// How much content is looked at to choose a style.
const TRIAL_BYTES: u32 = 128 << 10;

/// The parameters of a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Parameters {
    pub(crate) style: Style,
    /// The most tokens in a block, as a logarithm.
    pub(crate) tokens_log: u8,
}

impl Parameters {
    pub(crate) fn is_valid(self) -> bool {
        self.style.is_valid() && self.tokens_log <= TOKENS_LOG_MAX
    }

    /// Memory of the engine: the chains, the window, the tokens of a block, what they pack to, and
    /// the models.
    pub(crate) fn memory_bytes(self, plain_len: u64) -> u64 {
        let tokens = (1_u64 << self.tokens_log).min(plain_len + 1);
        // Both grow by doubling.
        let buffers = ((WINDOW_BYTES + KEPT_BYTES + 2 * PIECE_BYTES) as u64).min(4 * plain_len + 1024);
        // A token is four bytes, and packs to at most 48 bits, in a buffer that grows by doubling.
        Matcher::bytes(self.style) + buffers + 16 * tokens + (64 << 10)
    }
}

/// Takes a deflate stream apart: parameters and corrections. `None` where it breaks the rules, or
/// could not be written again.
///
/// The members of a stream share their parameters: those of the first one are `given` for the next,
/// and come back with room for its blocks.
pub(crate) fn analyse(
    packed: &[u8],
    plain: &[u8],
    hints: &[u8],
    given: Option<Parameters>,
) -> Option<(Parameters, Vec<u8>)> {
    if plain.len() as u64 > PLAIN_BYTES_MAX {
        return None;
    }
    let mut reader = Blocks::new(packed);
    let mut blocks = Vec::new();
    while !reader.ended() {
        let block = reader.next(1 << TOKENS_LOG_MAX)?;
        let last = block.last;
        blocks.push(block);
        if last && !reader.ended() {
            return None;
        }
    }
    if blocks.iter().map(|block| block.plain_len).sum::<usize>() != plain.len() {
        return None;
    }
    let (style, misses) = match given {
        Some(given) => (given.style, misses(&blocks, plain, given.style, usize::MAX)?),
        None => choose_style(&blocks, plain, hints)?,
    };
    let tokens_max = blocks.iter().map(|block| block.tokens.len()).max().unwrap_or(0);
    let least = given.map_or(TOKENS_LOG_MIN, |given| given.tokens_log);
    let tokens_log = (tokens_max.next_power_of_two().ilog2() as u8).max(least);
    Some((Parameters { style, tokens_log }, write(&blocks, plain, &misses)))
}

/// A prediction that is wrong.
struct Miss {
    /// Index of the token in the stream.
    token: usize,
    predicted: Token,
    /// The nearest distance with the token's length.
    nearest: u32,
}

/// The style with the fewest wrong predictions at the start of the stream, and all wrong ones.
fn choose_style(blocks: &[Block], plain: &[u8], hints: &[u8]) -> Option<(Style, Vec<Miss>)> {
    let levels = hints.iter().copied().chain((1..=9).rev().filter(|level| !hints.contains(level)));
    let mut styles = levels.flat_map(|level| [15, 16].map(|hash_bits| Style { level, hash_bits }));
    let tokens: usize = blocks.iter().map(|block| block.tokens.len()).sum();
    // Most streams were made as their header hints.
    let first = styles.next()?;
    let first_misses = misses(blocks, plain, first, tokens / MISSES_PART);
    if first_misses.as_ref().is_some_and(Vec::is_empty) {
        return Some((first, Vec::new()));
    }
    let mut best = (wrong_predictions(blocks, plain, first, u32::MAX), first);
    for style in styles {
        let wrong = wrong_predictions(blocks, plain, style, best.0);
        if wrong < best.0 {
            best = (wrong, style);
        }
        if wrong == 0 {
            break;
        }
    }
    match first_misses {
        Some(misses) if best.1 == first => Some((first, misses)),
        _ => Some((best.1, misses(blocks, plain, best.1, usize::MAX)?)),
    }
}

/// All wrong predictions; `None` where there are more than `misses_max`.
fn misses(blocks: &[Block], plain: &[u8], style: Style, misses_max: usize) -> Option<Vec<Miss>> {
    let mut misses = Vec::new();
    let complete = for_tokens(blocks, plain, style, |matcher, window, place, index, token| {
        let predicted = matcher.predict(window, place);
        if predicted != token {
            let nearest = if token.is_literal() { 0 } else { matcher.nearest(window, place, token.len()) };
            misses.push(Miss { token: index, predicted, nearest });
        }
        misses.len() <= misses_max
    });
    complete.then_some(misses)
}

/// How many predictions are wrong at the start of the stream; no more than `enough` are counted.
fn wrong_predictions(blocks: &[Block], plain: &[u8], style: Style, enough: u32) -> u32 {
    let mut wrong = 0;
    for_tokens(blocks, plain, style, |matcher, window, place, _, token| {
        wrong += u32::from(matcher.predict(window, place) != token);
        place <= TRIAL_BYTES && wrong < enough
    });
    wrong
}

/// Shows all tokens of a stream to `see`, with a matcher that knows those before, until it has seen
/// enough; answers whether it saw all of them.
fn for_tokens(
    blocks: &[Block],
    plain: &[u8],
    style: Style,
    mut see: impl FnMut(&mut Matcher, &Window<'_>, u32, usize, Token) -> bool,
) -> bool {
    let window = Window { bytes: plain, base: 0, end: plain.len() as u32 };
    let mut matcher = Matcher::new(style);
    let (mut place, mut index) = (0, 0);
    for block in blocks {
        for &token in &block.tokens {
            if !see(&mut matcher, &window, place, index, token) {
                return false;
            }
            matcher.commit(&window, place, token);
            place += token.len();
            index += 1;
        }
        place += skip_stored(&mut matcher, &window, place, block);
    }
    true
}

/// Takes note of the content of a stored block. Gives its length.
fn skip_stored(matcher: &mut Matcher, window: &Window<'_>, place: u32, block: &Block) -> u32 {
    if block.kind != Kind::Stored {
        return 0;
    }
    for at in place..place + block.plain_len as u32 {
        matcher.commit(window, at, window.literal(at));
    }
    block.plain_len as u32
}

/// Writes the corrections: what the engine needs to know beside its predictions.
fn write(blocks: &[Block], plain: &[u8], misses: &[Miss]) -> Vec<u8> {
    let (mut model, mut coder) = (Model::new(), Encoder::new());
    let window = Window { bytes: plain, base: 0, end: plain.len() as u32 };
    let mut misses = misses.iter().peekable();
    let (mut place, mut index) = (0, 0);
    for block in blocks {
        let coding = match &block.kind {
            Kind::Stored => Coding::Stored,
            Kind::Fixed => Coding::Fixed,
            kind @ Kind::Dynamic { .. } if is_built(kind, &block.tokens) => Coding::Built,
            kind @ Kind::Dynamic { .. } => Coding::Told(kind.clone()),
        };
        let is_stored = coding == Coding::Stored;
        let count = if is_stored { block.plain_len } else { block.tokens.len() } as u32;
        // Both directions refuse the same; what is refused here fails the proof.
        let _ = model.head(&mut coder, &Head { last: block.last, coding, count });
        for &token in &block.tokens {
            let miss = misses.next_if(|miss| miss.token == index);
            let (predicted, nearest) = miss.map_or((token, 0), |miss| (miss.predicted, miss.nearest));
            let _ = model.token(&mut coder, predicted, window.literal(place), token, |_| nearest);
            place += token.len();
            index += 1;
        }
        if is_stored {
            place += block.plain_len as u32;
        }
    }
    coder.finish()
}

/// Whether a header is the one that zlib makes.
fn is_built(kind: &Kind, tokens: &[Token]) -> bool {
    let Kind::Dynamic { header, header_bits } = kind else { return false };
    let (literals, distances) = frequencies(tokens);
    let mut bits = BitWriter::default();
    Codes::build(&literals, &distances, &mut bits);
    let count = bits.bit_count();
    bits.align();
    count == *header_bits && bits.bytes_mut() == header
}

/// Packs one stream.
pub(crate) struct Engine {
    parameters: Parameters,
    matcher: Matcher,
    model: Model,
    coder: Decoder,
    /// Content from `base` on.
    buf: Vec<u8>,
    base: u32,
    place: u32,
    end: u32,
    block: Option<Head>,
    /// Of a stored block: bytes left.
    left: u32,
    tokens: Vec<Token>,
    empty_blocks: u32,
    ended: bool,
    bits: BitWriter,
}

impl Engine {
    pub(crate) fn new(
        parameters: Parameters,
        plain_len: u64,
        corrections: Vec<u8>,
    ) -> Result<Self, PackError> {
        if plain_len > PLAIN_BYTES_MAX {
            return Err(PackError::Corrections);
        }
        Ok(Engine {
            parameters,
            matcher: Matcher::new(parameters.style),
            model: Model::new(),
            coder: Decoder::new(corrections),
            buf: Vec::new(),
            base: 0,
            place: 0,
            end: plain_len as u32,
            block: None,
            left: 0,
            tokens: Vec::new(),
            empty_blocks: 0,
            ended: false,
            bits: BitWriter::default(),
        })
    }

    /// Packs a piece of content.
    pub(crate) fn write(&mut self, plain: &[u8], sink: &mut dyn io::Write) -> Result<(), PackError> {
        for piece in plain.chunks(PIECE_BYTES) {
            self.drop_old();
            self.buf.extend_from_slice(piece);
            self.run(sink)?;
        }
        Ok(())
    }

    /// Packs what is left, once all content has come.
    pub(crate) fn finish(&mut self, sink: &mut dyn io::Write) -> Result<(), PackError> {
        self.run(sink)?;
        if self.ended && self.place == self.end { Ok(()) } else { Err(PackError::Corrections) }
    }

    /// Drops content that no match can refer to.
    fn drop_old(&mut self) {
        let old = ((self.place - self.base) as usize).saturating_sub(WINDOW_BYTES);
        if old >= KEPT_BYTES {
            self.buf.drain(..old);
            self.base += old as u32;
        }
    }

    /// Goes on as far as content is known.
    fn run(&mut self, sink: &mut dyn io::Write) -> Result<(), PackError> {
        loop {
            let known = self.base + self.buf.len() as u32;
            let all = known == self.end;
            if self.ended || (!all && ((known - self.place) as usize) < LOOKAHEAD_BYTES) {
                break;
            }
            if self.step(known).is_none() {
                return Err(PackError::Corrections);
            }
            if self.bits.bytes_mut().len() >= PIECE_BYTES {
                self.flush(sink)?;
            }
        }
        self.flush(sink)
    }

    fn flush(&mut self, sink: &mut dyn io::Write) -> Result<(), PackError> {
        let bytes = self.bits.bytes_mut();
        sink.write_all(bytes).map_err(PackError::Sink)?;
        bytes.clear();
        Ok(())
    }

    /// Begins a block, takes one token or some stored bytes, or ends a block.
    fn step(&mut self, known: u32) -> Option<()> {
        if self.coder.overran() {
            return None;
        }
        match &self.block {
            None => self.begin(),
            Some(Head { coding: Coding::Stored, .. }) if self.left > 0 => self.take_stored(known),
            Some(Head { coding: Coding::Stored, .. }) => self.end(),
            Some(head) => {
                let complete =
                    if head.last { self.place == self.end } else { self.tokens.len() == head.count as usize };
                if complete { self.end() } else { self.take_token(known) }
            }
        }
    }

    fn begin(&mut self) -> Option<()> {
        let any = Head { last: false, coding: Coding::Stored, count: 0 };
        let head = self.model.head(&mut self.coder, &any)?;
        self.bits.put(u32::from(head.last), 1);
        match &head.coding {
            Coding::Stored => {
                if head.count > 0xffff || head.count > self.end - self.place {
                    return None;
                }
                self.bits.put(0, 2);
                self.bits.align();
                self.bits.put(head.count, 16);
                self.bits.put(!head.count & 0xffff, 16);
                self.left = head.count;
            }
            Coding::Fixed => self.bits.put(1, 2),
            Coding::Built | Coding::Told(_) => self.bits.put(2, 2),
        }
        self.block = Some(head);
        Some(())
    }

    fn take_stored(&mut self, known: u32) -> Option<()> {
        let Engine { matcher, buf, base, end, .. } = self;
        let window = Window { bytes: buf, base: *base, end: *end };
        // The last places are chained once what follows them is known.
        let ready = if known == *end { known } else { known - LOOKAHEAD_BYTES as u32 + 1 };
        let count = self.left.min(ready.saturating_sub(self.place)).max(1);
        for place in self.place..self.place + count {
            matcher.commit(&window, place, window.literal(place));
        }
        let start = (self.place - *base) as usize;
        self.bits.bytes_mut().extend_from_slice(buf.get(start..start + count as usize)?);
        self.place += count;
        self.left -= count;
        Some(())
    }

    fn take_token(&mut self, known: u32) -> Option<()> {
        if self.place >= known || self.tokens.len() >= 1 << self.parameters.tokens_log {
            return None;
        }
        let window = Window { bytes: &self.buf, base: self.base, end: self.end };
        let predicted = self.matcher.predict(&window, self.place);
        let literal = window.literal(self.place);
        let (matcher, place) = (&mut self.matcher, self.place);
        let nearest = |len| matcher.nearest(&window, place, len);
        let token = self.model.token(&mut self.coder, predicted, literal, literal, nearest)?;
        if token.len() > self.end - self.place {
            return None;
        }
        self.matcher.commit(&window, self.place, token);
        self.place += token.len();
        self.tokens.push(token);
        Some(())
    }

    /// Writes the tokens of the block.
    fn end(&mut self) -> Option<()> {
        let head = self.block.take()?;
        let empty = self.tokens.is_empty() && head.count == 0;
        self.empty_blocks = if empty { self.empty_blocks + 1 } else { 0 };
        if self.empty_blocks > EMPTY_BLOCKS_MAX {
            return None;
        }
        let codes = match head.coding {
            Coding::Stored => None,
            Coding::Fixed => Some(Codes::fixed()),
            Coding::Built => {
                let (literals, distances) = frequencies(&self.tokens);
                Some(Codes::build(&literals, &distances, &mut self.bits))
            }
            Coding::Told(Kind::Dynamic { header, header_bits }) => {
                let mut reader = BitReader::new(&header);
                let codes = Codes::read(&mut reader)?;
                if reader.position() != header_bits {
                    return None;
                }
                let mut reader = BitReader::new(&header);
                for at in (0..header_bits).step_by(16) {
                    let some = (header_bits - at).min(16) as u32;
                    self.bits.put(reader.take(some)?, some);
                }
                Some(codes)
            }
            Coding::Told(_) => return None,
        };
        if let Some(codes) = codes {
            put_tokens(&self.tokens, &codes, &mut self.bits)?;
            self.tokens.clear();
        }
        if head.last {
            self.bits.align();
            self.ended = true;
        }
        Some(())
    }
}
