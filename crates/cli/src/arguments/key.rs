//! `fluvial key` on the command line.

use std::num::{NonZeroU8, NonZeroU16};
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use fluvial_trust::{InitOptions, Lifetimes, Role, RoleOptions, RotateOptions, Timestamp};

/// `fluvial key`.
#[derive(Debug, Args)]
pub struct KeyArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: KeyCommand,
}

/// The commands for keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Makes a folder with new keys, and the root.json that devices are given.
    Init(KeyInitArguments),
    /// Gives a role new keys, and makes the next version of the root.
    Rotate(KeyRotateArguments),
    /// Shows the roles, their keys, and where the keys are.
    Show(KeyShowArguments),
}

/// `fluvial key init`.
#[derive(Debug, Args)]
pub struct KeyInitArguments {
    /// The folder. It must not be there, or be empty.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// How many keys root and targets have each. Snapshot and timestamp have one.
    #[arg(long, value_name = "N", default_value_t = NonZeroU8::MIN)]
    pub keys: NonZeroU8,
    /// How many of them have to sign.
    #[arg(long, value_name = "N", default_value_t = NonZeroU8::MIN)]
    pub threshold: NonZeroU8,
    /// How long a root lives, in days.
    #[arg(long, value_name = "N", default_value_t = Lifetimes::default().root_days)]
    pub root_days: NonZeroU16,
    /// How long a release's targets metadata lives, in days.
    #[arg(long, value_name = "N", default_value_t = Lifetimes::default().targets_days)]
    pub targets_days: NonZeroU16,
    /// How long its snapshot metadata lives, in days.
    #[arg(long, value_name = "N", default_value_t = Lifetimes::default().snapshot_days)]
    pub snapshot_days: NonZeroU16,
    /// How long its timestamp metadata lives, in days: a bundle can be installed for no longer.
    #[arg(long, value_name = "N", default_value_t = Lifetimes::default().timestamp_days)]
    pub timestamp_days: NonZeroU16,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// `fluvial key rotate`.
#[derive(Debug, Args)]
pub struct KeyRotateArguments {
    /// The folder. The keys of the root must be in it.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Which role gets new keys.
    pub role: RoleName,
    /// How many; as many as it has if not given.
    #[arg(long, value_name = "N")]
    pub keys: Option<NonZeroU8>,
    /// How many of them have to sign; as many as now if not given.
    #[arg(long, value_name = "N")]
    pub threshold: Option<NonZeroU8>,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// `fluvial key show`.
#[derive(Debug, Args)]
pub struct KeyShowArguments {
    /// The folder.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Prints one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// A role by name.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum RoleName {
    /// Says which keys each role has.
    Root,
    /// Signs the manifests of releases.
    Targets,
    /// Signs which targets go together.
    Snapshot,
    /// Signs which snapshot is the newest.
    Timestamp,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Root => Self::Root,
            RoleName::Targets => Self::Targets,
            RoleName::Snapshot => Self::Snapshot,
            RoleName::Timestamp => Self::Timestamp,
        }
    }
}

impl KeyArguments {
    /// Whether output is for machines.
    pub fn json(&self) -> bool {
        match &self.command {
            KeyCommand::Init(init) => init.json,
            KeyCommand::Rotate(rotate) => rotate.json,
            KeyCommand::Show(show) => show.json,
        }
    }
}

impl KeyInitArguments {
    /// The same, for the library.
    pub fn options(&self, now: Timestamp) -> InitOptions {
        let offline = RoleOptions { keys: self.keys, threshold: self.threshold };
        let lifetimes = Lifetimes {
            root_days: self.root_days,
            targets_days: self.targets_days,
            snapshot_days: self.snapshot_days,
            timestamp_days: self.timestamp_days,
        };
        InitOptions { root: offline, targets: offline, lifetimes, ..InitOptions::new(now) }
    }
}

impl KeyRotateArguments {
    /// The same, for the library.
    pub fn options(&self, now: Timestamp) -> RotateOptions {
        RotateOptions { keys: self.keys, threshold: self.threshold, now }
    }
}
