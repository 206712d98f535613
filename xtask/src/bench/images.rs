//! `cargo xtask bench images`: pairs of container images, and ours against its peers on them.
//!
//! Ours compares images. The peers know files only: theirs are the old image's layers one behind the other,
//! and those layers of the new one that the old one lacks, as plain tars.

mod contest;
mod layer;
mod layout;
pub mod pair;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::Args;

use self::contest::ImageContest;
use self::layer::Builder;
use self::layout::Layout;
use self::pair::ImagePair;
use super::contest::{Contest, Hashes, build_fluvial, line};
use super::peer;
use super::results::{self, Results};
use super::system::Mirrors;
use crate::command::workspace_root;

#[derive(Args)]
pub struct ImagesOptions {
    /// Where the images stand; what is missing is built (default: bench/data).
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Only these pairs (A, B1, B2, C1, C2, D, U1, U2).
    #[arg(long, value_delimiter = ',')]
    pair: Vec<String>,
    /// Only tools whose name holds this text; may be given more than once.
    #[arg(long)]
    tool: Vec<String>,
    /// Build what is missing and measure nothing.
    #[arg(long)]
    build_only: bool,
    /// Measure peers even where a result for the same bytes is kept.
    #[arg(long)]
    fresh: bool,
    /// The fluvial program to measure (default: build this workspace's in release mode).
    #[arg(long)]
    fluvial: Option<PathBuf>,
    /// Debian mirror to build from (default: the one that apt on this machine is set to).
    #[arg(long)]
    mirror: Option<String>,
    /// Mirror of Debian's security updates (default: the one that apt on this machine is set to).
    #[arg(long)]
    security_mirror: Option<String>,
}

impl ImagesOptions {
    fn wants(&self, pair: &ImagePair) -> bool {
        self.pair.is_empty() || self.pair.iter().any(|id| id.eq_ignore_ascii_case(pair.id))
    }
}

/// Builds what is missing of the pairs, measures them, and publishes after every row.
///
/// # Errors
/// When an image cannot be built, or a program that measuring needs is missing; a tool that fails on a pair is
/// a row of the report.
pub fn run(options: &ImagesOptions) -> Result<()> {
    let dir = super::folder(options.dir.clone());
    fs::create_dir_all(dir.join("images"))?;
    let dir = &fs::canonicalize(dir)?;
    let pairs: Vec<&ImagePair> = pair::ALL.iter().filter(|pair| options.wants(pair)).collect();
    ensure!(!pairs.is_empty(), "no such pair: there are {}", pair::ids());

    let mut builder = Builder::new(&dir.join("images"), || {
        Mirrors::find(options.mirror.clone(), options.security_mirror.clone())
    })?;
    let mut layout = Layout::open(&dir.join("images/layout"))?;
    for pair in &pairs {
        for image in [&pair.old, &pair.new] {
            let layers = image.layers.iter().map(|name| builder.layer(name)).collect::<Result<Vec<_>>>()?;
            layout.put(&pair.tag(image), image.command, &layers)?;
        }
    }
    builder.clean()?;
    if options.build_only {
        return Ok(());
    }
    peer::install(dir)?;
    measure(dir, &layout, &pairs, options)
}

fn measure(dir: &Path, layout: &Layout, pairs: &[&ImagePair], options: &ImagesOptions) -> Result<()> {
    let mut hashes = Hashes::default();
    let (version, fluvial) = match &options.fluvial {
        Some(path) => (format!("program {:.16}", hashes.of(path)?), fs::canonicalize(path)?),
        None => (format!("commit {}", peer::commit(workspace_root())?), build_fluvial()?),
    };
    let contest = Contest { dir, search_path: peer::search_path(dir, &fluvial)?, hashes };
    for pair in pairs {
        let mut contest = ImageContest::new(&contest, layout, pair)?;
        for tool in tools::all(&version) {
            let is_wished =
                options.tool.is_empty() || options.tool.iter().any(|word| tool.name.contains(word.as_str()));
            if !is_wished || (pair.is_unrelated() && !tools::is_of_worst_case(tool.name)) {
                continue;
            }
            let row = contest.row(&tool, options.fresh)?;
            eprintln!("{}", line(&row));
            // Read again each time: another run may have measured something else meanwhile.
            let mut results = Results::load(&results::path())?;
            results.machine = results::machine();
            results.put(row);
            results.publish()?;
        }
    }
    Ok(())
}
