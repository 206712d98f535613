//! Huffman trees as libzstd builds and describes them.
//!
//! Among equal counts the order decides who gets the shorter code, so the sort is reproduced as
//! well: buckets of equal counts below a limit, an unstable quicksort in each power of two above
//! (`HUF_sort` of libzstd 1.5), or stable throughout (before 1.5).

use super::bits::Forward;
use super::fse::EncodeTable;
use super::huffman::{CODE_BITS_MAX, Codes};
use super::normalize::{normalize, optimal_log};

/// The longest code that libzstd gives a literal.
pub const LITERAL_BITS_MAX: u32 = 11;
/// Counts from here on share a bucket with others of the same binary logarithm.
const DISTINCT_COUNTS: u32 = 165;
/// Buckets up to this size are sorted by insertion.
const INSERTION_MAX: usize = 8;
/// Largest number of weights that can be described without FSE.
const PLAIN_WEIGHTS_MAX: usize = 128;

#[derive(Debug, Clone, Copy)]
struct Leaf {
    count: u32,
    symbol: u8,
    bits: u8,
}

/// Builds the code of `counts` with codes of at most `bits_max` bits. At least two symbols occur.
pub fn build(counts: &[u32; 256], bits_max: u32, stable_sort: bool) -> Option<Codes> {
    let mut leaves = sorted(counts, stable_sort);
    if leaves.len() < 2 {
        return None;
    }
    grow(&mut leaves);
    limit(&mut leaves, bits_max);
    let mut lengths = [0u8; 256];
    for leaf in &leaves {
        lengths[usize::from(leaf.symbol)] = leaf.bits;
    }
    Codes::new(&lengths)
}

/// The code length limit that libzstd derives from the data (`HUF_optimalTableLog`, cheap form).
pub fn bits_max(counts: &[u32; 256], total: u32) -> u32 {
    let last = counts.iter().rposition(|&count| count > 0).unwrap_or(0) as u32;
    optimal_log(LITERAL_BITS_MAX, total, last, 1)
}

/// The limit that gives the smallest output, as strategies from btultra on look for it since
/// libzstd 1.5.3 (`HUF_flags_optimalDepth`).
pub fn best_bits_max(counts: &[u32; 256]) -> u32 {
    let symbols = counts.iter().filter(|&&count| count > 0).count() as u32;
    let least = symbols.max(1).ilog2() + 1;
    let mut best = (usize::MAX - 1, LITERAL_BITS_MAX);
    for guess in least..=LITERAL_BITS_MAX {
        let Some(codes) = build(counts, guess, false) else { continue };
        if codes.log() < guess && guess > least {
            break;
        }
        let mut description = Vec::new();
        if describe(&codes, &mut description).is_none() {
            continue;
        }
        let size = estimate(&codes, counts) + description.len();
        if size > best.0 + 1 {
            break;
        }
        if size < best.0 {
            best = (size, guess);
        }
    }
    best.1
}

/// Bytes that literals with these counts take, without description and jump table.
pub fn estimate(codes: &Codes, counts: &[u32; 256]) -> usize {
    let bits: usize = codes
        .lengths()
        .iter()
        .zip(counts)
        .map(|(&length, &count)| usize::from(length) * count as usize)
        .sum();
    bits >> 3
}

/// Whether every symbol that occurs has a code.
pub fn covers(codes: &Codes, counts: &[u32; 256]) -> bool {
    codes.lengths().iter().zip(counts).all(|(&length, &count)| count == 0 || length > 0)
}

/// Occurring symbols by falling count.
fn sorted(counts: &[u32; 256], stable: bool) -> Vec<Leaf> {
    let mut leaves: Vec<Leaf> = counts
        .iter()
        .enumerate()
        .filter(|&(_, &count)| count > 0)
        .map(|(symbol, &count)| Leaf { count, symbol: symbol as u8, bits: 0 })
        .collect();
    if stable {
        leaves.sort_by_key(|leaf| std::cmp::Reverse(leaf.count));
        return leaves;
    }
    let bucket = |count: u32| if count < DISTINCT_COUNTS { count } else { DISTINCT_COUNTS + count.ilog2() };
    leaves.sort_by_key(|leaf| std::cmp::Reverse(bucket(leaf.count)));
    for run in leaves.chunk_by_mut(|a, b| bucket(a.count) == bucket(b.count)) {
        if run[0].count >= DISTINCT_COUNTS {
            quick_sort(run);
        }
    }
    leaves
}

