//! `cargo xtask bench data`: builds every pair, the system pair's tars first. What is there is kept.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::image::{Kind, Toolbox};
use super::system::{Mirrors, System};
use super::{binaries, peer};
use crate::command::{command, ensure, run};

/// The file of the small-change pair: 21 KB of Python that one of the security updates touched.
const SMALL_FILE: &str = "usr/lib/python3.11/http/cookies.py";

/// Builds what is missing of the data in `dir`.
///
/// # Errors
/// When a package, a tool or the rights to make a root file system are missing.
pub fn build(dir: &Path, mirror: Option<String>, security_mirror: Option<String>) -> Result<()> {
    ensure(&[("mmdebstrap", "mmdebstrap"), ("tar", "tar")])?;
    let work = dir.join("work");
    fs::create_dir_all(&work)?;
    let dir = &fs::canonicalize(dir)?;
    let work = &fs::canonicalize(&work)?;
    let mirrors = Mirrors::find(mirror, security_mirror)?;

    let old = System::point_release(work, &mirrors)?;
    let new = System::with_updates(work, &mirrors)?;
    for system in [&old, &new] {
        system.pack(dir)?;
    }
    binaries::build(dir, work)?;
    binaries::build_from_systems(dir, &old.tree, &new.tree)?;
    System::next_distribution(work, &mirrors)?.pack(dir)?;

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

    let toolbox = Toolbox::install(work, &mirrors)?;
    for system in &systems {
        for kind in Kind::ALL {
            toolbox.build(kind, dir, &system.name, system.epoch)?;
        }
    }
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
