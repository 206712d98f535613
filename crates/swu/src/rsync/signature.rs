//! The sums of a base's blocks.

use std::io::{self, BufReader, Read, Write};
use std::ops::Range;

use fluvial_delta::structure::ReadAt;
use rayon::prelude::*;
use thiserror::Error;

use super::strong::Strong;
use super::weak::{RabinKarp, Rollsum, Weak};

/// The length of blocks where the caller has none in mind, in bytes.
///
/// A device downloads the packed delta only, and shorter blocks make it shorter: on the upgrade pair of
/// bench/RESULTS.md ("rdiff") blocks of 1 KiB save 6 % of what 2 KiB take, 512 bytes another 12 %. But whoever
/// publishes holds the sums of all blocks: with 512 bytes those of an image of 800 MiB take more than 64 MiB. What
/// `rdiff` chooses by itself, the square root of the base's length (26 KB there), makes its delta twice as long as
/// ours.
pub const BLOCK_LEN_DEFAULT: usize = 1024;
/// The longest blocks, in bytes: windows of that length are held in memory.
pub const BLOCK_LEN_MAX: usize = 1 << 20;
/// The most blocks of a signature: 32 GiB in blocks of 2 KiB. They take 1 GiB of memory at most.
pub const BLOCKS_MAX: usize = 1 << 24;
/// So many bytes of a base are read at a time, at least.
const READ_BYTES: usize = 1 << 20;

/// Which sums a signature has: the first four bytes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Magic {
    /// `72730136`: the only one before librsync 1.0, and unsafe where a base can be chosen by others, because
    /// blocks with the same MD4 are found at once.
    Md4Rollsum,
    /// `72730137`: librsync 1.0.
    Blake2Rollsum,
    /// `72730146`.
    Md4RabinKarp,
    /// `72730147`: librsync 2.2 and later, unless asked for another one.
    #[default]
    Blake2RabinKarp,
}

impl Magic {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Md4Rollsum, Self::Blake2Rollsum, Self::Md4RabinKarp, Self::Blake2RabinKarp];

    /// The number that stands in a file.
    pub fn code(self) -> u32 {
        match self {
            Self::Md4Rollsum => 0x7273_0136,
            Self::Blake2Rollsum => 0x7273_0137,
            Self::Md4RabinKarp => 0x7273_0146,
            Self::Blake2RabinKarp => 0x7273_0147,
        }
    }

    /// The magic of this number.
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|magic| magic.code() == code)
    }

    /// How long a strong sum is at most, in bytes: 16 for MD4, 32 for BLAKE2b.
    pub fn strong_len_max(self) -> usize {
        self.strong().bytes()
    }

    pub(super) fn strong(self) -> Strong {
        match self {
            Self::Md4Rollsum | Self::Md4RabinKarp => Strong::Md4,
            Self::Blake2Rollsum | Self::Blake2RabinKarp => Strong::Blake2,
        }
    }

    pub(super) fn is_rabin_karp(self) -> bool {
        matches!(self, Self::Md4RabinKarp | Self::Blake2RabinKarp)
    }
}

/// How a signature is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignatureOptions {
    /// Its sums.
    pub magic: Magic,
    /// The length of blocks in bytes, 1 to [`BLOCK_LEN_MAX`].
    pub block_len: usize,
    /// How many bytes of each strong sum are kept, 1 to [`Magic::strong_len_max`]. Short ones make wrong deltas
    /// where the base is not at hand.
    pub strong_len: usize,
}

impl Default for SignatureOptions {
    fn default() -> Self {
        let magic = Magic::default();
        Self { magic, block_len: BLOCK_LEN_DEFAULT, strong_len: magic.strong_len_max() }
    }
}

