//! Where a new image goes: files, or an engine.

use std::path::Path;

use fluvial_delta::header::Sha256Digest;
use fluvial_delta::structure::ReadAt;
use fluvial_device::engine::{Content, Engine, LoadLayer};
use fluvial_image::oci::{Announced, Blobs, ImageReference, LayerSource, LayerTar, Writer};

use super::in_files;
use super::old::{Access, OldImage, open_tars};
use crate::command::hex;
use crate::durable::folder_of;
use crate::fault::{Fault, Kind};

/// Blobs stand so far from one another, in bytes: blocks of file systems, so that one blob can be given
/// back to the disk beside another.
const BLOB_SPACING_BYTES: u64 = 4096;

/// A new image in the making.
pub enum Goal {
    /// An archive or a layout.
    Files(Writer),
    /// An engine. What is made stands in a file of its own until it has taken it.
    Engine {
        /// The engine.
        engine: Box<Engine>,
        /// What the image is called there.
        name: String,
        /// What is made.
        blobs: Blobs,
    },
}

impl Goal {
    /// Begins to make an image of which these blobs are made: the config first, then layers.
    pub fn begin(to: &ImageReference, announced: &[Announced], access: &Access<'_>) -> Result<Self, Fault> {
        let ImageReference::Engine(reference) = to else {
            return Ok(Self::Files(Writer::begin(in_files(to)?, announced)?));
        };
        let engine = Box::new(Engine::connect(reference.kind, access.engine_socket)?);
        let part = access.folder.join(format!("fluvial-{}.part", &hex(&announced[0].sha256)[..16]));
        let blobs = Blobs::in_one_file(&part, announced, BLOB_SPACING_BYTES)?;
        Ok(Self::Engine { engine, name: reference.name.clone(), blobs })
    }

    /// What is made, in the order in which it was announced.
    pub fn blobs(&self) -> &Blobs {
        match self {
            Self::Files(writer) => writer.blobs(),
            Self::Engine { blobs, .. } => blobs,
        }
    }

    /// Lets what was made so far stay for a later run.
    pub fn keep(&mut self) {
        match self {
            Self::Files(writer) => writer.keep(),
            Self::Engine { blobs, .. } => blobs.keep(),
        }
    }

    /// Completes the image of these layers; all blobs are made and checked.
    pub fn finish(
        self,
        config: &[u8],
        diff_ids: &[Sha256Digest],
        old: OldImage<'_>,
        access: &Access<'_>,
    ) -> Result<(), Fault> {
        check_all_there(diff_ids, self.blobs(), &old)?;
        match self {
            Self::Files(writer) => {
                let layers = layer_sources(diff_ids, writer.blobs(), old)?;
                Ok(writer.finish(&layers)?)
            }
            Self::Engine { engine, name, blobs } => {
                load((&engine, &name), config, diff_ids, &blobs, old, access)
            }
        }
    }
}

/// Where temporary files go: beside the files that are made, or to `work_folder`.
pub fn folder_for<'a>(to: &'a ImageReference, work_folder: &'a Path) -> &'a Path {
    to.path().map_or(work_folder, folder_of)
}

fn made_by(diff_id: &Sha256Digest, blobs: &Blobs) -> Option<usize> {
    // The config itself is no layer.
    blobs.iter().skip(1).position(|blob| blob.announced().sha256 == *diff_id).map(|index| index + 1)
}

fn check_all_there(diff_ids: &[Sha256Digest], blobs: &Blobs, old: &OldImage<'_>) -> Result<(), Fault> {
    let kept = old.diff_ids();
    match diff_ids.iter().find(|diff_id| made_by(diff_id, blobs).is_none() && !kept.contains(diff_id)) {
        None => Ok(()),
        Some(diff_id) => {
            let message =
                format!("OLD lacks the layer sha256:{}, and the patch does not make it", hex(diff_id));
            Err(Fault::new(Kind::WrongSource, message))
        }
    }
}

/// Where each layer comes from.
fn layer_sources(
    diff_ids: &[Sha256Digest],
    blobs: &Blobs,
    old: OldImage<'_>,
) -> Result<Vec<LayerSource>, Fault> {
    let is_made = |diff_id: &Sha256Digest| made_by(diff_id, blobs).is_some();
    let kept = if diff_ids.iter().all(is_made) { Vec::new() } else { old.into_image()?.layers };
    let source = |diff_id: &Sha256Digest| match made_by(diff_id, blobs) {
        Some(index) => Some(LayerSource::Made(index)),
        None => kept.iter().find(|layer| layer.diff_id == *diff_id).cloned().map(LayerSource::Kept),
    };
    let lost = || Fault::new(Kind::WrongSource, "OLD has lost a layer meanwhile");
    diff_ids.iter().map(|diff_id| source(diff_id).ok_or_else(lost)).collect()
}

/// Hands an engine the layers that it lacks.
fn load(
    (engine, name): (&Engine, &str),
    config: &[u8],
    diff_ids: &[Sha256Digest],
    blobs: &Blobs,
    old: OldImage<'_>,
    access: &Access<'_>,
) -> Result<(), Fault> {
    let known = engine.known_layers(diff_ids)?;
    let lacking = &diff_ids[known..];
    // A layer that OLD has may stand on others in the new image: to the engine it is another one then.
    let wanted: Vec<Sha256Digest> =
        lacking.iter().copied().filter(|diff_id| made_by(diff_id, blobs).is_none()).collect();
    let kept: Vec<LayerTar> =
        if wanted.is_empty() { Vec::new() } else { open_tars(&old.into_image()?, &wanted, access)? };
    let tar_of = |diff_id: &Sha256Digest| -> Option<&dyn Content> {
        match made_by(diff_id, blobs) {
            Some(index) => Some(&blobs[index]),
            None => {
                kept.iter().find(|layer| layer.diff_id == *diff_id).map(|layer| &layer.tar as &dyn Content)
            }
        }
    };
    let layer = |(index, diff_id): (usize, &Sha256Digest)| LoadLayer {
        diff_id: *diff_id,
        tar: if index < known { None } else { tar_of(diff_id) },
    };
    let layers: Vec<LoadLayer<'_>> = diff_ids.iter().enumerate().map(layer).collect();
    access.progress.phase("loading", layers.iter().filter_map(|layer| layer.tar).map(ReadAt::len).sum());
    engine.load(config, &layers, name, &|bytes| access.progress.advance(bytes))?;
    Ok(())
}
