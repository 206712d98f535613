//! Parity of chunks: what makes a guess that is nearly right quite right.
//!
//! A device that has an older version of a chunk can often tell the new one but for a few fields. Instead of the
//! chunk it then fetches a few syndromes of it: those of a Reed-Solomon code over GF(2^16) whose symbols are the
//! chunk's pairs of bytes. Two syndromes for each wrong symbol tell where it is and what belongs there. More
//! syndromes continue those that are there, so they are fetched in levels, until they suffice or the chunk itself
//! is cheaper.
//!
//! Sources: Reed, Solomon, "Polynomial codes over certain finite fields", 1960; decoding by Berlekamp and Massey
//! ("Shift-register synthesis and BCH decoding", 1969), Chien's search and Forney's formula. That syndromes are
//! enough where the receiver has something similar is Slepian and Wolf's theorem (1973).

use std::sync::LazyLock;

use crate::limits::FILES_CHUNK_BYTES_MAX;

/// Bytes of syndromes of one chunk that are known behind each level. Four bytes correct one symbol.
pub(crate) const LEVELS: [usize; 2] = [16, 32];
/// Bytes of syndromes of one chunk.
pub(crate) const PARITY_BYTES: usize = LEVELS[LEVELS.len() - 1];
/// Bytes of syndromes that each level adds.
pub(crate) fn widths() -> [usize; LEVELS.len()] {
    std::array::from_fn(|level| LEVELS[level] - if level == 0 { 0 } else { LEVELS[level - 1] })
}

const SYNDROMES: usize = PARITY_BYTES / 2;
/// x^16 + x^12 + x^3 + x + 1, which is primitive.
const POLYNOMIAL: u32 = 0x1_100b;
/// The order of the field's multiplicative group: a code word has no more symbols.
const ORDER: usize = 0xffff;
// A chunk that has parity is no longer than a code word.
const _: () = assert!(FILES_CHUNK_BYTES_MAX <= 2 * ORDER);

/// Errors that are located at most.
const ERRORS_MAX: usize = SYNDROMES / 2;
/// Symbols in a word.
const WORD_SYMBOLS: usize = 4;
/// Places that are looked at together for errors.
const BLOCK_SYMBOLS: usize = 16;

/// As many symbols as there are syndromes, four in each word, the lowest one first.
type Words = [u64; SYNDROMES / WORD_SYMBOLS];

/// The field's tables, of 600 KiB.
struct Field {
    /// Powers of the generator, twice, so that sums of two logarithms need no reduction.
    powers: Vec<u16>,
    logs: Vec<u16>,
    /// Products of low and high bytes with the powers 1, 2, ... of the generator.
    steps: Vec<[[u16; 256]; 2]>,
    /// What is left of a word's bytes, by their place in it, that stands just above what a remainder has room for.
    remainders: Vec<[Words; 256]>,
    /// Products of low and high bytes with the powers 0, p, 2p, ... of the generator, for p from 1 on.
    blocks: Vec<[[[u16; BLOCK_SYMBOLS]; 256]; 2]>,
}

static FIELD: LazyLock<Field> = LazyLock::new(|| {
    let mut powers = vec![0; 2 * ORDER];
    let mut logs = vec![0; ORDER + 1];
    let mut value = 1_u32;
    for log in 0..ORDER {
        powers[log] = value as u16;
        powers[log + ORDER] = value as u16;
        logs[value as usize] = log as u16;
        value <<= 1;
        if value > ORDER as u32 {
            value ^= POLYNOMIAL;
        }
    }
    let mut field = Field { powers, logs, steps: Vec::new(), remainders: Vec::new(), blocks: Vec::new() };
    field.steps = (1..=SYNDROMES)
        .map(|power| {
            let by = field.powers[power];
            [0, 8].map(|shift| std::array::from_fn(|byte| field.product((byte << shift) as u16, by)))
        })
        .collect();
    field.remainders = remainders(&field);
    let products = |symbol: u16, power: usize| {
        std::array::from_fn(|place| field.product(symbol, field.powers[power * place]))
    };
    field.blocks = (1..=ERRORS_MAX)
        .map(|power| [0, 8].map(|shift| std::array::from_fn(|byte| products((byte << shift) as u16, power))))
        .collect();
    field
});

