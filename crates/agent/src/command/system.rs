//! `fluvial-agent system`: what runs, and what shall run.

use fluvial_console::{Fault, Kind, say};

use crate::arguments::{PlaceArguments, Reboot, RollbackArguments, SystemArguments, SystemCommand};
use crate::device::Device;
use crate::state::ReleaseName;

/// Carries out a command for the system.
///
/// # Errors
/// Every way that it fails.
pub fn run(arguments: &SystemArguments, places: &PlaceArguments) -> Result<(), Fault> {
    let device = Device::open(places)?;
    match &arguments.command {
        SystemCommand::Info => info(&device, places.json),
        SystemCommand::Commit => commit(device, places.json),
        SystemCommand::Rollback(rollback) => roll_back(device, rollback, places.json),
    }
}

/// The release of a group, as far as all of its slots are known to hold it.
fn release_of<'a>(device: &'a Device, group: &str) -> Option<&'a ReleaseName> {
    let slots = device.system.slots().iter();
    let of_group = slots.filter(|slot| slot.group.as_ref().is_some_and(|own| own.as_str() == group));
    let mut releases =
        of_group.filter_map(|slot| device.state.whole(&slot.name)).map(|content| &content.release);
    let first = releases.next()?;
    releases.all(|release| release == first).then_some(first)
}

/// Whether every slot of a group may be booted: none of them was written and not finished.
fn is_bootable(device: &Device, group: &str) -> bool {
    let mut slots = device.system.slots().iter();
    slots.all(|slot| {
        slot.group.as_ref().is_none_or(|own| own.as_str() != group)
            || device.state.slots.get(&slot.name).is_none_or(|content| content.is_whole)
    })
}

fn info(device: &Device, json: bool) -> Result<(), Fault> {
    let boot = &device.boot;
    let is_confirmed = boot.active == boot.default;
    let release = release_of(device, boot.active.as_str());
    let slot = |slot: &fluvial_device::system::Slot| {
        let content = device.state.slots.get(&slot.name);
        serde_json::json!({
            "name": slot.name,
            "role": slot.role,
            "group": slot.group.as_ref().map(ToString::to_string),
            "path": device.path(slot),
            "immutable": slot.is_immutable,
            "is_active": slot.group.as_ref().is_none_or(|group| *group == boot.active),
            "content": content,
        })
    };
    if json {
        return say(serde_json::json!({
            "hardware": device.system.hardware(),
            "release": release,
            "confirmed_sequence": device.state.confirmed_sequence,
            "pending": device.state.pending,
            "boot": {
                "active_group": boot.active.to_string(),
                "default_group": boot.default.to_string(),
                "pending_group": boot.pending.as_ref().map(ToString::to_string),
                "is_confirmed": is_confirmed,
            },
            "slots": device.system.slots().iter().map(slot).collect::<Vec<_>>(),
        }));
    }
    let name = release
        .map_or_else(|| "a release that is not known".into(), |one| format!("{} {}", one.name, one.version));
    let confirmed = if is_confirmed { "confirmed" } else { "not confirmed: `fluvial-agent system commit`" };
    say(format_args!("group {} runs {name}, {confirmed}", boot.active))?;
    let next = boot.pending.as_ref().unwrap_or(&boot.default);
    let once = if boot.pending.is_some() { ", once" } else { "" };
    say(format_args!("group {next} boots next{once}"))?;
    if let Some(pending) = &device.state.pending {
        let ReleaseName { name, version, .. } = &pending.release;
        say(format_args!("{name} {version} waits in group {} to be tried or confirmed", pending.group))?;
    }
    Ok(())
}

fn commit(mut device: Device, json: bool) -> Result<(), Fault> {
    let active = device.boot.active.clone();
    if !is_bootable(&device, active.as_str()) {
        let message = format!("group {active} holds a release that was not installed to its end");
        return Err(Fault::new(Kind::Refused, message).hint("install it again"));
    }
    device.flow.commit(&active)?;
    let sequence = release_of(&device, active.as_str()).map_or(0, |release| release.sequence);
    device.state.confirmed_sequence = device.state.confirmed_sequence.max(sequence);
    if device.state.pending.as_ref().is_some_and(|pending| pending.group == active.as_str()) {
        device.state.pending = None;
    }
    device.store()?;
    if json {
        return say(serde_json::json!({
            "committed_group": active.to_string(),
            "confirmed_sequence": device.state.confirmed_sequence,
        }));
    }
    say(format_args!("group {active} is confirmed, and boots from now on"))
}

fn roll_back(mut device: Device, arguments: &RollbackArguments, json: bool) -> Result<(), Fault> {
    let other = device.other_group();
    if !is_bootable(&device, other.as_str()) {
        let message = format!("group {other} holds a release that was not installed to its end");
        return Err(Fault::new(Kind::Refused, message).hint("install the release that is wanted instead"));
    }
    // Going back is no try: what was never confirmed may never have started, or have failed.
    let is_untried = device.state.pending.as_ref().is_some_and(|pending| pending.group == other.as_str());
    if is_untried && device.boot.default != other {
        let message = format!("group {other} holds a release that was installed and never confirmed");
        return Err(Fault::new(Kind::Refused, message)
            .hint("`fluvial-agent system commit` keeps what runs; install the release again to try it"));
    }
    device.state.pending = None;
    device.store()?;
    // What runs and was not confirmed is left by the next restart anyway.
    if device.boot.default == other {
        device.flow.cancel_try()?;
    } else {
        device.flow.commit(&other)?;
    }
    if json {
        say(serde_json::json!({ "next_group": other.to_string() }))?;
    } else {
        say(format_args!("group {other} boots next"))?;
    }
    if arguments.reboot == Reboot::Yes { Ok(device.flow.reboot()?) } else { Ok(()) }
}
