//! `fluvial bundle verify`.

use std::time::Instant;

use fluvial_bundle::PartKind;
use fluvial_delta::apply::ApplyError;
use fluvial_delta::header::Header;
use fluvial_delta::structure::ReadAt as _;

use super::file::{BundleFile, Section};
use crate::arguments::BundleVerifyArguments;
use fluvial_console::Interrupt;
use fluvial_console::Progress;
use fluvial_console::say;
use fluvial_console::{Fault, Kind};
use fluvial_device::disk::durable::folder_of;
use fluvial_device::disk::patch_bytes;

/// Makes every component that has chunks, and compares patches with the manifest.
///
/// # Errors
/// Every way that it fails.
pub fn run(arguments: &BundleVerifyArguments, interrupt: Interrupt) -> Result<(), Fault> {
    let started = Instant::now();
    let progress = Progress::new(interrupt, arguments.json);
    let result = verify(arguments, &progress);
    progress.finish();
    let (made, patches) = result?;
    let duration_s = started.elapsed().as_secs_f64();
    if arguments.json {
        return say(serde_json::json!({
            "bundle": arguments.bundle,
            "made": made,
            "patches": patches,
            "duration_s": duration_s,
        }));
    }
    say(format_args!(
        "{}: {made} images are made of their chunks, and as a whole, as the manifest tells, {patches} patches make what it tells, in {duration_s:.1} s",
        arguments.bundle.display(),
    ))
}

/// Answers how many components were made, and how many have a patch.
fn verify(arguments: &BundleVerifyArguments, progress: &Progress) -> Result<(usize, usize), Fault> {
    let bundle = BundleFile::open(&arguments.bundle)?;
    let folder = arguments.work_folder.as_deref().unwrap_or(folder_of(&arguments.bundle));
    let (mut made, mut patches) = (0, 0);
    for component in 0..bundle.manifest.components.len() {
        let mut is_there = false;
        if bundle.section(component, PartKind::Chunks).is_some() {
            bundle.check_sketch(component)?;
            let image = bundle.unpack(component, folder, progress)?;
            bundle.check_whole(component, &image, progress)?;
            (made, is_there) = (made + 1, true);
        }
        if let Some(patch) = bundle.section(component, PartKind::Patch) {
            check_patch(&bundle, component, &patch)?;
            (patches, is_there) = (patches + 1, true);
        }
        if !is_there {
            let name = bundle.manifest.components[component].name();
            let message = format!("{} has nothing to make {name:?} of", bundle.path.display());
            return Err(Fault::new(Kind::DamagedBundle, message));
        }
    }
    Ok((made, patches))
}

/// Compares what a patch makes with what the manifest tells, and its length with what its header tells.
fn check_patch(bundle: &BundleFile, component: usize, patch: &Section<'_>) -> Result<(), Fault> {
    let (header, map_start) = Header::read(patch).map_err(ApplyError::Header)?;
    patch_bytes(&header, map_start, patch.len())?;
    let payload = bundle.manifest.components[component].payload();
    let makes: Vec<_> = header.targets.iter().map(|target| (target.size, target.sha256)).collect();
    if makes != [(payload.size_bytes, payload.sha256)] {
        let name = bundle.manifest.components[component].name();
        let message = format!("{}: the patch of {name:?} makes something else", bundle.path.display());
        return Err(Fault::new(Kind::DamagedBundle, message));
    }
    Ok(())
}
