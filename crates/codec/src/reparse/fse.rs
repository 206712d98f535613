//! Finite state entropy: distributions and the tables made from them (RFC 8878, section 4.1).

use super::bits::Forward;

/// The coarsest table that can be described.
pub const TABLE_LOG_MIN: u32 = 5;

/// How often each symbol stands in a table of `1 << log` states. -1 is "less than once".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// Binary logarithm of the number of states; 0 for the table of one symbol.
    pub log: u32,
    /// Counts by symbol.
    pub counts: Vec<i16>,
}

impl Distribution {
    /// The table that holds one symbol and takes no bits.
    pub fn single(symbol: u8) -> Self {
        let mut counts = vec![0; usize::from(symbol) + 1];
        counts[usize::from(symbol)] = 1;
        Self { log: 0, counts }
    }

    /// Reads a description (section 4.1.1); answers the bytes that it took as well.
    pub fn read(bytes: &[u8], symbols_max: usize, log_max: u32) -> Option<(Self, usize)> {
        let mut at = 0usize;
        let peek = |at: usize, count: u32| -> u32 {
            let mut run = [0; 8];
            let rest = bytes.get(at >> 3..).unwrap_or(&[]);
            let taken = rest.len().min(8);
            run[..taken].copy_from_slice(&rest[..taken]);
            ((u64::from_le_bytes(run) >> (at & 7)) & ((1 << count) - 1)) as u32
        };
        let log = peek(at, 4) + TABLE_LOG_MIN;
        at += 4;
        if log > log_max {
            return None;
        }
        let mut remaining = (1i32 << log) + 1;
        let mut threshold = 1i32 << log;
        let mut bits = log + 1;
        let mut counts = Vec::new();
        while remaining > 1 {
            if counts.len() >= symbols_max || at > bytes.len() * 8 {
                return None;
            }
            let short = (2 * threshold - 1) - remaining;
            let value = peek(at, bits) as i32;
            let count = if value & (threshold - 1) < short {
                at += bits as usize - 1;
                value & (threshold - 1)
            } else {
                at += bits as usize;
                if value >= threshold { value - short } else { value }
            } - 1;
            remaining -= count.abs();
            counts.push(count as i16);
            if count == 0 {
                loop {
                    let zeros = peek(at, 2) as usize;
                    at += 2;
                    counts.resize(counts.len() + zeros, 0);
                    if zeros < 3 {
                        break;
                    }
                    if counts.len() > symbols_max {
                        return None;
                    }
                }
            }
            while remaining < threshold && threshold > 1 {
                bits -= 1;
                threshold >>= 1;
            }
        }
        let used = at.div_ceil(8);
        (remaining == 1 && counts.len() <= symbols_max && used <= bytes.len())
            .then_some((Self { log, counts }, used))
    }

    /// Writes the description.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut forward = Forward::new(out);
        forward.add(self.log - TABLE_LOG_MIN, 4);
        let mut remaining = (1i32 << self.log) + 1;
        let mut threshold = 1i32 << self.log;
        let mut bits = self.log + 1;
        let mut symbol = 0;
        while remaining > 1 && symbol < self.counts.len() {
            let count = i32::from(self.counts[symbol]);
            symbol += 1;
            let short = (2 * threshold - 1) - remaining;
            remaining -= count.abs();
            let mut value = count + 1;
            if value >= threshold {
                value += short;
            }
            forward.add(value as u32, if value < short { bits - 1 } else { bits });
            while remaining < threshold && threshold > 1 {
                bits -= 1;
                threshold >>= 1;
            }
            if count == 0 {
                let mut zeros = self.counts[symbol..].iter().take_while(|&&count| count == 0).count();
                symbol += zeros;
                while zeros >= 3 {
                    forward.add(3, 2);
                    zeros -= 3;
                }
                forward.add(zeros as u32, 2);
            }
        }
        forward.pad();
    }

    /// The symbol of each state (section 4.1.1, "from normalized distribution to decoding tables").
    fn spread(&self) -> Vec<u8> {
        let size = 1usize << self.log;
        let mut symbols = vec![0; size];
        let mut high = size;
        for (symbol, _) in self.counts.iter().enumerate().filter(|&(_, &count)| count == -1) {
            high -= 1;
            symbols[high] = symbol as u8;
        }
        let step = (size >> 1) + (size >> 3) + 3;
        let mut position = 0;
        for (symbol, &count) in self.counts.iter().enumerate() {
            for _ in 0..count.max(0) {
                symbols[position] = symbol as u8;
                loop {
                    position = (position + step) & (size - 1);
                    if position < high {
                        break;
                    }
                    if high == 0 {
                        break;
                    }
                }
            }
        }
        symbols
    }
}