/// Of each byte of a word: the remainder, on division by the polynomial whose roots are the first powers of the
/// generator, of the byte's value times x to the power of its symbol's place, counted from [`SYNDROMES`].
fn remainders(field: &Field) -> Vec<[Words; 256]> {
    // x to the power of `SYNDROMES`, less the polynomial, whose first coefficient is 1; then times x.
    let mut polynomial = vec![1];
    for power in 1..=SYNDROMES {
        let root = field.powers[power];
        polynomial.push(0);
        for at in (0..polynomial.len()).rev() {
            let below = at.checked_sub(1).map_or(0, |below| polynomial[below]);
            polynomial[at] = field.product(polynomial[at], root) ^ below;
        }
    }
    polynomial.truncate(SYNDROMES);
    let mut remainder = polynomial.clone();
    let mut tables = Vec::new();
    for _ in 0..WORD_SYMBOLS {
        for shift in [0, 8] {
            tables.push(std::array::from_fn(|byte| {
                let symbol = |at: usize| u64::from(field.product((byte << shift) as u16, remainder[at]));
                std::array::from_fn(|word| {
                    (0..WORD_SYMBOLS).map(|at| symbol(word * WORD_SYMBOLS + at) << (16 * at)).sum()
                })
            }));
        }
        let top = remainder[SYNDROMES - 1];
        remainder.rotate_right(1);
        remainder[0] = 0;
        for (symbol, &coefficient) in remainder.iter_mut().zip(&polynomial) {
            *symbol ^= field.product(top, coefficient);
        }
    }
    tables
}

impl Field {
    fn product(&self, a: u16, b: u16) -> u16 {
        if a == 0 || b == 0 {
            return 0;
        }
        self.powers[usize::from(self.logs[usize::from(a)]) + usize::from(self.logs[usize::from(b)])]
    }

    fn quotient(&self, a: u16, b: u16) -> u16 {
        if a == 0 {
            return 0;
        }
        let logs = usize::from(self.logs[usize::from(a)]) + ORDER - usize::from(self.logs[usize::from(b)]);
        self.powers[logs]
    }

    /// The product with a power, from 1 to [`SYNDROMES`], of the generator.
    fn step(&self, value: u16, power: usize) -> u16 {
        let [low, high] = &self.steps[power - 1];
        let [low_byte, high_byte] = value.to_le_bytes();
        low[usize::from(low_byte)] ^ high[usize::from(high_byte)]
    }

    /// The value of a polynomial, whose coefficients come from the lowest on, where `x` has this logarithm.
    fn value(&self, polynomial: &[u16], log: usize) -> u16 {
        let x = self.powers[log % ORDER];
        polynomial.iter().rev().fold(0, |sum, &coefficient| self.product(sum, x) ^ coefficient)
    }
}

/// The syndromes of a chunk, or the first ones of them.
pub(crate) type Syndromes = [u16; SYNDROMES];

/// Makes the syndromes of a chunk. Those of longer chunks than a code word tell nothing.
pub(crate) fn syndromes(chunk: &[u8]) -> Syndromes {
    let mut sums = [0; SYNDROMES];
    sum_up(chunk, &mut sums);
    sums
}

/// Makes the first syndromes of a chunk, as many as there is room for.
fn sum_up(chunk: &[u8], sums: &mut [u16]) {
    let field = &*FIELD;
    sums.fill(0);
    // What is left on division by a polynomial has the same values at its roots.
    for &word in remainder(field, chunk).iter().rev() {
        // Horner's rule, from the last symbol on: the first one has the power zero.
        for symbol in [48, 32, 16, 0].map(|shift| (word >> shift) as u16) {
            for (sum, [low, high]) in sums.iter_mut().zip(&field.steps) {
                let [low_byte, high_byte] = u16::to_le_bytes(*sum);
                *sum = low[usize::from(low_byte)] ^ high[usize::from(high_byte)] ^ symbol;
            }
        }
    }
}

/// What is left of a chunk on division by the polynomial whose roots are the first powers of the generator.
fn remainder(field: &Field, chunk: &[u8]) -> Words {
    let (words, rest) = chunk.as_chunks();
    let mut last = [0; size_of::<u64>()];
    last[..rest.len()].copy_from_slice(rest);
    let [mut a, mut b, mut c, mut d] = Words::default();
    for &word in std::iter::once(&last).chain(words.iter().rev()) {
        let top = d.to_le_bytes();
        (a, b, c, d) = (u64::from_le_bytes(word), a, b, c);
        for (table, byte) in field.remainders.iter().zip(top) {
            let more = &table[usize::from(byte)];
            a ^= more[0];
            b ^= more[1];
            c ^= more[2];
            d ^= more[3];
        }
    }
    [a, b, c, d]
}

