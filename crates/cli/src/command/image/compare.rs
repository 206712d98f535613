//! `fluvial image compare`: what an update would cost by every route, before anything is given away.
//!
//! Each route is really gone, in a temporary folder: an estimate would be wrong where it matters.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::time::Instant;

use fluvial_console::{Fault, Interrupt, Progress, open, percent, say};
use fluvial_delta::apply::Patch;
use fluvial_delta::map::FileCost;
use fluvial_delta::structure::ReadAt as _;
use fluvial_fetch::Counters;
use fluvial_image::oci::{FileReference, Image, ImageReference, Layer, digest_text};
use indicatif::HumanBytes;
use serde_json::json;

use super::fetch::{Cache, local};
use super::old::Access;
use super::{by_ranges, diff, open_image, publish};
use crate::arguments::{
    DiffOptionArguments, ImageCompareArguments, ImageDiffArguments, ImageFetchArguments, MaybeImage, Verify,
};
use crate::command::diff::use_threads;

/// How plain layers are packed to tell what a pull would fetch: as registries keep them.
const PULL_LEVEL: u32 = 6;

/// What the routes come to.
struct Compared {
    image_digest: String,
    layers: usize,
    layers_new: usize,
    layer_bytes: u64,
    /// All layers, and those that OLD lacks, packed.
    full_bytes: u64,
    pull_bytes: u64,
    patch_bytes: u64,
    ranges_bytes: u64,
    apply_memory_bytes: u64,
    costs: Vec<FileCost>,
}

/// Compares the routes.
///
/// # Errors
/// Every way that it fails. Nothing is left behind.
pub fn run(arguments: &ImageCompareArguments, interrupt: Interrupt) -> Result<(), Fault> {
    let started = Instant::now();
    let progress = Progress::new(interrupt, arguments.json);
    let result = compare(arguments, &progress);
    progress.finish();
    show(arguments, &result?, started.elapsed().as_secs_f64())
}

fn compare(arguments: &ImageCompareArguments, progress: &Progress) -> Result<Compared, Fault> {
    use_threads(arguments.effort.jobs)?;
    let failed = |error| Fault::writing(&arguments.work_folder, error);
    let folder = tempfile::tempdir_in(&arguments.work_folder).map_err(failed)?;
    let folder = folder.path();
    let cache = Cache::new(&arguments.registry, &folder.join("images"));
    let platform = arguments.access.platform.as_ref();
    let fetch = |image| local(image, platform, &arguments.registry, &cache, progress);
    let (old, new) = (fetch(&arguments.old)?, fetch(&arguments.new)?);
    let access = Access::new(&arguments.access, folder, progress);
    let (old_image, mut new_image) = (open_image(&old, &access)?, open_image(&new, &access)?);
    let layers = new_image.layers.len();

    progress.phase("packing", new_image.layers.iter().map(|layer| layer.blob.len()).sum());
    let known: HashSet<_> = old_image.layers.iter().map(|layer| layer.diff_id).collect();
    let (mut full_bytes, mut pull_bytes) = (new_image.config.len() as u64, new_image.config.len() as u64);
    let mut seen = HashSet::new();
    for layer in new_image.layers.iter().filter(|layer| seen.insert(layer.diff_id)) {
        let packed = packed_len(layer, progress)?;
        full_bytes += packed;
        pull_bytes += if known.contains(&layer.diff_id) { 0 } else { packed };
    }
    let image_digest = digest_text(&new_image.config_digest);
    let patch = folder.join("patch");
    let diff_arguments = ImageDiffArguments {
        old: old.clone(),
        new,
        patch: patch.clone(),
        access: arguments.access.clone(),
        options: DiffOptionArguments { effort: arguments.effort.clone(), verify: Verify::Never },
        json: arguments.json,
        registry: arguments.registry.clone(),
    };
    let made = diff::make(&diff_arguments, progress)?;
    let bytes = open(&patch)?;
    let costs = Patch::open(&bytes)?.map.costs;

    new_image.layers.retain(|layer| !known.contains(&layer.diff_id));
    let (counters, layers_new) = by_ranges(arguments, &old, new_image, &access)?;
    Ok(Compared {
        image_digest,
        layers,
        layers_new,
        layer_bytes: made.report.header.targets.iter().map(|target| target.size).sum(),
        full_bytes,
        pull_bytes,
        patch_bytes: made.report.patch_bytes,
        ranges_bytes: counters.bytes,
        apply_memory_bytes: made.report.header.apply_memory_bytes,
        costs,
    })
}

