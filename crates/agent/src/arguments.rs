//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use fluvial_bundle::HashKind;

/// Installs releases into A/B slots, and confirms them.
#[derive(Debug, Parser)]
#[command(name = "fluvial-agent", version, about, arg_required_else_help = true)]
pub struct Arguments {
    /// What every command needs to know.
    #[command(flatten)]
    pub places: PlaceArguments,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Where the device's own files stand.
#[derive(Debug, Args)]
pub struct PlaceArguments {
    /// The device's configuration: slots and boot flow (docs/boot.md).
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "FLUVIAL_CONFIG",
        default_value = "/etc/fluvial/system.toml"
    )]
    pub config: PathBuf,
    /// The root of trust: `root.json` of the operator's keys (docs/trust.md).
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "FLUVIAL_ROOT",
        default_value = "/etc/fluvial/root.json"
    )]
    pub root: PathBuf,
    /// What is kept between runs: the slot database, what was fetched, versions seen.
    #[arg(
        long,
        global = true,
        value_name = "FOLDER",
        env = "FLUVIAL_STATE",
        default_value = "/var/lib/fluvial"
    )]
    pub state: PathBuf,
    /// Prints one JSON object instead of text.
    #[arg(long, global = true)]
    pub json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Installs a release into the slots of the boot group that does not run.
    Install(InstallArguments),
    /// What runs, what boots next, and which release is confirmed.
    System(SystemArguments),
    /// The device's slots.
    Slots(SlotsArguments),
}

/// `fluvial-agent install`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct InstallArguments {
    /// The bundle: `http[s]://HOST/.../NAME.fluvial`, or a file.
    #[arg(value_name = "URL|FILE")]
    pub bundle: String,
    /// Whether to restart into the release: `deferred` leaves that to whoever restarts the device next, `no`
    /// does not even tell the boot loader.
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub reboot: Reboot,
    /// How the images come: by a patch, by the chunks that are missing, or as a whole. `auto` takes the first
    /// of them that works, and never more bytes than the whole has.
    #[arg(long, value_enum, default_value_t)]
    pub route: RouteChoice,
    /// Says what would be fetched, from where and why, and changes nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Takes a bundle that nobody vouches for: whoever can change it on its way can put anything on the device.
    #[arg(long)]
    pub allow_unsigned: bool,
    /// Takes a bundle whose signatures have expired: nobody can tell any more whether there is a newer one.
    #[arg(long)]
    pub allow_expired: bool,
    /// Takes a release that is older than the one that was confirmed: faults that were mended come back.
    #[arg(long)]
    pub allow_downgrade: bool,
    /// The memory that a patch may take; a patch that takes more is passed over.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = parse_size)]
    pub memory_limit: u64,
    /// Connections to the server at a time.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub connections: u8,
}

/// When the device restarts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Reboot {
    /// Now.
    Yes,
    /// Not, and the boot loader is not told.
    No,
    /// Whenever somebody does it: the boot loader is told.
    #[default]
    Deferred,
}

/// How images come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum RouteChoice {
    /// The first one that works.
    #[default]
    Auto,
    /// By a patch.
    Static,
    /// By the chunks that are missing.
    Dynamic,
    /// As a whole.
    Full,
}

/// `fluvial-agent system`.
#[derive(Debug, Args)]
pub struct SystemArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: SystemCommand,
}

/// The commands for the system.
#[derive(Debug, Subcommand)]
pub enum SystemCommand {
    /// Shows what runs, what boots next, and what the slots hold.
    Info,
    /// Confirms the release that runs: it boots from now on.
    Commit,
    /// Goes back to the other boot group.
    Rollback(RollbackArguments),
}

/// `fluvial-agent system rollback`.
#[derive(Debug, Args)]
pub struct RollbackArguments {
    /// Whether to restart now.
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub reboot: Reboot,
}

/// `fluvial-agent slots`.
#[derive(Debug, Args)]
pub struct SlotsArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: SlotsCommand,
}

/// The commands for slots.
#[derive(Debug, Subcommand)]
pub enum SlotsCommand {
    /// Lists slots, where they are, and what they hold.
    List,
    /// Reads every slot whose content is known, and compares it.
    Verify,
    /// Makes the index of a slot now. Installing makes it by itself, and keeps it.
    CreateIndex(CreateIndexArguments),
}

/// `fluvial-agent slots create-index`.
#[derive(Debug, Args)]
pub struct CreateIndexArguments {
    /// The slot's name.
    pub slot: String,
    /// The hash of chunks: that of the bundles that are to come.
    #[arg(default_value_t)]
    pub hash: HashKind,
}

fn parse_size(text: &str) -> Result<u64, parse_size::Error> {
    parse_size::parse_size(text)
}
