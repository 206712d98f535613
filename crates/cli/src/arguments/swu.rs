//! `fluvial swu` on the command line.

mod make;
mod read;

use clap::{Args, Subcommand};

pub use make::{PackageArguments, SwuCompression, SwuDeltaArguments, SwuFullArguments};
pub use read::{
    SwuApplyArguments, SwuInspectArguments, SwuSignatureName, SwuTrustArguments, SwuVerifyArguments,
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
    /// Shows what a package installs, where, on which devices, and whether it guards itself.
    Inspect(SwuInspectArguments),
    /// Checks a package's signature, its files, its guards, and that its deltas are whole.
    Verify(SwuVerifyArguments),
    /// Installs a package as a device would, without SWUpdate. Its scripts are not run.
    Apply(Box<SwuApplyArguments>),
}

impl SwuArguments {
    /// Whether output is for machines.
    pub fn json(&self) -> bool {
        match &self.command {
            SwuCommand::Delta(delta) => delta.package.json,
            SwuCommand::Full(full) => full.package.json,
            SwuCommand::Inspect(inspect) => inspect.json,
            SwuCommand::Verify(verify) => verify.json,
            SwuCommand::Apply(apply) => apply.json,
        }
    }
}
