//! `fluvial bundle delta`: a release as patches, for devices that have another one.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::time::Instant;

use fluvial_bundle::{BundleHeader, PartKind};
use fluvial_delta::diff::{Named, diff};
use fluvial_delta::structure::ReadAt as _;
use fluvial_image::Anatomist;
use indicatif::HumanBytes;

use super::file::BundleFile;
use super::{APPLY_MEMORY_BYTES, copy, file_name, part_bytes};
use crate::arguments::BundleDeltaArguments;
use crate::command::diff::{check_patch_path, use_threads, write_patch};
use fluvial_console::Interrupt;
use fluvial_console::Progress;
use fluvial_console::say;
use fluvial_console::{Fault, Kind};
use fluvial_device::disk::DiskScratch;
use fluvial_device::disk::Medium;
use fluvial_device::disk::durable::folder_of;

/// Where the bytes of a part come from.
enum Bytes {
    /// A patch, in a temporary file.
    Patch(Medium),
    /// A part of NEW.
    New(u64, u64),
}

impl Bytes {
    fn len(&self) -> u64 {
        match self {
            Self::Patch(patch) => patch.len(),
            Self::New(_, len) => *len,
        }
    }
}

/// What was made of a slot.
struct Made {
    name: String,
    new_bytes: u64,
    full_bytes: u64,
    /// Why there is no patch.
    reason: Option<&'static str>,
    bytes: u64,
}

/// Makes a bundle with patches.
///
/// # Errors
/// Every way that it fails; the bundle is then not written.
pub fn run(arguments: &BundleDeltaArguments, interrupt: Interrupt) -> Result<(), Fault> {
    let started = Instant::now();
    let progress = Progress::new(interrupt, arguments.json);
    let result = make(arguments, &progress);
    progress.finish();
    let (made, bundle_bytes) = result?;
    show(arguments, &made, bundle_bytes, started.elapsed().as_secs_f64())
}

fn make(arguments: &BundleDeltaArguments, progress: &Progress) -> Result<(Vec<Made>, u64), Fault> {
    use_threads(arguments.options.effort.jobs)?;
    let (old, new) = (BundleFile::open(&arguments.old)?, BundleFile::open(&arguments.new)?);
    for (file, what) in [(&old, "OLD"), (&new, "NEW")] {
        check_patch_path(&arguments.bundle, file.medium.identity().ok(), what)?;
    }
    if let Some(name) = arguments.slot.iter().find(|name| new.component(name).is_none()) {
        let message = format!("{} has no slot {name:?}", arguments.new.display());
        return Err(Fault::new(Kind::Usage, message).hint("`fluvial bundle inspect` lists slots"));
    }
    if old.manifest.sequence >= new.manifest.sequence {
        let message = format!(
            "OLD has the sequence {}, NEW {}: devices go forward only",
            old.manifest.sequence, new.manifest.sequence
        );
        return Err(Fault::new(Kind::Usage, message).hint("OLD comes first, and needs a lower sequence"));
    }
    let mut header = BundleHeader::new(new.header.manifest.clone());
    header.metadata.clone_from(&new.header.metadata);
    header.full_name = arguments.full_name.clone().unwrap_or_else(|| file_name(&arguments.new));
    let (mut made, mut parts) = (Vec::new(), Vec::new());
    for component in 0..new.manifest.components.len() {
        let (bytes, one) = part_of(&old, &new, component, arguments, progress)?;
        for (kind, bytes) in bytes {
            header.push(component, kind, bytes.len());
            parts.push(bytes);
        }
        made.push(one);
    }
    let start = header.to_bytes()?;
    write_patch(&arguments.bundle, |draft| {
        draft.write_all(&start).map_err(|error| Fault::writing(&arguments.bundle, error))?;
        for part in &parts {
            let (medium, offset) = match part {
                Bytes::Patch(patch) => (patch, 0),
                Bytes::New(start, _) => (&new.medium, *start),
            };
            copy(medium, offset, part.len(), draft)
                .map_err(|error| Fault::writing(&arguments.bundle, error))?;
        }
        Ok(())
    })?;
    let header = BundleHeader::read(&start)?;
    Ok((made, header.file_len(start.len() as u64)))
}

