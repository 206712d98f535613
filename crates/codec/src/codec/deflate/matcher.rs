//! Predicts tokens: what zlib's matcher would do at each place, given what was done before it.
//!
//! zlib chains all places with the same hash of three bytes, the latest first, and walks such a
//! chain for the longest match, for so many links. At the levels from 4 on it looks whether the next
//! place has a longer match before it takes one (J. Gailly and M. Adler, zlib's `deflate.c`;
//! RFC 1951, section 4). gzip does the same. What stands in a stream decides what is in the chains:
//! a wrong prediction does no harm to the next one.

use crate::codec::deflate::token::{MATCH_LEN_MAX, MATCH_LEN_MIN, Token};

/// The window, in bytes.
pub(crate) const WINDOW_BYTES: usize = 32 << 10;
/// zlib never refers further back than this.
const DISTANCE_MAX: u32 = WINDOW_BYTES as u32 - 262;
/// A match of three bytes is not worth a distance beyond this.
const TOO_FAR: u32 = 4096;
/// How far ahead of a token content has to be known to predict it.
pub(crate) const LOOKAHEAD_BYTES: usize = 2 * MATCH_LEN_MAX as usize + 8;

/// What a level of zlib stands for.
#[derive(Debug, Clone, Copy)]
struct Level {
    /// From a match of this length on, the next place is searched only a quarter as long.
    good: u32,
    /// From a match of this length on, the next place is not searched at all. For the fastest
    /// levels: the longest match whose places are all chained.
    lazy: u32,
    /// A match of this length ends the search.
    nice: u32,
    /// Links to follow.
    chain: u32,
}

const LEVELS: [Level; 9] = [
    Level { good: 4, lazy: 4, nice: 8, chain: 4 },
    Level { good: 4, lazy: 5, nice: 16, chain: 8 },
    Level { good: 4, lazy: 6, nice: 32, chain: 32 },
    Level { good: 4, lazy: 4, nice: 16, chain: 16 },
    Level { good: 8, lazy: 16, nice: 32, chain: 32 },
    Level { good: 8, lazy: 16, nice: 128, chain: 128 },
    Level { good: 8, lazy: 32, nice: 128, chain: 256 },
    Level { good: 32, lazy: 128, nice: 258, chain: 1024 },
    Level { good: 32, lazy: 258, nice: 258, chain: 4096 },
];
/// The levels that look at the next place before they take a match.
const LAZY_LEVEL_MIN: u8 = 4;

/// Links to follow for the nearest match of a known length.
const NEAREST_LINKS_MAX: u32 = 4096;

/// How the prediction is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Style {
    /// From 1 to 9.
    pub(crate) level: u8,
    /// Bits of the hash: 15 in gzip and by default in zlib, 16 at its memory level 9.
    pub(crate) hash_bits: u8,
}

impl Style {
    pub(crate) fn is_valid(self) -> bool {
        (1..=9).contains(&self.level) && (15..=16).contains(&self.hash_bits)
    }
}

/// A match that was found; shorter than three is none.
#[derive(Debug, Clone, Copy)]
struct Match {
    len: u32,
    distance: u32,
}

const NO_MATCH: Match = Match { len: MATCH_LEN_MIN - 1, distance: 0 };

/// Content around the token at hand. Places count from the start of the stream.
pub(crate) struct Window<'a> {
    /// The bytes that are known.
    pub(crate) bytes: &'a [u8],
    /// The place of the first of them.
    pub(crate) base: u32,
    /// Where the content ends.
    pub(crate) end: u32,
}

impl Window<'_> {
    fn at(&self, place: u32) -> &[u8] {
        &self.bytes[(place - self.base) as usize..]
    }

    /// The literal at a place.
    pub(crate) fn literal(&self, place: u32) -> Token {
        Token::literal(self.at(place).first().copied().unwrap_or(0))
    }
}

/// The chains, and what is known of the next token.
pub(crate) struct Matcher {
    style: Style,
    /// The latest place of each hash, plus one; zero for none.
    heads: Vec<u32>,
    /// For each place in the window, how far before it the last one with the same hash is; zero for none
    /// that a match could refer to. Short numbers, because a search does little else than read them.
    links: Vec<u16>,
    /// The next place to be chained.
    next: u32,
    /// The match that was found at the next token's place while the last one was decided.
    carried: Option<Match>,
}

impl Matcher {
    pub(crate) const BYTES: u64 = 4 * (1 << 16) + 2 * WINDOW_BYTES as u64;

    pub(crate) fn new(style: Style) -> Self {
        Matcher {
            style,
            heads: vec![0; 1 << style.hash_bits],
            links: vec![0; WINDOW_BYTES],
            next: 0,
            carried: None,
        }
    }

    fn level(&self) -> Level {
        LEVELS[usize::from(self.style.level - 1).min(LEVELS.len() - 1)]
    }

    fn is_lazy(&self) -> bool {
        self.style.level >= LAZY_LEVEL_MIN
    }

    /// The token that zlib would put at a place.
    pub(crate) fn predict(&mut self, window: &Window<'_>, place: u32) -> Token {
        let found = match self.carried.take() {
            Some(carried) => carried,
            None => self.search(window, place, NO_MATCH),
        };
        if found.len < MATCH_LEN_MIN {
            return window.literal(place);
        }
        if self.is_lazy() && found.len < self.level().lazy {
            let later = self.search(window, place + 1, found);
            if later.len > found.len {
                self.carried = Some(later);
                return window.literal(place);
            }
        }
        Token::matching(found.len, found.distance)
    }

