//! `fluvial diff`.

use std::fs;
use std::io::{self, BufWriter, Write as _};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use fluvial_console::{Fault, Interrupt, Kind, Progress, open, percent, say};
use fluvial_delta::diff::{DiffReport, Named, diff};
use fluvial_device::disk::durable::{Draft, folder_of};
use fluvial_device::disk::{DiskScratch, Identity, is_at};
use fluvial_image::Anatomist;
use indicatif::HumanBytes;

use crate::arguments::DiffArguments;
use crate::source::Old;

/// What applying a patch may take, in bytes, if nothing else is said.
pub(super) const APPLY_MEMORY_BYTES: u64 = 64 << 20;

/// Makes a patch.
///
/// # Errors
/// Every way that it fails; PATCH is then not written.
pub fn run(arguments: &DiffArguments, interrupt: Interrupt) -> Result<(), Fault> {
    let started = Instant::now();
    let progress = Progress::new(interrupt, arguments.json);
    let result = make(arguments, &progress);
    progress.finish();
    show(arguments, &result?, started.elapsed().as_secs_f64())
}

fn make(arguments: &DiffArguments, progress: &Progress) -> Result<DiffReport, Fault> {
    use_threads(arguments.options.effort.jobs)?;
    let old = Old::open(&arguments.old)?;
    let new = open(&arguments.new)?;
    let new_identity = new.identity().map_err(|error| Fault::reading(&arguments.new, error))?;
    for (input, what) in [(old.identity(), "OLD"), (Some(new_identity), "NEW")] {
        check_patch_path(&arguments.patch, input, what)?;
    }
    let sources = old.all(name_of(&arguments.old))?;
    let sources: Vec<_> = sources.iter().map(|(name, bytes)| Named::new(name.as_str(), &**bytes)).collect();
    let new_name = name_of(&arguments.new);
    let targets = [Named::new(&new_name, &new)];

    let options = arguments.options.options(APPLY_MEMORY_BYTES);
    let scratch = DiskScratch::new(folder_of(&arguments.patch));
    write_patch(&arguments.patch, |draft| {
        Ok(diff(&sources, &targets, &Anatomist, &scratch, &options, progress, draft)?)
    })
}

/// Sets how many threads work; as many as there are cores if not given. Who asks first decides.
pub(super) fn use_threads(jobs: Option<NonZeroUsize>) -> Result<(), Fault> {
    static IS_SET: AtomicBool = AtomicBool::new(false);
    if IS_SET.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    rayon::ThreadPoolBuilder::new()
        .num_threads(jobs.map_or(0, NonZeroUsize::get))
        .build_global()
        .map_err(|error| Fault::new(Kind::Internal, error))
}

/// Gives PATCH its name once `make` has written all of it.
pub fn write_patch<T>(
    patch: &Path,
    make: impl FnOnce(&mut dyn io::Write) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let failed = |error| Fault::writing(patch, error);
    let mut draft = BufWriter::new(Draft::create(patch).map_err(failed)?);
    let result = make(&mut draft)?;
    draft.flush().map_err(failed)?;
    let draft = draft.into_inner().map_err(|error| failed(error.into_error()))?;
    draft.publish().map_err(failed)?;
    Ok(result)
}

/// Refuses to put the patch in the place of something else.
pub(super) fn check_patch_path(patch: &Path, input: Option<Identity>, what: &str) -> Result<(), Fault> {
    let Ok(metadata) = fs::metadata(patch) else { return Ok(()) };
    if !metadata.is_file() {
        return Err(Fault::new(Kind::Usage, format!("{} is not a file", patch.display())));
    }
    if is_at(patch, input) {
        return Err(Fault::overwriting(patch, what));
    }
    Ok(())
}

/// A file's name as a patch carries it: without folders, which mean nothing elsewhere.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(|| "image".into(), |name| name.to_string_lossy().into_owned())
}

fn show(arguments: &DiffArguments, report: &DiffReport, duration_s: f64) -> Result<(), Fault> {
    let old_bytes: u64 = report.header.sources.iter().map(|source| source.size).sum();
    let new_bytes: u64 = report.header.targets.iter().map(|target| target.size).sum();
    let patch_percent = percent(report.patch_bytes, new_bytes);
    if arguments.json {
        let object = serde_json::json!({
            "patch": arguments.patch,
            "patch_bytes": report.patch_bytes,
            "old_bytes": old_bytes,
            "new_bytes": new_bytes,
            "new_sha256": report.header.targets.first().map(|target| hex::encode(target.sha256)),
            "patch_percent": patch_percent,
            "sources": report.header.sources.len(),
            "frames": report.header.frames.len(),
            "apply_memory_bytes": report.header.apply_memory_bytes,
            "scratch_bytes": report.header.scratch_bytes,
            "verified": arguments.options.is_verified(),
            "duration_s": duration_s,
        });
        return say(object);
    }
    say(format_args!(
        "{}: {} bytes ({}), {patch_percent:.3} % of NEW ({}), in {duration_s:.1} s",
        arguments.patch.display(),
        report.patch_bytes,
        HumanBytes(report.patch_bytes),
        HumanBytes(new_bytes),
    ))?;
    say(format_args!(
        "applying takes {} of memory and {} of temporary storage",
        HumanBytes(report.header.apply_memory_bytes),
        HumanBytes(report.header.scratch_bytes),
    ))?;
    if report.patch_bytes >= new_bytes && new_bytes > 0 {
        eprintln!("warning: the patch is not smaller than NEW: send NEW itself, compressed");
    }
    Ok(())
}
