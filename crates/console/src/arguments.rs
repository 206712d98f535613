//! How a command begins and ends.

use std::process::ExitCode;

use clap::Parser;

use crate::fault::{Fault, Kind};

/// Takes the command line apart, and lists the exit codes below its help. What is wrong with it is shown: as JSON
/// where that was asked for.
///
/// # Errors
/// The exit code to end with. Help, version and text for people end the process here.
pub fn parse<A: Parser>() -> Result<A, ExitCode> {
    let command = A::command().after_help(Kind::table());
    command
        .try_get_matches()
        .and_then(|matches| A::from_arg_matches(&matches))
        .map_err(|error| refuse(&error))
}

fn refuse(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|argument| argument == "--json");
    if json && error.use_stderr() {
        return Fault::new(Kind::Usage, error.to_string().trim_end().to_owned()).show(true);
    }
    error.exit()
}

/// What a command came to: shows the fault, if there is one, and answers the exit code.
pub fn finish(result: Result<(), Fault>, json: bool) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => fault.show(json),
    }
}
