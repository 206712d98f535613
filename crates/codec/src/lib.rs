//! Unpacks compressed streams and packs them again, bit for bit.
//!
//! A delta between two compressed streams is as large as the streams. A delta between what they
//! hold is small. This crate opens a stream ([`Prover::unpack`]), proves on the spot that packing
//! the content again gives the very same bytes, and packs it on the device ([`Recipe::packer`],
//! [`Recipe::pack_block`]). What cannot be reproduced is reported as such and left alone.
//!
//! A compressor's output depends on its version. A [`Recipe`] therefore names the engine, its
//! version and its parameters, and a build that links another version refuses it.
//!
//! The crate does no I/O of its own, reads no clock and draws no randomness. It never panics on
//! input: packed bytes, recipes and corrections are all taken as hostile.

mod codec;
mod decode;
mod format;
mod input;
mod packer;
mod prefetch;
mod prover;
mod recipe;
#[doc(hidden)]
pub mod reparse;
mod splice;
mod varint;

pub use decode::{DECODE_HEAD_BYTES, DECODE_WINDOW_BYTES_MAX, DecodeError};
pub use format::Format;
pub use packer::{PackContext, PackError, Packer};
pub use prefetch::prefetch;
pub use prover::{Budget, Effort, Prover, UnpackError, Unpacked};
pub use recipe::{Recipe, RecipeError};
