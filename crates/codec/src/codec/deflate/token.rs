//! Blocks and tokens of deflate streams.

use crate::codec::deflate::bits::{BitReader, BitWriter};
use crate::codec::deflate::huffman::{Codes, DISTANCES, Decoder, END_OF_BLOCK, Encoder, LITERALS};

/// First length and extra bits of the length symbols from 257 on (RFC 1951, section 3.2.5).
const LENGTHS: [(u16, u8); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];
/// First distance and extra bits of the distance symbols.
const DISTANCE_BASES: [(u16, u8); 30] = [
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 1),
    (7, 1),
    (9, 2),
    (13, 2),
    (17, 3),
    (25, 3),
    (33, 4),
    (49, 4),
    (65, 5),
    (97, 5),
    (129, 6),
    (193, 6),
    (257, 7),
    (385, 7),
    (513, 8),
    (769, 8),
    (1025, 9),
    (1537, 9),
    (2049, 10),
    (3073, 10),
    (4097, 11),
    (6145, 11),
    (8193, 12),
    (12_289, 12),
    (16_385, 13),
    (24_577, 13),
];
/// The longest and the shortest match.
pub(crate) const MATCH_LEN_MAX: u32 = 258;
pub(crate) const MATCH_LEN_MIN: u32 = 3;

/// A literal, or a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    /// Zero for a literal.
    distance: u16,
    /// The byte of a literal, the length of a match.
    value: u16,
}

impl Token {
    pub(crate) fn literal(byte: u8) -> Self {
        Token { distance: 0, value: u16::from(byte) }
    }

    /// A match of 3 to 258 bytes, 1 to 32768 bytes back.
    pub(crate) fn matching(len: u32, distance: u32) -> Self {
        Token { distance: distance as u16, value: len as u16 }
    }

    pub(crate) fn is_literal(self) -> bool {
        self.distance == 0
    }

    /// How much content it stands for, in bytes.
    pub(crate) fn len(self) -> u32 {
        if self.is_literal() { 1 } else { u32::from(self.value) }
    }

    /// How far back a match is; zero for a literal.
    pub(crate) fn distance(self) -> u32 {
        u32::from(self.distance)
    }

    /// The symbol for literals and lengths, with extra bits and their count.
    fn length_symbol(self) -> (usize, u32, u32) {
        if self.is_literal() {
            return (usize::from(self.value), 0, 0);
        }
        let place = LENGTHS.partition_point(|&(base, _)| base <= self.value).saturating_sub(1);
        let (base, extra) = LENGTHS[place];
        (257 + place, u32::from(self.value - base), u32::from(extra))
    }

    /// The symbol for the distance of a match, with extra bits and their count.
    fn distance_symbol(self) -> (usize, u32, u32) {
        let place = DISTANCE_BASES.partition_point(|&(base, _)| base <= self.distance).saturating_sub(1);
        let (base, extra) = DISTANCE_BASES[place];
        (place, u32::from(self.distance - base), u32::from(extra))
    }
}

/// How the tokens of a block are coded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Stored,
    Fixed,
    /// The header as it stands in the stream: whole bytes, and how many bits of them count.
    Dynamic {
        header: Vec<u8>,
        header_bits: usize,
    },
}

/// A block, as it was read.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) last: bool,
    pub(crate) kind: Kind,
    /// Empty for a stored block.
    pub(crate) tokens: Vec<Token>,
    /// Length of its content.
    pub(crate) plain_len: usize,
}

/// Reads the blocks of the stream that is exactly `packed`. `None` where it breaks the rules, or
/// cannot be written again from its tokens.
pub(crate) struct Blocks<'a> {
    bits: BitReader<'a>,
    packed: &'a [u8],
    ended: bool,
}

impl<'a> Blocks<'a> {
    pub(crate) fn new(packed: &'a [u8]) -> Self {
        Blocks { bits: BitReader::new(packed), packed, ended: false }
    }

    /// Whether the last block was read, and nothing stands behind it.
    pub(crate) fn ended(&self) -> bool {
        self.ended && self.bits.position() == 8 * self.packed.len()
    }

