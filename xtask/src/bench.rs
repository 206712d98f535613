//! `cargo xtask bench`: real data from public packages, and ours against its peers on them.

mod bars;
mod binaries;
mod chart;
mod contest;
mod data;
mod image;
mod images;
mod measure;
mod pair;
mod peer;
mod report;
mod results;
mod system;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};

pub use self::binaries::{Architecture, application, build_program};
pub use self::contest::build_fluvial;
pub use self::measure::same_bytes;
use crate::command::workspace_root;

#[derive(Subcommand)]
pub enum Step {
    /// Build the pairs (root, Debian's tools; about 15 GB, 20 minutes on two cores).
    Data(DataOptions),
    /// Measure ours and the peers on the pairs; write RESULTS.md, results.json and results.svg.
    Run(RunOptions),
    /// Apply the 32 MiB patch of the system pair and the peer's in turn, and report the medians.
    Turns(TurnsOptions),
    /// Build pairs of container images and measure ours and the peers on them (root; about 6 GB).
    Images(images::ImagesOptions),
    /// Write the report and the chart again from results.json.
    Report,
}

#[derive(Args)]
pub struct DataOptions {
    /// Where the data stand (default: bench/data).
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Debian mirror to build from (default: the one that apt on this machine is set to).
    #[arg(long)]
    mirror: Option<String>,
    /// Mirror of Debian's security updates (default: the one that apt on this machine is set to).
    #[arg(long)]
    security_mirror: Option<String>,
    /// Build only the ext4 images of this pair (about 4 GB, a few minutes).
    #[arg(long)]
    only: Option<data::SlotPair>,
}

#[derive(Args)]
pub struct RunOptions {
    /// Where the data stand (default: bench/data).
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Measure only pairs whose name holds this text; may be given more than once.
    #[arg(long)]
    pair: Vec<String>,
    /// Only tools whose name holds this text; may be given more than once.
    #[arg(long)]
    tool: Vec<String>,
    /// Only the default preset, and peers only where a result for the same bytes is kept.
    #[arg(long)]
    quick: bool,
    /// Measure peers even where a result for the same bytes is kept.
    #[arg(long)]
    fresh: bool,
    /// The fluvial program to measure (default: build this workspace's in release mode).
    #[arg(long)]
    fluvial: Option<PathBuf>,
}

#[derive(Args)]
pub struct TurnsOptions {
    /// Where the data stand (default: bench/data).
    #[arg(long)]
    dir: Option<PathBuf>,
    /// How often each patch is applied.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// The fluvial program to measure (default: build this workspace's in release mode).
    #[arg(long)]
    fluvial: Option<PathBuf>,
}

/// Runs one step of the benchmark.
///
/// # Errors
/// When the step fails; a tool that fails on a pair is a line of the report, not an error.
pub fn run(step: Step) -> Result<()> {
    match step {
        Step::Data(options) => {
            data::build(&folder(options.dir), options.mirror, options.security_mirror, options.only)
        }
        Step::Run(options) => {
            let dir = folder(options.dir);
            let wish = contest::Wish {
                pairs: options.pair,
                tools: options.tool,
                quick: options.quick,
                fresh: options.fresh,
                fluvial: options.fluvial,
            };
            contest::run(&dir, &wish)
        }
        Step::Turns(options) => {
            contest::turns(&folder(options.dir), options.fluvial.as_deref(), options.rounds)
        }
        Step::Images(options) => images::run(&options),
        Step::Report => results::Results::load(&results::path())?.publish(),
    }
}

fn folder(dir: Option<PathBuf>) -> PathBuf {
    dir.unwrap_or_else(|| workspace_root().join("bench/data"))
}