/// Sorts by falling count, the last element being the pivot; equal counts end up where libzstd's
/// quicksort puts them.
fn quick_sort(mut run: &mut [Leaf]) {
    if run.len() <= INSERTION_MAX {
        run.sort_by_key(|leaf| std::cmp::Reverse(leaf.count));
        return;
    }
    while run.len() > 1 {
        let last = run.len() - 1;
        let pivot = run[last].count;
        let mut split = 0;
        for index in 0..last {
            if run[index].count > pivot {
                run.swap(split, index);
                split += 1;
            }
        }
        run.swap(split, last);
        let (left, right) = run.split_at_mut(split);
        let right = &mut right[1..];
        // The shorter side by recursion, the longer by another turn, as the original does: only
        // the entry of a recursion may switch to insertion.
        if left.len() < right.len() {
            quick_sort(left);
            run = right;
        } else {
            quick_sort(right);
            run = left;
        }
    }
}

/// Gives every leaf the length of its code in an unlimited tree.
fn grow(leaves: &mut [Leaf]) {
    let inner = leaves.len() - 1;
    let mut counts = vec![1u64 << 30; inner];
    let mut leaf_parent = vec![0usize; leaves.len()];
    let mut inner_parent = vec![0usize; inner];
    // Leaves are taken from the rarest on, inner nodes in the order in which they were made; the
    // inner node wins a tie.
    let mut leaf = leaves.len();
    let mut node = 0;
    for made in 0..inner {
        let mut sum = 0;
        for _ in 0..2 {
            // Before the first node is made both come from the leaves.
            let open = if made == 0 { u64::MAX } else { counts.get(node).copied().unwrap_or(u64::MAX) };
            let take_leaf = leaf > 0 && (u64::from(leaves[leaf - 1].count) < open);
            if take_leaf {
                leaf -= 1;
                leaf_parent[leaf] = made;
                sum += u64::from(leaves[leaf].count);
            } else {
                inner_parent[node] = made;
                sum += counts[node];
                node += 1;
            }
        }
        counts[made] = sum;
    }
    let mut depth = vec![0u8; inner];
    for index in (0..inner.saturating_sub(1)).rev() {
        depth[index] = depth[inner_parent[index]].saturating_add(1);
    }
    for (leaf, parent) in leaves.iter_mut().zip(leaf_parent) {
        leaf.bits = depth[parent].saturating_add(1);
    }
}

/// Shortens codes above `target` bits and pays for it with longer ones elsewhere
/// (`HUF_setMaxHeight`).
fn limit(leaves: &mut [Leaf], target: u32) {
    let target8 = target as u8;
    let Some(largest) = leaves.last().map(|leaf| u32::from(leaf.bits)) else { return };
    if largest <= target || largest > 40 {
        return;
    }
    let base = 1i64 << (largest - target);
    let mut debt = 0i64;
    for leaf in leaves.iter_mut().rev().take_while(|leaf| leaf.bits > target8) {
        debt += base - (1i64 << (largest - u32::from(leaf.bits)));
        leaf.bits = target8;
    }
    debt >>= largest - target;
    // The last leaf whose code is shorter than the limit, and the last one of each length.
    let mut below = leaves.iter().rposition(|leaf| leaf.bits < target8);
    let mut last: [Option<usize>; CODE_BITS_MAX as usize + 2] = [None; CODE_BITS_MAX as usize + 2];
    if let Some(end) = below {
        let mut current = target8;
        for position in (0..=end).rev() {
            if leaves[position].bits < current {
                current = leaves[position].bits;
                last[usize::from(target8 - current)] = Some(position);
            }
        }
    }
    while debt > 0 {
        let mut shorten = (debt.ilog2() as usize + 1).min(CODE_BITS_MAX as usize + 1);
        while shorten > 1 {
            if let Some(high) = last[shorten] {
                let Some(low) = last[shorten - 1] else { break };
                if u64::from(leaves[high].count) <= 2 * u64::from(leaves[low].count) {
                    break;
                }
            }
            shorten -= 1;
        }
        while shorten <= CODE_BITS_MAX as usize && last[shorten].is_none() {
            shorten += 1;
        }
        let Some(position) = last.get(shorten).copied().flatten() else { return };
        debt -= 1 << (shorten - 1);
        leaves[position].bits += 1;
        if last[shorten - 1].is_none() {
            last[shorten - 1] = Some(position);
        }
        last[shorten] = position
            .checked_sub(1)
            .filter(|&before| usize::from(leaves[before].bits) == target as usize - shorten);
    }
    while debt < 0 {
        let position = if let Some(position) = last[1] {
            position + 1
        } else {
            while below.is_some_and(|position| leaves[position].bits == target8) {
                below = below.and_then(|position| position.checked_sub(1));
            }
            below.map_or(0, |position| position + 1)
        };
        let Some(leaf) = leaves.get_mut(position) else { return };
        leaf.bits -= 1;
        last[1] = Some(position);
        debt += 1;
    }
}

