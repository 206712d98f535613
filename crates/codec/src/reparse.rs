//! Reproduces zstd frames of any encoder, bit for bit.
//!
//! A zstd frame follows from its content by two steps: a parse into literals and matches, and an
//! entropy stage. The second is reproduced exactly from the decisions that were taken; the first is
//! predicted by a model of libzstd's parsers, and *corrections* tell where the real encoder went
//! another way. The model is told of every sequence that really was, so one surprise does not make
//! a second. What cannot be predicted costs corrections, never correctness.

mod analyze;
mod bits;
mod block;
mod choices;
mod coder;
mod codes;
mod emit;
mod error;
mod frame;
mod fse;
mod history;
mod huffman;
mod models;
mod normalize;
mod packer;
mod parse;
mod predict;
mod recipe;
mod session;
mod stream;
mod traits;
mod tree;

pub use analyze::{Analyzed, correct, parse_stream, prove};
pub use error::{AnalyzeError, PackError};
pub use packer::StreamPacker;
pub use predict::Search;
pub use recipe::Reparse;
pub use traits::Traits;
