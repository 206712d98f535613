//! `fluvial-agent slots`: what is in the device's slots.

use fluvial_console::{Fault, Interrupt, Kind, Progress, open, say};
use fluvial_delta::apply::{ApplyError, check_target};
use fluvial_delta::structure::ReadAt as _;
use fluvial_device::system::Slot;
use indicatif::HumanBytes;

use crate::arguments::{PlaceArguments, SlotsArguments, SlotsCommand};
use crate::device::Device;

/// Carries out a command for slots.
///
/// # Errors
/// Every way that it fails.
pub fn run(arguments: &SlotsArguments, places: &PlaceArguments, interrupt: Interrupt) -> Result<(), Fault> {
    let device = Device::open(places)?;
    match &arguments.command {
        SlotsCommand::List => list(&device, places.json),
        SlotsCommand::Verify => {
            let progress = Progress::new(interrupt, places.json);
            let result = verify(&device, &progress);
            progress.finish();
            show(&result?, places.json)
        }
        SlotsCommand::CreateIndex(create) => {
            let progress = Progress::new(interrupt, places.json);
            let result = crate::slot_index::create(&device, create, &progress);
            progress.finish();
            crate::slot_index::show(create, &result?, places.json)
        }
    }
}

fn list(device: &Device, json: bool) -> Result<(), Fault> {
    let slots = device.system.slots();
    if json {
        let slot = |slot: &Slot| {
            serde_json::json!({
                "name": slot.name,
                "role": slot.role,
                "group": slot.group.as_ref().map(ToString::to_string),
                "path": device.path(slot),
                "size_bytes": open(device.path(slot)).ok().map(|medium| medium.len()),
                "content": device.state.slots.get(&slot.name),
            })
        };
        return say(serde_json::json!({ "slots": slots.iter().map(slot).collect::<Vec<_>>() }));
    }
    for slot in slots {
        let group = slot.group.as_ref().map_or("shared".into(), |group| format!("group {group}"));
        let size =
            open(device.path(slot)).map_or("not there".into(), |medium| HumanBytes(medium.len()).to_string());
        let content = device.state.slots.get(&slot.name).map_or("not known".into(), |content| {
            let (name, version) = (&content.release.name, &content.release.version);
            if content.is_whole {
                format!("{name} {version}")
            } else {
                format!("{name} {version}, not whole")
            }
        });
        say(format_args!("{}: {group}, {}, {size}, {content}", slot.name, device.path(slot).display()))?;
    }
    Ok(())
}

/// A slot whose content is known: whether it still is what was written.
struct Verified {
    slot: String,
    is_right: bool,
}

fn verify(device: &Device, progress: &Progress) -> Result<Vec<Verified>, Fault> {
    let mut verified = Vec::new();
    for slot in device.system.slots() {
        let Some(content) = device.state.whole(&slot.name) else { continue };
        let medium = open(device.path(slot))?.shortened(content.size_bytes);
        progress.phase("verifying", medium.len());
        let is_right = match content.info(&slot.name) {
            None => false,
            Some(info) => match check_target(&medium, &info, &mut |bytes| progress.advance(bytes)) {
                Err(ApplyError::WrongTarget { .. }) => false,
                checked => checked.map(|()| true)?,
            },
        };
        verified.push(Verified { slot: slot.name.clone(), is_right });
    }
    Ok(verified)
}

fn show(verified: &[Verified], json: bool) -> Result<(), Fault> {
    if json {
        let slot = |one: &Verified| serde_json::json!({ "name": one.slot, "is_right": one.is_right });
        say(serde_json::json!({ "slots": verified.iter().map(slot).collect::<Vec<_>>() }))?;
    } else if verified.is_empty() {
        say("nothing is known of any slot: install a release first")?;
    } else {
        for one in verified {
            let what = if one.is_right { "is what was installed" } else { "was changed since" };
            say(format_args!("{} {what}", one.slot))?;
        }
    }
    match verified.iter().find(|one| !one.is_right) {
        Some(one) => {
            let message = format!("{} is not what was installed", one.slot);
            Err(Fault::new(Kind::WrongTarget, message).hint("install a release: what differs is fetched"))
        }
        None => Ok(()),
    }
}
