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
pub(crate) const LEVELS: [usize; 3] = [8, 16, 32];
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

/// The field's tables.
struct Field {
    /// Powers of the generator, twice, so that sums of two logarithms need no reduction.
    powers: Vec<u16>,
    logs: Vec<u16>,
    /// Products of low and high bytes with the powers 1, 2, ... of the generator.
    steps: Vec<[[u16; 256]; 2]>,
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
    let mut field = Field { powers, logs, steps: Vec::new() };
    field.steps = (1..=SYNDROMES)
        .map(|power| {
            let by = field.powers[power];
            [0, 8].map(|shift| std::array::from_fn(|byte| field.product((byte << shift) as u16, by)))
        })
        .collect();
    field
});

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
    // Horner's rule, from the last symbol on: the first one has the power zero.
    for pair in chunk.chunks(2).rev() {
        let symbol = u16::from_le_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
        for (sum, [low, high]) in sums.iter_mut().zip(&field.steps) {
            let [low_byte, high_byte] = u16::to_le_bytes(*sum);
            *sum = low[usize::from(low_byte)] ^ high[usize::from(high_byte)] ^ symbol;
        }
    }
}

/// Writes syndromes as they are published.
pub(crate) fn to_bytes(syndromes: &Syndromes) -> [u8; PARITY_BYTES] {
    let mut bytes = [0; PARITY_BYTES];
    for (pair, syndrome) in bytes.chunks_exact_mut(2).zip(syndromes) {
        pair.copy_from_slice(&syndrome.to_le_bytes());
    }
    bytes
}

/// Corrects a guess by the first syndromes of the chunk that it should be. Answers whether it may be that now:
/// only the chunk's digest tells.
pub(crate) fn correct(guess: &mut [u8], parity: &[u8]) -> bool {
    let mut difference = vec![0; (parity.len() / 2).min(SYNDROMES)];
    sum_up(guess, &mut difference);
    for (have, pair) in difference.iter_mut().zip(parity.chunks_exact(2)) {
        *have ^= u16::from_le_bytes([pair[0], pair[1]]);
    }
    let Some(errors) = errors(&difference, guess.len().div_ceil(2)) else { return false };
    for (symbol, value) in errors {
        for (byte, value) in guess[2 * symbol..].iter_mut().zip(value.to_le_bytes()) {
            *byte ^= value;
        }
    }
    true
}

/// Where symbols are wrong, and what is wrong with them; `None` if there are too many.
fn errors(syndromes: &[u16], symbols: usize) -> Option<Vec<(usize, u16)>> {
    let field = &*FIELD;
    let locator = locator(field, syndromes);
    let count = locator.len() - 1;
    if 2 * count > syndromes.len() || symbols > ORDER {
        return None;
    }
    // The syndromes times the locator, as far as it matters.
    let evaluator: Vec<u16> = (0..count)
        .map(|at| (0..=at).fold(0, |sum, i| sum ^ field.product(locator[i], syndromes[at - i])))
        .collect();
    let mut found = Vec::with_capacity(count);
    // The locator's terms where it may be zero, at the inverses of symbols: from the last symbol on, each is the one
    // before times a power of the generator.
    let last = (ORDER - symbols.saturating_sub(1)) % ORDER;
    let mut terms: Vec<u16> = locator.clone();
    for (power, term) in terms.iter_mut().enumerate() {
        *term = field.product(*term, field.powers[power * last % ORDER]);
    }
    for symbol in (0..symbols).rev() {
        let inverse = (ORDER - symbol) % ORDER;
        let value = terms.iter().fold(0, |sum, term| sum ^ term);
        for (power, term) in terms.iter_mut().enumerate().skip(1) {
            *term = field.step(*term, power);
        }
        if value != 0 {
            continue;
        }
        // The derivative has the odd coefficients, one power lower.
        let odd = locator.iter().skip(1).step_by(2);
        let square = inverse * 2 % ORDER;
        let derivative = field.value(&odd.copied().collect::<Vec<_>>(), square);
        if derivative == 0 {
            return None;
        }
        found.push((symbol, field.quotient(field.value(&evaluator, inverse), derivative)));
        if found.len() == count {
            break;
        }
    }
    (found.len() == count).then_some(found)
}

/// The shortest polynomial that generates the syndromes, whose roots tell where errors are: Berlekamp and Massey.
fn locator(field: &Field, syndromes: &[u16]) -> Vec<u16> {
    let (mut current, mut before) = (vec![1_u16], vec![1_u16]);
    let (mut count, mut gap, mut before_discrepancy) = (0, 1, 1_u16);
    for at in 0..syndromes.len() {
        let terms = current.iter().take(at + 1).enumerate().skip(1);
        let discrepancy = terms.fold(syndromes[at], |sum, (i, &coefficient)| {
            sum ^ field.product(coefficient, syndromes[at - i])
        });
        if discrepancy == 0 {
            gap += 1;
            continue;
        }
        let factor = field.quotient(discrepancy, before_discrepancy);
        let last = current.clone();
        current.resize(current.len().max(before.len() + gap), 0);
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
    current.resize(count + 1, 0);
    current
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
                let is_told = correct(&mut guess, &parity[..level]);
                if pairs <= level / 4 {
                    prop_assert!(is_told);
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
                let _ = correct(&mut guess, &parity[..level]);
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
        assert!(correct(&mut guess, &parity[..8]));
        assert_eq!(guess, chunk);
    }
}
