//! `fluvial swu`: packages for devices that run `SWUpdate`.

mod delta;
mod full;
mod make;
mod packing;

use fluvial_console::{Fault, Interrupt};

use crate::arguments::{SwuArguments, SwuCommand};

/// Carries out a command for packages.
///
/// # Errors
/// Every way that it fails.
pub fn run(arguments: &SwuArguments, interrupt: Interrupt) -> Result<(), Fault> {
    match &arguments.command {
        SwuCommand::Delta(delta) => delta::run(delta, interrupt),
        SwuCommand::Full(full) => full::run(full, interrupt),
    }
}
