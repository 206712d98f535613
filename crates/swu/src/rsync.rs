//! Signatures and deltas as librsync and its program `rdiff` write and read them.
//!
//! A [`Signature`] has two sums of each block of a base: a weak one, which rolls over a target byte by byte,
//! and a strong one, which proves what the weak one found. [`write_delta`] finds a target's bytes in the base
//! and writes commands that copy them, with literals in between. [`Applier`] carries the commands out.
//!
//! A signature stands for the base: `rdiff delta` never sees the base itself. We publish with the base at
//! hand, so [`write_delta`] takes it too. Then copies go on beyond blocks, as far as bytes are equal, and each
//! byte that is copied has been compared, so that equal sums of different blocks cannot make a wrong delta.
//!
//! The formats stand in librsync's `doc/format.md` and `prototab.c`, the sums in `rollsum.h`, `rabinkarp.h` and
//! `mdfour.c`. Integers are big-endian.
//! ```text
//! signature  magic u32, block length u32, length of strong sums u32, then for each block: weak u32, strong
//! delta      magic 72730236, commands, END
//!   00        END
//!   01..40    literal of so many bytes
//!   41..44    literal, its length in 1, 2, 4 or 8 bytes
//!   45..54    copy, its start in 1, 2, 4 or 8 bytes (four commands each), its length in 1, 2, 4 or 8 bytes
//! ```
//!
//! Of crates, `fast_rsync` is alive. It has one magic of four (MD4 and the old rolling sum, where `rdiff` has
//! used BLAKE2b and Rabin-Karp since 2.2), and holds base, delta and target in memory as a whole. So only the
//! hashes come from crates.

mod apply;
mod command;
mod delta;
mod find;
mod index;
mod original;
mod scan;
mod signature;
mod strong;
mod weak;

pub use apply::{Applier, ApplyError};
pub use delta::{DeltaError, DeltaReport, write_delta};
pub use signature::{
    BLOCK_LEN_DEFAULT, BLOCK_LEN_MAX, BLOCKS_MAX, Magic, Signature, SignatureError, SignatureOptions,
};
