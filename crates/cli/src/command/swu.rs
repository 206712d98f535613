//! `fluvial swu`: packages for devices that run `SWUpdate`.

mod apply;
mod delta;
mod fault;
mod full;
mod input;
mod inspect;
mod make;
mod packing;
mod trust;
mod unpack;
mod verify;

use fluvial_console::{Fault, Interrupt};
use fluvial_swu::description::{Description, DeviceChoice};

use crate::arguments::{SwuArguments, SwuCommand};

/// Carries out a command for packages.
///
/// # Errors
/// Every way that it fails.
pub fn run(arguments: &SwuArguments, interrupt: Interrupt) -> Result<(), Fault> {
    match &arguments.command {
        SwuCommand::Delta(delta) => delta::run(delta, interrupt),
        SwuCommand::Full(full) => full::run(full, interrupt),
        SwuCommand::Inspect(inspect) => inspect::run(inspect, interrupt),
        SwuCommand::Verify(verify) => verify::run(verify, interrupt),
        SwuCommand::Apply(apply) => apply::run(apply, interrupt),
    }
}

/// The devices that a package has something for: each place in it where images are named.
fn choices(description: &Description) -> Vec<DeviceChoice> {
    let sections = description.sections.iter().filter(|section| !section.images.is_empty());
    let choice = |path: &[String]| match path {
        [board] => DeviceChoice { board: Some(board.clone()), set_and_mode: None },
        [set, mode] => DeviceChoice { board: None, set_and_mode: Some((set.clone(), mode.clone())) },
        [board, set, mode] => {
            DeviceChoice { board: Some(board.clone()), set_and_mode: Some((set.clone(), mode.clone())) }
        }
        _ => DeviceChoice::default(),
    };
    sections.map(|section| choice(&section.path)).collect()
}

/// How people name a choice.
fn choice_name(choice: &DeviceChoice) -> String {
    let slots = choice.set_and_mode.as_ref().map(|(set, mode)| format!("{set},{mode}"));
    let names: Vec<String> = choice.board.clone().into_iter().chain(slots).collect();
    if names.is_empty() { "every device".into() } else { names.join(" ") }
}
