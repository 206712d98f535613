//! `fluvial image pull`: an image of a registry by the cheapest route that works. A patch, the layers that
//! OLD lacks, everything: whatever the route, the same config comes out, and so the same image.

mod by_layers;
mod by_patch;

use std::path::PathBuf;
use std::time::Instant;

use fluvial_console::{Fault, Interrupt, Kind, Progress, say};
use fluvial_delta::header::Sha256Digest;
use fluvial_device::disk::is_at;
use fluvial_image::oci::{diff_ids_of, digest_text};
use fluvial_registry::{RegistryImage, Repository};
use indicatif::HumanBytes;
use oci_spec::image::Descriptor;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::fetch::{Cache, fetch_config, in_registry};
use super::goal::{folder_for, has_already};
use super::identity_of;
use super::old::{Access, OldImage};
use crate::arguments::ImagePullArguments;

/// How an image came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Route {
    /// The engine had it.
    None,
    /// A patch was applied to OLD.
    Patch,
    /// The layers that OLD lacks were fetched.
    Layers,
    /// Everything was fetched.
    Full,
}

/// What a pull came to.
struct Outcome {
    route: Route,
    /// Why earlier routes were left.
    reasons: Vec<String>,
    image_digest: String,
    layers: usize,
    /// Layers that were fetched or made.
    layers_new: usize,
    fetched_bytes: u64,
}

/// What all routes need to know.
struct Pull<'a> {
    arguments: &'a ImagePullArguments,
    progress: &'a Progress,
    repository: Repository,
    cache: Cache,
    access: &'a Access<'a>,
    image: RegistryImage,
    config: Vec<u8>,
    /// Each layer's diff id, and what it is in the registry; the lowest first.
    layers: Vec<(Sha256Digest, Descriptor)>,
}

/// Fetches an image.
///
/// # Errors
/// Every way that it fails; the image is then not there, and what was fetched is kept for the next run.
pub fn run(arguments: &ImagePullArguments, interrupt: Interrupt) -> Result<(), Fault> {
    let started = Instant::now();
    let progress = Progress::new(interrupt, arguments.json);
    let result = pull(arguments, &progress);
    progress.finish();
    show(arguments, &result?, started.elapsed().as_secs_f64())
}

fn pull(arguments: &ImagePullArguments, progress: &Progress) -> Result<Outcome, Fault> {
    let reference = in_registry(&arguments.image)?;
    if let (Some(base), Some(to)) = (&arguments.base, arguments.to.path())
        && is_at(to, identity_of(base))
    {
        return Err(Fault::overwriting(to, "OLD").hint("choose another place with --to"));
    }
    let access = &Access::new(&arguments.access, folder_for(&arguments.to, &arguments.work_folder), progress);
    let result = match (arguments.to.path(), reference.digest().or(reference.tag())) {
        (Some(path), _) => path.to_owned(),
        (None, name) => access.folder.join(format!("fluvial-{}", name.unwrap_or_default().replace(':', "-"))),
    };
    let cache = Cache::new(&arguments.registry, &result);
    let repository = Repository::open(reference, arguments.registry.settings())?;
    progress.phase("asking", 0);
    let image = repository.image(arguments.access.platform.as_ref(), &|bytes| progress.advance(bytes))?;
    let config_path = fetch_config(&repository, &image, &cache, progress)?;
    let config = std::fs::read(&config_path).map_err(|error| Fault::reading(&config_path, error))?;
    let layers = layers_of(&config, &image)?;
    let pull = Pull { arguments, progress, repository, cache, access, image, config, layers };
    let outcome = pull.by_any_route()?;
    pull.cache.finish()?;
    Ok(Outcome { fetched_bytes: pull.repository.fetched_bytes(), ..outcome })
}

/// Puts the config's diff ids beside the manifest's layers.
fn layers_of(config: &[u8], image: &RegistryImage) -> Result<Vec<(Sha256Digest, Descriptor)>, Fault> {
    let refuse = |reason| Fault::new(Kind::NotAnImage, format!("the image cannot be read: {reason}"));
    let diff_ids = diff_ids_of(config).map_err(refuse)?;
    let layers = image.parsed.layers();
    if diff_ids.len() != layers.len() {
        let reason = format!("its config names {} layers, there are {}", diff_ids.len(), layers.len());
        return Err(refuse(reason));
    }
    Ok(diff_ids.into_iter().zip(layers.iter().cloned()).collect())
}

