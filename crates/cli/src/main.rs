//! `fluvial`: the operator's command. It makes patches, applies them, and shows what is in them.
//!
//! The engine (`fluvial-delta`) is pure; files, devices, signals and the terminal are handled here.
//! docs/cli.md is the manual.

#![deny(unsafe_code)]

mod allocator;
mod arguments;
mod chart;
mod command;
mod destination;
mod durable;
mod fault;
mod interrupt;
mod journal;
mod medium;
mod notary;
mod progress;
mod scratch;
mod source;
mod verifier;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

use crate::arguments::{Arguments, Command};
use crate::fault::{Fault, Kind};
use crate::interrupt::Interrupt;

fn main() -> ExitCode {
    let command = Arguments::command().after_help(Kind::table());
    let parsed = command.try_get_matches().and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    // Diffs have no declared memory to keep to, and take blocks by the million.
    if arguments.command.is_apply() {
        allocator::give_back_early();
    }
    let (json, result) = match &arguments.command {
        Command::Diff(diff) => (diff.json, with_signals(|signals| command::diff::run(diff, signals))),
        Command::Apply(apply) => (apply.json, with_signals(|signals| command::apply::run(apply, signals))),
        Command::Image(image) => (image.json(), with_signals(|signals| command::image::run(image, signals))),
        Command::Inspect(inspect) => (inspect.json, command::inspect::run(inspect)),
        Command::Simulate(simulate) => {
            (simulate.json, with_signals(|signals| command::simulate::run(simulate, signals)))
        }
        Command::Savings(savings) => (savings.json, command::savings::run(savings)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => fault.show(json),
    }
}

fn with_signals(run: impl FnOnce(Interrupt) -> Result<(), Fault>) -> Result<(), Fault> {
    run(Interrupt::listen().map_err(|error| Fault::new(Kind::Internal, error))?)
}

/// Shows help and version, or what is wrong with the command line: as JSON where that was asked for.
fn refuse(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|argument| argument == "--json");
    if json && error.use_stderr() {
        return Fault::new(Kind::Usage, error.to_string().trim_end().to_owned()).show(true);
    }
    error.exit()
}