/// Writes syndromes as they are published.
pub(crate) fn to_bytes(syndromes: &Syndromes) -> [u8; PARITY_BYTES] {
    let mut bytes = [0; PARITY_BYTES];
    for (pair, syndrome) in bytes.chunks_exact_mut(2).zip(syndromes) {
        pair.copy_from_slice(&syndrome.to_le_bytes());
    }
    bytes
}

/// What is wrong with a guess, by the first syndromes of the chunk that it should be; `None` if that is too much for
/// them.
pub(crate) fn errors(guess: &[u8], parity: &[u8]) -> Option<Vec<WrongSymbol>> {
    if parity.is_empty() {
        return None;
    }
    let mut difference = [0; SYNDROMES];
    let difference = &mut difference[..(parity.len() / 2).min(SYNDROMES)];
    sum_up(guess, difference);
    for (have, pair) in difference.iter_mut().zip(parity.chunks_exact(2)) {
        *have ^= u16::from_le_bytes([pair[0], pair[1]]);
    }
    locate(difference, guess.len().div_ceil(2))
}

/// Corrects a guess: it may be the chunk then, only its digest tells. Once more, and the guess is what it was.
pub(crate) fn correct(guess: &mut [u8], errors: &[WrongSymbol]) {
    for &(symbol, value) in errors {
        for (byte, value) in guess[2 * symbol..].iter_mut().zip(value.to_le_bytes()) {
            *byte ^= value;
        }
    }
}

/// Which symbol is wrong, and what has to be added to it.
type WrongSymbol = (usize, u16);

/// Where symbols are wrong, and what is wrong with them; `None` if there are too many.
fn locate(syndromes: &[u16], symbols: usize) -> Option<Vec<WrongSymbol>> {
    let field = &*FIELD;
    let (locator, count) = locator(field, syndromes);
    if 2 * count > syndromes.len() || symbols > ORDER {
        return None;
    }
    let locator = &locator[..=count];
    // The syndromes times the locator, as far as it matters.
    let evaluator: Vec<u16> = (0..count)
        .map(|at| (0..=at).fold(0, |sum, i| sum ^ field.product(locator[i], syndromes[at - i])))
        .collect();
    let mut found = Vec::with_capacity(count);
    for symbol in wrong_symbols(field, locator, symbols) {
        let inverse = (ORDER - symbol) % ORDER;
        // The derivative has the odd coefficients, one power lower.
        let odd = locator.iter().skip(1).step_by(2);
        let square = inverse * 2 % ORDER;
        let derivative = field.value(&odd.copied().collect::<Vec<_>>(), square);
        if derivative == 0 {
            return None;
        }
        found.push((symbol, field.quotient(field.value(&evaluator, inverse), derivative)));
    }
    (found.len() == count).then_some(found)
}

/// The symbols at whose inverses the locator is zero: Chien's search, for some symbols at a time.
fn wrong_symbols(field: &Field, locator: &[u16], symbols: usize) -> Vec<usize> {
    let mut found = Vec::with_capacity(locator.len());
    // From the last symbol on, each of the locator's terms is the one before times a power of the generator.
    let last = (ORDER - symbols.saturating_sub(1)) % ORDER;
    let mut terms = [0; ERRORS_MAX];
    let terms = &mut terms[..locator.len() - 1];
    for ((power, term), &coefficient) in (1..).zip(terms.iter_mut()).zip(&locator[1..]) {
        *term = field.product(coefficient, field.powers[power * last % ORDER]);
    }
    for behind in (1..=symbols).rev().step_by(BLOCK_SYMBOLS) {
        let mut values = [locator[0]; BLOCK_SYMBOLS];
        for ((power, term), [low, high]) in (1..).zip(terms.iter_mut()).zip(&field.blocks) {
            let [low_byte, high_byte] = term.to_le_bytes();
            let (low, high) = (&low[usize::from(low_byte)], &high[usize::from(high_byte)]);
            for (value, (low, high)) in values.iter_mut().zip(low.iter().zip(high)) {
                *value ^= low ^ high;
            }
            *term = field.step(low[BLOCK_SYMBOLS - 1] ^ high[BLOCK_SYMBOLS - 1], power);
        }
        if values.iter().map(|&value| u16::from(value == 0)).sum::<u16>() > 0 {
            let zeros = values.iter().zip((0..behind).rev()).filter(|(value, _)| **value == 0);
            found.extend(zeros.map(|(_, symbol)| symbol));
        }
    }
    found
}

