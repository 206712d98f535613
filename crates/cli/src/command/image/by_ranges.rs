//! `fluvial image fetch`: a published image, from what OLD holds and as few bytes as can be.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Instant;

use fluvial_bundle::{Index, Part, Tally};
use fluvial_console::{Fault, Interrupt, Kind, Progress, say};
use fluvial_delta::apply::{Target, check_target};
use fluvial_delta::header::{Sha256Digest, StreamInfo};
use fluvial_device::disk::durable::beside;
use fluvial_device::disk::{DiskScratch, is_at};
use fluvial_fetch::{ChunkFile, Counters, Site, Store, assemble};
use fluvial_image::oci::{Announced, ImageReference, diff_ids_of, digest_text};
use indicatif::HumanBytes;
use sha2::{Digest as _, Sha256};

use super::apply::CONFIG_BYTES_MAX;
use super::goal::{Goal, folder_for, has_already};
use super::old::{Access, OldImage};
use super::publish::{CHUNKS_FILE, CONFIG_FILE, INDEX_FILE};
use super::{CONFIG_TARGET, identity_of};
use crate::arguments::ImageFetchArguments;

/// What a fetch came to.
struct Outcome {
    image_digest: String,
    layers: usize,
    layers_made: usize,
    made_bytes: u64,
    tally: Tally,
    counters: Counters,
}

/// Fetches an image.
///
/// # Errors
/// Every way that it fails; the image is then not there. What has come is kept beside it for the next run.
pub fn run(arguments: &ImageFetchArguments, interrupt: Interrupt) -> Result<(), Fault> {
    let started = Instant::now();
    let progress = Progress::new(interrupt, arguments.json);
    let result = fetch(arguments, &progress);
    progress.finish();
    show(arguments, &result?, started.elapsed().as_secs_f64())
}

/// Fetches an image; answers what that took, and how many layers were made.
///
/// # Errors
/// As [`run`].
pub(super) fn fetch_counted(
    arguments: &ImageFetchArguments,
    progress: &Progress,
) -> Result<(Counters, usize), Fault> {
    let outcome = fetch(arguments, progress)?;
    Ok((outcome.counters, outcome.layers_made))
}

fn fetch(arguments: &ImageFetchArguments, progress: &Progress) -> Result<Outcome, Fault> {
    if let (Some(to), Some(old)) = (arguments.to.path(), &arguments.old.0)
        && is_at(to, identity_of(old))
    {
        return Err(Fault::overwriting(to, "OLD").hint("choose another place with --to"));
    }
    let (site, digest) = open_site(&arguments.from, arguments.connections)?;
    let mut outcome = Outcome {
        image_digest: digest_text(&digest),
        layers: 0,
        layers_made: 0,
        made_bytes: 0,
        tally: Tally::default(),
        counters: Counters::default(),
    };
    if let Some(layers) = has_already(&digest, &arguments.to, arguments.access.engine_socket.as_deref())? {
        return Ok(Outcome { layers, ..outcome });
    }
    let access = Access::new(&arguments.access, folder_for(&arguments.to, &arguments.work_folder), progress);
    let config = fetch_config(&site, &digest)?;
    let diff_ids = diff_ids_of(&config).map_err(|reason| {
        Fault::new(Kind::DamagedPatch, format!("what is published is no image: {reason}"))
    })?;
    let old = match &arguments.old.0 {
        Some(reference) => OldImage::open(reference, &access)?,
        None => OldImage::none(&access),
    };
    let missing = missing_layers(&diff_ids, &old);
    let indexes: Vec<Index> =
        missing.iter().map(|diff_id| fetch_index(&site, diff_id)).collect::<Result<_, _>>()?;
    let mut infos = vec![info(CONFIG_TARGET.into(), config.len() as u64, digest)];
    infos.extend(indexes.iter().map(|index| info(index.name.clone(), index.len, index.sha256)));
    let announced: Vec<Announced> =
        infos.iter().map(|info| Announced { sha256: info.sha256, len: info.size }).collect();
    let goal = Goal::begin(&arguments.to, &announced, &access)?;
    let store = Store::open(&store_folder(&arguments.to, &access, &digest), &indexes)?;
    match make(&goal, &config, &infos, &indexes, (&old, &site, &store), &access) {
        Ok(tally) => outcome.tally = tally,
        Err(fault) => {
            if matches!(fault.kind, Kind::DamagedPatch | Kind::WrongTarget) {
                // What was kept may be what is wrong.
                store.remove()?;
            }
            return Err(fault);
        }
    }
    outcome.layers = diff_ids.len();
    outcome.layers_made = indexes.len();
    outcome.made_bytes = infos.iter().map(|info| info.size).sum();
    outcome.counters = site.counters();
    goal.finish(&config, &diff_ids, &mut |wanted| old.layers(wanted), &access)?;
    store.remove()?;
    Ok(outcome)
}

