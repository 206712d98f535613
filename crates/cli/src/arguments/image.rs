//! The command line of `fluvial image`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use fluvial_image::oci::{ImageReference, Platform, ReferenceError};

use super::registry::{ImagePullArguments, ImagePushDeltaArguments, RegistryArguments};
use super::{DiffOptionArguments, EffortArguments, parse_size};

/// Large files that shall outlive a restart: `/tmp` is memory on many devices.
pub(super) const WORK_FOLDER: &str = "/var/tmp";

/// `fluvial image`.
#[derive(Debug, Args)]
pub struct ImageArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: ImageCommand,
}

/// The commands for images.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Makes a patch from the files of OLD to the config and layers of NEW that OLD lacks.
    Diff(ImageDiffArguments),
    /// Makes the new image from OLD and a patch.
    Apply(ImageApplyArguments),
    /// Tells what an update from OLD to NEW would fetch by every route, and which files cost the most.
    Compare(ImageCompareArguments),
    /// Stores a patch from OLD to NEW in the registry that has NEW.
    PushDelta(ImagePushDeltaArguments),
    /// Fetches an image from a registry: as a patch, as the layers that OLD lacks, or whole.
    Pull(ImagePullArguments),
    /// Publishes NEW in chunks, for devices that fetch what they lack from any server of static files.
    Publish(ImagePublishArguments),
    /// Fetches a published image, using the files of OLD.
    Fetch(ImageFetchArguments),
}

/// Which of an image's variants is meant, and where the engine is that has it.
#[derive(Debug, Clone, Args)]
pub struct AccessArguments {
    /// The platform, where an image is there for several; this machine's if not given.
    #[arg(long, value_name = "OS/ARCHITECTURE[/VARIANT]")]
    pub platform: Option<Platform>,
    /// Where the engine listens, if not where it usually does.
    #[arg(long, value_name = "PATH")]
    pub engine_socket: Option<PathBuf>,
}

/// `fluvial image publish`.
#[derive(Debug, Args)]
pub struct ImagePublishArguments {
    /// The image.
    pub new: ImageReference,
    /// The folder that is served; images in it share their layers.
    #[arg(long, value_name = "FOLDER")]
    pub to: PathBuf,
    /// Which image, and where its engine is.
    #[command(flatten)]
    pub access: AccessArguments,
    /// How much work goes into packing: a level of Zstandard.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(i32).range(1..=22))]
    pub level: i32,
    /// Threads to use; as many as there are cores if not given.
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZeroUsize>,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// `fluvial image fetch`.
#[derive(Debug, Args)]
pub struct ImageFetchArguments {
    /// The image that is there; `none` if there is none.
    #[arg(value_parser = parse_old)]
    pub old: MaybeImage,
    /// The published folder and the new image's digest: `http[s]://HOST/FOLDER/DIGEST`, or a path.
    #[arg(value_name = "URL")]
    pub from: String,
    /// Where the new image goes. An archive is made anew; a layout or an engine keeps the images that it has.
    #[arg(long, value_name = "IMAGE")]
    pub to: ImageReference,
    /// Which image, and where its engine is.
    #[command(flatten)]
    pub access: AccessArguments,
    /// Where layers are made that go to an engine, and where what was fetched is kept meanwhile.
    #[arg(long, value_name = "FOLDER", default_value = WORK_FOLDER)]
    pub work_folder: PathBuf,
    /// Connections to the server at a time, 8 at most.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub connections: u8,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// An image that may be there.
#[derive(Debug, Clone)]
pub struct MaybeImage(pub Option<ImageReference>);

fn parse_old(text: &str) -> Result<MaybeImage, ReferenceError> {
    if text == "none" { Ok(MaybeImage(None)) } else { text.parse().map(|image| MaybeImage(Some(image))) }
}

/// `fluvial image compare`.
#[derive(Debug, Args)]
pub struct ImageCompareArguments {
    /// The image that devices have.
    pub old: ImageReference,
    /// The image that they shall have.
    pub new: ImageReference,
    /// How many of the files that cost the most to list.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub top: usize,
    /// Which image, and where its engine is.
    #[command(flatten)]
    pub access: AccessArguments,
    /// Where temporary files go: about as much as the new layers take, twice.
    #[arg(long, value_name = "FOLDER", default_value = WORK_FOLDER)]
    pub work_folder: PathBuf,
    /// How much work goes into the patch.
    #[command(flatten)]
    pub effort: EffortArguments,
    /// How much work goes into packing chunks: a level of Zstandard.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(i32).range(1..=22))]
    pub level: i32,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
    /// Registries.
    #[command(flatten)]
    pub registry: RegistryArguments,
}

/// `fluvial image diff`.
#[derive(Debug, Clone, Args)]
pub struct ImageDiffArguments {
    /// The image that devices have.
    pub old: ImageReference,
    /// The image that they shall have.
    pub new: ImageReference,
    /// Where the patch goes.
    #[arg(short = 'o', long = "output", value_name = "PATCH")]
    pub patch: PathBuf,
    /// Which image, and where its engine is.
    #[command(flatten)]
    pub access: AccessArguments,
    /// How the patch is made.
    #[command(flatten)]
    pub options: DiffOptionArguments,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
    /// Registries.
    #[command(flatten)]
    pub registry: RegistryArguments,
}

/// `fluvial image apply`.
#[derive(Debug, Clone, Args)]
pub struct ImageApplyArguments {
    /// The image that the patch was made from.
    pub old: ImageReference,
    /// The patch.
    pub patch: PathBuf,
    /// Where the new image goes. An archive is made anew; a layout or an engine keeps the images that it has.
    #[arg(long, value_name = "IMAGE")]
    pub to: ImageReference,
    /// Which image, and where its engine is.
    #[command(flatten)]
    pub access: AccessArguments,
    /// Where layers are made that go to an engine. They take no more there than the engine takes for them
    /// afterwards, and are removed as it takes them.
    #[arg(long, value_name = "FOLDER", default_value = WORK_FOLDER)]
    pub work_folder: PathBuf,
    /// Refuses a patch that takes more memory.
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = parse_size)]
    pub memory_limit: u64,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
    /// Registries.
    #[command(flatten)]
    pub registry: RegistryArguments,
}
