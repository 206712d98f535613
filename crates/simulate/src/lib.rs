//! What an update would transfer by the ways that other systems go, counted on the images themselves: whole,
//! by blocks of one length in groups, by casync's chunks, by files.
//!
//! Everything that would be sent is really made, so the figures are those that come out in the field; requests
//! are counted as the other system makes them. [`Fleet`] turns what was counted into money.
//!
//! The crate does no I/O, reads no clock and draws no randomness: the caller hands in what can be read, and
//! hears of progress. Programs of other makers are run by the command.

#![forbid(unsafe_code)]

mod blocks;
mod chunks;
mod cost;
mod error;
mod files;
mod pack;
mod savings;
mod stream;
#[cfg(test)]
mod testing;
mod whole;

pub use blocks::by_groups;
pub use chunks::by_ranges;
pub use cost::{Cost, RANGE_BYTES_MIN, REQUEST_OVERHEAD_BYTES};
pub use error::{Side, SimulateError};
pub use files::by_files;
pub use savings::{Cadence, Fleet, PUBLISHED, Published, XZ_OF_RAW};
pub use stream::{Pair, Watch};
pub use whole::{whole_xz, whole_zstd};
