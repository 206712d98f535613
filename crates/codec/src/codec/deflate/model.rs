//! What corrections say: blocks, and tokens where the prediction is wrong.

use crate::codec::deflate::coder::{Bit, Coder};
use crate::codec::deflate::token::{Kind, MATCH_LEN_MAX, MATCH_LEN_MIN, Token};

/// How many of the last predictions tell how the next one may turn out.
const HISTORY_BITS: u32 = 4;
/// The longest header of a dynamic block in bits: three counts, 19 lengths, and 316 symbols of at
/// most seven bits with seven more.
const HEADER_BITS_MAX: u32 = 14 + 19 * 3 + 316 * 14;
/// The farthest match.
const DISTANCE_MAX: u32 = 32 << 10;

/// A block without its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) last: bool,
    pub(crate) coding: Coding,
    /// Bytes of a stored block, tokens of another; not told for the last block, which has them all.
    pub(crate) count: u32,
}

/// How the tokens of a block are coded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Coding {
    Stored,
    Fixed,
    /// With the codes that zlib builds.
    Built,
    /// With codes that are told.
    Told(Kind),
}

/// Learns while corrections are written and read.
pub(crate) struct Model {
    last: Bit,
    coding: [Bit; 4],
    same_count: Bit,
    counts: [Bit; 32],
    count: u32,
    stored_lens: [Bit; 32],
    header_lens: [Bit; 32],
    header_bytes: [Bit; 256],
    /// By what was predicted, and whether the last predictions were right.
    right: [[Bit; 1 << HISTORY_BITS]; 2],
    history: usize,
    literal: Bit,
    same_len: Bit,
    nearest: [Bit; 2],
    lens: [Bit; 256],
    distances: [Bit; 32],
}

impl Model {
    pub(crate) fn new() -> Self {
        Model {
            last: Bit::NEW,
            coding: [Bit::NEW; 4],
            same_count: Bit::NEW,
            counts: [Bit::NEW; 32],
            count: 0,
            stored_lens: [Bit::NEW; 32],
            header_lens: [Bit::NEW; 32],
            header_bytes: [Bit::NEW; 256],
            right: [[Bit::NEW; 1 << HISTORY_BITS]; 2],
            history: 0,
            literal: Bit::NEW,
            same_len: Bit::NEW,
            nearest: [Bit::NEW; 2],
            lens: [Bit::NEW; 256],
            distances: [Bit::NEW; 32],
        }
    }

    /// Codes the head of a block. `None` for one that cannot be.
    pub(crate) fn head(&mut self, coder: &mut impl Coder, head: &Head) -> Option<Head> {
        let last = coder.bit(&mut self.last, head.last);
        let number = match head.coding {
            Coding::Stored => 0,
            Coding::Fixed => 1,
            Coding::Built => 2,
            Coding::Told(_) => 3,
        };
        let coding = match coder.tree(&mut self.coding, number) {
            0 => Coding::Stored,
            1 => Coding::Fixed,
            2 => Coding::Built,
            _ => Coding::Told(self.header(coder, &head.coding)?),
        };
        let count = if coding == Coding::Stored {
            // A stored block has its length even if it is the last: there may be none left.
            coder.number(&mut self.stored_lens, head.count)
        } else if last {
            0
        } else if coder.bit(&mut self.same_count, head.count == self.count) {
            self.count
        } else {
            self.count = coder.number(&mut self.counts, head.count);
            self.count
        };
        Some(Head { last, coding, count })
    }

    fn header(&mut self, coder: &mut impl Coder, coding: &Coding) -> Option<Kind> {
        let (bytes, bits): (&[u8], usize) = match coding {
            Coding::Told(Kind::Dynamic { header, header_bits }) => (header, *header_bits),
            _ => (&[], 0),
        };
        let header_bits = coder.number(&mut self.header_lens, bits as u32);
        if header_bits > HEADER_BITS_MAX {
            return None;
        }
        let count = header_bits.div_ceil(8) as usize;
        let header = (0..count)
            .map(|at| {
                let byte = bytes.get(at).copied().unwrap_or(0);
                coder.tree(&mut self.header_bytes, u32::from(byte)) as u8
            })
            .collect();
        Some(Kind::Dynamic { header, header_bits: header_bits as usize })
    }

    /// Codes a token. `nearest` tells the nearest distance for a length. `None` for a match that there
    /// cannot be.
    pub(crate) fn token(
        &mut self,
        coder: &mut impl Coder,
        predicted: Token,
        literal: Token,
        token: Token,
        nearest: impl FnOnce(u32) -> u32,
    ) -> Option<Token> {
        let right = &mut self.right[usize::from(predicted.is_literal())][self.history];
        let is_right = coder.bit(right, token == predicted);
        self.history = (self.history << 1 | usize::from(!is_right)) & ((1 << HISTORY_BITS) - 1);
        if is_right {
            return Some(predicted);
        }
        if !predicted.is_literal() && coder.bit(&mut self.literal, token.is_literal()) {
            return Some(literal);
        }
        let same = !predicted.is_literal() && coder.bit(&mut self.same_len, token.len() == predicted.len());
        let len = if same {
            predicted.len()
        } else {
            coder.tree(&mut self.lens, token.len().saturating_sub(MATCH_LEN_MIN)) + MATCH_LEN_MIN
        };
        let near = if same { 0 } else { nearest(len) };
        if near != 0
            && coder.bit(&mut self.nearest[usize::from(predicted.is_literal())], token.distance() == near)
        {
            return (len <= MATCH_LEN_MAX).then(|| Token::matching(len, near));
        }
        let distance = coder.number(&mut self.distances, token.distance().saturating_sub(1)) + 1;
        (len <= MATCH_LEN_MAX && distance <= DISTANCE_MAX).then(|| Token::matching(len, distance))
    }
}