impl Pull<'_> {
    fn by_any_route(&self) -> Result<Outcome, Fault> {
        let mut reasons = Vec::new();
        let config_digest: Sha256Digest = Sha256::digest(&self.config).into();
        if has_already(&config_digest, &self.arguments.to, self.access.engine_socket)?.is_some() {
            return Ok(Outcome {
                route: Route::None,
                reasons,
                image_digest: digest_text(&config_digest),
                layers: self.layers.len(),
                layers_new: 0,
                fetched_bytes: 0,
            });
        }
        if let Some(base) = &self.arguments.base {
            match OldImage::open(base, self.access) {
                Ok(base) => {
                    if self.missing_bytes(&base) > 0 {
                        match self.by_patch(&base, &mut reasons)? {
                            Some(outcome) => return Ok(Outcome { reasons, ..outcome }),
                            None => self.progress.phase("asking", 0),
                        }
                    }
                    match self.by_layers(Some(&base)) {
                        Ok(outcome) => return Ok(Outcome { reasons, ..outcome }),
                        Err(fault) => reasons.push(format!("the layers of OLD: {}", passed(fault)?)),
                    }
                }
                Err(fault) => reasons.push(format!("OLD: {}", passed(fault)?)),
            }
        }
        let outcome = self.by_layers(None)?;
        Ok(Outcome { reasons, ..outcome })
    }

    /// What a pull of the layers that `base` lacks would fetch, in bytes.
    fn missing_bytes(&self, base: &OldImage<'_>) -> u64 {
        let here = base.diff_ids();
        let is_missing = |diff_id| !here.contains(&diff_id);
        let mut sizes: Vec<(Sha256Digest, u64)> = self
            .layers
            .iter()
            .filter(|(id, _)| is_missing(*id))
            .map(|(id, blob)| (*id, blob.size()))
            .collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes.iter().fold(0, |sum: u64, (_, size)| sum.saturating_add(*size))
    }

    fn watch(&self) -> impl Fn(u64) -> bool + '_ {
        |bytes| self.progress.advance(bytes)
    }

    /// A blob's file.
    fn layer_path(&self, layer: &Descriptor) -> Result<PathBuf, Fault> {
        super::fetch::fetch_layer(&self.repository, layer, &self.cache, self.progress)
    }
}

/// The reason why a route is left. What would fail on every route ends the pull.
fn passed(fault: Fault) -> Result<String, Fault> {
    match fault.kind {
        Kind::Cancelled
        | Kind::NoSpace
        | Kind::ReadOnly
        | Kind::Busy
        | Kind::Usage
        | Kind::Unreachable
        | Kind::Internal => Err(fault),
        _ => Ok(fault.text()),
    }
}

fn show(arguments: &ImagePullArguments, outcome: &Outcome, duration_s: f64) -> Result<(), Fault> {
    let Outcome { route, reasons, image_digest, layers, layers_new, fetched_bytes } = outcome;
    let reason = (!reasons.is_empty()).then(|| reasons.join("; "));
    if arguments.json {
        return say(serde_json::json!({
            "image": arguments.to.to_string(),
            "image_digest": image_digest,
            "route": route,
            "reason": reason,
            "fetched_bytes": fetched_bytes,
            "layers": layers,
            "layers_new": layers_new,
            "duration_s": duration_s,
        }));
    }
    let how = match route {
        Route::None => "here already",
        Route::Patch => "by a patch",
        Route::Layers => "by the layers that OLD lacks",
        Route::Full => "by all layers",
    };
    say(format_args!(
        "{}: {image_digest}, {how}: {layers_new} of {layers} layers new, {} fetched, in {duration_s:.1} s",
        arguments.to,
        HumanBytes(*fetched_bytes),
    ))?;
    for reason in reasons {
        say(format_args!("not another way because of {reason}"))?;
    }
    Ok(())
}
