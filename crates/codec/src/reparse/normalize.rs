//! Distributions as libzstd chooses them: how counts become a table of a power of two states.
//!
//! The rules are those of `FSE_normalizeCount` of libzstd 1.3 to 1.5, which the predicted tables
//! must follow to the last unit.

use super::fse::{Distribution, TABLE_LOG_MIN};

/// The finest table that libzstd's normalisation works on (`FSE_MAX_TABLELOG`).
const NORMALIZED_LOG_MAX: u32 = 12;

/// The table size that libzstd picks for `total` symbols up to `symbol_max`; `margin` is how many
/// bits coarser than the data it goes at least (2 for tables of symbols, 1 for Huffman trees).
/// `total` is at least 2.
pub fn optimal_log(log_max: u32, total: u32, symbol_max: u32, margin: u32) -> u32 {
    let by_source = (total - 1).max(1).ilog2().saturating_sub(margin);
    let by_symbols = symbol_max.max(1).ilog2() + 2;
    let needed = (total.ilog2() + 1).min(by_symbols);
    // A source of very few bytes makes libzstd's unsigned difference wrap around to "no limit".
    let wrapped = (total - 1).max(1).ilog2() < margin;
    let log = if wrapped { log_max } else { log_max.min(by_source) };
    log.max(needed).clamp(TABLE_LOG_MIN, NORMALIZED_LOG_MAX)
}

/// Scales `counts` (one of them is below `total`, their sum) to a table of `1 << log` states.
/// `None` where libzstd reports an error.
pub fn normalize(counts: &[u32], total: u32, log: u32, low_is_less_than_one: bool) -> Option<Distribution> {
    /// Fraction (in 1/2^20) from which a small share is rounded up.
    const ROUND_UP: [u64; 8] = [0, 473_195, 504_333, 520_860, 550_000, 700_000, 750_000, 830_000];
    let low = if low_is_less_than_one { -1 } else { 1 };
    let scale = 62 - log;
    let step = (1u64 << 62) / u64::from(total);
    let unit = 1u64 << (scale - 20);
    let threshold = total >> log;
    let mut left = 1i32 << log;
    let mut largest = (0usize, 0i16);
    let mut scaled = vec![0i16; counts.len()];
    for (symbol, &count) in counts.iter().enumerate() {
        if count == 0 {
            continue;
        }
        if count == total {
            return None;
        }
        if count <= threshold {
            scaled[symbol] = low;
            left -= 1;
            continue;
        }
        let exact = u64::from(count) * step;
        let mut share = (exact >> scale) as i16;
        if let Some(&fraction) = usize::try_from(share).ok().and_then(|share| ROUND_UP.get(share)) {
            share += i16::from(exact - ((share as u64) << scale) > unit * fraction);
        }
        if share > largest.1 {
            largest = (symbol, share);
        }
        scaled[symbol] = share;
        left -= i32::from(share);
    }
    if -left >= i32::from(scaled[largest.0] >> 1) {
        spread_evenly(&mut scaled, counts, total, log, low)?;
    } else {
        scaled[largest.0] += left as i16;
    }
    while scaled.last() == Some(&0) {
        scaled.pop();
    }
    Some(Distribution { log, counts: scaled })
}

/// The second method, for counts on which the first overdraws (`FSE_normalizeM2`).
fn spread_evenly(scaled: &mut [i16], counts: &[u32], total: u32, log: u32, low: i16) -> Option<()> {
    const OPEN: i16 = -2;
    let mut total = u64::from(total);
    let threshold = (total >> log) as u32;
    let mut one = ((total * 3) >> (log + 1)) as u32;
    let mut given = 0u32;
    for (share, &count) in scaled.iter_mut().zip(counts) {
        *share = if count == 0 {
            0
        } else if count <= threshold || count <= one {
            given += 1;
            total -= u64::from(count);
            if count <= threshold { low } else { 1 }
        } else {
            OPEN
        };
    }
    let mut left = (1u32 << log).checked_sub(given)?;
    if left == 0 {
        return Some(());
    }
    if total / u64::from(left) > u64::from(one) {
        one = ((total * 3) / u64::from(left * 2)) as u32;
        for (share, &count) in scaled.iter_mut().zip(counts) {
            if *share == OPEN && count <= one {
                *share = 1;
                given += 1;
                total -= u64::from(count);
            }
        }
        left = (1u32 << log).checked_sub(given)?;
    }
    if given as usize == scaled.len() {
        let mut most = 0;
        for symbol in 0..counts.len() {
            if counts[symbol] > counts[most] {
                most = symbol;
            }
        }
        scaled[most] += left as i16;
        return Some(());
    }
    if total == 0 {
        let mut symbol = 0;
        while left > 0 {
            if scaled[symbol] > 0 {
                left -= 1;
                scaled[symbol] += 1;
            }
            symbol = (symbol + 1) % scaled.len();
        }
        return Some(());
    }
    let step_log = 62 - log;
    let mid = (1u64 << (step_log - 1)) - 1;
    let step = ((1u64 << step_log) * u64::from(left) + mid) / total;
    let mut sum = mid;
    for (share, &count) in scaled.iter_mut().zip(counts) {
        if *share == OPEN {
            let end = sum + u64::from(count) * step;
            let weight = (end >> step_log) - (sum >> step_log);
            if weight < 1 {
                return None;
            }
            *share = weight as i16;
            sum = end;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{normalize, optimal_log};

    proptest! {
        #[test]
        fn a_table_is_filled_exactly(counts in proptest::collection::vec(0u32..2000, 2..53), low in any::<bool>()) {
            let total: u32 = counts.iter().sum();
            prop_assume!(counts.iter().filter(|&&c| c > 0).count() >= 2);
            let symbol_max = counts.iter().rposition(|&c| c > 0).unwrap() as u32;
            let log = optimal_log(9, total, symbol_max, 2);
            if let Some(distribution) = normalize(&counts, total, log, low) {
                prop_assert_eq!(distribution.counts.iter().map(|c| i32::from(c.abs())).sum::<i32>(), 1 << log);
                for (symbol, &count) in counts.iter().enumerate() {
                    prop_assert_eq!(count > 0, distribution.counts.get(symbol).is_some_and(|&c| c != 0));
                }
            }
        }
    }
}
