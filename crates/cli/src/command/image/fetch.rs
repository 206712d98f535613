//! Images of registries, fetched to where other commands read them: into a layout of their own.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use fluvial_console::{Fault, Interrupt, Kind, Progress};
use fluvial_device::disk::durable::beside;
use fluvial_image::oci::{DOCUMENT_BYTES_MAX, FileReference, ImageReference, LAYER_BYTES_MAX, Platform};
use fluvial_registry::{RegistryError, RegistryImage, Repository};
use oci_spec::distribution::Reference;
use oci_spec::image::Descriptor;
use serde_json::json;

use super::{apply, diff};
use crate::arguments::{ImageApplyArguments, ImageDiffArguments, RegistryArguments};
use crate::command::diff::write_patch;

const BLOBS: &str = "blobs/sha256";

/// Where what is fetched is kept: blobs by their digest, and a layout for each image.
pub(super) struct Cache {
    folder: PathBuf,
    is_kept: bool,
}

impl Cache {
    /// The folder that was asked for, or one beside `result`, which is removed when the work is done.
    pub(super) fn new(arguments: &RegistryArguments, result: &Path) -> Self {
        let folder = arguments.cache.clone().unwrap_or_else(|| beside(result, ".fetch"));
        Self { folder, is_kept: arguments.cache.is_some() }
    }

    /// The folder of the blobs.
    pub(super) fn blobs(&self) -> Result<PathBuf, Fault> {
        let folder = self.folder.join(BLOBS);
        fs::create_dir_all(&folder).map_err(|error| Fault::writing(&folder, error))?;
        Ok(folder)
    }

    /// A file in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The work is done. After a failure everything stays, so that the next run need not fetch it again.
    pub(super) fn finish(&self) -> Result<(), Fault> {
        if self.is_kept {
            return Ok(());
        }
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Fault::writing(&self.folder, error)),
            _ => Ok(()),
        }
    }
}

/// `fluvial image diff`, with images of registries fetched first.
///
/// # Errors
/// Every way that it fails.
pub(super) fn before_diff(arguments: &ImageDiffArguments, interrupt: Interrupt) -> Result<(), Fault> {
    if ![&arguments.old, &arguments.new].iter().any(|image| is_remote(image)) {
        return diff::run(arguments, interrupt);
    }
    let cache = Cache::new(&arguments.registry, &arguments.patch);
    let progress = Progress::new(interrupt.clone(), arguments.json);
    let fetch =
        |image| local(image, arguments.access.platform.as_ref(), &arguments.registry, &cache, &progress);
    let local = fetch(&arguments.old)
        .and_then(|old| Ok(ImageDiffArguments { old, new: fetch(&arguments.new)?, ..arguments.clone() }));
    progress.finish();
    diff::run(&local?, interrupt)?;
    cache.finish()
}

/// `fluvial image apply`, with OLD fetched first.
///
/// # Errors
/// Every way that it fails.
pub(super) fn before_apply(arguments: &ImageApplyArguments, interrupt: Interrupt) -> Result<(), Fault> {
    if !is_remote(&arguments.old) {
        return apply::run(arguments, interrupt);
    }
    let cache = Cache::new(&arguments.registry, &path_of(&arguments.to));
    let progress = Progress::new(interrupt.clone(), arguments.json);
    let old =
        local(&arguments.old, arguments.access.platform.as_ref(), &arguments.registry, &cache, &progress);
    progress.finish();
    apply::run(&ImageApplyArguments { old: old?, ..arguments.clone() }, interrupt)?;
    cache.finish()
}

/// The file or folder of an image; where it is in none, a name in the current folder.
pub(super) fn path_of(image: &ImageReference) -> PathBuf {
    image.path().unwrap_or(Path::new("fluvial")).to_owned()
}

fn is_remote(image: &ImageReference) -> bool {
    matches!(image, ImageReference::Registry(_))
}

/// The image of a registry that a reference names.
///
/// # Errors
/// [`Kind::Usage`] where it names another one.
pub(super) fn in_registry(image: &ImageReference) -> Result<&Reference, Fault> {
    match image {
        ImageReference::Registry(reference) => Ok(reference),
        ImageReference::File(_) | ImageReference::Engine(_) => {
            Err(Fault::new(Kind::Usage, format!("{image} is not in a registry"))
                .hint("write docker://HOST/NAME[:TAG]"))
        }
    }
}

/// Fetches an image if it is in a registry; answers where it is then.
///
/// # Errors
/// Every way that it fails; what has come is kept.
pub(super) fn local(
    image: &ImageReference,
    platform: Option<&Platform>,
    arguments: &RegistryArguments,
    cache: &Cache,
    progress: &Progress,
) -> Result<ImageReference, Fault> {
    let ImageReference::Registry(reference) = image else { return Ok(image.clone()) };
    let repository = Repository::open(reference, arguments.settings())?;
    progress.phase("asking", 0);
    let found = repository.image(platform, &|bytes| progress.advance(bytes))?;
    fetch_config(&repository, &found, cache, progress)?;
    let layers = found.parsed.layers();
    progress.phase("fetching", layers.iter().map(Descriptor::size).sum());
    for layer in layers {
        fetch_layer(&repository, layer, cache, progress)?;
    }
    put_layout(&found, cache).map(ImageReference::File)
}

/// Fetches an image's config.
///
/// # Errors
/// Every way that it fails.
pub(super) fn fetch_config(
    repository: &Repository,
    image: &RegistryImage,
    cache: &Cache,
    progress: &Progress,
) -> Result<PathBuf, Fault> {
    fetch_limited(repository, image.parsed.config(), DOCUMENT_BYTES_MAX, cache, progress)
}

/// Fetches a layer, or goes on with it.
///
/// # Errors
/// Every way that it fails; what has come is kept.
pub(super) fn fetch_layer(
    repository: &Repository,
    layer: &Descriptor,
    cache: &Cache,
    progress: &Progress,
) -> Result<PathBuf, Fault> {
    fetch_limited(repository, layer, LAYER_BYTES_MAX, cache, progress)
}

fn fetch_limited(
    repository: &Repository,
    blob: &Descriptor,
    limit: u64,
    cache: &Cache,
    progress: &Progress,
) -> Result<PathBuf, Fault> {
    if blob.size() > limit {
        return Err(RegistryError::TooLong { what: blob.digest().to_string(), limit }.into());
    }
    Ok(repository.blob(blob, &cache.blobs()?, &|bytes| progress.advance(bytes))?)
}

/// Writes the layout of an image whose blobs are there. It is the same whoever writes it, and has a folder of
/// its own: nobody else's is touched.
fn put_layout(image: &RegistryImage, cache: &Cache) -> Result<FileReference, Fault> {
    let digest = image.manifest.digest();
    let hex = digest.trim_start_matches("sha256:");
    let folder = cache.path("images").join(hex);
    fs::create_dir_all(&folder).map_err(|error| Fault::writing(&folder, error))?;
    let link = folder.join("blobs");
    match symlink("../../blobs", &link) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Fault::writing(&link, error));
        }
        _ => {}
    }
    let manifest = &image.manifest;
    let descriptor =
        json!({ "mediaType": manifest.media_type, "digest": digest, "size": manifest.bytes.len() });
    let index = json!({ "schemaVersion": 2, "manifests": [descriptor] }).to_string();
    put(&cache.blobs()?.join(hex), &manifest.bytes)?;
    put(&folder.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    put(&folder.join("index.json"), index.as_bytes())?;
    Ok(FileReference::Layout { folder, tag: None })
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    write_patch(path, |draft| draft.write_all(bytes).map_err(|error| Fault::writing(path, error)))
}