/// One state of a [`DecodeTable`].
#[derive(Debug, Clone, Copy)]
pub struct State {
    /// What the state stands for.
    pub symbol: u8,
    /// Bits to read for the next state ...
    pub bits: u8,
    /// ... and what to add to them.
    pub base: u16,
}

/// From state to symbol and next state.
#[derive(Debug, Clone)]
pub struct DecodeTable {
    /// Binary logarithm of the number of states.
    pub log: u32,
    states: Vec<State>,
}

impl DecodeTable {
    /// Makes the table of a distribution.
    pub fn new(distribution: &Distribution) -> Self {
        let log = distribution.log;
        if log == 0 {
            let symbol = (distribution.counts.len() - 1) as u8;
            return Self { log, states: vec![State { symbol, bits: 0, base: 0 }] };
        }
        let mut next: Vec<u32> =
            distribution.counts.iter().map(|&count| u32::from(count.unsigned_abs())).collect();
        let states = distribution
            .spread()
            .into_iter()
            .map(|symbol| {
                let state = next[usize::from(symbol)].max(1);
                next[usize::from(symbol)] += 1;
                let bits = log - state.ilog2().min(log);
                State { symbol, bits: bits as u8, base: ((state << bits) - (1 << log)) as u16 }
            })
            .collect();
        Self { log, states }
    }

    /// Looks a state up; states past the table's end stand for the last one.
    pub fn state(&self, state: u32) -> State {
        self.states[(state as usize).min(self.states.len() - 1)]
    }
}

/// From symbol and state to bits and next state.
#[derive(Debug, Clone)]
pub struct EncodeTable {
    log: u32,
    /// Next states, symbol by symbol.
    next: Vec<u16>,
    /// By symbol: what to add to a state so that its bits above 16 are the number of bits to put
    /// out, and where the symbol's states begin in `next`. `None`: the symbol cannot be coded.
    symbols: Vec<Option<(u32, i32)>>,
}

impl EncodeTable {
    /// Makes the table of a distribution.
    pub fn new(distribution: &Distribution) -> Self {
        let log = distribution.log;
        if log == 0 {
            let symbols = distribution.counts.iter().map(|&count| (count != 0).then_some((0, 0))).collect();
            return Self { log, next: vec![1], symbols };
        }
        let size = 1u32 << log;
        let mut starts = Vec::with_capacity(distribution.counts.len());
        let mut total = 0usize;
        for &count in &distribution.counts {
            starts.push(total);
            total += usize::from(count.unsigned_abs());
        }
        let mut next = vec![0u16; size as usize];
        for (state, symbol) in distribution.spread().into_iter().enumerate() {
            let slot = &mut starts[usize::from(symbol)];
            if let Some(entry) = next.get_mut(*slot) {
                *entry = (size as usize + state) as u16;
            }
            *slot += 1;
        }
        let mut total = 0i32;
        let symbols = distribution
            .counts
            .iter()
            .map(|&count| match count {
                0 => None,
                -1 | 1 => {
                    total += 1;
                    Some(((log << 16) - size, total - 2))
                }
                count => {
                    let count = u32::from(count.unsigned_abs());
                    let bits = log - (count - 1).ilog2();
                    let start = total - count as i32;
                    total += count as i32;
                    Some(((bits << 16).wrapping_sub(count << bits), start))
                }
            })
            .collect();
        Self { log, next, symbols }
    }

    /// Binary logarithm of the number of states.
    pub fn log(&self) -> u32 {
        self.log
    }

    fn symbol(&self, symbol: u8) -> Option<(u32, i32)> {
        self.symbols.get(usize::from(symbol)).copied().flatten()
    }

    /// The state with which libzstd begins when `symbol` is the last one: the one that is left by
    /// the fewest bits. Answers an index as a decoder counts them. `None`: not in the table.
    pub fn first_state(&self, symbol: u8) -> Option<u32> {
        let (delta, start) = self.symbol(symbol)?;
        if self.log == 0 {
            return Some(0);
        }
        let bits = delta.wrapping_add(1 << 15) >> 16;
        let value = (bits << 16).wrapping_sub(delta);
        let slot = (value >> bits) as i32 + start;
        Some(u32::from(*self.next.get(slot as usize)?) - (1 << self.log))
    }

