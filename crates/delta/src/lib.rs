//! The patch format, `diff` and `apply`.
pub mod predict;
pub mod structure;
