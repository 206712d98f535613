//! `fluvial`: the operator's command. It makes patches, applies them, and shows what is in them.
//!
//! The engine (`fluvial-delta`) is pure; files and devices are `fluvial-device`'s, signals and the terminal
//! `fluvial-console`'s.
//! docs/cli.md is the manual.

#![forbid(unsafe_code)]

mod arguments;
mod chart;
mod command;
mod source;

use std::process::ExitCode;

use fluvial_console::{finish, give_back_early, parse, with_signals};

use crate::arguments::{Arguments, Command};

fn main() -> ExitCode {
    let arguments: Arguments = match parse() {
        Ok(arguments) => arguments,
        Err(exit_code) => return exit_code,
    };
    // Diffs have no declared memory to keep to, and take blocks by the million.
    if arguments.command.is_apply() {
        give_back_early();
    }
    let (json, result) = match &arguments.command {
        Command::Diff(diff) => (diff.json, with_signals(|signals| command::diff::run(diff, signals))),
        Command::Apply(apply) => (apply.json, with_signals(|signals| command::apply::run(apply, signals))),
        Command::Image(image) => (image.json(), with_signals(|signals| command::image::run(image, signals))),
        Command::Bundle(bundle) => {
            (bundle.json(), with_signals(|signals| command::bundle::run(bundle, signals)))
        }
        Command::Artifacts(artifacts) => {
            (artifacts.json(), with_signals(|signals| command::artifacts::run(artifacts, signals)))
        }
        Command::Inspect(inspect) => (inspect.json, command::inspect::run(inspect)),
        Command::Release(release) => (release.json(), command::release::run(release)),
        Command::Key(key) => (key.json(), command::key::run(key)),
        Command::Simulate(simulate) => {
            (simulate.json, with_signals(|signals| command::simulate::run(simulate, signals)))
        }
        Command::Swu(swu) => (swu.json(), with_signals(|signals| command::swu::run(swu, signals))),
        Command::Savings(savings) => (savings.json, command::savings::run(savings)),
    };
    finish(result, json)
}
