//! Strong sums: hashes of blocks, of which a signature keeps the first bytes.

use blake2b_simd::many::{HashManyJob, hash_many};
use blake2b_simd::{Params, many::MAX_DEGREE};
use md4::{Digest as _, Md4};

/// The hash that strong sums are made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strong {
    Md4,
    /// BLAKE2b with 32 bytes.
    Blake2,
}

impl Strong {
    /// The longest hash of all, in bytes.
    pub(super) const BYTES_MAX: usize = 32;
    /// So many blocks are best hashed together.
    pub(super) const BLOCKS: usize = 2 * MAX_DEGREE;

    /// The length of the hash, in bytes.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Md4 => 16,
            Self::Blake2 => 32,
        }
    }

    /// Hashes blocks; of each hash as many bytes as `len` says are put one behind another.
    pub(super) fn put<'a>(self, blocks: impl Iterator<Item = &'a [u8]>, len: usize, out: &mut [u8]) {
        let mut out = out.chunks_exact_mut(len);
        match self {
            Self::Md4 => {
                for (block, out) in blocks.zip(&mut out) {
                    out.copy_from_slice(&Md4::digest(block)[..len]);
                }
            }
            Self::Blake2 => {
                let mut params = Params::new();
                params.hash_length(Self::Blake2.bytes());
                let mut jobs: Vec<HashManyJob<'_>> =
                    blocks.map(|block| HashManyJob::new(&params, block)).collect();
                hash_many(jobs.iter_mut());
                for (job, out) in jobs.iter().zip(&mut out) {
                    out.copy_from_slice(&job.to_hash().as_bytes()[..len]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_specifications() {
        // RFC 1320, A.5.
        let mut out = [0; 32];
        Strong::Md4.put([&b"abc"[..], b""].into_iter(), 16, &mut out);
        let abc = 0xa448_017a_af21_d852_5fc1_0ae8_7aa6_729d_u128;
        let nothing = 0x31d6_cfe0_d16a_e931_b73c_59d7_e0c0_89c0_u128;
        assert_eq!(out[..16], abc.to_be_bytes());
        assert_eq!(out[16..], nothing.to_be_bytes());
        // `printf abc | b2sum -l 256`, the first 8 bytes.
        let mut out = [0; 8];
        Strong::Blake2.put([&b"abc"[..]].into_iter(), 8, &mut out);
        assert_eq!(out, 0xbddd_813c_6342_3972_u64.to_be_bytes());
    }
}