/// A signature cannot be made or read.
#[derive(Debug, Error)]
pub enum SignatureError {
    /// The base cannot be read.
    #[error("the base cannot be read")]
    ReadBase(#[source] io::Error),
    /// The signature cannot be read.
    #[error("the signature cannot be read")]
    Read(#[source] io::Error),
    /// The bytes do not begin as a signature does.
    #[error("it is no signature of librsync")]
    NotASignature,
    /// It ends inside its header, or inside a block's sums.
    #[error("the signature is cut short")]
    Truncated,
    /// Blocks have no bytes, or more than allowed.
    #[error("blocks of {0} bytes: 1 to {BLOCK_LEN_MAX} are allowed")]
    BlockLen(u64),
    /// Strong sums have no bytes, or more than their hash.
    #[error("strong sums of {have} bytes: 1 to {limit} are allowed")]
    StrongLen {
        /// Their length in bytes.
        have: u64,
        /// The length of the hash in bytes.
        limit: usize,
    },
    /// There are too many blocks.
    #[error("there are more than {BLOCKS_MAX} blocks")]
    TooManyBlocks,
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// The sums of a base's blocks. Memory: 4 bytes and a strong sum for each block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    options: SignatureOptions,
    /// How long the base is. What was read does not tell.
    base_len: Option<u64>,
    weak: Vec<u32>,
    strong: Vec<u8>,
}

impl Signature {
    /// Sums the blocks of `base`, on all threads of rayon's pool. `progress` hears how many bytes were summed and
    /// answers whether to go on.
    ///
    /// Memory: the signature, and for each thread 1 MiB or a block, whichever is longer.
    ///
    /// # Errors
    /// Options or a count of blocks out of range; whatever `base` reports; or it was cancelled.
    pub fn make(
        base: &dyn ReadAt,
        options: SignatureOptions,
        progress: &(dyn Fn(u64) -> bool + Sync),
    ) -> Result<Self, SignatureError> {
        let SignatureOptions { magic, block_len, strong_len } = check(options)?;
        let base_len = base.len();
        let blocks = base_len.div_ceil(block_len as u64);
        if blocks > BLOCKS_MAX as u64 {
            return Err(SignatureError::TooManyBlocks);
        }
        let mut weak = vec![0; blocks as usize];
        let mut strong = vec![0; blocks as usize * strong_len];
        let step_blocks = (READ_BYTES / block_len).max(1);
        let step_bytes = step_blocks * block_len;
        let steps = weak.par_chunks_mut(step_blocks).zip(strong.par_chunks_mut(step_blocks * strong_len));
        steps.enumerate().try_for_each_init(Vec::new, |bytes: &mut Vec<u8>, (step, (weak, strong))| {
            let start = step as u64 * step_bytes as u64;
            bytes.resize((base_len - start).min(step_bytes as u64) as usize, 0);
            base.read_at(start, bytes).map_err(SignatureError::ReadBase)?;
            for (block, weak) in bytes.chunks(block_len).zip(weak) {
                *weak = weak_sum(magic, block);
            }
            let together = bytes.chunks(Strong::BLOCKS * block_len);
            for (bytes, strong) in together.zip(strong.chunks_mut(Strong::BLOCKS * strong_len)) {
                magic.strong().put(bytes.chunks(block_len), strong_len, strong);
            }
            if progress(bytes.len() as u64) { Ok(()) } else { Err(SignatureError::Cancelled) }
        })?;
        Ok(Self { options, base_len: Some(base_len), weak, strong })
    }

    /// Reads a signature to its end. Memory grows with what comes, up to [`BLOCKS_MAX`] blocks.
    ///
    /// # Errors
    /// What is read is no signature, is cut short, or above a limit.
    pub fn read(input: &mut dyn Read) -> Result<Self, SignatureError> {
        let mut input = BufReader::new(input);
        let mut number = || {
            let mut bytes = [0; 4];
            match fill(&mut input, &mut bytes)? {
                4 => Ok(u32::from_be_bytes(bytes)),
                _ => Err(SignatureError::Truncated),
            }
        };
        let magic = Magic::from_code(number()?).ok_or(SignatureError::NotASignature)?;
        let (block_len, strong_len) = (number()? as usize, number()? as usize);
        let options = check(SignatureOptions { magic, block_len, strong_len })?;
        let (mut weak, mut strong) = (Vec::new(), Vec::new());
        let mut sums = [0; 4 + Strong::BYTES_MAX];
        let sums = &mut sums[..4 + strong_len];
        loop {
            match fill(&mut input, sums)? {
                0 => return Ok(Self { options, base_len: None, weak, strong }),
                have if have < sums.len() => return Err(SignatureError::Truncated),
                _ if weak.len() == BLOCKS_MAX => return Err(SignatureError::TooManyBlocks),
                _ => {}
            }
            weak.push(u32::from_be_bytes([sums[0], sums[1], sums[2], sums[3]]));
            strong.extend_from_slice(&sums[4..]);
        }
    }

    /// Writes the signature, in pieces of 64 KiB.
    ///
    /// # Errors
    /// Whatever `out` reports.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut out = io::BufWriter::with_capacity(64 << 10, out);
        let SignatureOptions { magic, block_len, strong_len } = self.options;
        for number in [magic.code(), block_len as u32, strong_len as u32] {
            out.write_all(&number.to_be_bytes())?;
        }
        for (weak, strong) in self.weak.iter().zip(self.strong.chunks_exact(strong_len)) {
            out.write_all(&weak.to_be_bytes())?;
            out.write_all(strong)?;
        }
        out.flush()
    }

    /// How it was made.
    pub fn options(&self) -> SignatureOptions {
        self.options
    }

    /// How many blocks the base has.
    pub fn blocks(&self) -> usize {
        self.weak.len()
    }

    /// How long it is when it is written, in bytes.
    pub fn written_bytes(&self) -> u64 {
        12 + (self.weak.len() * 4 + self.strong.len()) as u64
    }

    /// Whether a base of this length has as many blocks.
    pub(super) fn may_be_of(&self, base_len: u64) -> bool {
        self.base_len.is_none_or(|len| len == base_len)
            && base_len.div_ceil(self.options.block_len as u64) == self.weak.len() as u64
    }

    pub(super) fn base_len(&self) -> Option<u64> {
        self.base_len
    }

    pub(super) fn weak(&self) -> &[u32] {
        &self.weak
    }

    pub(super) fn strong(&self, block: usize) -> &[u8] {
        &self.strong[self.strong_range(block..block + 1)]
    }

    /// Sums of blocks in a row.
    pub(super) fn strong_row(&self, blocks: Range<usize>) -> &[u8] {
        &self.strong[self.strong_range(blocks)]
    }

    fn strong_range(&self, blocks: Range<usize>) -> Range<usize> {
        blocks.start * self.options.strong_len..blocks.end * self.options.strong_len
    }
}

fn weak_sum(magic: Magic, block: &[u8]) -> u32 {
    if magic.is_rabin_karp() { RabinKarp::of(block).value() } else { Rollsum::of(block).value() }
}

fn check(options: SignatureOptions) -> Result<SignatureOptions, SignatureError> {
    let SignatureOptions { magic, block_len, strong_len } = options;
    if !(1..=BLOCK_LEN_MAX).contains(&block_len) {
        return Err(SignatureError::BlockLen(block_len as u64));
    }
    let limit = magic.strong_len_max();
    if !(1..=limit).contains(&strong_len) {
        return Err(SignatureError::StrongLen { have: strong_len as u64, limit });
    }
    Ok(options)
}

/// Reads until `bytes` are full or the input ends; answers how many came.
fn fill(input: &mut dyn Read, bytes: &mut [u8]) -> Result<usize, SignatureError> {
    let mut have = 0;
    while have < bytes.len() {
        match input.read(&mut bytes[have..]) {
            Ok(0) => break,
            Ok(count) => have += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(SignatureError::Read(error)),
        }
    }
    Ok(have)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Signature, SignatureError> {
        Signature::read(&mut &bytes[..])
    }

    fn header(magic: u32, block_len: u32, strong_len: u32) -> Vec<u8> {
        [magic, block_len, strong_len].into_iter().flat_map(u32::to_be_bytes).collect()
    }

    struct Huge;

    impl ReadAt for Huge {
        fn len(&self) -> u64 {
            u64::MAX
        }

        fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
            unreachable!("it is refused by its length")
        }
    }

