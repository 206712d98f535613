//! `fluvial image push-delta`: a patch stored in the registry that has the new image.
//!
//! It is an artifact (OCI Image Format Specification 1.1, "Guidelines for Artifact Usage") whose subject is
//! the new image: whoever wants that image asks for what refers to it. Annotations tell which old image it is for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fluvial_console::{Fault, Interrupt, Kind, Progress, open, say};
use fluvial_delta::apply::ApplyError;
use fluvial_delta::header::{Header, Sha256Digest};
use fluvial_delta::structure::ReadAt as _;
use fluvial_device::disk::durable;
use fluvial_device::engine::Engine;
use fluvial_image::oci::{EngineReference, Image, ImageReference, digest_text};
use fluvial_registry::{RegistryImage, Repository};
use indicatif::HumanBytes;
use oci_spec::image::MediaType;
use serde_json::json;

use super::fetch::{Cache, in_registry, local};
use super::{CONFIG_TARGET, diff};
use crate::arguments::{ImageDiffArguments, ImagePushDeltaArguments};

/// The type of the artifact, and of its only layer: a patch.
pub(super) const PATCH_TYPE: &str = "application/vnd.fluvial.patch.v1";
/// The digest of the old image's config: how a patch is found.
pub(super) const OLD_CONFIG_ANNOTATION: &str = "vnd.fluvial.old.config.digest";
/// The digest of the old image's manifest, for people.
const OLD_MANIFEST_ANNOTATION: &str = "vnd.fluvial.old.manifest.digest";
/// The length of the patch in bytes.
pub(super) const PATCH_BYTES_ANNOTATION: &str = "vnd.fluvial.patch.bytes";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
const EMPTY: &[u8] = b"{}";

/// The old image, as the annotations name it.
struct Old {
    config_digest: String,
    /// Known where it is in a registry.
    manifest_digest: Option<String>,
}

/// What was pushed.
struct Pushed {
    artifact_digest: String,
    subject_digest: String,
    old_config_digest: String,
    patch_bytes: u64,
    /// What a pull of the missing layers would fetch, where the patch was made here.
    pull_bytes: Option<u64>,
}

/// Makes a patch, or takes one, and pushes it.
///
/// # Errors
/// Every way that it fails.
pub fn run(arguments: &ImagePushDeltaArguments, interrupt: Interrupt) -> Result<(), Fault> {
    let started = Instant::now();
    let progress = Progress::new(interrupt, arguments.json);
    let result = push_delta(arguments, &progress);
    progress.finish();
    show(arguments, &result?, started.elapsed().as_secs_f64())
}

fn push_delta(arguments: &ImagePushDeltaArguments, progress: &Progress) -> Result<Pushed, Fault> {
    let repository = Repository::open(in_registry(&arguments.new)?, arguments.registry.settings())?;
    let watch = |bytes| progress.advance(bytes);
    progress.phase("asking", 0);
    let new = repository.image(arguments.access.platform.as_ref(), &watch)?;
    let cache = Cache::new(&arguments.registry, Path::new("fluvial"));
    let (patch, pull_bytes) = match &arguments.patch {
        Some(patch) => (patch.clone(), None),
        None => make(arguments, &cache, progress)?,
    };
    check(&patch, &new)?;
    let old = old_of(arguments, progress)?;
    let pushed = push(&repository, &patch, &old, &new, progress)?;
    if arguments.patch.is_none() {
        durable::remove(&patch).map_err(|error| Fault::writing(&patch, error))?;
        cache.finish()?;
    }
    Ok(Pushed { pull_bytes, ..pushed })
}

/// Makes the patch; answers where it is, and what a pull would fetch.
fn make(
    arguments: &ImagePushDeltaArguments,
    cache: &Cache,
    progress: &Progress,
) -> Result<(PathBuf, Option<u64>), Fault> {
    let fetch = |image: &ImageReference| {
        local(image, arguments.access.platform.as_ref(), &arguments.registry, cache, progress)
    };
    cache.blobs()?;
    let patch = cache.path("patch");
    let diff_arguments = ImageDiffArguments {
        old: fetch(&arguments.old)?,
        new: fetch(&arguments.new)?,
        patch: patch.clone(),
        access: arguments.access.clone(),
        options: arguments.options.clone(),
        json: arguments.json,
        registry: arguments.registry.clone(),
    };
    let made = diff::make(&diff_arguments, progress)?;
    Ok((patch, Some(made.pull_bytes)))
}

