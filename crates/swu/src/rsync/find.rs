//! Blocks of a signature, found by their sums.

use super::index::Index;
use super::signature::Signature;
use super::strong::Strong;
use super::weak::Weak;

/// What all threads that look for blocks share.
pub(super) struct Finder<'a> {
    pub(super) signature: &'a Signature,
    index: Index,
    pub(super) block_len: usize,
    /// The last block where it is shorter, or may be; it is not in the index then where its length is known.
    last: Option<Last>,
}

/// A window over the target, as long as a block.
#[derive(Clone, Copy)]
pub(super) struct Window<W> {
    /// Where it begins.
    at: usize,
    /// Its weak sum.
    weak: W,
}

impl<W: Weak> Window<W> {
    /// The window of so many bytes at `at`. Where there are fewer, it is not to be sought with.
    pub(super) fn new(bytes: &[u8], at: usize, len: usize) -> Self {
        Self { at, weak: W::of(&bytes[at..bytes.len().min(at + len)]) }
    }
}

/// A block that ends the base.
#[derive(Clone, Copy)]
struct Last {
    block: usize,
    len: Option<usize>,
}

impl<'a> Finder<'a> {
    /// `base_len` where the length of the base is known.
    pub(super) fn new(signature: &'a Signature, base_len: Option<u64>) -> Self {
        let block_len = signature.options().block_len;
        let blocks = signature.blocks();
        let len = base_len.map(|len| (len % block_len as u64) as usize);
        let last = blocks.checked_sub(1).filter(|_| len != Some(0)).map(|block| Last { block, len });
        let whole_blocks = if len.is_some_and(|len| len != 0) { blocks - 1 } else { blocks };
        Self { signature, index: Index::new(signature, whole_blocks), block_len, last }
    }

    pub(super) fn offset(&self, block: usize) -> u64 {
        block as u64 * self.block_len as u64
    }

    /// Moves the window on to the first place before `to` whose weak sum some block may have, and a byte further.
    /// Answers the place and the sum. `to` is not behind the last place where a window is whole.
    #[inline]
    pub(super) fn seek<W: Weak>(
        &self,
        bytes: &[u8],
        window: &mut Window<W>,
        to: usize,
    ) -> Option<(usize, u32)> {
        let out = bytes.get(window.at..to)?;
        let put = bytes.get(window.at + self.block_len..).unwrap_or_default();
        let mut weak = window.weak;
        let mut found = None;
        for (ahead, out) in out.iter().enumerate() {
            let value = weak.value();
            // Nothing comes into the last window of all: no other one follows it.
            weak.roll(*out, put.get(ahead).copied().unwrap_or_default());
            if self.index.may_have(value) {
                found = Some((window.at + ahead, value));
                break;
            }
        }
        *window = Window { at: found.map_or(to, |(place, _)| place + 1), weak };
        found
    }

    /// The block that the base has at `offset`, if it has one there with this weak sum.
    pub(super) fn block_at(&self, offset: i64, weak: u32) -> Option<usize> {
        let offset = u64::try_from(offset).ok()?;
        let block = usize::try_from(offset / self.block_len as u64).ok()?;
        let is_start = offset.is_multiple_of(self.block_len as u64);
        (is_start && self.signature.weak().get(block) == Some(&weak)).then_some(block)
    }

    /// Different blocks with this weak sum.
    pub(super) fn blocks(&self, weak: u32) -> impl ExactSizeIterator<Item = usize> {
        self.index.blocks(weak)
    }

    /// The block whose sums a window has, one of `guesses` rather than another one.
    pub(super) fn proved(&self, window: &[u8], weak: u32, guesses: [Option<usize>; 2]) -> Option<usize> {
        if guesses == [None; 2] && self.blocks(weak).len() == 0 {
            return None;
        }
        let mut sum = [0; Strong::BYTES_MAX];
        let strong_len = self.signature.options().strong_len;
        let sum = &mut sum[..strong_len];
        self.signature.options().magic.strong().put([window].into_iter(), strong_len, sum);
        let is_it = |block: &usize| self.signature.strong(*block) == sum;
        let guess = guesses.into_iter().flatten().find(is_it);
        guess.or_else(|| self.index.block(self.signature, weak, sum))
    }

    /// How many of the blocks from `block` on `bytes` begin with, one after another.
    pub(super) fn row<W: Weak>(&self, block: usize, bytes: &[u8]) -> usize {
        let mut row = 0;
        loop {
            let rest = &bytes[row * self.block_len..];
            let weak = &self.signature.weak()[block + row..];
            // Those whose weak sums say no need not be hashed.
            let windows = rest.chunks_exact(self.block_len).zip(weak).take(Strong::BLOCKS);
            let like = windows.take_while(|(window, weak)| W::of(window).value() == **weak).count();
            let same = self.same(block + row, &rest[..like * self.block_len]);
            row += same;
            if same < Strong::BLOCKS {
                return row;
            }
        }
    }

    fn same(&self, block: usize, bytes: &[u8]) -> usize {
        let strong_len = self.signature.options().strong_len;
        let blocks = bytes.len() / self.block_len;
        let mut sums = [0; Strong::BYTES_MAX * Strong::BLOCKS];
        let sums = &mut sums[..blocks * strong_len];
        self.signature.options().magic.strong().put(bytes.chunks_exact(self.block_len), strong_len, sums);
        let expected = self.signature.strong_row(block..block + blocks);
        let pairs = sums.chunks_exact(strong_len).zip(expected.chunks_exact(strong_len));
        pairs.take_while(|(have, expected)| have == expected).count()
    }

    /// Where the last, short block stands in what ends the target, not before `from`: its place there, and its
    /// offset in the base. `is_it` compares.
    pub(super) fn last_block<W: Weak>(
        &self,
        bytes: &[u8],
        from: usize,
        is_it: &mut dyn FnMut(&[u8], u64) -> bool,
    ) -> Option<(usize, u64)> {
        let last = self.last?;
        let offset = self.offset(last.block);
        let expected = self.signature.weak()[last.block];
        if let Some(len) = last.len {
            let place = bytes.len().checked_sub(len).filter(|&place| place >= from)?;
            let is_it = W::of(&bytes[place..]).value() == expected && is_it(&bytes[place..], offset);
            return is_it.then_some((place, offset));
        }
        let first = from.max(bytes.len().saturating_sub(self.block_len - 1));
        let mut weak = W::of(&bytes[first.min(bytes.len())..]);
        for place in first..bytes.len() {
            if weak.value() == expected && is_it(&bytes[place..], offset) {
                return Some((place, offset));
            }
            weak.shorten(bytes[place]);
        }
        None
    }

    /// Whether the last block has the strong sum of `window`.
    pub(super) fn is_last(&self, window: &[u8]) -> bool {
        let Some(last) = self.last else { return false };
        let strong_len = self.signature.options().strong_len;
        let mut sum = [0; Strong::BYTES_MAX];
        let sum = &mut sum[..strong_len];
        self.signature.options().magic.strong().put([window].into_iter(), strong_len, sum);
        self.signature.strong(last.block) == sum
    }
}