    /// The next block.
    pub(crate) fn next(&mut self, tokens_max: usize) -> Option<Block> {
        let last = self.bits.take(1)? == 1;
        let (kind, codes) = match self.bits.take(2)? {
            0 => (Kind::Stored, None),
            1 => (Kind::Fixed, Some(Codes::fixed())),
            2 => {
                let start = self.bits.position();
                let codes = Codes::read(&mut self.bits)?;
                let header_bits = self.bits.position() - start;
                let header = copy_bits(self.packed, start, header_bits)?;
                (Kind::Dynamic { header, header_bits }, Some(codes))
            }
            _ => return None,
        };
        let (tokens, plain_len) = match codes {
            None => (Vec::new(), self.skip_stored()?),
            Some(codes) => self.take_tokens(&codes, tokens_max)?,
        };
        if last {
            self.bits.align()?;
            self.ended = true;
        }
        Some(Block { last, kind, tokens, plain_len })
    }

    /// Skips the bytes of a stored block.
    fn skip_stored(&mut self) -> Option<usize> {
        self.bits.align()?;
        let len = self.bits.take(16)?;
        if self.bits.take(16)? != !len & 0xffff {
            return None;
        }
        self.bits.skip(8 * len)?;
        Some(len as usize)
    }

    fn take_tokens(&mut self, codes: &Codes, tokens_max: usize) -> Option<(Vec<Token>, usize)> {
        let (literals, distances) = (Decoder::new(&codes.literals)?, Decoder::new(&codes.distances)?);
        let (mut tokens, mut plain_len) = (Vec::new(), 0);
        loop {
            let symbol = literals.take(&mut self.bits)?;
            if symbol == END_OF_BLOCK {
                return Some((tokens, plain_len));
            }
            let token = if symbol < END_OF_BLOCK {
                Token::literal(symbol as u8)
            } else {
                let (base, extra) = *LENGTHS.get(symbol - 257)?;
                let len = u32::from(base) + self.bits.take(u32::from(extra))?;
                // The longest match has a symbol of its own; in two other words it is not ours.
                if len == MATCH_LEN_MAX && extra != 0 {
                    return None;
                }
                let (base, extra) = *DISTANCE_BASES.get(distances.take(&mut self.bits)?)?;
                Token::matching(len, u32::from(base) + self.bits.take(u32::from(extra))?)
            };
            plain_len += token.len() as usize;
            tokens.push(token);
            if tokens.len() > tokens_max {
                return None;
            }
        }
    }
}

/// Copies bits into bytes of their own.
fn copy_bits(bytes: &[u8], start: usize, count: usize) -> Option<Vec<u8>> {
    let mut from = BitReader::new(bytes.get(start / 8..)?);
    from.skip((start % 8) as u32)?;
    let mut to = BitWriter::default();
    for at in (0..count).step_by(16) {
        let some = (count - at).min(16) as u32;
        to.put(from.take(some)?, some);
    }
    to.align();
    Some(std::mem::take(to.bytes_mut()))
}

/// How often each symbol occurs in a block.
pub(crate) fn frequencies(tokens: &[Token]) -> ([u32; LITERALS], [u32; DISTANCES]) {
    let (mut literals, mut distances) = ([0; LITERALS], [0; DISTANCES]);
    for token in tokens {
        literals[token.length_symbol().0] += 1;
        if !token.is_literal() {
            distances[token.distance_symbol().0] += 1;
        }
    }
    literals[END_OF_BLOCK] = 1;
    (literals, distances)
}

/// Writes the tokens of a block, and its end. `None` if a symbol has no code.
pub(crate) fn put_tokens(tokens: &[Token], codes: &Codes, bits: &mut BitWriter) -> Option<()> {
    let (literals, distances) = (Encoder::new(&codes.literals), Encoder::new(&codes.distances));
    for token in tokens {
        let (symbol, extra, count) = token.length_symbol();
        literals.put(symbol, bits)?;
        bits.put(extra, count);
        if !token.is_literal() {
            let (symbol, extra, count) = token.distance_symbol();
            distances.put(symbol, bits)?;
            bits.put(extra, count);
        }
    }
    literals.put(END_OF_BLOCK, bits)
}
