//! Shows and changes what a device boots: `boot CONFIG state|try GROUP|commit GROUP|cancel`.
//!
//! The tests kill it at every system call that writes.

use std::error::Error;
use std::path::Path;

use fluvial_device::boot::{self, BootError};
use fluvial_device::system::{Group, System};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let usage = "usage: boot CONFIG state|try GROUP|commit GROUP|cancel";
    let [config, words @ ..] = &words[..] else { return Err(usage.into()) };
    let system = System::load(Path::new(config))?;
    let flow = boot::open(&system);
    let group = |name: &str| -> Result<Group, BootError> {
        let unknown = || BootError::UnknownGroup { place: "the command line".into(), group: name.into() };
        system.groups().find(name).cloned().ok_or_else(unknown)
    };
    match words {
        ["state"] => {
            let state = flow.state()?;
            let pending = state.pending.map_or_else(|| "none".into(), |group| group.to_string());
            println!("active {}, default {}, pending {pending}", state.active, state.default);
        }
        ["try", name] => flow.try_next(&group(name)?)?,
        ["commit", name] => flow.commit(&group(name)?)?,
        ["cancel"] => flow.cancel_try()?,
        _ => return Err(usage.into()),
    }
    Ok(())
}
