//! Packages that `SWUpdate` installs: a cpio archive of a description, its signature, scripts and images.
//!
//! The crate does no I/O and reads no clock: callers hand in what can be read and written, and the time. It
//! draws no randomness of its own; AWS-LC does, for the salts of PSS and for ECDSA. It writes to no device and
//! unpacks nothing.

pub mod cpio;
pub mod description;
pub mod limits;
pub mod package;
pub mod sign;