/// Publishes the layers that are missing, and fetches them.
fn by_ranges(
    arguments: &ImageCompareArguments,
    old: &ImageReference,
    missing: Image,
    access: &Access<'_>,
) -> Result<(Counters, usize), Fault> {
    let digest = digest_text(&missing.config_digest);
    let site = access.folder.join("site");
    publish::publish_image(missing, &site, arguments.level, access.progress)?;
    let fetch_arguments = ImageFetchArguments {
        old: MaybeImage(Some(old.clone())),
        from: site.join(digest).to_string_lossy().into_owned(),
        to: ImageReference::File(FileReference::OciArchive { file: access.folder.join("made"), tag: None }),
        access: arguments.access.clone(),
        work_folder: access.folder.into(),
        connections: 1,
        json: arguments.json,
    };
    by_ranges::fetch_counted(&fetch_arguments, access.progress)
}

/// How long a layer is as a registry keeps it.
fn packed_len(layer: &Layer, progress: &Progress) -> Result<u64, Fault> {
    let failed = |error| Fault::reading(Path::new(&digest_text(&layer.diff_id)), error);
    if !layer.is_plain().map_err(failed)? {
        progress.advance(layer.blob.len());
        return Ok(layer.blob.len());
    }
    let mut encoder = flate2::write::GzEncoder::new(Counted(0), flate2::Compression::new(PULL_LEVEL));
    io::copy(&mut Watched { reader: layer.blob.reader(), progress }, &mut encoder).map_err(failed)?;
    Ok(encoder.finish().map_err(failed)?.0)
}

/// Counts bytes, and keeps none.
struct Counted(u64);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Tells how reading goes on.
struct Watched<'a, R> {
    reader: R,
    progress: &'a Progress,
}

impl<R: io::Read> io::Read for Watched<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.reader.read(buf)?;
        // Asking again after this error would go on.
        let is_wanted = self.progress.advance(len as u64);
        if is_wanted { Ok(len) } else { Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cancelled")) }
    }
}

fn show(arguments: &ImageCompareArguments, compared: &Compared, duration_s: f64) -> Result<(), Fault> {
    let Compared { image_digest, layers, layers_new, layer_bytes, full_bytes, pull_bytes, .. } = compared;
    let Compared { patch_bytes, ranges_bytes, apply_memory_bytes, costs, .. } = compared;
    let costs = &costs[..costs.len().min(arguments.top)];
    if arguments.json {
        let files: Vec<_> = costs
            .iter()
            .map(|cost| {
                json!({ "path": cost.path, "content_bytes": cost.flat_len, "patch_bytes": cost.patch_bytes })
            })
            .collect();
        return say(json!({
            "image_digest": image_digest,
            "layers": layers,
            "layers_new": layers_new,
            "layer_bytes": layer_bytes,
            "full_bytes": full_bytes,
            "pull_bytes": pull_bytes,
            "patch_bytes": patch_bytes,
            "ranges_bytes": ranges_bytes,
            "apply_memory_bytes": apply_memory_bytes,
            "files": files,
            "duration_s": duration_s,
        }));
    }
    say(format_args!(
        "{image_digest}: {layers_new} of {layers} layers are new ({})",
        HumanBytes(*layer_bytes)
    ))?;
    let route = |name: &str, bytes: u64, note: &str| {
        say(format_args!(
            "{name:>8} {bytes:>13} bytes {:>8.2} % of a pull{note}",
            percent(bytes, *pull_bytes)
        ))
    };
    route("full", *full_bytes, "")?;
    route("pull", *pull_bytes, ", of the layers that OLD lacks")?;
    route("ranges", *ranges_bytes, "")?;
    route("patch", *patch_bytes, &format!(", applied in {}", HumanBytes(*apply_memory_bytes)))?;
    if !costs.is_empty() {
        say(format_args!("\n{:>12} {:>13}  file", "patch", "content"))?;
    }
    for FileCost { path, flat_len, patch_bytes } in costs {
        say(format_args!("{patch_bytes:>12} {flat_len:>13}  {path}"))?;
    }
    Ok(())
}