/// The parts of a component: its patch, or what NEW has of it where none is wanted or worth it.
fn part_of(
    old: &BundleFile,
    new: &BundleFile,
    component: usize,
    arguments: &BundleDeltaArguments,
    progress: &Progress,
) -> Result<(Vec<(PartKind, Bytes)>, Made), Fault> {
    let info = &new.manifest.components[component];
    let full = |kind| {
        let range = &new.header.part(component, kind)?.range;
        Some((kind, Bytes::New(range.start, range.end - range.start)))
    };
    // What a device without the old release fetches.
    let bytes_of = |kind| part_bytes(&new.header, component, kind);
    let full_bytes = bytes_of(PartKind::Full).or(bytes_of(PartKind::Chunks)).unwrap_or(u64::MAX);
    let (name, new_bytes) = (info.name().to_owned(), info.payload().size_bytes);
    let keep = |reason| {
        let kinds = [PartKind::Sketch, PartKind::Index, PartKind::Chunks, PartKind::Full];
        let parts: Vec<_> = kinds.into_iter().filter_map(full).collect();
        let bytes = parts.iter().map(|(_, bytes)| bytes.len()).sum();
        Ok((parts, Made { name: name.clone(), new_bytes, full_bytes, reason: Some(reason), bytes }))
    };
    if !arguments.slot.is_empty() && !arguments.slot.contains(&name) {
        return keep("not asked for");
    }
    let Some(old_component) = old.component(&name) else { return keep("OLD has no such slot") };
    let patch = diff_component(old, new, (old_component, component), arguments, progress)?;
    if patch.len() >= full_bytes {
        return keep("a patch is not smaller");
    }
    let made = Made { name, new_bytes, full_bytes, reason: None, bytes: patch.len() };
    Ok((vec![(PartKind::Patch, Bytes::Patch(patch))], made))
}

/// Makes the patch of a component, in a temporary file.
fn diff_component(
    old: &BundleFile,
    new: &BundleFile,
    (old_component, component): (usize, usize),
    arguments: &BundleDeltaArguments,
    progress: &Progress,
) -> Result<Medium, Fault> {
    let folder = folder_of(&arguments.bundle);
    let old_image = old.unpack(old_component, folder, progress)?;
    let new_image = new.unpack(component, folder, progress)?;
    let name = new.manifest.components[component].name();
    let failed = |error| Fault::writing(folder, error);
    let mut file = BufWriter::new(tempfile::tempfile_in(folder).map_err(failed)?);
    diff(
        &[Named::new(name, &old_image)],
        &[Named::new(name, &new_image)],
        &Anatomist,
        &DiskScratch::new(folder),
        &arguments.options.options(APPLY_MEMORY_BYTES),
        progress,
        &mut file,
    )?;
    let file: File = file.into_inner().map_err(|error| failed(error.into_error()))?;
    Medium::new(file).map_err(failed)
}

fn show(
    arguments: &BundleDeltaArguments,
    made: &[Made],
    bundle_bytes: u64,
    duration_s: f64,
) -> Result<(), Fault> {
    if arguments.json {
        let slot = |made: &Made| {
            serde_json::json!({
                "name": made.name,
                "new_bytes": made.new_bytes,
                "full_bytes": made.full_bytes,
                "bytes": made.bytes,
                "is_patch": made.reason.is_none(),
                "reason": made.reason,
            })
        };
        return say(serde_json::json!({
            "bundle": arguments.bundle,
            "bundle_bytes": bundle_bytes,
            "slots": made.iter().map(slot).collect::<Vec<_>>(),
            "duration_s": duration_s,
        }));
    }
    for made in made {
        let (bytes, full) = (HumanBytes(made.bytes), HumanBytes(made.full_bytes));
        match made.reason {
            None => say(format_args!("{}: patch of {bytes}, full {full}", made.name))?,
            Some(reason) => say(format_args!("{}: no patch ({reason}), {bytes}", made.name))?,
        }
    }
    let path: &Path = &arguments.bundle;
    say(format_args!("{}: {}, in {duration_s:.1} s", path.display(), HumanBytes(bundle_bytes)))
}
