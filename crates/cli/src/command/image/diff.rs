//! `fluvial image diff`.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use fluvial_console::{Fault, Interrupt, Progress, percent, say};
use fluvial_delta::diff::{DiffReport, FileIn, Named, diff};
use fluvial_delta::structure::ReadAt as _;
use fluvial_device::disk::DiskScratch;
use fluvial_device::disk::durable::folder_of;
use fluvial_image::Anatomist;
use fluvial_image::oci::{Group, GroupRecipe, Grouper, Slice, TreeEntry, places, tree};
use indicatif::HumanBytes;

use super::old::Access;
use super::{CONFIG_TARGET, identity_of, open_image, open_layers};
use crate::arguments::ImageDiffArguments;
use crate::command::diff::{check_patch_path, use_threads, write_patch};

/// What applying a patch of images may take, in bytes, if nothing else is said: devices run containers beside it.
const APPLY_MEMORY_BYTES: u64 = 40 << 20;

/// What was made.
pub(super) struct Made {
    pub(super) report: DiffReport,
    image_digest: String,
    /// What a pull would fetch: the layers that OLD lacks, as NEW keeps them, and the config.
    pub(super) pull_bytes: u64,
    layers: usize,
    new_layers: usize,
}

/// Makes a patch.
///
/// # Errors
/// Every way that it fails; PATCH is then not written.
pub fn run(arguments: &ImageDiffArguments, interrupt: Interrupt) -> Result<(), Fault> {
    let started = Instant::now();
    let progress = Progress::new(interrupt, arguments.json);
    let result = make(arguments, &progress);
    progress.finish();
    show(arguments, &result?, started.elapsed().as_secs_f64())
}

/// Makes a patch, and says nothing.
///
/// # Errors
/// As [`run`].
pub(super) fn make(arguments: &ImageDiffArguments, progress: &Progress) -> Result<Made, Fault> {
    use_threads(arguments.options.effort.jobs)?;
    for (image, what) in [(&arguments.old, "OLD"), (&arguments.new, "NEW")] {
        check_patch_path(&arguments.patch, identity_of(image), what)?;
    }
    let access = Access::new(&arguments.access, folder_of(&arguments.patch), progress);
    let old = open_image(&arguments.old, &access)?;
    let mut new = open_image(&arguments.new, &access)?;
    let layers = new.layers.len();
    // A layer may stand in an image more than once: an empty one does so easily.
    let mut known: HashSet<_> = old.layers.iter().map(|layer| layer.diff_id).collect();
    new.layers.retain(|layer| known.insert(layer.diff_id));
    let pull_bytes = new.config.len() as u64 + new.layers.iter().map(|layer| layer.blob.len()).sum::<u64>();

    let scratch = DiskScratch::new(access.folder);
    // Where nothing is missing, nothing is compared.
    let old_layers =
        if new.layers.is_empty() { Vec::new() } else { open_layers(&old.layers, &scratch, progress)? };
    let new_layers = open_layers(&new.layers, &scratch, progress)?;
    let files = tree(&old_layers)?;
    let recipe = GroupRecipe::of(&old_layers, &files)?;
    let groups = in_order_of(groups_of(files, &recipe), &places(&new_layers)?);
    let sources: Vec<_> = groups
        .iter()
        .map(|group| Named { name: &group.name, bytes: &group.bytes, files: &group.files })
        .collect();
    let names: Vec<String> = new_layers.iter().map(|layer| hex::encode(layer.diff_id)).collect();
    let mut targets = vec![Named::new(CONFIG_TARGET, &new.config)];
    targets.extend(names.iter().zip(&new_layers).map(|(name, layer)| Named::new(name, &layer.tar)));

    let mut options = arguments.options.options(APPLY_MEMORY_BYTES);
    options.context = recipe.to_bytes();
    let report = write_patch(&arguments.patch, |draft| {
        Ok(diff(&sources, &targets, &Anatomist, &scratch, &options, progress, draft)?)
    })?;
    let image_digest = format!("sha256:{}", hex::encode(new.config_digest));
    Ok(Made { report, image_digest, pull_bytes, layers, new_layers: new_layers.len() })
}

/// A group of the old image's files, by its number.
struct Numbered {
    name: String,
    bytes: Group<Slice>,
    files: Vec<FileIn>,
}

fn groups_of(files: Vec<TreeEntry<Slice>>, recipe: &GroupRecipe) -> Vec<Numbered> {
    let mut grouper = Grouper::new(recipe.clone());
    let mut groups: Vec<_> = files.into_iter().filter_map(|entry| grouper.push(entry)).collect();
    groups.extend(grouper.finish());
    let numbered = |(number, group): (usize, Group<Slice>)| {
        let files = group.files().map(|(path, extent)| FileIn { path: path.to_owned(), extent }).collect();
        Numbered { name: number.to_string(), bytes: group, files }
    };
    groups.into_iter().enumerate().map(numbered).collect()
}

/// Old groups in the order in which the new layers hold what is at the same paths, the others behind them:
/// who reads one then mostly reads the next one after it, and where it stands costs nothing to tell.
fn in_order_of(mut old: Vec<Numbered>, new: &HashMap<String, (usize, u64)>) -> Vec<Numbered> {
    // Stable: what has no place stays in the order of paths.
    old.sort_by_key(|group| {
        let place = group.files.iter().find_map(|file| new.get(&file.path));
        place.copied().unwrap_or((usize::MAX, 0))
    });
    old
}

fn show(arguments: &ImageDiffArguments, made: &Made, duration_s: f64) -> Result<(), Fault> {
    let Made { report, image_digest, pull_bytes, layers, new_layers } = made;
    let layer_bytes: u64 = report.header.targets.iter().map(|target| target.size).sum();
    let pull_percent = percent(report.patch_bytes, *pull_bytes);
    if arguments.json {
        let object = serde_json::json!({
            "patch": arguments.patch,
            "patch_bytes": report.patch_bytes,
            "image_digest": image_digest,
            "layers": layers,
            "layers_made": new_layers,
            "layer_bytes": layer_bytes,
            "pull_bytes": pull_bytes,
            "pull_percent": pull_percent,
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
        "{}: {} bytes ({}), {pull_percent:.2} % of a pull ({}), in {duration_s:.1} s",
        arguments.patch.display(),
        report.patch_bytes,
        HumanBytes(report.patch_bytes),
        HumanBytes(*pull_bytes),
    ))?;
    say(format_args!("makes {image_digest}, {new_layers} of its {layers} layers, from OLD's files"))?;
    say(format_args!(
        "applying takes {} of memory and {} of temporary storage",
        HumanBytes(report.header.apply_memory_bytes),
        HumanBytes(report.header.scratch_bytes),
    ))?;
    if report.patch_bytes >= *pull_bytes {
        eprintln!("warning: the patch is not smaller than a pull");
    }
    Ok(())
}