/// Takes the published folder and an image's digest apart: `BASE/HEX` or `BASE/sha256:HEX`.
fn open_site(text: &str, connections: u8) -> Result<(Site, Sha256Digest), Fault> {
    let usage = || {
        let message = format!("{text:?} does not end in an image's digest");
        Fault::new(Kind::Usage, message).hint("`fluvial image publish` tells it")
    };
    let (base, name) = text.trim_end_matches('/').rsplit_once('/').unwrap_or((".", text));
    let digest = digest_of(name.strip_prefix("sha256:").unwrap_or(name)).ok_or_else(usage)?;
    Ok((Site::open(base, usize::from(connections))?, digest))
}

fn digest_of(hex: &str) -> Option<Sha256Digest> {
    let mut digest = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase()) {
        return None;
    }
    for (byte, at) in digest.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()?;
    }
    Some(digest)
}

/// Where a layer's chunks are published.
fn chunk_file(index: &Index) -> ChunkFile {
    ChunkFile { name: format!("{}/{CHUNKS_FILE}", index.name), offset: 0, len: index.chunk_file_len() }
}

/// Where what was fetched is kept until the image is there.
fn store_folder(to: &ImageReference, access: &Access<'_>, digest: &Sha256Digest) -> PathBuf {
    match to.path() {
        Some(path) => beside(path, ".fetched"),
        None => access.folder.join(format!("fluvial-{}.fetched", &hex::encode(digest)[..16])),
    }
}

/// Makes the blobs, and checks them.
fn make(
    goal: &Goal,
    config: &[u8],
    infos: &[StreamInfo],
    indexes: &[Index],
    (old, site, store): (&OldImage<'_>, &Site, &Store),
    access: &Access<'_>,
) -> Result<Tally, Fault> {
    let progress = access.progress;
    let blobs = goal.blobs();
    blobs[0].write_at(0, config).map_err(|error| Fault::writing(blobs.path(), error))?;
    let parts: Vec<Part<'_>> = indexes
        .iter()
        .zip(&blobs[1..])
        .map(|(index, blob)| Part { index, target: blob as &dyn Target })
        .collect();
    // Where nothing is missing, nothing is looked for.
    let streams = if parts.is_empty() { Vec::new() } else { old.streams()? };
    let streams = streams.iter().map(|stream| &**stream).collect();
    let files: Vec<ChunkFile> = indexes.iter().map(chunk_file).collect();
    let scratch = DiskScratch::new(access.folder);
    let tally = assemble(&parts, streams, &scratch, site, &files, store, progress)?;
    progress.phase("verifying", infos.iter().map(|info| info.size).sum());
    for (blob, info) in blobs.iter().zip(infos) {
        check_target(blob, info, &mut |bytes| progress.advance(bytes))?;
    }
    Ok(tally)
}

fn info(name: String, size: u64, sha256: Sha256Digest) -> StreamInfo {
    StreamInfo { name, size, sha256 }
}

/// The new image's config, checked.
fn fetch_config(site: &Site, digest: &Sha256Digest) -> Result<Vec<u8>, Fault> {
    let name = format!("{}/{CONFIG_FILE}", hex::encode(digest));
    let config = site.read(&name, CONFIG_BYTES_MAX)?;
    if Sha256::digest(&config)[..] != *digest {
        let message = format!("{name} is other bytes than its digest says");
        return Err(Fault::new(Kind::DamagedPatch, message).hint("publish the image again"));
    }
    Ok(config)
}

/// The layers that OLD lacks, each once.
fn missing_layers(diff_ids: &[Sha256Digest], old: &OldImage<'_>) -> Vec<Sha256Digest> {
    let mut known: HashSet<_> = old.diff_ids().into_iter().collect();
    diff_ids.iter().copied().filter(|diff_id| known.insert(*diff_id)).collect()
}

fn fetch_index(site: &Site, diff_id: &Sha256Digest) -> Result<Index, Fault> {
    let name = format!("{}/{INDEX_FILE}", hex::encode(diff_id));
    let bytes = site.read(&name, fluvial_bundle::limits::INDEX_BYTES_MAX as u64)?;
    let index = Index::read(&bytes)?;
    if index.sha256 != *diff_id || index.name != hex::encode(diff_id) {
        let message = format!("{name} is the index of another layer");
        return Err(Fault::new(Kind::DamagedPatch, message).hint("publish the image again"));
    }
    Ok(index)
}

fn show(arguments: &ImageFetchArguments, outcome: &Outcome, duration_s: f64) -> Result<(), Fault> {
    let Outcome { image_digest, layers, layers_made, made_bytes, tally, counters } = outcome;
    if arguments.json {
        return say(serde_json::json!({
            "image": arguments.to.to_string(),
            "image_digest": image_digest,
            "layers": layers,
            "layers_made": layers_made,
            "made_bytes": made_bytes,
            "found_bytes": tally.found_bytes,
            "predicted_bytes": tally.predicted_bytes,
            "repaired_runs": tally.repaired_runs,
            "fetched_bytes": counters.bytes,
            "requests": counters.requests,
            "retries": counters.retries,
            "connections": arguments.connections,
            "duration_s": duration_s,
        }));
    }
    say(format_args!(
        "{}: {image_digest}, {layers_made} of {layers} layers made ({}), {} fetched in {} requests, in {duration_s:.1} s",
        arguments.to,
        HumanBytes(*made_bytes),
        HumanBytes(counters.bytes),
        counters.requests,
    ))
}
