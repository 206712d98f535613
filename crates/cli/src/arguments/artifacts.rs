//! `fluvial artifacts` on the command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use fluvial_artifacts::{Filter, ImageId, Name, Version, VersionId};

use super::parse_size;

/// `fluvial artifacts`.
#[derive(Debug, Args)]
pub struct ArtifactsArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: ArtifactsCommand,
}

/// The commands for the artifact store.
#[derive(Debug, Subcommand)]
pub enum ArtifactsCommand {
    /// Copies images into the store as a new version. A version that is there is never overwritten.
    Add(Box<ArtifactsAddArguments>),
    /// Lists the versions that there are, and what else is in the store.
    List(ArtifactsListArguments),
    /// Shows a version: its images, how it was configured, and the deltas to it.
    Show(ArtifactsShowArguments),
    /// Reads versions again, and compares them with what was added.
    Verify(ArtifactsListArguments),
    /// Removes old versions, but none that a delta names.
    Prune(ArtifactsPruneArguments),
}

/// Where the store is.
#[derive(Debug, Args)]
pub struct StoreArguments {
    /// The store's folder.
    #[arg(long, value_name = "DIR", env = "FLUVIAL_ARTIFACTS", hide_env_values = true)]
    pub artifacts: PathBuf,
}

/// Which version.
#[derive(Debug, Args)]
pub struct VersionArguments {
    /// The machine that the image is for.
    #[arg(long, value_name = "M")]
    pub machine: Name,
    /// The image.
    #[arg(long, value_name = "I")]
    pub image: Name,
    /// The version.
    #[arg(long, value_name = "V", env = "BUILD_VERSION", hide_env_values = true)]
    pub version: Version,
}

/// `fluvial artifacts add`.
#[derive(Debug, Args)]
pub struct ArtifactsAddArguments {
    /// Where to.
    #[command(flatten)]
    pub store: StoreArguments,
    /// As what.
    #[command(flatten)]
    pub version: VersionArguments,
    /// The images, in the order of their partitions: NAME is a partition, such as rootfs.
    #[arg(value_name = "NAME=FILE", required = true)]
    pub images: Vec<Named<PathBuf>>,
    /// The distribution that it is of.
    #[arg(long, value_name = "D")]
    pub distribution: Option<Name>,
    /// How it was configured; deltas are only made between versions that were configured the same.
    #[arg(long, value_name = "KEY=VALUE")]
    pub build_info: Vec<String>,
    /// What else is told of it, such as a commit or a date; deltas do not mind.
    #[arg(long, value_name = "KEY=VALUE")]
    pub build_note: Vec<String>,
    /// The length of a partition, where it is longer than its image.
    #[arg(long, value_name = "NAME=SIZE")]
    pub partition_size: Vec<Named<Size>>,
    /// The length of a partition's blocks in bytes, where it is not 512.
    #[arg(long, value_name = "NAME=N")]
    pub block_len: Vec<Named<u32>>,
    /// When it was made, in seconds since 1970; not told if not given.
    #[arg(long, value_name = "SECONDS", env = "SOURCE_DATE_EPOCH", hide_env_values = true)]
    pub source_date_epoch: Option<u64>,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// `fluvial artifacts list` and `verify`.
#[derive(Debug, Args)]
pub struct ArtifactsListArguments {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArguments,
    /// Only this machine.
    #[arg(long, value_name = "M")]
    pub machine: Option<Name>,
    /// Only images of this name.
    #[arg(long, value_name = "I")]
    pub image: Option<Name>,
    /// Only versions of this name.
    #[arg(long, value_name = "V")]
    pub version: Option<Version>,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// `fluvial artifacts show`.
#[derive(Debug, Args)]
pub struct ArtifactsShowArguments {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArguments,
    /// Which version.
    #[command(flatten)]
    pub version: VersionArguments,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// `fluvial artifacts prune`.
#[derive(Debug, Args)]
pub struct ArtifactsPruneArguments {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArguments,
    /// How many of the newest versions of each image stay in any case.
    #[arg(long, value_name = "N")]
    pub keep: NonZeroUsize,
    /// Only this machine.
    #[arg(long, value_name = "M")]
    pub machine: Option<Name>,
    /// Only images of this name.
    #[arg(long, value_name = "I")]
    pub image: Option<Name>,
    /// Also removes deltas that do not lead to one of the newest versions, and then what only they named.
    #[arg(long)]
    pub deltas: bool,
    /// Removes nothing, and tells what would be removed.
    #[arg(long)]
    pub dry_run: bool,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Something that is told of a partition.
#[derive(Debug, Clone)]
pub struct Named<T> {
    /// The partition.
    pub name: Name,
    /// What is told.
    pub value: T,
}

/// A number of bytes, with or without a unit.
#[derive(Debug, Clone, Copy)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = parse_size::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_size(text).map(Self)
    }
}

impl<T: FromStr<Err: ToString>> FromStr for Named<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("there is no '='")?;
        if value.is_empty() {
            return Err("there is nothing behind the '='".into());
        }
        let name = name.parse::<Name>().map_err(|error| error.to_string())?;
        let value = value.parse::<T>().map_err(|error| error.to_string())?;
        Ok(Self { name, value })
    }
}

impl ArtifactsArguments {
    /// Whether output is for machines.
    pub fn json(&self) -> bool {
        match &self.command {
            ArtifactsCommand::Add(add) => add.json,
            ArtifactsCommand::List(list) | ArtifactsCommand::Verify(list) => list.json,
            ArtifactsCommand::Show(show) => show.json,
            ArtifactsCommand::Prune(prune) => prune.json,
        }
    }
}

impl VersionArguments {
    /// The same, for the library.
    pub fn id(&self) -> VersionId {
        let of = ImageId { machine: self.machine.clone(), image: self.image.clone() };
        of.version(&self.version)
    }
}

impl ArtifactsListArguments {
    /// The same, for the library.
    pub fn filter(&self) -> Filter {
        let Self { machine, image, version, .. } = self;
        Filter { machine: machine.clone(), image: image.clone(), version: version.clone() }
    }
}
