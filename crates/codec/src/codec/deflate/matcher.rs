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

/// With so many links to follow, thinner chains are looked for.
const SKIPPING_LINKS_MIN: u32 = 256;

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
    /// For each place in the window, the how manieth of its chain it is, modulo 2^16: tells how many
    /// links two places of a chain are apart.
    ordinals: Vec<u16>,
    /// The next place to be chained.
    next: u32,
    /// The match that was found at the next token's place while the last one was decided.
    carried: Option<Match>,
}

impl Matcher {
    /// What it takes, in bytes.
    pub(crate) fn bytes(style: Style) -> u64 {
        4 * (1 << style.hash_bits) + 4 * WINDOW_BYTES as u64
    }

    pub(crate) fn new(style: Style) -> Self {
        Matcher {
            style,
            heads: vec![0; 1 << style.hash_bits],
            links: vec![0; WINDOW_BYTES],
            ordinals: vec![0; WINDOW_BYTES],
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
        while self.next < end {
            let slot = self.next as usize % WINDOW_BYTES;
            self.links[slot] = 0;
            if let Some(hash) = self.hash(window.at(self.next)) {
                if let Some(before) = self.heads[hash].checked_sub(1) {
                    self.links[slot] = u16::try_from(self.next - before).unwrap_or(0);
                    self.ordinals[slot] = self.ordinals[before as usize % WINDOW_BYTES].wrapping_add(1);
                }
                self.heads[hash] = self.next + 1;
            }
            self.next += 1;
        }
    }

    /// Of the first three bytes, if there are as many.
    fn hash(&self, bytes: &[u8]) -> Option<usize> {
        let shift = u32::from(self.style.hash_bits).div_ceil(3);
        let [a, b, c, ..] = *bytes else { return None };
        let hash = usize::from(a) << (2 * shift) ^ usize::from(b) << shift ^ usize::from(c);
        Some(hash & (self.heads.len() - 1))
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
        // The first place of a stream is the number for none: zlib never refers to it.
        let oldest = place.saturating_sub(DISTANCE_MAX).max(1);
        let best = if level.chain < SKIPPING_LINKS_MIN {
            self.follow(&Wanted { window, place, here, oldest, nice, links: links_left }, least)
        } else {
            self.follow_skipping(&Wanted { window, place, here, oldest, nice, links: links_left }, least)
        };
        if self.is_lazy() && best.len == MATCH_LEN_MIN && best.distance > TOO_FAR {
            return NO_MATCH;
        }
        best
    }

    /// Follows the chain of a place, link by link.
    fn follow(&self, wanted: &Wanted<'_>, least: Match) -> Match {
        let Wanted { window, place, here, oldest, nice, links } = *wanted;
        let mut best = least;
        let mut chain = Chain { links: &self.links, window, oldest, at: place, left: links };
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
        best
    }

    /// Comes to the same end as [`Matcher::follow`] over fewer places. Once a match of some length is
    /// known, only longer ones count, and any three bytes of theirs have a chain: the thinnest is
    /// followed (as zlib-ng does in `longest_match_slow`). How many links zlib would have followed up to
    /// a match is told by the ordinals, so that its limit holds exactly. All places have to be chained.
    fn follow_skipping(&self, wanted: &Wanted<'_>, least: Match) -> Match {
        let Wanted { window, place, here, oldest, nice, links } = *wanted;
        let ordinal = |place: u32| self.ordinals[place as usize % WINDOW_BYTES];
        let mut best = least;
        let mut left = links;
        let Some(mut tail) = pair_at(here, best.len as usize - 1) else { return best };
        // The chain that is followed is that of the bytes `offset` behind the place; its next place, if
        // that is not told by the link of the last one.
        let (mut offset, mut at, mut next) = (0, place, None);
        // Where to go on once the matches that are nearer than an offset are through.
        let mut farther = self.thinnest_head(wanted, best.len);
        loop {
            let step = u32::from(self.links[at as usize % WINDOW_BYTES]);
            at = match next.take() {
                Some(next) => next,
                None if step == 0 || step > at => break,
                None => at - step,
            };
            if let Some((thinnest, head)) = farther
                && at + thinnest <= place
            {
                farther = None;
                let Some(head) = head else { break };
                (offset, at) = (thinnest, head);
            }
            let Some(candidate) = at.checked_sub(offset).filter(|&candidate| candidate >= oldest) else {
                break;
            };
            if offset == 0 {
                if left == 0 {
                    break;
                }
                left -= 1;
            }
            let start = (candidate - window.base) as usize + best.len as usize - 1;
            if pair_at(window.bytes, start) != Some(tail) {
                continue;
            }
            let len = common_len(here, window.at(candidate));
            if len <= best.len {
                continue;
            }
            // It has the first three bytes of the place, so it is in its chain.
            let passed = u32::from(ordinal(place).wrapping_sub(ordinal(candidate)));
            if passed > links {
                break;
            }
            best = Match { len, distance: place - candidate };
            match pair_at(here, len as usize - 1) {
                Some(pair) if len < nice => tail = pair,
                // It cannot get any longer, or need not.
                _ => break,
            }
            farther = None;
            match self.thinnest(wanted, best) {
                None => break,
                Some((thinnest, head)) => {
                    (offset, at, next) = (thinnest, candidate + thinnest, head);
                    left = links - passed;
                }
            }
        }
        best
    }

    /// The offset of the thinnest chain on which all matches longer than `len` lie that are at least that
    /// far away, and its latest place, if it has one.
    fn thinnest_head(&self, wanted: &Wanted<'_>, len: u32) -> Option<(u32, Option<u32>)> {
        let here = wanted.here;
        let mut thinnest = None;
        let mut gap_max = u32::from(self.links[wanted.place as usize % WINDOW_BYTES]);
        for offset in 1..=len.checked_sub(MATCH_LEN_MIN - 1)? {
            let Some(head) = self.head(here, offset) else { return Some((offset, None)) };
            let gap = wanted.place + offset - head;
            if gap > gap_max {
                gap_max = gap;
                thinnest = Some((offset, Some(head)));
            }
        }
        thinnest
    }

    /// The same behind the best match so far, and where to go on if that is not behind its own place on
    /// the chain. `None` where there is no longer match.
    fn thinnest(&self, wanted: &Wanted<'_>, best: Match) -> Option<(u32, Option<u32>)> {
        let candidate = wanted.place - best.distance;
        let mut thinnest = (0, None);
        let mut gap_max = 0;
        for offset in 0..=(best.len - MATCH_LEN_MIN).min(best.distance) {
            let gap = u32::from(self.links[(candidate + offset) as usize % WINDOW_BYTES]);
            if gap == 0 {
                return None;
            }
            if gap > gap_max {
                gap_max = gap;
                thinnest = (offset, None);
            }
        }
        // The match ends before the last byte of this one.
        let offset = best.len + 1 - MATCH_LEN_MIN;
        if offset <= best.distance {
            let head = self.head(wanted.here, offset)?;
            if head < candidate + offset && candidate + offset - head > gap_max {
                thinnest = (offset, Some(head));
            }
        }
        Some(thinnest)
    }

    /// The latest place that is chained for the bytes at an offset.
    fn head(&self, here: &[u8], offset: u32) -> Option<u32> {
        let hash = self.hash(here.get(offset as usize..)?)?;
        self.heads[hash].checked_sub(1)
    }
}

/// What is looked for.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    window: &'a Window<'a>,
    place: u32,
    /// The bytes there, as many as a match may have.
    here: &'a [u8],
    /// No match refers to what is before.
    oldest: u32,
    /// A match of this length ends the search.
    nice: u32,
    /// Links to follow.
    links: u32,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Both ways to search, at every place of some content, for matches longer than some lengths.
    fn both_ways(bytes: &[u8], hash_bits: u8, links: u32) {
        let mut matcher = Matcher::new(Style { level: 9, hash_bits });
        let end = bytes.len() as u32;
        let window = Window { bytes, base: 0, end };
        for place in 0..end {
            matcher.chain_until(&window, place + 1);
            let here = window.at(place);
            let here = &here[..here.len().min(MATCH_LEN_MAX as usize)];
            let oldest = place.saturating_sub(DISTANCE_MAX).max(1);
            for least in [2, 3, 4, 9] {
                for nice in [16, 258] {
                    let wanted =
                        Wanted { window: &window, place, here, oldest, nice: nice.min(end - place), links };
                    let least = Match { len: least, distance: 0 };
                    let (one, other) =
                        (matcher.follow(&wanted, least), matcher.follow_skipping(&wanted, least));
                    assert_eq!((one.len, one.distance), (other.len, other.distance), "at {place}");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn skipping_comes_to_the_same_end(
            words in prop::collection::vec(prop::collection::vec(0_u8..4, 1..40), 1..12),
            order in prop::collection::vec(0_usize..12, 1..150),
            hash_bits in 15_u8..17,
            links in prop::sample::select(vec![1_u32, 3, 20, 300, 4096]),
        ) {
            let bytes: Vec<u8> = order.iter().flat_map(|&index| words[index % words.len()].clone()).collect();
            both_ways(&bytes, hash_bits, links);
        }
    }

    #[test]
    fn skipping_comes_to_the_same_end_beyond_the_window() {
        let mut bytes = Vec::new();
        let mut state = 1_u32;
        while bytes.len() < 90_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let from = (state >> 8) as usize % (bytes.len() + 1);
            let len = 3 + (state >> 3) as usize % 30;
            bytes.extend_from_within(from..(from + len).min(bytes.len()));
            bytes.push((state >> 24) as u8);
        }
        both_ways(&bytes, 15, 1024);
    }
}
