//! `fluvial diff`.

use std::io::{BufWriter, Write as _};
use std::time::Instant;

use fluvial_delta::diff::{DiffOptions, Named, Unobserved, diff};
use fluvial_delta::structure::ReadAt as _;
use fluvial_image::Anatomist;

use super::{folder_of, name_of, open};
use crate::arguments::DiffArguments;
use crate::fault::{Fault, Kind};

use crate::scratch::DiskScratch;

pub fn run(arguments: &DiffArguments) -> Result<(), Fault> {
    let started = Instant::now();
    let jobs = arguments.jobs.map_or(0, std::num::NonZeroUsize::get);
    rayon::ThreadPoolBuilder::new()
        .num_threads(jobs)
        .build_global()
        .map_err(|error| Fault::new(Kind::Internal, error))?;
    let (old, new) = (open(&arguments.old)?, open(&arguments.new)?);
    let (old_name, new_name) = (name_of(&arguments.old), name_of(&arguments.new));
    let folder = folder_of(&arguments.patch);
    let failed = |source| Fault::path("write", &arguments.patch, source);
    let mut file = tempfile::NamedTempFile::new_in(&folder).map_err(failed)?;
    let mut writer = BufWriter::new(&mut file);
    let options =
        DiffOptions { preset: arguments.preset.into(), apply_memory_bytes: arguments.apply_memory };
    let report = diff(
        &[Named { name: &old_name, bytes: &old }],
        &[Named { name: &new_name, bytes: &new }],
        &Anatomist,
        &DiskScratch::new(&folder),
        &options,
        &Unobserved,
        &mut writer,
    )?;
    writer.flush().map_err(failed)?;
    drop(writer);
    file.as_file().sync_all().map_err(failed)?;
    file.persist(&arguments.patch).map_err(|error| failed(error.error))?;
    let seconds = started.elapsed().as_secs_f64();
    if arguments.json {
        println!(
            "{}",
            serde_json::json!({
                "patch_bytes": report.patch_bytes,
                "old_bytes": old.len(),
                "new_bytes": new.len(),
                "patch_to_new_ratio": report.patch_bytes as f64 / new.len().max(1) as f64,
                "frames": report.header.frames.len(),
                "apply_memory_bytes": report.header.apply_memory_bytes,
                "scratch_bytes": report.header.scratch_bytes,
                "duration_s": seconds,
            })
        );
    } else {
        println!(
            "{}: {} bytes, {:.2} % of NEW's {} bytes, in {seconds:.1} s",
            arguments.patch.display(),
            report.patch_bytes,
            100.0 * report.patch_bytes as f64 / new.len().max(1) as f64,
            new.len(),
        );
    }
    Ok(())
}
