//! `fluvial-agent`: the device's command. It installs releases into A/B slots, and confirms them.
//!
//! The work is done by libraries: `fluvial-bundle` says what is missing, `fluvial-fetch` fetches it,
//! `fluvial-device` writes it and speaks to the boot loader, `fluvial-trust` says who vouches for it. Here stands
//! in which order, and what may never happen: docs/agent.md.

#![forbid(unsafe_code)]

mod admission;
mod arguments;
mod bundle;
mod command;
mod device;
mod install;
mod slot_index;
mod state;
mod vouch;

use std::process::ExitCode;

use fluvial_console::{finish, give_back_early, parse, with_signals};

use crate::arguments::{Arguments, Command};

fn main() -> ExitCode {
    let arguments: Arguments = match parse() {
        Ok(arguments) => arguments,
        Err(exit_code) => return exit_code,
    };
    give_back_early();
    let places = &arguments.places;
    let result = match &arguments.command {
        Command::Install(install) => with_signals(|signals| install::run(install, places, signals)),
        Command::System(system) => command::system::run(system, places),
        Command::Slots(slots) => with_signals(|signals| command::slots::run(slots, places, signals)),
    };
    finish(result, places.json)
}
