//! Huffman codes of deflate: reading them, writing them, and building them as zlib and gzip do.

use crate::codec::deflate::bits::{BitReader, BitWriter};

/// Symbols for literals and lengths, and for distances (RFC 1951, section 3.2.5).
pub(crate) const LITERALS: usize = 288;
pub(crate) const DISTANCES: usize = 32;
/// The symbols of each that a dynamic block may use.
const LITERALS_USED: usize = 286;
const DISTANCES_USED: usize = 30;
/// Symbols for code lengths.
const LENGTHS: usize = 19;
/// The longest code, and the longest for code lengths.
const CODE_BITS_MAX: u32 = 15;
const LENGTH_CODE_BITS_MAX: u32 = 7;
/// The order in which the lengths of the codes for lengths are written.
const LENGTH_ORDER: [usize; LENGTHS] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
/// The symbol that ends a block.
pub(crate) const END_OF_BLOCK: usize = 256;

/// The code lengths of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Codes {
    pub(crate) literals: [u8; LITERALS],
    pub(crate) distances: [u8; DISTANCES],
}

impl Codes {
    /// The fixed codes (section 3.2.6).
    pub(crate) fn fixed() -> Self {
        let mut literals = [8; LITERALS];
        literals[144..256].fill(9);
        literals[256..280].fill(7);
        Codes { literals, distances: [5; DISTANCES] }
    }

    /// Reads the header of a dynamic block (section 3.2.7).
    pub(crate) fn read(bits: &mut BitReader<'_>) -> Option<Self> {
        let literal_count = bits.take(5)? as usize + 257;
        let distance_count = bits.take(5)? as usize + 1;
        let length_count = bits.take(4)? as usize + 4;
        if literal_count > LITERALS_USED || distance_count > DISTANCES_USED {
            return None;
        }
        let mut lengths = [0; LENGTHS];
        for &symbol in &LENGTH_ORDER[..length_count] {
            lengths[symbol] = bits.take(3)? as u8;
        }
        let decoder = Decoder::new(&lengths)?;
        let mut all = [0_u8; LITERALS_USED + DISTANCES_USED];
        let count = literal_count + distance_count;
        let mut at = 0;
        while at < count {
            let symbol = decoder.take(bits)?;
            let (value, repeat) = match symbol {
                16 => (*all.get(at.checked_sub(1)?)?, 3 + bits.take(2)?),
                17 => (0, 3 + bits.take(3)?),
                18 => (0, 11 + bits.take(7)?),
                length => (length as u8, 1),
            };
            let end = at + repeat as usize;
            if end > count {
                return None;
            }
            all[at..end].fill(value);
            at = end;
        }
        let mut codes = Codes { literals: [0; LITERALS], distances: [0; DISTANCES] };
        codes.literals[..literal_count].copy_from_slice(&all[..literal_count]);
        codes.distances[..distance_count].copy_from_slice(&all[literal_count..count]);
        Some(codes)
    }

    /// Builds the codes for a block as zlib does, and writes the header that zlib writes.
    pub(crate) fn build(
        literals: &[u32; LITERALS],
        distances: &[u32; DISTANCES],
        header: &mut BitWriter,
    ) -> Self {
        let (literal_lens, literal_max) = build_lens(&literals[..LITERALS_USED], CODE_BITS_MAX);
        let (distance_lens, distance_max) = build_lens(&distances[..DISTANCES_USED], CODE_BITS_MAX);
        let mut runs = run_lengths(&literal_lens[..=literal_max]);
        runs.extend(run_lengths(&distance_lens[..=distance_max]));
        let mut frequencies = [0; LENGTHS];
        for &(symbol, _, _) in &runs {
            frequencies[symbol] += 1;
        }
        let (lens, _) = build_lens(&frequencies, LENGTH_CODE_BITS_MAX);
        let last = (3..LENGTHS).rev().find(|&place| lens[LENGTH_ORDER[place]] != 0).unwrap_or(3);
        header.put((literal_max + 1 - 257) as u32, 5);
        header.put(distance_max as u32, 5);
        header.put((last + 1 - 4) as u32, 4);
        for &symbol in &LENGTH_ORDER[..=last] {
            header.put(u32::from(lens[symbol]), 3);
        }
        let encoder = Encoder::new(&lens);
        for (symbol, extra, extra_bits) in runs {
            // Every symbol of a run has a code: it was counted.
            let _ = encoder.put(symbol, header);
            header.put(extra, extra_bits);
        }
        let mut codes = Codes { literals: [0; LITERALS], distances: [0; DISTANCES] };
        codes.literals[..literal_lens.len()].copy_from_slice(&literal_lens);
        codes.distances[..distance_lens.len()].copy_from_slice(&distance_lens);
        codes
    }
}

