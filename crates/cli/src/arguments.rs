//! The command line.

mod artifacts;
mod bundle;
mod image;
mod key;
mod registry;
mod release;
mod simulate;
mod swu;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use fluvial_delta::diff::{DiffOptions, Preset};

pub use artifacts::{
    ArtifactsAddArguments, ArtifactsArguments, ArtifactsCommand, ArtifactsListArguments,
    ArtifactsPruneArguments, ArtifactsShowArguments, Named, StoreArguments,
};
pub use bundle::{
    BundleArguments, BundleCommand, BundleCreateArguments, BundleDeltaArguments, BundleInspectArguments,
    BundleVerifyArguments,
};
pub use image::{
    AccessArguments, ImageApplyArguments, ImageArguments, ImageCommand, ImageCompareArguments,
    ImageDiffArguments, ImageFetchArguments, ImagePublishArguments, MaybeImage,
};
pub use key::{KeyArguments, KeyCommand, KeyInitArguments, KeyRotateArguments, KeyShowArguments};
pub use registry::{ImagePullArguments, ImagePushDeltaArguments, RegistryArguments};
pub use release::{ReleaseArguments, ReleaseCommand, ReleaseSignArguments};
pub use simulate::{Method, SavingsArguments, SimulateArguments};
pub use swu::{
    PackageArguments, SwuApplyArguments, SwuArguments, SwuCommand, SwuCompression, SwuDeltaArguments,
    SwuFullArguments, SwuInspectArguments, SwuSignatureName, SwuTrustArguments, SwuVerifyArguments,
};

/// Delta updates: makes, applies and inspects patches.
#[derive(Debug, Parser)]
#[command(name = "fluvial", version, about, arg_required_else_help = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes a patch that turns OLD into NEW.
    Diff(DiffArguments),
    /// Makes NEW from OLD and a patch.
    Apply(ApplyArguments),
    /// Shows what a patch needs, what it makes, and which files cost the most.
    Inspect(InspectArguments),
    /// Measures what an update from OLD to NEW transfers, by every way that there is.
    Simulate(SimulateArguments),
    /// Tells what a fleet's updates cost in a year, by every way.
    Savings(SavingsArguments),
    /// The same for container images.
    ///
    /// An image is named by where it is kept: `oci:FOLDER[:TAG]`, `oci-archive:FILE[:TAG]`,
    /// `docker-archive:FILE[:NAME]`, `docker://HOST/NAME[:TAG|@DIGEST]`, `docker-daemon:NAME` or
    /// `podman:NAME`.
    Image(Box<ImageArguments>),
    /// Releases in one file, for devices with A/B slots.
    Bundle(Box<BundleArguments>),
    /// The store of built images that deltas are made between.
    Artifacts(ArtifactsArguments),
    /// Packages for devices that run `SWUpdate`.
    Swu(Box<SwuArguments>),
    /// Signs releases.
    Release(ReleaseArguments),
    /// The keys that releases are signed with.
    Key(KeyArguments),
}

impl Command {
    /// Whether it is a command for devices.
    pub fn is_apply(&self) -> bool {
        let image = |image: &ImageArguments| {
            matches!(image.command, ImageCommand::Apply(_) | ImageCommand::Pull(_) | ImageCommand::Fetch(_))
        };
        let swu = |swu: &SwuArguments| matches!(swu.command, SwuCommand::Apply(_));
        matches!(self, Self::Apply(_))
            || matches!(self, Self::Swu(arguments) if swu(arguments))
            || matches!(self, Self::Image(arguments) if image(arguments))
    }
}

/// `fluvial diff`.
#[derive(Debug, Args)]
pub struct DiffArguments {
    /// What devices have: a file, a block device, or a folder (a root file system).
    pub old: PathBuf,
    /// What they shall have: a file or a block device.
    pub new: PathBuf,
    /// Where the patch goes.
    #[arg(short = 'o', long = "output", value_name = "PATCH")]
    pub patch: PathBuf,
    /// How the patch is made.
    #[command(flatten)]
    pub options: DiffOptionArguments,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// `fluvial apply`.
#[derive(Debug, Args)]
pub struct ApplyArguments {
    /// What the patch was made from: a file, a block device, or a folder.
    pub old: PathBuf,
    /// The patch.
    pub patch: PathBuf,
    /// Where the result goes: a file, or a block device, which is written in place.
    #[arg(short = 'o', long = "output", value_name = "NEW")]
    pub new: PathBuf,
    /// Refuses a patch that takes more memory.
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = parse_size)]
    pub memory_limit: u64,
    /// Where progress is noted; NEW.part.journal if not given, PATCH.journal for a device.
    #[arg(long, value_name = "PATH")]
    pub journal: Option<PathBuf>,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// `fluvial inspect`.
#[derive(Debug, Args)]
pub struct InspectArguments {
    /// The patch.
    pub patch: PathBuf,
    /// How many of the files that cost the most to list.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub top: usize,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// How much work goes into a patch, and what it may take to apply.
#[derive(Debug, Clone, Args)]
pub struct EffortArguments {
    /// How much work goes into a small patch.
    #[arg(long, value_enum, default_value_t)]
    pub preset: PresetName,
    /// The most memory that applying may take; 64MiB if not given, for images 40MiB.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub apply_memory: Option<u64>,
    /// Threads to use; as many as there are cores if not given.
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZeroUsize>,
}

/// How a patch is made.
#[derive(Debug, Clone, Args)]
pub struct DiffOptionArguments {
    /// How much work goes into it.
    #[command(flatten)]
    pub effort: EffortArguments,
    /// Whether the patch is applied before it is given away: `auto` does so but for `--preset fast`.
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub verify: Verify,
}

impl DiffOptionArguments {
    /// The same, for the engine.
    pub fn options(&self, apply_memory_bytes_default: u64) -> DiffOptions {
        DiffOptions {
            preset: self.effort.preset.into(),
            apply_memory_bytes: self.effort.apply_memory.unwrap_or(apply_memory_bytes_default),
            verify: self.is_verified(),
            context: Vec::new(),
        }
    }

    /// Whether the patch is applied before it is given away.
    pub fn is_verified(&self) -> bool {
        match self.verify {
            Verify::Auto => !matches!(self.effort.preset, PresetName::Fast),
            Verify::Always => true,
            Verify::Never => false,
        }
    }
}

/// A preset by name.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum PresetName {
    /// An answer in seconds.
    Fast,
    /// Small, in minutes for a system image.
    #[default]
    Default,
    /// As small as can be.
    Max,
}

/// When a patch is applied by the one who makes it.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum Verify {
    /// Unless the answer has to come fast.
    #[default]
    Auto,
    /// In any case.
    Always,
    /// In no case: devices find out.
    Never,
}

impl From<PresetName> for Preset {
    fn from(name: PresetName) -> Self {
        match name {
            PresetName::Fast => Preset::Fast,
            PresetName::Default => Preset::Default,
            PresetName::Max => Preset::Max,
        }
    }
}

fn parse_size(text: &str) -> Result<u64, parse_size::Error> {
    parse_size::parse_size(text)
}
