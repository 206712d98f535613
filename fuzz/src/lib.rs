//! The bodies of the fuzz targets: one module for each, with a function `run` that takes any bytes.
//!
//! They stand in a library so that the fuzzer (`fuzz_targets/`) and the tests of this crate, which run
//! every committed input on a stable compiler, check the very same things. docs/fuzzing.md has the
//! commands, what each target covers, and what was found.

pub mod artifacts;
pub mod bundle;
pub mod decode;
pub mod diff_apply;
pub mod dissect;
pub mod medium;
pub mod patch;
pub mod predict;
pub mod prove;
pub mod rdiff_delta;
pub mod rdiff_pair;
pub mod rdiff_signature;
pub mod recipe;
pub mod sw_description;
pub mod swu;

#[cfg(test)]
mod corpus;
