//! Unpacks compressed streams and packs them again, bit for bit.
//!
//! A delta between two compressed streams is as large as the streams. A delta between what they
//! hold is small. This crate opens a stream, proves on the spot that packing the content again
//! gives the very same bytes, and packs it on the device. What cannot be reproduced is reported
//! as such and left alone.
//!
//! The crate does no I/O of its own, reads no clock and draws no randomness.

mod format;

pub use format::Format;
