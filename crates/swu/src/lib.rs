//! Packages for devices that run `SWUpdate`.
//!
//! [`rsync`] has the deltas in them, those of librsync and its program `rdiff`.
//!
//! The crate does no I/O, reads no clock and draws no random number: the caller hands in readers and writers.

#![forbid(unsafe_code)]

pub mod rsync;
