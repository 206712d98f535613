//! The patch format of Fluvial, how patches are made, and how they are applied.
//!
//! A patch turns **sources** (byte streams that a device has) into **targets** (byte streams that it
//! needs). The crate does no I/O of its own: the caller hands in what can be read and written. It
//! reads no clock and draws no randomness.
//!
//! docs/format.md has the byte layout.

pub mod apply;
pub mod diff;
pub mod frame;
pub mod gear;
pub mod hash;
pub mod header;
pub mod layout;
pub mod limits;
pub mod map;
pub mod memory;
pub mod predict;
pub mod scratch;
pub mod space;
pub mod stream;
pub mod structure;
pub mod wire;
