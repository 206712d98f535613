//! Where a new image goes: files, or an engine.

use std::path::Path;

use fluvial_console::{Fault, Kind};
use fluvial_delta::header::Sha256Digest;
use fluvial_delta::structure::ReadAt;
use fluvial_device::disk::DiskScratch;
use fluvial_device::disk::durable::folder_of;
use fluvial_device::engine::{Content, Engine, EngineError, LoadLayer};
use fluvial_image::oci::{Announced, Blobs, ImageReference, Layer, LayerSource, Writer, digest_text};

use super::old::Access;
use super::{in_files, open_layers};

/// Blobs stand so far from one another, in bytes: blocks of file systems, so that one blob can be given
/// back to the disk beside another.
const BLOB_SPACING_BYTES: u64 = 4096;

/// Gives those layers of these that there are, as they are kept.
pub type LayersOf<'a> = dyn FnMut(&[Sha256Digest]) -> Result<Vec<Layer>, Fault> + 'a;

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
        let part = access.folder.join(format!("fluvial-{}.part", &hex::encode(announced[0].sha256)[..16]));
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

    /// Completes the image of these layers; all blobs are made and checked. `layers_of` gives the layers that
    /// are needed beside them, as they are kept: it is asked once.
    pub fn finish(
        self,
        config: &[u8],
        diff_ids: &[Sha256Digest],
        layers_of: &mut LayersOf<'_>,
        access: &Access<'_>,
    ) -> Result<(), Fault> {
        let known = match &self {
            Self::Files(_) => 0,
            Self::Engine { engine, .. } => engine.known_layers(diff_ids)?,
        };
        // A layer that OLD has may stand on others in the new image: to an engine it is another one then.
        let mut wanted: Vec<Sha256Digest> = Vec::new();
        for diff_id in &diff_ids[known..] {
            if made_by(diff_id, self.blobs()).is_none() && !wanted.contains(diff_id) {
                wanted.push(*diff_id);
            }
        }
        let kept = if wanted.is_empty() { Vec::new() } else { layers_of(&wanted)? };
        let has = |diff_id: &&Sha256Digest| kept.iter().any(|layer| layer.diff_id == **diff_id);
        if let Some(diff_id) = wanted.iter().find(|diff_id| !has(diff_id)) {
            let message = format!(
                "OLD lacks the layer sha256:{}, and the patch does not make it",
                hex::encode(diff_id)
            );
            return Err(Fault::new(Kind::WrongSource, message));
        }
        match self {
            Self::Files(writer) => {
                let source = |diff_id: &Sha256Digest| match made_by(diff_id, writer.blobs()) {
                    Some(index) => Some(LayerSource::Made(index)),
                    None => {
                        kept.iter().find(|layer| layer.diff_id == *diff_id).cloned().map(LayerSource::Kept)
                    }
                };
                let layers: Vec<LayerSource> = diff_ids.iter().filter_map(source).collect();
                Ok(writer.finish(&layers)?)
            }
            Self::Engine { engine, name, blobs } => {
                let kept = open_layers(&kept, &DiskScratch::new(access.folder), access.progress)?;
                let tar_of = |diff_id: &Sha256Digest| -> Option<&dyn Content> {
                    if let Some(index) = made_by(diff_id, &blobs) {
                        return Some(&blobs[index]);
                    }
                    kept.iter()
                        .find(|layer| layer.diff_id == *diff_id)
                        .map(|layer| &layer.tar as &dyn Content)
                };
                let layer = |(index, diff_id): (usize, &Sha256Digest)| LoadLayer {
                    diff_id: *diff_id,
                    tar: if index < known { None } else { tar_of(diff_id) },
                };
                let layers: Vec<LoadLayer<'_>> = diff_ids.iter().enumerate().map(layer).collect();
                let bytes = layers.iter().filter_map(|layer| layer.tar).map(ReadAt::len).sum();
                access.progress.phase("loading", bytes);
                engine.load(config, &layers, &name, &|bytes| access.progress.advance(bytes))?;
                Ok(())
            }
        }
    }
}

/// Looks whether the engine has the image of this id already: then that gets the name, and nothing is made.
/// Answers how many layers it has.
pub fn has_already(
    id: &Sha256Digest,
    to: &ImageReference,
    engine_socket: Option<&Path>,
) -> Result<Option<usize>, Fault> {
    let ImageReference::Engine(to) = to else { return Ok(None) };
    let engine = Engine::connect(to.kind, engine_socket)?;
    match engine.image(&digest_text(id)) {
        Ok(image) => {
            engine.tag(id, &to.name)?;
            Ok(Some(image.diff_ids.len()))
        }
        Err(EngineError::NoImage { .. }) => Ok(None),
        Err(error) => Err(error.into()),
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
