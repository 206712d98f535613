//! `fluvial`: the operator's command. It makes patches, applies them, and shows what is in them.
//!
//! The engine (`fluvial-delta`) is pure; files, devices, signals and the terminal are handled here.
//! docs/cli.md is the manual.

#![forbid(unsafe_code)]

mod arguments;
mod command;
mod fault;
mod medium;
mod scratch;

use std::process::ExitCode;

use clap::Parser as _;

use crate::arguments::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (json, result) = match &arguments.command {
        Command::Diff(diff) => (diff.json, command::diff::run(diff)),
        Command::Apply(apply) => (apply.json, command::apply::run(apply)),
        Command::Inspect(inspect) => (inspect.json, command::inspect::run(inspect)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            fault.show(json);
            fault.kind.exit_code()
        }
    }
}
