//! The route by layers: those that OLD lacks, or all.

use std::io;
use std::path::Path;
use std::sync::Arc;

use fluvial_delta::apply::Target as _;
use fluvial_delta::header::Sha256Digest;
use fluvial_delta::scratch::{Scratch, ScratchStore};
use fluvial_delta::structure::ReadAt;
use fluvial_image::oci::{Announced, Image, Layer, LayerSource, Slice, Writer, digest_text};
use sha2::{Digest as _, Sha256};

use super::{Outcome, Pull, Route};
use crate::fault::Fault;
use crate::medium::Medium;

impl Pull<'_> {
    /// Makes the image from layers of `base` and of the registry. Every layer is unpacked once and compared
    /// with its diff id, as everywhere.
    ///
    /// # Errors
    /// Every way that it fails.
    pub(super) fn by_layers(&self, base: Option<&Image>) -> Result<Outcome, Fault> {
        let mut sources: Vec<LayerSource> = Vec::with_capacity(self.layers.len());
        let mut layers: Vec<Layer> = Vec::new();
        let mut layers_new = 0;
        self.progress.phase("fetching", self.layers.iter().map(|(_, blob)| blob.size()).sum());
        for (diff_id, blob) in &self.layers {
            if let Some(known) = layers.iter().find(|layer| layer.diff_id == *diff_id) {
                sources.push(LayerSource::Kept(known.clone()));
                continue;
            }
            let here = base.and_then(|base| base.layers.iter().find(|layer| layer.diff_id == *diff_id));
            let layer = if let Some(layer) = here {
                layer.clone()
            } else {
                layers_new += 1;
                Layer { diff_id: *diff_id, blob: whole(&self.layer_path(blob)?)? }
            };
            layers.push(layer.clone());
            sources.push(LayerSource::Kept(layer));
        }
        self.progress.phase("verifying", layers.iter().map(|layer| layer.blob.len()).sum());
        for layer in &layers {
            layer.open(&Nowhere, &self.watch())?;
        }
        let image_digest = self.write(&sources)?;
        Ok(Outcome {
            route: if base.is_some() { Route::Layers } else { Route::Full },
            reasons: Vec::new(),
            image_digest,
            layers: self.layers.len(),
            layers_new,
            fetched_bytes: 0,
        })
    }

    fn write(&self, sources: &[LayerSource]) -> Result<String, Fault> {
        let sha256: Sha256Digest = Sha256::digest(&self.config).into();
        let announced = Announced { sha256, len: self.config.len() as u64 };
        let writer = Writer::begin(self.to, &[announced])?;
        let written = writer.blobs()[0].write_at(0, &self.config);
        written.map_err(|error| Fault::writing(self.to.path(), error))?;
        writer.finish(sources)?;
        Ok(digest_text(&sha256))
    }
}

fn whole(path: &Path) -> Result<Slice, Fault> {
    let medium = Medium::open(path).map_err(|error| Fault::reading(path, error))?;
    Ok(Slice::whole(Arc::new(medium)))
}

/// Temporary storage that keeps nothing: a layer is only compared with its diff id.
struct Nowhere;

struct Nothing(u64);

impl ScratchStore for Nowhere {
    fn create(&self) -> io::Result<Box<dyn Scratch>> {
        Ok(Box::new(Nothing(0)))
    }
}

impl Scratch for Nothing {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0 += bytes.len() as u64;
        Ok(())
    }
}

impl ReadAt for Nothing {
    fn len(&self) -> u64 {
        self.0
    }

    fn read_at(&self, _offset: u64, _buf: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
