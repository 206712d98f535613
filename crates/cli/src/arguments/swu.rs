//! The command line of `fluvial swu`.

mod read;

use clap::{Args, Subcommand};

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
    /// Shows what a package installs, where, on which devices, and whether it guards itself.
    Inspect(SwuInspectArguments),
    /// Checks a package's signature, its files, its guards, and that its deltas are whole.
    Verify(SwuVerifyArguments),
    /// Installs a package as a device would, without SWUpdate. Its scripts are not run.
    Apply(SwuApplyArguments),
}

impl SwuArguments {
    /// Whether output is for machines.
    pub fn json(&self) -> bool {
        match &self.command {
            SwuCommand::Inspect(inspect) => inspect.json,
            SwuCommand::Verify(verify) => verify.json,
            SwuCommand::Apply(apply) => apply.json,
        }
    }
}