/// The shortest polynomial that generates the syndromes, whose roots tell where errors are, and its degree: Berlekamp
/// and Massey.
fn locator(field: &Field, syndromes: &[u16]) -> ([u16; SYNDROMES + 1], usize) {
    let mut current = [0_u16; SYNDROMES + 1];
    current[0] = 1;
    let mut before = current;
    let (mut count, mut gap, mut before_discrepancy) = (0, 1, 1_u16);
    for at in 0..syndromes.len() {
        let terms = current[..=count.min(at)].iter().enumerate().skip(1);
        let discrepancy = terms.fold(syndromes[at], |sum, (i, &coefficient)| {
            sum ^ field.product(coefficient, syndromes[at - i])
        });
        if discrepancy == 0 {
            gap += 1;
            continue;
        }
        let factor = field.quotient(discrepancy, before_discrepancy);
        let last = current;
        for (coefficient, &other) in current[gap..].iter_mut().zip(&before) {
            *coefficient ^= field.product(factor, other);
        }
        if 2 * count <= at {
            count = at + 1 - count;
            (before, before_discrepancy, gap) = (last, discrepancy, 1);
        } else {
            gap += 1;
        }
    }
    (current, count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn as_many_wrong_symbols_are_corrected_as_there_are_pairs_of_syndromes(
            chunk in proptest::collection::vec(any::<u8>(), 1..4097),
            wrong in proptest::collection::hash_map(any::<usize>(), 1_u16.., 0..9),
        ) {
            let parity = to_bytes(&syndromes(&chunk));
            let mut guess = chunk.clone();
            let count = chunk.len().div_ceil(2);
            for (&at, &value) in &wrong {
                for (byte, value) in guess[at % count * 2..].iter_mut().zip(value.to_le_bytes()) {
                    *byte ^= value;
                }
            }
            let pairs = guess.chunks(2).zip(chunk.chunks(2)).filter(|(a, b)| a != b).count();
            for level in LEVELS {
                let mut guess = guess.clone();
                let errors = errors(&guess, &parity[..level]);
                if pairs <= level / 4 {
                    correct(&mut guess, &errors.unwrap());
                    prop_assert_eq!(&guess, &chunk);
                }
            }
        }

        #[test]
        fn any_parity_is_taken_without_panic(
            mut guess in proptest::collection::vec(any::<u8>(), 1..300),
            parity in proptest::collection::vec(any::<u8>(), PARITY_BYTES),
        ) {
            for level in LEVELS {
                let before = guess.clone();
                if let Some(errors) = errors(&guess, &parity[..level]) {
                    correct(&mut guess, &errors);
                    correct(&mut guess, &errors);
                }
                prop_assert_eq!(&guess, &before);
            }
        }
    }

    #[test]
    fn syndromes_are_values_of_the_chunk_at_the_powers_of_the_generator() {
        let field = &*FIELD;
        for len in [1, 2, 7, 8, 31, 32, 33, 600, 4096] {
            let chunk: Vec<u8> = (0..len).map(|at| (at * at * 7 % 251) as u8).collect();
            for (power, syndrome) in (1..).zip(syndromes(&chunk)) {
                let value = |(at, pair): (usize, &[u8])| {
                    let symbol = u16::from_le_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
                    field.product(symbol, field.powers[at * power % ORDER])
                };
                let sum = chunk.chunks(2).enumerate().map(value).fold(0, |sum, one| sum ^ one);
                assert_eq!(syndrome, sum, "{len} {power}");
            }
        }
    }

    #[test]
    fn the_longest_chunk_is_corrected_at_its_end() {
        let chunk = vec![7; 2 * ORDER];
        let parity = to_bytes(&syndromes(&chunk));
        let mut guess = chunk.clone();
        guess[2 * ORDER - 1] = 8;
        guess[0] = 9;
        let errors = errors(&guess, &parity[..8]).unwrap();
        correct(&mut guess, &errors);
        assert_eq!(guess, chunk);
    }
}
