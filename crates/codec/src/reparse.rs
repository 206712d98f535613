//! Reproduces zstd frames of any encoder, bit for bit.
//!
//! A zstd frame follows from its content by two steps: a parse into literals and matches, and an
//! entropy stage. The second is reproduced exactly from the decisions that were taken; the first is
//! predicted by a model of libzstd's parsers, and *corrections* tell where the real encoder went
//! another way. The model is told of every sequence that really was, so one surprise does not make
//! a second. What cannot be predicted costs corrections, never correctness.

mod bits;
mod block;
mod choices;
mod coder;
mod codes;
mod correct;
mod emit;
mod error;
mod events;
pub(crate) mod frame;
mod fse;
mod history;
mod huffman;
mod jobs;
mod levels;
mod models;
mod normalize;
mod packer;
mod parse;
mod predict;
mod recipe;
mod search;
mod session;
mod traits;
mod tree;

pub use correct::correct;
pub use error::{AnalyzeError, PackError};
pub use packer::StreamPacker;
pub use predict::Search;
pub use recipe::Reparse;
pub use search::{Fit, NoFit, fit};
pub use traits::Traits;

#[cfg(test)]
mod tests;