    /// Takes note of the token that does stand at a place.
    pub(crate) fn commit(&mut self, window: &Window<'_>, place: u32, token: Token) {
        let end = place + token.len();
        if !token.is_literal() {
            self.carried = None;
        }
        if self.is_lazy() || token.len() <= self.level().lazy {
            self.chain_until(window, end);
        } else {
            // The fastest levels chain but the start of a long match.
            self.chain_until(window, place + 1);
            self.next = end;
        }
    }

    /// Chains all places before `end`.
    fn chain_until(&mut self, window: &Window<'_>, end: u32) {
        let shift = u32::from(self.style.hash_bits).div_ceil(3);
        let mask = self.heads.len() - 1;
        while self.next < end {
            let link = &mut self.links[self.next as usize % WINDOW_BYTES];
            *link = 0;
            if let [a, b, c, ..] = *window.at(self.next) {
                let hash = usize::from(a) << (2 * shift) ^ usize::from(b) << shift ^ usize::from(c);
                let head = &mut self.heads[hash & mask];
                let before = head.checked_sub(1).map_or(0, |before| self.next - before);
                *link = u16::try_from(before).unwrap_or(0);
                *head = self.next + 1;
            }
            self.next += 1;
        }
    }

    /// The nearest distance at which a match has this length: what most compressors take once they
    /// have settled for the length. Zero if none is found.
    pub(crate) fn nearest(&mut self, window: &Window<'_>, place: u32, len: u32) -> u32 {
        self.chain_until(window, place + 1);
        let Some(here) = window.at(place).get(..len as usize) else { return 0 };
        let mut candidate = place;
        for _ in 0..NEAREST_LINKS_MAX {
            let Some(next) = self.before(candidate) else { break };
            if place - next > WINDOW_BYTES as u32 {
                break;
            }
            if window.at(next).starts_with(here) {
                return place - next;
            }
            // Its link was overwritten by that of this place.
            if place - next == WINDOW_BYTES as u32 {
                break;
            }
            candidate = next;
        }
        0
    }

    /// The place before one with the same hash.
    fn before(&self, place: u32) -> Option<u32> {
        match self.links[place as usize % WINDOW_BYTES] {
            0 => None,
            distance => place.checked_sub(u32::from(distance)),
        }
    }

    /// Looks for a match that is longer than `least`.
    fn search(&mut self, window: &Window<'_>, place: u32, least: Match) -> Match {
        if place >= window.end {
            return least;
        }
        self.chain_until(window, place + 1);
        let level = self.level();
        let known = window.end - place;
        let here = window.at(place);
        let here = &here[..here.len().min(known.min(MATCH_LEN_MAX) as usize)];
        let nice = level.nice.min(known);
        let links_left = if least.len >= level.good { level.chain >> 2 } else { level.chain };
        let mut best = least;
        // The first place of a stream is the number for none: zlib never refers to it.
        let oldest = place.saturating_sub(DISTANCE_MAX).max(1);
        let mut chain = Chain { links: &self.links, window, oldest, at: place, left: links_left };
        // Nothing at the tail: a match cannot get any longer.
        while let Some(tail) = pair_at(here, best.len as usize - 1)
            && let Some(candidate) = chain.next_with(tail, best.len as usize - 1)
        {
            let len = common_len(here, window.at(candidate));
            if len > best.len {
                best = Match { len, distance: place - candidate };
                if len >= nice {
                    break;
                }
            }
        }
        if self.is_lazy() && best.len == MATCH_LEN_MIN && best.distance > TOO_FAR {
            return NO_MATCH;
        }
        best
    }
}

/// The places with the same hash as one, from it backwards.
struct Chain<'a> {
    links: &'a [u16],
    window: &'a Window<'a>,
    /// No match refers to what is before.
    oldest: u32,
    at: u32,
    /// Links still to follow.
    left: u32,
}

impl Chain<'_> {
    /// The next place at which these two bytes stand `offset` bytes on. A longer match ends with them;
    /// most places do not have them, so this loop is what a search takes its time for.
    #[inline(never)]
    fn next_with(&mut self, pair: u16, offset: usize) -> Option<u32> {
        let (mut at, mut left) = (self.at, self.left);
        let found = loop {
            let distance = u32::from(self.links[at as usize % WINDOW_BYTES]);
            if distance == 0 || distance > at || at - distance < self.oldest || left == 0 {
                break None;
            }
            at -= distance;
            left -= 1;
            let start = (at - self.window.base) as usize + offset;
            if let Some(&[a, b]) = self.window.bytes.get(start..start + 2)
                && u16::from_le_bytes([a, b]) == pair
            {
                break Some(at);
            }
        };
        (self.at, self.left) = (at, left);
        found
    }
}

/// Two bytes at `at`, as a number: comparing slices would be a call.
fn pair_at(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes([pair[0], pair[1]]))
}

/// How many bytes both begin with alike.
fn common_len(one: &[u8], other: &[u8]) -> u32 {
    let mut len = 0;
    for (a, b) in one.chunks_exact(8).zip(other.chunks_exact(8)) {
        if a != b {
            break;
        }
        len += 8;
    }
    let rest = one[len..].iter().zip(&other[len..]).take_while(|(a, b)| a == b).count();
    (len + rest) as u32
}
