//! Tests of the whole crate: streams made by the engines and by real tools, and hostile ones.
#![expect(clippy::unwrap_used, reason = "a test fails where it unwraps nothing")]
#![expect(clippy::similar_names, reason = "what is packed and the packer are both at hand")]

mod blocks;
mod deflate;
mod hostile;
mod support;
mod tools;
mod xz;
