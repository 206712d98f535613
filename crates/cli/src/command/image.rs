//! `fluvial image`: container images. Sources are the files of the old image's root file system, targets
//! the new image's config and those of its layers that the old image lacks.

mod apply;
mod by_ranges;
mod compare;
mod diff;
mod fetch;
mod goal;
mod old;
mod pull;
mod push_delta;

mod publish;

use fluvial_console::{Fault, Interrupt, Kind, Progress};
use fluvial_delta::scratch::ScratchStore;
use fluvial_delta::structure::ReadAt as _;
use fluvial_device::disk::{Identity, Medium};
use fluvial_image::oci::{FileReference, Image, ImageReference, Layer, LayerTar};

use self::old::Access;
use crate::arguments::{ImageArguments, ImageCommand};

/// The name of the target that is the new image's config.
const CONFIG_TARGET: &str = "config";

/// Carries out a command for images.
///
/// # Errors
/// Every way that it fails.
pub fn run(arguments: &ImageArguments, interrupt: Interrupt) -> Result<(), Fault> {
    match &arguments.command {
        ImageCommand::Diff(diff) => fetch::before_diff(diff, interrupt),
        ImageCommand::Apply(apply) => fetch::before_apply(apply, interrupt),
        ImageCommand::PushDelta(push) => push_delta::run(push, interrupt),
        ImageCommand::Pull(pull) => pull::run(pull, interrupt),
        ImageCommand::Compare(compare) => compare::run(compare, interrupt),
        ImageCommand::Publish(publish) => publish::run(publish, interrupt),
        ImageCommand::Fetch(fetch) => by_ranges::run(fetch, interrupt),
    }
}

impl ImageArguments {
    /// Whether output is for machines.
    pub fn json(&self) -> bool {
        match &self.command {
            ImageCommand::Diff(diff) => diff.json,
            ImageCommand::Apply(apply) => apply.json,
            ImageCommand::PushDelta(push) => push.json,
            ImageCommand::Pull(pull) => pull.json,
            ImageCommand::Compare(compare) => compare.json,
            ImageCommand::Publish(publish) => publish.json,
            ImageCommand::Fetch(fetch) => fetch.json,
        }
    }
}

/// Which file an archive is; a layout is none.
fn identity_of(image: &ImageReference) -> Option<Identity> {
    let path = image.path()?;
    if path.is_file() { Medium::open(path).ok()?.identity().ok() } else { None }
}

/// Opens an image with all its layers, wherever it is kept. An engine saves it to a temporary file first.
fn open_image(image: &ImageReference, access: &Access<'_>) -> Result<Image, Fault> {
    match image {
        ImageReference::File(file) => Ok(Image::open(file, access.platform)?),
        ImageReference::Engine(engine) => old::open_saved(engine, access),
        ImageReference::Registry(_) => Err(not_in_files(image)),
    }
}

/// Where an image is kept in files.
fn in_files(image: &ImageReference) -> Result<&FileReference, Fault> {
    if let ImageReference::File(file) = image { Ok(file) } else { Err(not_in_files(image)) }
}

fn not_in_files(image: &ImageReference) -> Fault {
    Fault::new(Kind::Usage, format!("{image} is not in files"))
}

/// Opens layers as tars, checked.
fn open_layers(
    layers: &[Layer],
    scratch: &dyn ScratchStore,
    progress: &Progress,
) -> Result<Vec<LayerTar>, Fault> {
    progress.phase("unpacking", layers.iter().map(|layer| layer.blob.len()).sum());
    let open = |layer: &Layer| layer.open(scratch, &|bytes| progress.advance(bytes));
    Ok(layers.iter().map(open).collect::<Result<_, _>>()?)
}
