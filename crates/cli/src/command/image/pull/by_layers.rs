//! The route by layers: those that OLD lacks, or all.

use std::io;
use std::path::Path;
use std::sync::Arc;

use fluvial_console::Fault;
use fluvial_delta::apply::Target as _;
use fluvial_delta::header::Sha256Digest;
use fluvial_delta::scratch::{Scratch, ScratchStore};
use fluvial_delta::structure::ReadAt;
use fluvial_device::disk::Medium;
use fluvial_image::oci::{Announced, ImageReference, Layer, Slice, digest_text};
use oci_spec::image::Descriptor;
use sha2::{Digest as _, Sha256};

use super::super::goal::Goal;
use super::super::old::OldImage;
use super::{Outcome, Pull, Route};

impl Pull<'_> {
    /// Makes the image from layers of `base` and of the registry; an engine is not sent those that it has.
    /// Every layer is unpacked once and compared with its diff id, as everywhere.
    ///
    /// # Errors
    /// Every way that it fails.
    pub(super) fn by_layers(&self, base: Option<&OldImage<'_>>) -> Result<Outcome, Fault> {
        let sha256: Sha256Digest = Sha256::digest(&self.config).into();
        let announced = Announced { sha256, len: self.config.len() as u64 };
        let goal = Goal::begin(&self.arguments.to, &[announced], self.access)?;
        let written = goal.blobs()[0].write_at(0, &self.config);
        written.map_err(|error| Fault::writing(goal.blobs().path(), error))?;
        let diff_ids: Vec<Sha256Digest> = self.layers.iter().map(|(diff_id, _)| *diff_id).collect();
        let mut layers_new = 0;
        let mut layers_of = |wanted: &[Sha256Digest]| {
            let mut layers = base.map_or(Ok(Vec::new()), |base| base.layers(wanted))?;
            let is_here = |layers: &[Layer], diff_id: &Sha256Digest| {
                layers.iter().any(|layer| layer.diff_id == *diff_id)
            };
            let is_fetched = |(diff_id, _): &&(Sha256Digest, Descriptor)| {
                wanted.contains(diff_id) && !is_here(&layers, diff_id)
            };
            let fetched: Vec<_> = self.layers.iter().filter(is_fetched).collect();
            self.progress.phase("fetching", fetched.iter().map(|(_, blob)| blob.size()).sum());
            for (diff_id, blob) in fetched {
                if !is_here(&layers, diff_id) {
                    layers_new += 1;
                    layers.push(Layer { diff_id: *diff_id, blob: whole(&self.layer_path(blob)?)? });
                }
            }
            // What goes to an engine is compared on its way.
            if matches!(self.arguments.to, ImageReference::File(_)) {
                self.progress.phase("verifying", layers.iter().map(|layer| layer.blob.len()).sum());
                for layer in &layers {
                    layer.open(&Nowhere, &self.watch())?;
                }
            }
            Ok(layers)
        };
        goal.finish(&self.config, &diff_ids, &mut layers_of, self.access)?;
        Ok(Outcome {
            route: if base.is_some() { Route::Layers } else { Route::Full },
            reasons: Vec::new(),
            image_digest: digest_text(&sha256),
            layers: self.layers.len(),
            layers_new,
            fetched_bytes: 0,
        })
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