/// Refuses a patch that does not make the new image.
fn check(patch: &Path, new: &RegistryImage) -> Result<(), Fault> {
    let (header, _) = Header::read(&open(patch)?).map_err(ApplyError::Header)?;
    let makes = header.targets.first().filter(|first| first.name == CONFIG_TARGET);
    let config = new.parsed.config().digest().to_string();
    if makes.is_some_and(|target| format!("sha256:{}", hex::encode(target.sha256)) == config) {
        return Ok(());
    }
    let message = format!("{} does not make NEW, whose config is {config}", patch.display());
    Err(Fault::new(Kind::Usage, message).hint("make it with `fluvial image diff`, for the same NEW"))
}

fn old_of(arguments: &ImagePushDeltaArguments, progress: &Progress) -> Result<Old, Fault> {
    let platform = arguments.access.platform.as_ref();
    let named = |digest: &Sha256Digest| Ok(Old { config_digest: digest_text(digest), manifest_digest: None });
    let reference = match &arguments.old {
        ImageReference::Registry(reference) => reference,
        ImageReference::File(file) => return named(&Image::open(file, platform)?.config_digest),
        ImageReference::Engine(EngineReference { kind, name }) => {
            let engine = Engine::connect(*kind, arguments.access.engine_socket.as_deref())?;
            return named(&engine.image(name)?.id);
        }
    };
    let repository = Repository::open(reference, arguments.registry.settings())?;
    let image = repository.image(platform, &|bytes| progress.advance(bytes))?;
    let config_digest = image.parsed.config().digest().to_string();
    Ok(Old { config_digest, manifest_digest: Some(image.manifest.digest()) })
}

fn push(
    repository: &Repository,
    patch: &Path,
    old: &Old,
    new: &RegistryImage,
    progress: &Progress,
) -> Result<Pushed, Fault> {
    let watch = |bytes| progress.advance(bytes);
    progress.phase("pushing", open(patch)?.len());
    let layer = repository.push_blob(patch, MediaType::Other(PATCH_TYPE.into()), &watch)?;
    let config = repository.push_bytes(EMPTY, MediaType::Other(EMPTY_TYPE.into()), &watch)?;
    let mut annotations = BTreeMap::from([
        (OLD_CONFIG_ANNOTATION, old.config_digest.clone()),
        (PATCH_BYTES_ANNOTATION, layer.size().to_string()),
    ]);
    annotations.extend(old.manifest_digest.iter().map(|digest| (OLD_MANIFEST_ANNOTATION, digest.clone())));
    // Nothing of it tells time or place: the same patch makes the same artifact.
    let artifact = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::ImageManifest,
        "artifactType": PATCH_TYPE,
        "config": config,
        "layers": [layer],
        "subject": new.manifest.descriptor()?,
        "annotations": annotations,
    });
    let artifact = artifact.to_string().into_bytes();
    let artifact = repository.push_manifest(artifact, MediaType::ImageManifest, None, &watch)?;
    let entry = json!({
        "mediaType": MediaType::ImageManifest,
        "digest": artifact.digest(),
        "size": artifact.bytes.len(),
        "artifactType": PATCH_TYPE,
        "annotations": annotations,
    });
    let subject_digest = new.manifest.digest();
    repository.add_referrer(&subject_digest, PATCH_TYPE, &entry, &watch)?;
    Ok(Pushed {
        artifact_digest: artifact.digest(),
        subject_digest,
        old_config_digest: old.config_digest.clone(),
        patch_bytes: layer.size(),
        pull_bytes: None,
    })
}

fn show(arguments: &ImagePushDeltaArguments, pushed: &Pushed, duration_s: f64) -> Result<(), Fault> {
    let Pushed { artifact_digest, subject_digest, old_config_digest, patch_bytes, pull_bytes } = pushed;
    if arguments.json {
        return say(json!({
            "artifact_digest": artifact_digest,
            "subject_digest": subject_digest,
            "old_config_digest": old_config_digest,
            "patch_bytes": patch_bytes,
            "pull_bytes": pull_bytes,
            "duration_s": duration_s,
        }));
    }
    say(format_args!(
        "{}: a patch of {} from {old_config_digest}, in {duration_s:.1} s",
        arguments.new,
        HumanBytes(*patch_bytes)
    ))?;
    say(format_args!("pushed as {artifact_digest}, which refers to {subject_digest}"))?;
    if pull_bytes.is_some_and(|pull| *patch_bytes >= pull) {
        eprintln!("warning: the patch is not smaller than a pull: nobody will take it");
    }
    Ok(())
}
