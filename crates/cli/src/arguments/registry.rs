//! What has to do with registries on the command line.

use std::path::PathBuf;

use clap::Args;
use fluvial_image::oci::ImageReference;
use fluvial_registry::Settings;

use super::image::{AccessArguments, WORK_FOLDER};
use super::{DiffOptionArguments, parse_size};

/// How registries are spoken to.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Registries")]
pub struct RegistryArguments {
    /// Keeps here what is fetched; beside the result if not given, and removed at the end.
    #[arg(long, value_name = "FOLDER")]
    pub cache: Option<PathBuf>,
    /// A connection that takes longer to come about has failed.
    #[arg(long, value_name = "MS", default_value_t = Settings::default().connect_timeout_ms)]
    pub connect_timeout_ms: u64,
    /// A connection that is silent for longer is given up.
    #[arg(long, value_name = "MS", default_value_t = Settings::default().read_timeout_ms)]
    pub read_timeout_ms: u64,
    /// How often a request is repeated in a row, with nothing that came.
    #[arg(long, value_name = "N", default_value_t = Settings::default().retry_count)]
    pub retry_count: u32,
    /// The longest pause between tries; the first one takes an eighth of it.
    #[arg(long, value_name = "MS", default_value_t = Settings::default().retry_interval_ms)]
    pub retry_interval_ms: u64,
}

impl RegistryArguments {
    /// The same, for the client.
    pub fn settings(&self) -> Settings {
        Settings {
            connect_timeout_ms: self.connect_timeout_ms,
            read_timeout_ms: self.read_timeout_ms,
            retry_count: self.retry_count,
            retry_interval_ms: self.retry_interval_ms,
        }
    }
}

/// `fluvial image push-delta`.
#[derive(Debug, Args)]
pub struct ImagePushDeltaArguments {
    /// The image that devices have.
    pub old: ImageReference,
    /// The image that they shall have, in the registry that the patch goes to.
    pub new: ImageReference,
    /// Pushes this patch instead of making one.
    #[arg(long, value_name = "PATCH")]
    pub patch: Option<PathBuf>,
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

/// `fluvial image pull`.
#[derive(Debug, Args)]
pub struct ImagePullArguments {
    /// The image, in a registry.
    pub image: ImageReference,
    /// Where it goes. An archive is made anew; a layout or an engine keeps the images that it has.
    #[arg(long, value_name = "IMAGE")]
    pub to: ImageReference,
    /// The image that is here already: what can be made of it is not fetched.
    #[arg(long, value_name = "OLD")]
    pub base: Option<ImageReference>,
    /// Which image, and where its engine is.
    #[command(flatten)]
    pub access: AccessArguments,
    /// Where layers are made that go to an engine, and what is fetched for them.
    #[arg(long, value_name = "FOLDER", default_value = WORK_FOLDER)]
    pub work_folder: PathBuf,
    /// Takes no patch that needs more memory.
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = parse_size)]
    pub memory_limit: u64,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
    /// Registries.
    #[command(flatten)]
    pub registry: RegistryArguments,
}