/// Code lengths as zlib assigns them, and the largest symbol that has one.
///
/// A binary heap joins the rarest symbols, the shallower tree first where they are equally rare;
/// codes that get too long are shortened at the cost of others.
fn build_lens(frequencies: &[u32], bits_max: u32) -> (Vec<u8>, usize) {
    let count = frequencies.len();
    let mut weight = frequencies.to_vec();
    weight.resize(2 * count + 1, 0);
    let mut depth = vec![0_u32; 2 * count + 1];
    let mut heap: Vec<usize> = (0..count).filter(|&symbol| weight[symbol] != 0).collect();
    let mut max = heap.last().copied();
    // There are two codes at least, if need be for symbols that do not occur.
    while heap.len() < 2 {
        let symbol = match max {
            Some(max @ 0..2) => max + 1,
            _ => 0,
        };
        max = max.max(Some(symbol));
        weight[symbol] = 1;
        heap.push(symbol);
    }
    let max = max.unwrap_or(0);

    let smaller = |weight: &[u32], depth: &[u32], a: usize, b: usize| {
        weight[a] < weight[b] || (weight[a] == weight[b] && depth[a] <= depth[b])
    };
    let sift = |heap: &mut [usize], weight: &[u32], depth: &[u32], mut at: usize| {
        let moved = heap[at];
        loop {
            let mut child = 2 * at + 1;
            if child >= heap.len() {
                break;
            }
            if child + 1 < heap.len() && smaller(weight, depth, heap[child + 1], heap[child]) {
                child += 1;
            }
            if smaller(weight, depth, moved, heap[child]) {
                break;
            }
            heap[at] = heap[child];
            at = child;
        }
        heap[at] = moved;
    };
    for at in (0..heap.len() / 2).rev() {
        sift(&mut heap, &weight, &depth, at);
    }
    // Nodes in the order in which they were joined, rarest first.
    let mut joined = Vec::with_capacity(2 * heap.len());
    let mut parent = vec![0; 2 * count + 1];
    let mut next = count;
    while heap.len() >= 2 {
        let first = heap.swap_remove(0);
        sift(&mut heap, &weight, &depth, 0);
        let second = heap[0];
        joined.extend([first, second]);
        weight[next] = weight[first] + weight[second];
        depth[next] = depth[first].max(depth[second]) + 1;
        (parent[first], parent[second]) = (next, next);
        heap[0] = next;
        next += 1;
        sift(&mut heap, &weight, &depth, 0);
    }
    let root = heap[0];

    let mut lens = vec![0_u32; 2 * count + 1];
    let mut of_len = [0_i32; CODE_BITS_MAX as usize + 1];
    let mut overflow = 0;
    for &node in joined.iter().rev() {
        let mut bits = lens[parent[node]] + 1;
        if bits > bits_max {
            bits = bits_max;
            overflow += 1;
        }
        lens[node] = bits;
        if node < count {
            of_len[bits as usize] += 1;
        }
    }
    lens[root] = 0;
    if overflow > 0 {
        while overflow > 0 {
            let mut bits = bits_max as usize - 1;
            while of_len[bits] == 0 {
                bits -= 1;
            }
            of_len[bits] -= 1;
            of_len[bits + 1] += 2;
            of_len[bits_max as usize] -= 1;
            overflow -= 2;
        }
        let mut leaves = joined.iter().filter(|&&node| node < count);
        for bits in (1..=bits_max as usize).rev() {
            for _ in 0..of_len[bits] {
                if let Some(&leaf) = leaves.next() {
                    lens[leaf] = bits as u32;
                }
            }
        }
    }
    (lens[..count].iter().map(|&len| len as u8).collect(), max)
}

