//! `cargo xtask bench data`: builds every pair, the system pair's tars first. What is there is kept.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;

use super::image::{Kind, Toolbox};
use super::system::{Mirrors, System};
use super::{binaries, peer};
use crate::command::{command, ensure, run};

/// The file of the small-change pair: 21 KB of Python that one of the security updates touched.
const SMALL_FILE: &str = "usr/lib/python3.11/http/cookies.py";

/// Pairs of slot images that can be built alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SlotPair {
    /// A point release to the same with security updates, a new kernel among them.
    System,
    /// The same without a kernel: about 40 package upgrades.
    Upgrade,
}

/// Builds what is missing of the data in `dir`; of `only` one pair, the ext4 images, if there is one.
///
/// # Errors
/// When a package, a tool or the rights to make a root file system are missing.
pub fn build(
    dir: &Path,
    mirror: Option<String>,
    security_mirror: Option<String>,
    only: Option<SlotPair>,
) -> Result<()> {
    ensure(&[("mmdebstrap", "mmdebstrap"), ("tar", "tar")])?;
    let work = dir.join("work");
    fs::create_dir_all(&work)?;
    let dir = &fs::canonicalize(dir)?;
    let work = &fs::canonicalize(&work)?;
    let mirrors = Mirrors::find(mirror, security_mirror)?;
    match only {
        Some(pair) => build_slots(pair, dir, work, &mirrors),
        None => build_all(dir, work, &mirrors),
    }
}

/// Builds the ext4 images of one pair.
fn build_slots(pair: SlotPair, dir: &Path, work: &Path, mirrors: &Mirrors) -> Result<()> {
    let systems = match pair {
        SlotPair::System => [System::point_release(work, mirrors)?, System::with_updates(work, mirrors)?],
        SlotPair::Upgrade => System::upgrade(work, mirrors)?,
    };
    let toolbox = Toolbox::install(work, mirrors)?;
    for system in &systems {
        system.pack(dir)?;
        toolbox.build(Kind::Ext4, dir, &system.name, system.epoch)?;
    }
    Ok(())
}

fn build_all(dir: &Path, work: &Path, mirrors: &Mirrors) -> Result<()> {
    let old = System::point_release(work, mirrors)?;
    let new = System::with_updates(work, mirrors)?;
    for system in [&old, &new] {
        system.pack(dir)?;
    }
    binaries::build(dir, work)?;
    binaries::build_from_systems(dir, &old.tree, &new.tree)?;
    System::next_distribution(work, mirrors)?.pack(dir)?;

    let mut systems = vec![old.clone(), new.clone()];
    systems.push(
        old.pack_variant(dir, "small-new", |tree| copy(&new.tree.join(SMALL_FILE), &tree.join(SMALL_FILE)))?,
    );
    for age in ["old", "new"] {
        let program = binaries::application(dir, age);
        systems.push(new.pack_variant(dir, &format!("app-{age}"), |tree| {
            let target = tree.join("usr/local/bin").join(binaries::application_name());
            copy(&program, &target)?;
            run(command("chmod", ["755"]).arg(&target))
        })?);
    }

    let toolbox = Toolbox::install(work, mirrors)?;
    for system in &systems {
        for kind in Kind::ALL {
            toolbox.build(kind, dir, &system.name, system.epoch)?;
        }
    }
    build_slots(SlotPair::Upgrade, dir, work, mirrors)?;
    peer::install(dir)
}

/// Whether a file is there and holds something: builders write to another name and rename.
pub fn is_built(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.len() > 0)
}

/// The name to write a file under before it is complete.
pub fn part(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Copies a file with its time, owner and mode.
fn copy(from: &Path, to: &Path) -> Result<()> {
    run(command("cp", ["--preserve=all"]).arg(from).arg(to)).with_context(|| from.display().to_string())
}
