//! `fluvial swu apply`: what a device does with a package, on any machine.
//!
//! Everything that can be refused is refused before a byte is written: the signature, the hardware, the version,
//! the base's length and SHA-256, a target that is a base or in use. Then the package is read once, in its order,
//! and each target is made of it as it arrives. Nothing gets its name, and nothing is said to be whole, before all
//! of the package was read and every target has the right SHA-256, read back from the disk.
//!
//! Memory: 32 MiB at most with the program (29 were measured), 16 of them for windows of Zstandard, and one bit for
//! each 4 KiB of the targets.

mod device;
mod slot;

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fluvial_console::{Fault, Interrupt, Kind, Progress, say};
use fluvial_swu::description::{Description, ScriptKind};
use fluvial_swu::package::PartitionInfo;
use indicatif::HumanBytes;

use self::device::Places;
use self::slot::{Slot, Target};
use super::input::{Package, Source, because, now, watched};
use super::{fault, trust};
use crate::arguments::SwuApplyArguments;

/// Where it is noted how far a device is, if the package has no folder.
const STATE_FOLDER: &str = "/var/tmp";

/// What an apply came to.
struct Outcome {
    description: Description,
    targets: Vec<Target>,
    bootenv: Vec<serde_json::Value>,
}

/// Installs a package.
///
/// # Errors
/// Every way that it fails. Targets that are files are then what they were before.
pub fn run(arguments: &SwuApplyArguments, interrupt: Interrupt) -> Result<(), Fault> {
    let started = Instant::now();
    let outcome = watched(interrupt, arguments.json, |progress| apply(arguments, progress))?;
    show(arguments, &outcome, started.elapsed().as_secs_f64())
}

fn apply(arguments: &SwuApplyArguments, progress: &Progress) -> Result<Outcome, Fault> {
    let verifier = trust::verifier(&arguments.trust)?;
    if verifier.is_none() && !arguments.allow_unsigned {
        return Err(trust::nobody("give --cert or --public-key, or say --allow-unsigned"));
    }
    let (device, revision) = device::choice(arguments)?;
    let source = Source::open(&arguments.package)?;
    let (path, identity) = (source.path(), source.identity);
    // Nobody reads on behind the last byte but where the package is cut.
    let is_cut = Cell::new(false);
    let advance = |bytes| {
        is_cut.set(is_cut.get() || bytes == 0);
        progress.advance(0)
    };
    let mut package = source.package(verifier.as_ref(), now(), &advance)?;
    let description = package.description().clone();
    let refused = |error| fault::of_refusal(&path, error);
    description.check_hardware(&device, &revision).map_err(refused)?;
    if !arguments.allow_downgrade {
        let installed = device::installed_versions(arguments, &description.name)?;
        installed.iter().try_for_each(|installed| description.check_version(installed)).map_err(refused)?;
    }
    let partitions = description.partitions_for(&device).map_err(refused)?;
    let lists = description.lists_for(&device);
    let has_more = !lists.files.is_empty()
        || lists
            .scripts
            .iter()
            .any(|script| !matches!(script.kind, ScriptKind::Shell | ScriptKind::Readback));
    if has_more {
        let message = format!("{} installs what only SWUpdate can", path.display());
        return Err(Fault::new(Kind::Refused, message).hint("install it with SWUpdate"));
    }
    let places = Places::of(arguments, &partitions)?;
    let bases = places.check_bases(&partitions, progress)?;
    places.check_targets(&bases, identity)?;
    let state = state_folder(arguments)?;
    let mut slots = Vec::new();
    let make = || {
        for ((partition, base), target) in partitions.iter().zip(bases).zip(&places.targets) {
            slots.push(Slot::begin(partition, base, target, package.text(), &state)?);
        }
        slots.iter().try_for_each(|slot| slot.check_distinct(&slots, identity))?;
        fill(&path, &mut package, &partitions, &mut slots, progress)
    };
    if let Err(fault) = make() {
        return Err(keep(&slots, because(fault, progress), is_cut.get()));
    }
    let targets = slots.into_iter().map(Slot::publish).collect::<Result<_, _>>()?;
    let bootenv = lists.bootenv.iter().map(|one| serde_json::json!({ "name": one.name, "value": one.value }));
    let bootenv = bootenv.collect();
    Ok(Outcome { description, targets, bootenv })
}

/// Reads the package to its end, and makes the targets of it.
fn fill(
    path: &Path,
    package: &mut Package<'_>,
    partitions: &[PartitionInfo<'_>],
    slots: &mut [Slot],
    progress: &Progress,
) -> Result<(), Fault> {
    for slot in slots.iter_mut() {
        slot.reserve()?;
    }
    progress.phase("writing", partitions.iter().map(|partition| partition.target.size_bytes).sum());
    while let Some(mut file) = package.next_file().map_err(|error| fault::of_open(path, error))? {
        let of_file = |(partition, _): &(&PartitionInfo<'_>, _)| partition.filename == file.name();
        if let Some((partition, slot)) = partitions.iter().zip(slots.iter_mut()).find(of_file) {
            slot.write(path, &mut file, partition.compression, progress)?;
        }
    }
    Ok(())
}

/// After a fault: keeps what the next run goes on from, and removes everything else. What came of a package that
/// is cut may be right; what came of one that is damaged otherwise is not worth a try.
fn keep(slots: &[Slot], fault: Fault, is_cut: bool) -> Fault {
    let is_worth_it = is_cut || fault.kind != Kind::DamagedPackage;
    let kept: u64 = slots.iter().map(|slot| slot.keep_or_discard(is_worth_it)).sum();
    match fault.kind {
        Kind::Cancelled | Kind::Io | Kind::DamagedPackage | Kind::NoSpace if kept > 0 => {
            let kept = HumanBytes(kept);
            fault.hint(format!("{kept} are kept: the same command goes on from there with the whole package"))
        }
        Kind::Cancelled => fault.hint("nothing was worth keeping; run the same command to begin again"),
        _ => fault,
    }
}

/// Where it is noted how far devices are.
fn state_folder(arguments: &SwuApplyArguments) -> Result<PathBuf, Fault> {
    if let Some(folder) = &arguments.state {
        fs::create_dir_all(folder).map_err(|error| Fault::writing(folder, error))?;
        return Ok(folder.clone());
    }
    let folder = arguments.package.parent().filter(|folder| !folder.as_os_str().is_empty());
    Ok(match folder {
        _ if arguments.package.as_os_str() == "-" => STATE_FOLDER.into(),
        Some(folder) => folder.into(),
        None => ".".into(),
    })
}

fn show(arguments: &SwuApplyArguments, outcome: &Outcome, duration_s: f64) -> Result<(), Fault> {
    let Outcome { description, targets, bootenv } = outcome;
    if arguments.json {
        return say(serde_json::json!({
            "package": arguments.package,
            "version": description.version,
            "partitions": targets.iter().map(Target::json).collect::<Vec<_>>(),
            "bootenv": bootenv,
            "is_whole": true,
            "duration_s": duration_s,
        }));
    }
    for target in targets {
        if let Some(restart) = &target.restart {
            eprintln!("note: {restart}");
        }
        say(target.text())?;
    }
    say(format_args!(
        "version {} is whole, in {duration_s:.1} s; the boot loader is as it was",
        description.version
    ))
}