    /// Goes from `state` to the one before it, that stands for `symbol`, putting out the bits
    /// between.
    pub fn encode(&self, state: &mut u32, symbol: u8, out: &mut Forward<'_>) -> Option<()> {
        let (delta, start) = self.symbol(symbol)?;
        if self.log == 0 {
            return Some(());
        }
        let full = *state + (1 << self.log);
        let bits = full.wrapping_add(delta) >> 16;
        out.add(full, bits);
        let slot = (full >> bits) as i32 + start;
        *state = u32::from(*self.next.get(slot as usize)?) - (1 << self.log);
        Some(())
    }

    /// What coding `symbol` costs on average, in 1/256 bit, as libzstd estimates it
    /// (`FSE_bitCost`); at least `(log + 1) * 256` for a symbol that is not in the table.
    pub fn cost(&self, symbol: u8) -> Option<u32> {
        let (delta, _) = self.symbol(symbol)?;
        if self.log == 0 {
            return Some(0);
        }
        let bits = delta >> 16;
        let threshold = (bits + 1) << 16;
        let size = 1u32 << self.log;
        let from_threshold = threshold - (delta + size);
        let scaled = (from_threshold << 8) >> self.log;
        Some((bits + 1) * 256 - scaled)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{DecodeTable, Distribution, EncodeTable};
    use crate::reparse::bits::{Backward, Forward};

    /// Random counts that fill a table.
    fn distribution() -> impl Strategy<Value = Distribution> {
        (5u32..=9, proptest::collection::vec(0u32..100, 2..50)).prop_filter_map(
            "too few",
            |(log, weights)| {
                let total: u32 = weights.iter().sum();
                let size = 1i32 << log;
                if total == 0 {
                    return None;
                }
                let mut counts: Vec<i16> = weights
                    .iter()
                    .map(|&w| match (i64::from(w) * i64::from(size) / i64::from(total)) as i16 {
                        0 if w > 0 => -1,
                        count => count,
                    })
                    .collect();
                let used: i32 = counts.iter().map(|c| i32::from(c.abs())).sum();
                let largest = (0..counts.len()).max_by_key(|&i| counts[i])?;
                counts[largest] += (size - used) as i16;
                while counts.last() == Some(&0) {
                    counts.pop();
                }
                // Rounding up may take more than the largest has; where it was the last, it is gone.
                let largest = counts.get(largest).copied()?;
                (largest > 0 && i32::from(largest) < size).then_some(Distribution { log, counts })
            },
        )
    }

    proptest! {
        #[test]
        fn descriptions_are_read_as_written(distribution in distribution()) {
            let mut bytes = Vec::new();
            distribution.write(&mut bytes);
            let used = bytes.len();
            bytes.push(0xA5);
            prop_assert_eq!(Distribution::read(&bytes, 53, 9), Some((distribution, used)));
        }

        #[test]
        fn symbols_come_back(distribution in distribution(), picks in proptest::collection::vec(any::<u32>(), 1..200)) {
            let alphabet: Vec<u8> = (0..distribution.counts.len() as u8).filter(|&s| distribution.counts[usize::from(s)] != 0).collect();
            let symbols: Vec<u8> = picks.iter().map(|&p| alphabet[p as usize % alphabet.len()]).collect();
            let (encoder, decoder) = (EncodeTable::new(&distribution), DecodeTable::new(&distribution));
            let mut bytes = Vec::new();
            let mut out = Forward::new(&mut bytes);
            let mut state = encoder.first_state(symbols[symbols.len() - 1]).unwrap();
            for &symbol in symbols[..symbols.len() - 1].iter().rev() {
                encoder.encode(&mut state, symbol, &mut out).unwrap();
            }
            out.add(state, distribution.log);
            out.close();
            let mut bits = Backward::new(&bytes).unwrap();
            let mut state = bits.read(distribution.log);
            for (index, &symbol) in symbols.iter().enumerate() {
                let entry = decoder.state(state);
                prop_assert_eq!(entry.symbol, symbol);
                if index + 1 < symbols.len() {
                    state = u32::from(entry.base) + bits.read(u32::from(entry.bits));
                }
            }
            prop_assert_eq!(bits.left(), 0);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some((distribution, used)) = Distribution::read(&bytes, 53, 9) {
                prop_assert!(used <= bytes.len());
                let table = DecodeTable::new(&distribution);
                let _ = (table.state(u32::MAX), EncodeTable::new(&distribution));
            }
        }
    }
}