/// Code lengths as runs: symbol, extra bits, how many extra bits.
fn run_lengths(lens: &[u8]) -> Vec<(usize, u32, u32)> {
    let mut runs = Vec::new();
    let mut before = None;
    let mut at = 0;
    while at < lens.len() {
        let len = lens[at];
        let same = lens[at..].iter().take_while(|&&other| other == len).count();
        // A run of zeros takes up to 138; another 6 at a time, the first of which stands for itself
        // where it is not what came before.
        let most = match (len, before == Some(len)) {
            (0, _) => 138,
            (_, true) => 6,
            (_, false) => 7,
        };
        let count = same.min(most);
        let (least, fresh) = if len == 0 || before == Some(len) { (3, 0) } else { (4, 1) };
        if count < least {
            runs.extend(std::iter::repeat_n((usize::from(len), 0, 0), count));
        } else if len != 0 {
            runs.extend(std::iter::repeat_n((usize::from(len), 0, 0), fresh));
            runs.push((16, (count - fresh - 3) as u32, 2));
        } else if count <= 10 {
            runs.push((17, (count - 3) as u32, 3));
        } else {
            runs.push((18, (count - 11) as u32, 7));
        }
        before = Some(len);
        at += count;
    }
    runs
}

/// The canonical code of each symbol (section 3.2.2), its first bit lowest.
fn assign(lens: &[u8]) -> Vec<u16> {
    let mut next = [0_u16; CODE_BITS_MAX as usize + 2];
    for &len in lens.iter().filter(|&&len| len != 0) {
        next[usize::from(len) + 1] += 1;
    }
    for bits in 1..next.len() {
        next[bits] = next[bits].wrapping_add(next[bits - 1]) << 1;
    }
    lens.iter()
        .map(|&len| {
            let len = usize::from(len);
            let code = next[len];
            next[len] = code.wrapping_add(1);
            if len == 0 { 0 } else { code.reverse_bits() >> (16 - len) }
        })
        .collect()
}

/// Decodes symbols by a table of all values of 15 bits.
pub(crate) struct Decoder {
    /// Symbol and length of the code; zero where there is no code.
    table: Vec<u16>,
}

impl Decoder {
    /// `None` if there are more codes than fit.
    pub(crate) fn new(lens: &[u8]) -> Option<Self> {
        let taken: u32 =
            lens.iter().filter(|&&len| len != 0).map(|&len| 1 << (CODE_BITS_MAX - u32::from(len))).sum();
        if taken > 1 << CODE_BITS_MAX {
            return None;
        }
        let mut table = vec![0; 1 << CODE_BITS_MAX];
        for (symbol, (&len, code)) in lens.iter().zip(assign(lens)).enumerate() {
            if len != 0 {
                for entry in table.iter_mut().skip(usize::from(code)).step_by(1 << len) {
                    *entry = (symbol as u16) << 4 | u16::from(len);
                }
            }
        }
        Some(Decoder { table })
    }

    pub(crate) fn take(&self, bits: &mut BitReader<'_>) -> Option<usize> {
        let entry = self.table[bits.peek() as usize & ((1 << CODE_BITS_MAX) - 1)];
        if entry == 0 {
            return None;
        }
        bits.skip(u32::from(entry & 15))?;
        Some(usize::from(entry >> 4))
    }
}

/// Writes symbols.
pub(crate) struct Encoder {
    codes: Vec<(u16, u8)>,
}

impl Encoder {
    pub(crate) fn new(lens: &[u8]) -> Self {
        Encoder { codes: assign(lens).into_iter().zip(lens.iter().copied()).collect() }
    }

    /// Writes a symbol; `None` if it has no code.
    pub(crate) fn put(&self, symbol: usize, bits: &mut BitWriter) -> Option<()> {
        let (code, len) = *self.codes.get(symbol).filter(|(_, len)| *len != 0)?;
        bits.put(u32::from(code), u32::from(len));
        Some(())
    }
}
