//! The command line of `fluvial bundle`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use fluvial_bundle::{Cutting, HashKind};

use super::DiffOptionArguments;

/// `fluvial bundle`.
#[derive(Debug, Args)]
pub struct BundleArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: BundleCommand,
}

/// The commands for bundles.
#[derive(Debug, Subcommand)]
pub enum BundleCommand {
    /// Makes a bundle of a release: images of slots, in chunks.
    Create(BundleCreateArguments),
    /// Makes a bundle with patches, for devices that have the release OLD.
    Delta(BundleDeltaArguments),
    /// Shows what a bundle holds, and who vouches for it.
    Inspect(BundleInspectArguments),
    /// Makes everything from a bundle once, and compares it with the manifest.
    Verify(BundleVerifyArguments),
}

/// `fluvial bundle create`.
#[derive(Debug, Args)]
pub struct BundleCreateArguments {
    /// The release: name, version, sequence, and the images of slots (docs/bundle-format.md). Paths in it are
    /// relative to its folder.
    pub release: PathBuf,
    /// Where the bundle goes.
    #[arg(short = 'o', long = "output", value_name = "BUNDLE")]
    pub bundle: PathBuf,
    /// How much work goes into packing chunks: a level of Zstandard.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(i32).range(1..=22))]
    pub level: i32,
    /// How much work goes into packing images as a whole, for devices that have nothing of them.
    #[arg(long, value_name = "LEVEL", default_value_t = 19, value_parser = clap::value_parser!(i32).range(1..=22))]
    pub full_level: i32,
    /// Leaves the images as a whole out: half of the bundle, which only devices miss that have little of it.
    #[arg(long)]
    pub no_full: bool,
    /// How images are cut: `files` at files and by content, which finds the most; `casync-N` as casync does, to
    /// chunks of N KiB on average; `fixed-N` to blocks of N KiB.
    #[arg(long, value_name = "CUTTING", default_value_t)]
    pub cutting: Cutting,
    /// The hash of chunks: `blake3`, `sha256` or `sha512-256`.
    #[arg(long, default_value_t)]
    pub hash: HashKind,
    /// Threads to use; as many as there are cores if not given.
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZeroUsize>,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// `fluvial bundle delta`.
#[derive(Debug, Args)]
pub struct BundleDeltaArguments {
    /// The bundle of the release that devices have.
    pub old: PathBuf,
    /// The bundle of the release that they shall have.
    pub new: PathBuf,
    /// Where the bundle with patches goes.
    #[arg(short = 'o', long = "output", value_name = "BUNDLE")]
    pub bundle: PathBuf,
    /// A slot to make a patch for, if not for all; may be given again.
    #[arg(long, value_name = "NAME")]
    pub slot: Vec<String>,
    /// The file in the same folder that devices fetch from when the patch does not fit, if not NEW's name.
    #[arg(long, value_name = "NAME")]
    pub full_name: Option<String>,
    /// How patches are made.
    #[command(flatten)]
    pub options: DiffOptionArguments,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// `fluvial bundle inspect`.
#[derive(Debug, Args)]
pub struct BundleInspectArguments {
    /// The bundle.
    pub bundle: PathBuf,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// `fluvial bundle verify`.
#[derive(Debug, Args)]
pub struct BundleVerifyArguments {
    /// The bundle.
    pub bundle: PathBuf,
    /// Where temporary files go: as much as the largest image takes. The bundle's folder if not given.
    #[arg(long, value_name = "FOLDER")]
    pub work_folder: Option<PathBuf>,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

impl BundleArguments {
    /// Whether output is for machines.
    pub fn json(&self) -> bool {
        match &self.command {
            BundleCommand::Create(create) => create.json,
            BundleCommand::Delta(delta) => delta.json,
            BundleCommand::Inspect(inspect) => inspect.json,
            BundleCommand::Verify(verify) => verify.json,
        }
    }
}
