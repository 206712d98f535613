//! Packages that `SWUpdate` installs: a cpio archive of a description, its signature, scripts and images; and the
//! deltas of librsync and its program `rdiff` that may be among them ([`rsync`]).
//!
//! The crate does no I/O and reads no clock: callers hand in what can be read and written, and the time. It
//! draws no randomness of its own; AWS-LC does, for the salts of PSS and for ECDSA. It writes to no device and
//! unpacks nothing.

#![forbid(unsafe_code)]

pub mod cpio;
pub mod description;
pub mod limits;
pub mod package;
pub mod rsync;
pub mod sign;