/// Writes the tree's description as libzstd does. `None` where it gives up.
pub fn describe(codes: &Codes, out: &mut Vec<u8>) -> Option<()> {
    let count = usize::from(codes.last_symbol());
    let weights: Vec<u8> = codes.lengths()[..count]
        .iter()
        .map(|&length| if length == 0 { 0 } else { codes.log() as u8 + 1 - length })
        .collect();
    let mut packed = Vec::new();
    if pack_weights(&weights, &mut packed).is_some() && packed.len() > 1 && packed.len() < count / 2 {
        out.push(packed.len() as u8);
        out.extend_from_slice(&packed);
        return Some(());
    }
    if count > PLAIN_WEIGHTS_MAX || count == 0 {
        return None;
    }
    out.push((127 + count) as u8);
    out.extend(weights.chunks(2).map(|pair| (pair[0] << 4) | pair.get(1).copied().unwrap_or(0)));
    Some(())
}

/// Packs weights by FSE with two interleaved states. `None` when that is not worth it.
fn pack_weights(weights: &[u8], out: &mut Vec<u8>) -> Option<()> {
    if weights.len() <= 2 {
        return None;
    }
    let mut counts = [0u32; CODE_BITS_MAX as usize + 1];
    for &weight in weights {
        counts[usize::from(weight)] += 1;
    }
    let most = *counts.iter().max()?;
    if most as usize == weights.len() || most == 1 {
        return None;
    }
    let last = counts.iter().rposition(|&count| count > 0)?;
    let total = weights.len() as u32;
    let log = optimal_log(6, total, last as u32, 2);
    let distribution = normalize(&counts[..=last], total, log, false)?;
    distribution.write(out);
    let table = EncodeTable::new(&distribution);
    let mut forward = Forward::new(out);
    // Symbols take turns between the states from the end on; state 0 has the even positions.
    let mut states: [Option<u32>; 2] = [None, None];
    for (index, &weight) in weights.iter().enumerate().rev() {
        let turn = index & 1;
        match &mut states[turn] {
            Some(state) => table.encode(state, weight, &mut forward)?,
            open => *open = Some(table.first_state(weight)?),
        }
    }
    forward.add(states[1]?, log);
    forward.add(states[0]?, log);
    forward.close();
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{bits_max, build, describe};
    use crate::reparse::huffman::Codes;

    proptest! {
        #[test]
        fn trees_are_complete_and_described(picks in proptest::collection::vec((any::<u8>(), 1u32..5000), 2..256), stable in any::<bool>()) {
            let mut counts = [0u32; 256];
            for (symbol, count) in picks {
                counts[usize::from(symbol)] = count;
            }
            prop_assume!(counts.iter().filter(|&&count| count > 0).count() >= 2);
            let limit = bits_max(&counts, counts.iter().sum());
            let codes = build(&counts, limit, stable).unwrap();
            prop_assert!(codes.log() <= limit);
            let mut bytes = Vec::new();
            if describe(&codes, &mut bytes).is_some() {
                let used = bytes.len();
                bytes.push(7);
                prop_assert_eq!(Codes::read(&bytes), Some((codes.clone(), used)));
            }
            let literals: Vec<u8> = (0..=255).filter(|&symbol| counts[usize::from(symbol)] > 0).collect();
            let mut stream = Vec::new();
            codes.encode(&literals, &mut stream).unwrap();
            let mut back = vec![0; literals.len()];
            codes.decode(&codes.decode_table(), &stream, &mut back).unwrap();
            prop_assert_eq!(back, literals);
        }

        #[test]
        fn any_description_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..140)) {
            if let Some((codes, used)) = Codes::read(&bytes) {
                prop_assert!(used <= bytes.len() && codes.log() <= 12);
            }
        }
    }
}
