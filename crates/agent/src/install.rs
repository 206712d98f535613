//! `fluvial-agent install`: a release comes into the slots of the boot group that does not run.
//!
//! What is written when, so that a cut at any time leaves a good group to boot: the target's slots are marked as
//! being written before their first byte is; only when all of them were read back and compared are they marked
//! as whole, and only then is the boot loader told to try them, once.

mod by_patch;
mod by_ranges;
mod outcome;
mod present;
mod staged;
mod whole;

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fluvial_bundle::{Component, PartKind, PayloadInfo};
use fluvial_console::{Fault, Interrupt, Kind, Progress};
use fluvial_delta::apply::check_target;
use fluvial_delta::header::StreamInfo;
use fluvial_device::disk::Medium;
use fluvial_device::system::{Group, Slot};
use fluvial_fetch::Counters;

use crate::admission::{Terms, admit};
use crate::arguments::{InstallArguments, PlaceArguments, Reboot, RouteChoice};
use crate::bundle::Bundle;
use crate::device::Device;
use crate::state::{Pending, ReleaseName, SlotContent};
use crate::vouch::vouch;
pub use outcome::{Made, Outcome, Route};

/// A component and the slots that it concerns.
pub struct Job<'a> {
    /// Its number in the manifest.
    pub component: usize,
    /// The slots' role.
    pub role: &'a str,
    pub payload: &'a PayloadInfo,
    /// The slot that is written.
    pub target: &'a Slot,
    /// Its counterpart in the group that runs.
    pub active: &'a Slot,
    /// What was known of the target before.
    pub before: Option<SlotContent>,
}

/// What every route needs.
pub struct Work<'a> {
    pub device: &'a Device,
    pub bundle: &'a Bundle,
    pub arguments: &'a InstallArguments,
    pub progress: &'a Progress,
    /// What was fetched of other bundles than this one.
    pub beside: &'a Cell<Counters>,
}

impl Work<'_> {
    /// Where is kept what has come, until it is used.
    pub fn staging(&self) -> PathBuf {
        staging(self.device)
    }
}

fn staging(device: &Device) -> PathBuf {
    device.folder.path().join("staging")
}

/// Installs a release.
///
/// # Errors
/// Every way that it fails; what runs, and what boots next, is then as it was.
pub fn run(arguments: &InstallArguments, places: &PlaceArguments, interrupt: Interrupt) -> Result<(), Fault> {
    let started = Instant::now();
    let progress = Progress::new(interrupt, places.json);
    let result = install(arguments, places, &progress);
    progress.finish();
    let (outcome, device) = result?;
    outcome.show(places.json, started.elapsed().as_secs_f64())?;
    if outcome.restarts {
        device.flow.reboot()?;
    }
    Ok(())
}

fn install(
    arguments: &InstallArguments,
    places: &PlaceArguments,
    progress: &Progress,
) -> Result<(Outcome, Device), Fault> {
    let bundle = Bundle::open(&arguments.bundle, arguments.connections)?;
    let mut device = Device::open(places)?;
    let vouched = vouch(&bundle, places, device.folder.path(), arguments)?;
    let terms = Terms { hardware: device.system.hardware(), allow_downgrade: arguments.allow_downgrade };
    admit(&bundle.manifest, &device.state, terms)?;
    device.check_confirmed()?;
    let group = device.other_group();
    let release = ReleaseName::of(&bundle.manifest);
    let beside = Cell::default();
    let jobs = jobs_of(&device, &bundle, &group)?;
    let contents: Vec<(String, SlotContent)> = jobs.iter().map(|job| content_of(job, &release)).collect();
    if arguments.dry_run {
        let work = Work { device: &device, bundle: &bundle, arguments, progress, beside: &beside };
        let made = jobs.iter().map(|job| foresee(&work, job)).collect::<Result<Vec<_>, _>>()?;
        let outcome = Outcome::new(release, &group, made, fetched(&bundle, &beside), false);
        return Ok((Outcome { is_dry_run: true, ..outcome }, device));
    }
    let before: Vec<Option<SlotContent>> = jobs.into_iter().map(|job| job.before).collect();
    begin(&mut device, &group, &contents)?;

    let work = Work { device: &device, bundle: &bundle, arguments, progress, beside: &beside };
    let mut made = Vec::new();
    for (job, before) in jobs_of(&device, &bundle, &group)?.into_iter().zip(before) {
        made.push(make(&work, &Job { before, ..job })?);
    }
    end(&mut device, &group, &contents, &release)?;
    vouched.remember()?;
    if arguments.reboot != Reboot::No {
        device.flow.try_next(&group)?;
    }
    let outcome =
        Outcome::new(release, &group, made, fetched(&bundle, &beside), arguments.reboot == Reboot::Yes);
    Ok((outcome, device))
}

/// What went over the wire altogether.
fn fetched(bundle: &Bundle, beside: &Cell<Counters>) -> Counters {
    let mut all = bundle.site.counters();
    all += beside.get();
    all
}

/// Finds the slots of every component.
fn jobs_of<'a>(device: &'a Device, bundle: &'a Bundle, group: &Group) -> Result<Vec<Job<'a>>, Fault> {
    let refused = |message| Fault::new(Kind::Refused, message).hint("`fluvial-agent slots list` lists slots");
    let job = |(component, Component::Slot { name, payload }): (usize, &'a Component)| {
        let slot = |group: &Group| device.system.slot_of_role(name, group);
        let (Some(target), Some(active)) = (slot(group), slot(&device.boot.active)) else {
            return Err(refused(format!(
                "the release has an image for {name:?}, this device has no such slot"
            )));
        };
        if target.group.is_none() {
            let message =
                format!("both boot groups use {name:?}: it cannot be written while one of them runs");
            return Err(refused(message));
        }
        let before = device.state.slots.get(&target.name).cloned();
        Ok(Job { component, role: name, payload, target, active, before })
    };
    bundle.manifest.components.iter().enumerate().map(job).collect()
}

