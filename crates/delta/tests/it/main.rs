//! Diff and apply, together.

mod round_trip;
