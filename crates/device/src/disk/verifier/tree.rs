//! BLAKE3 of a result whose blocks come in any order.
//!
//! Source: J. O'Connor, J.-P. Aumasson, S. Neves, Z. Wilcox-O'Hearn, "BLAKE3: one function, fast everywhere", 2020,
//! section 2.1: a hash is the top of a binary tree over chunks, and whole subtrees may be made apart from each other.

use blake3::hazmat::{ChainingValue, HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root};
use fluvial_delta::header::Blake3Digest;

/// What the tree has at the top of each block.
pub struct Tree {
    tops: Vec<ChainingValue>,
    /// The digest, where there is one block only, which is the top itself.
    whole: Option<Blake3Digest>,
}

impl Tree {
    /// A tree over so many blocks, of which all but the last have the same length, a power of two from 1 KiB on.
    /// Memory: 32 bytes for each.
    pub fn new(blocks: usize) -> Self {
        Self { tops: vec![[0; 32]; blocks], whole: None }
    }

    /// Begins to hash a block, `offset` bytes behind the start.
    pub fn hasher(offset: u64) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(offset);
        hasher
    }

    /// Takes a block whose bytes the hasher has had.
    pub fn add(&mut self, block: usize, hasher: &blake3::Hasher) {
        if self.tops.len() == 1 {
            self.whole = Some(hasher.finalize().into());
        } else if let Some(top) = self.tops.get_mut(block) {
            *top = hasher.finalize_non_root();
        }
    }

    /// The digest of all blocks, once all of them were added.
    pub fn digest(&self) -> Blake3Digest {
        match self.tops.as_slice() {
            [] => blake3::hash(b"").into(),
            [_] => self.whole.unwrap_or_default(),
            tops => {
                let (left, right) = tops.split_at(left_len(tops.len()));
                merge_subtrees_root(&top(left), &top(right), Mode::Hash).into()
            }
        }
    }
}

/// What the tree has at the top of some blocks.
fn top(blocks: &[ChainingValue]) -> ChainingValue {
    if let [one] = blocks {
        return *one;
    }
    let (left, right) = blocks.split_at(left_len(blocks.len()));
    merge_subtrees_non_root(&top(left), &top(right), Mode::Hash)
}

/// How many of two blocks or more are on the left: the largest power of two that leaves one.
fn left_len(blocks: usize) -> usize {
    blocks.div_ceil(2).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_whole() {
        const BLOCK_BYTES: usize = 2048;
        let bytes: Vec<u8> = (0..40 * BLOCK_BYTES).map(|index| (index / 3) as u8).collect();
        for len in [0, 1, 1024, 2047, 2048, 2049, 4096, 6144, 10_000, 65_536, 65_537, bytes.len()] {
            let bytes = &bytes[..len];
            let blocks: Vec<_> = bytes.chunks(BLOCK_BYTES).enumerate().collect();
            let mut tree = Tree::new(blocks.len());
            for (number, block) in blocks.into_iter().rev() {
                let mut hasher = Tree::hasher((number * BLOCK_BYTES) as u64);
                hasher.update(block);
                tree.add(number, &hasher);
            }
            assert_eq!(tree.digest(), *blake3::hash(bytes).as_bytes(), "{len}");
        }
    }
}