    #[test]
    fn damaged_signatures_are_refused_for_what_they_are() {
        let good = header(0x7273_0147, 512, 32);
        assert_eq!(read(&good).unwrap().blocks(), 0);
        assert!(matches!(read(&good[..11]), Err(SignatureError::Truncated)));
        assert!(matches!(read(&[]), Err(SignatureError::Truncated)));
        assert!(matches!(read(&[&good[..], &[0; 35]].concat()), Err(SignatureError::Truncated)));
        assert_eq!(read(&[&good[..], &[0; 72]].concat()).unwrap().blocks(), 2);
        assert!(matches!(read(&header(0x7273_0236, 512, 32)), Err(SignatureError::NotASignature)));
        assert!(matches!(read(&header(0x7273_0147, 0, 32)), Err(SignatureError::BlockLen(0))));
        assert!(matches!(read(&header(0x7273_0147, 1 << 20 | 1, 32)), Err(SignatureError::BlockLen(_))));
        assert!(matches!(read(&header(0x7273_0147, 512, 0)), Err(SignatureError::StrongLen { .. })));
        assert!(matches!(
            read(&header(0x7273_0146, 512, 17)),
            Err(SignatureError::StrongLen { have: 17, limit: 16 })
        ));
        assert!(matches!(
            read(&header(0x7273_0147, 512, u32::MAX)),
            Err(SignatureError::StrongLen { limit: 32, .. })
        ));
    }

    #[test]
    fn too_many_blocks_are_refused_before_memory_is_taken() {
        let mut endless = io::Cursor::new(header(0x7273_0147, 1, 1)).chain(io::repeat(7));
        assert!(matches!(Signature::read(&mut endless), Err(SignatureError::TooManyBlocks)));
        let made = Signature::make(&Huge, SignatureOptions::default(), &|_| true);
        assert!(matches!(made, Err(SignatureError::TooManyBlocks)));
    }

    #[test]
    fn the_caller_can_cancel() {
        let base = vec![1; 3 << 20];
        let made = Signature::make(&base, SignatureOptions::default(), &|_| false);
        assert!(matches!(made, Err(SignatureError::Cancelled)));
    }
}
