//! The patch format, `diff` and `apply`.
pub mod structure;
