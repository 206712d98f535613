//! The command line of `fluvial release`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `fluvial release`.
#[derive(Debug, Args)]
pub struct ReleaseArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: ReleaseCommand,
}

/// The commands for releases.
#[derive(Debug, Subcommand)]
pub enum ReleaseCommand {
    /// Signs the release in a bundle. Patches made of it later carry the signatures along.
    Sign(ReleaseSignArguments),
}

/// `fluvial release sign`.
#[derive(Debug, Args)]
pub struct ReleaseSignArguments {
    /// The bundle.
    pub bundle: PathBuf,
    /// The folder of keys, as `fluvial key init` makes it; the root's keys may be somewhere else.
    #[arg(long, value_name = "DIR")]
    pub keys: PathBuf,
    /// Where the signed bundle goes, if not in the place of the bundle.
    #[arg(short = 'o', long = "output", value_name = "BUNDLE")]
    pub output: Option<PathBuf>,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

impl ReleaseArguments {
    /// Whether output is for machines.
    pub fn json(&self) -> bool {
        match &self.command {
            ReleaseCommand::Sign(sign) => sign.json,
        }
    }
}
