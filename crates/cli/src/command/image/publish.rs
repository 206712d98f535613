//! `fluvial image publish`: NEW in chunks, for any server of static files.
//!
//! A folder with names made of digests: `HEX/config` for an image, `HEX/index` and `HEX/chunks` for a layer.
//! So images share the layers that they have in common, and nothing that was published ever changes.

use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Instant;

use fluvial_bundle::{Cutting, HashKind, Payload, WriteOptions, write};
use fluvial_console::{Fault, Interrupt, Progress, say};
use fluvial_delta::structure::{Extent, Files, ReadAt as _};
use fluvial_device::disk::DiskScratch;
use fluvial_device::disk::durable::Draft;
use fluvial_image::oci::{Image, LayerTar, merge};
use indicatif::HumanBytes;

use super::old::Access;
use super::{open_image, open_layers};
use crate::arguments::ImagePublishArguments;
use crate::command::diff::use_threads;

/// The names of published files.
pub(super) const CONFIG_FILE: &str = "config";
pub const INDEX_FILE: &str = "index";
pub const CHUNKS_FILE: &str = "chunks";
/// Bytes that are written at a time.
const COPY_BYTES: usize = 1 << 20;

/// What was published.
#[derive(Default)]
pub(super) struct Outcome {
    image_digest: String,
    layers: usize,
    layers_made: usize,
    index_bytes: u64,
    chunks_bytes: u64,
}

/// Publishes an image.
///
/// # Errors
/// Every way that it fails. What was published before is as it was; the new image is not there.
pub fn run(arguments: &ImagePublishArguments, interrupt: Interrupt) -> Result<(), Fault> {
    let started = Instant::now();
    let progress = Progress::new(interrupt, arguments.json);
    let result = publish(arguments, &progress);
    progress.finish();
    show(arguments, &result?, started.elapsed().as_secs_f64())
}

fn publish(arguments: &ImagePublishArguments, progress: &Progress) -> Result<Outcome, Fault> {
    use_threads(arguments.jobs)?;
    let folder = &arguments.to;
    fs::create_dir_all(folder).map_err(|error| Fault::writing(folder, error))?;
    let access = Access::new(&arguments.access, folder, progress);
    publish_image(open_image(&arguments.new, &access)?, folder, arguments.level, progress)
}

/// Publishes an image of which the layers are given that are wanted.
///
/// # Errors
/// As [`run`].
pub(super) fn publish_image(
    mut image: Image,
    folder: &Path,
    level: i32,
    progress: &Progress,
) -> Result<Outcome, Fault> {
    fs::create_dir_all(folder).map_err(|error| Fault::writing(folder, error))?;
    let image_hex = hex::encode(image.config_digest);
    let mut made = Outcome {
        image_digest: format!("sha256:{image_hex}"),
        layers: image.layers.len(),
        ..Outcome::default()
    };
    let mut seen = std::collections::HashSet::new();
    // The index of a layer is written last: where it is, the layer is complete.
    image.layers.retain(|layer| {
        seen.insert(layer.diff_id) && !folder.join(hex::encode(layer.diff_id)).join(INDEX_FILE).exists()
    });
    made.layers_made = image.layers.len();
    let layers = open_layers(&image.layers, &DiskScratch::new(folder), progress)?;
    progress.phase("packing", layers.iter().map(|layer| layer.tar.len()).sum());
    for layer in &layers {
        let (index_bytes, chunks_bytes) =
            publish_layer(layer, &folder.join(hex::encode(layer.diff_id)), level, progress)?;
        made.index_bytes += index_bytes;
        made.chunks_bytes += chunks_bytes;
    }
    // The image is there once its config is.
    put(&folder.join(image_hex).join(CONFIG_FILE), &image.config)?;
    Ok(made)
}

/// Publishes a layer; answers the lengths of its index and its chunks.
fn publish_layer(
    layer: &LayerTar,
    folder: &Path,
    level: i32,
    progress: &Progress,
) -> Result<(u64, u64), Fault> {
    fs::create_dir_all(folder).map_err(|error| Fault::writing(folder, error))?;
    let name = hex::encode(layer.diff_id);
    let files: Files = files_of(layer)?.into_iter().collect();
    let payload =
        Payload { name: &name, sha256: layer.diff_id, bytes: &layer.tar, files: &files, unpacked: None };
    let chunks = folder.join(CHUNKS_FILE);
    let failed = |error| Fault::writing(&chunks, error);
    let mut draft = BufWriter::with_capacity(COPY_BYTES, Draft::create(&chunks).map_err(failed)?);
    let options = WriteOptions { level, cutting: Cutting::Files, hash: HashKind::default() };
    let index = write(payload, options, &mut draft, &|bytes| progress.advance(bytes))?;
    draft.into_inner().map_err(|error| failed(error.into_error()))?.publish().map_err(failed)?;
    let bytes = index.to_bytes()?;
    put(&folder.join(INDEX_FILE), &bytes)?;
    Ok((bytes.len() as u64, index.chunk_file_len()))
}

/// Where files stand in a layer.
fn files_of(layer: &LayerTar) -> Result<Vec<Extent>, Fault> {
    let files = merge(std::slice::from_ref(layer))?;
    let mut extents: Vec<Extent> =
        files.iter().map(|file| Extent { offset: file.offset, len: file.content.len() }).collect();
    extents.sort_unstable_by_key(|extent| (extent.offset, extent.len));
    // A hard link stands where its file does.
    extents.dedup();
    Ok(extents)
}

/// What stands between the files of a layer, and its length.
pub fn between_files(layer: &LayerTar) -> Result<Vec<Extent>, Fault> {
    Ok(fluvial_bundle::gaps(&files_of(layer)?, layer.tar.len()))
}

/// Writes a short file, unless it is there.
fn put(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let failed = |error| Fault::writing(path, error);
    if fs::read(path).is_ok_and(|before| before == bytes) {
        return Ok(());
    }
    fs::create_dir_all(fluvial_device::disk::durable::folder_of(path)).map_err(failed)?;
    let mut draft = Draft::create(path).map_err(failed)?;
    draft.write_all(bytes).and_then(|()| draft.publish()).map_err(failed)
}

fn show(arguments: &ImagePublishArguments, made: &Outcome, duration_s: f64) -> Result<(), Fault> {
    let Outcome { image_digest, layers, layers_made, index_bytes, chunks_bytes } = made;
    if arguments.json {
        return say(serde_json::json!({
            "folder": arguments.to,
            "image_digest": image_digest,
            "layers": layers,
            "layers_made": layers_made,
            "index_bytes": index_bytes,
            "chunks_bytes": chunks_bytes,
            "duration_s": duration_s,
        }));
    }
    say(format_args!(
        "{}: {image_digest}, {layers_made} of {layers} layers published ({}, indexes {}), in {duration_s:.1} s",
        arguments.to.display(),
        HumanBytes(*chunks_bytes),
        HumanBytes(*index_bytes),
    ))
}
