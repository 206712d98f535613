//! `fluvial swu` on the command line.

mod make;

use clap::{Args, Subcommand};

pub use make::{
    CertPurpose, PackageArguments, SignatureKind, SwuCompression, SwuDeltaArguments, SwuFullArguments,
};

/// `fluvial swu`.
#[derive(Debug, Args)]
pub struct SwuArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: SwuCommand,
}

/// The commands for packages of `SWUpdate`.
#[derive(Debug, Subcommand)]
pub enum SwuCommand {
    /// Makes a package that brings devices from one version to another by rdiff deltas.
    Delta(Box<SwuDeltaArguments>),
    /// Makes a package that has the whole images of a version.
    Full(Box<SwuFullArguments>),
}

impl SwuArguments {
    /// Whether output is for machines.
    pub fn json(&self) -> bool {
        match &self.command {
            SwuCommand::Delta(delta) => delta.package.json,
            SwuCommand::Full(full) => full.package.json,
        }
    }
}