fn content_of(job: &Job<'_>, release: &ReleaseName) -> (String, SlotContent) {
    let content = SlotContent {
        release: release.clone(),
        sha256: hex::encode(job.payload.sha256),
        size_bytes: job.payload.size_bytes,
        is_whole: false,
    };
    (job.target.name.clone(), content)
}

/// Sees to it that nobody boots what is going to be written.
fn begin(device: &mut Device, group: &Group, contents: &[(String, SlotContent)]) -> Result<(), Fault> {
    if device.boot.pending.as_ref() == Some(group) {
        device.flow.cancel_try()?;
    }
    device.state.pending = None;
    for (slot, content) in contents {
        device.state.slots.insert(slot.clone(), content.clone());
    }
    device.store()
}

/// Everything is written and compared.
fn end(
    device: &mut Device,
    group: &Group,
    contents: &[(String, SlotContent)],
    release: &ReleaseName,
) -> Result<(), Fault> {
    for (slot, content) in contents {
        device.state.slots.insert(slot.clone(), SlotContent { is_whole: true, ..content.clone() });
    }
    device.state.pending = Some(Pending { group: group.to_string(), release: release.clone() });
    device.store()?;
    // Also what has come of releases that were never finished.
    remove_staged(device)
}

fn remove_staged(device: &Device) -> Result<(), Fault> {
    remove_folder(&staging(device))
}

/// Removes a folder, if it is there.
pub fn remove_folder(path: &Path) -> Result<(), Fault> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Fault::writing(path, error)),
        _ => Ok(()),
    }
}

/// Reads a slot back, from the medium and not from memory, and compares it with the manifest.
fn read_back(work: &Work<'_>, job: &Job<'_>, target: &Medium) -> Result<(), Fault> {
    let path = work.device.path(job.target);
    target.file().sync_data().map_err(|error| Fault::writing(path, error))?;
    let len = job.payload.size_bytes;
    target.release(0, len);
    work.progress.phase("verifying", len);
    let info = StreamInfo { name: job.role.into(), size: len, sha256: job.payload.sha256 };
    Ok(check_target(target, &info, &mut |bytes| work.progress.advance(bytes))?)
}

/// Makes a slot, by the first route that works.
fn make(work: &Work<'_>, job: &Job<'_>) -> Result<Made, Fault> {
    if let Some(made) = present::find(work, job)? {
        by_patch::forget_progress(work, job)?;
        return Ok(made);
    }
    let mut reasons = Vec::new();
    if let Some(result) = try_patch(work, job, &mut reasons) {
        return result.map(|made| made.because(reasons));
    }
    by_patch::forget_progress(work, job)?;
    with_fresh_bytes(work, &|| by_ranges::make(work, job)).map(|made| made.because(reasons))
}

/// Goes a route. What it has fetched is checked when it is used, and not when it is kept: where it is wrong it is
/// thrown away, and if an earlier run has left it, perhaps before the power was cut, it is fetched again.
fn with_fresh_bytes(work: &Work<'_>, route: &dyn Fn() -> Result<Made, Fault>) -> Result<Made, Fault> {
    let is_left = work.staging().exists();
    let result = route();
    if !matches!(&result, Err(fault) if fault.kind == Kind::DamagedPatch) {
        return result;
    }
    remove_staged(work.device)?;
    if is_left { route() } else { result }
}

/// Says by which route a slot would be made.
fn foresee(work: &Work<'_>, job: &Job<'_>) -> Result<Made, Fault> {
    if let Some(made) = present::find(work, job)? {
        return Ok(made);
    }
    let mut reasons = Vec::new();
    if is_patch_wanted(work, job) {
        match by_patch::foresee(work, job) {
            Ok(made) => return Ok(made),
            Err(fault) if may_pass_over(work, &fault) => reasons.push(format!("no patch: {}", fault.text())),
            Err(fault) => return Err(fault),
        }
    }
    by_ranges::foresee(work, job).map(|made| made.because(reasons))
}

/// Makes a slot by a patch, if there is one; `None` where the next route is to be taken.
fn try_patch(work: &Work<'_>, job: &Job<'_>, reasons: &mut Vec<String>) -> Option<Result<Made, Fault>> {
    if !is_patch_wanted(work, job) {
        return None;
    }
    match with_fresh_bytes(work, &|| by_patch::make(work, job)) {
        Err(fault) if may_pass_over(work, &fault) => {
            reasons.push(format!("no patch: {}", fault.text()));
            None
        }
        result => Some(result),
    }
}

fn is_patch_wanted(work: &Work<'_>, job: &Job<'_>) -> bool {
    match work.arguments.route {
        RouteChoice::Static => true,
        RouteChoice::Auto => work.bundle.header.part(job.component, PartKind::Patch).is_some(),
        RouteChoice::Dynamic | RouteChoice::Full => false,
    }
}

/// Whether the next route may work where a patch does not.
fn may_pass_over(work: &Work<'_>, fault: &Fault) -> bool {
    let kinds = [
        Kind::WrongSource,
        Kind::OverMemory,
        Kind::NotAPatch,
        Kind::DamagedPatch,
        Kind::UnsupportedPatch,
        Kind::WrongTarget,
    ];
    work.arguments.route == RouteChoice::Auto && kinds.contains(&fault.kind)
}
