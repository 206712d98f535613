//! What the commands of Fluvial share on a terminal: faults with their exit codes and hints, signals, progress,
//! and what is printed.
//!
//! The crate folds the errors of all libraries to one [`Fault`], which is the interface to scripts (docs/cli.md).
//! It does no work of its own: it never reads or writes a device, and never decides what happens after a fault.

#![deny(unsafe_code)]

mod allocator;
mod arguments;
mod fault;
mod interrupt;
mod output;
mod progress;

use std::path::Path;

use fluvial_device::disk::Medium;

pub use allocator::give_back_early;
pub use arguments::{finish, parse};
pub use fault::{Fault, Kind};
pub use interrupt::{Interrupt, with_signals};
pub use output::{percent, say};
pub use progress::Progress;

/// Opens a file or a block device to read.
///
/// # Errors
/// [`Kind::Io`].
pub fn open(path: &Path) -> Result<Medium, Fault> {
    Medium::open(path).map_err(|source| Fault::reading(path, source))
}
