//! `cargo xtask engines`: a private dockerd, a podman service and a registry below one folder, for tests.
//!
//! They listen on sockets in that folder and on a free port of the loopback address, need no systemd, and touch
//! nothing of the engines that the machine may run itself. Every process of theirs is found again without the
//! help of whoever started it: see `process`.

mod mounts;
mod process;
mod service;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};

use self::process::Marker;
use self::service::Endpoints;
use crate::command::{ensure as ensure_programs, find};

/// What the engines consist of, and Debian's packages of it.
const PROGRAMS: [(&str, &str); 9] = [
    ("dockerd", "docker.io"),
    ("podman", "podman"),
    ("conmon", "conmon"),
    ("runc", "runc"),
    ("docker-registry", "docker-registry"),
    ("skopeo", "skopeo"),
    ("curl", "curl"),
    ("setsid", "util-linux"),
    ("umount", "mount"),
];
/// How long engines have to end by themselves before they are killed.
const END_WITHIN: Duration = Duration::from_secs(15);
/// What tells a folder of engines from one that must not be emptied.
const NOTE: &str = "fluvial-engines";
/// The environment variable that names the folder to tests.
pub const VARIABLE: &str = "FLUVIAL_ENGINES";
/// Where whoever needs them reads how to reach them.
const ENDPOINTS: &str = "engines.json";

#[derive(Subcommand)]
pub enum Step {
    /// Install the engines from Debian's packages, where they are missing.
    Install,
    /// Start them on fresh folders below DIR, and print how to reach them.
    Start(StartOptions),
    /// Stop what runs below DIR, unmount what it left, and remove its data; logs stay.
    Stop(StopOptions),
}

#[derive(Args)]
pub struct StartOptions {
    /// A folder for them alone: a new one, an empty one, or one of an earlier start.
    dir: PathBuf,
    /// Print one JSON object instead of NAME=VALUE lines.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct StopOptions {
    /// The folder given to start.
    dir: PathBuf,
}

/// Runs one step.
///
/// # Errors
/// When the step fails; after a failed start nothing runs.
pub fn run(step: Step) -> Result<()> {
    match step {
        Step::Install => install(),
        Step::Start(options) => {
            install()?;
            let engines = Engines::start(&options.dir)?;
            let endpoints = &engines.endpoints;
            if options.json {
                println!("{}", serde_json::to_string_pretty(endpoints)?);
            } else {
                for (name, value) in lines(endpoints)? {
                    println!("{name}={value}");
                }
            }
            engines.leave();
            Ok(())
        }
        Step::Stop(options) => stop(&options.dir),
    }
}

/// Installs what is missing.
///
/// # Errors
/// When a package cannot be had.
pub fn install() -> Result<()> {
    ensure_programs(&PROGRAMS)
}

/// Whether every program is here.
pub fn are_installed() -> bool {
    PROGRAMS.iter().all(|(program, _)| find(program).is_some())
}

/// Engines that run; they are stopped when this goes.
pub struct Engines {
    dir: PathBuf,
    endpoints: Endpoints,
    is_left: bool,
}

impl Engines {
    /// Ends what an earlier start left below the folder, and starts anew.
    ///
    /// # Errors
    /// When an engine does not come up: what it said is in the error, and nothing is left running.
    pub fn start(dir: &Path) -> Result<Self> {
        let dir = &claim(dir)?;
        stop(dir)?;
        let mut engines = Self { dir: dir.clone(), endpoints: Endpoints::default(), is_left: false };
        engines.endpoints = service::start_all(dir, &Marker::new(dir))?;
        let part = dir.join(format!("{ENDPOINTS}.part"));
        fs::write(&part, serde_json::to_string_pretty(&engines.endpoints)?)?;
        fs::rename(part, dir.join(ENDPOINTS))?;
        Ok(engines)
    }

    /// The folder, which tests get as `FLUVIAL_ENGINES` (`VARIABLE`).
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Lets them run after this program.
    fn leave(mut self) {
        self.is_left = true;
    }
}

impl Drop for Engines {
    fn drop(&mut self) {
        if !self.is_left
            && let Err(error) = stop(&self.dir)
        {
            eprintln!("{}: {error:#}", self.dir.display());
        }
    }
}

/// Stops everything below the folder; does nothing when nothing is there.
fn stop(dir: &Path) -> Result<()> {
    let Ok(dir) = fs::canonicalize(dir) else { return Ok(()) };
    ensure!(dir.join(NOTE).is_file(), "{} is no folder of engines", dir.display());
    let marker = Marker::new(&dir);
    // Nobody finds engines that are about to go.
    remove(&dir.join(ENDPOINTS))?;
    service::end_containers(&dir, &marker);
    marker.end_all(END_WITHIN)?;
    mounts::unmount_below(&dir)?;
    for entry in fs::read_dir(&dir)? {
        let path = entry?.path();
        let is_kept = path.extension().is_some_and(|extension| extension == "log")
            || path.file_name().is_some_and(|name| name == NOTE);
        if !is_kept {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Makes the folder ours: it must be empty, or ours already.
fn claim(dir: &Path) -> Result<PathBuf> {
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let dir = fs::canonicalize(dir)?;
    let note = dir.join(NOTE);
    if !note.is_file() {
        if fs::read_dir(&dir)?.next().is_some() {
            bail!("{} is not empty, and not of an earlier start", dir.display());
        }
        fs::write(note, "This folder belongs to `cargo xtask engines`.\n")?;
    }
    Ok(dir)
}

fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => return Ok(()),
    };
    removed.with_context(|| path.display().to_string())
}

/// The endpoints as variables.
fn lines(endpoints: &Endpoints) -> Result<BTreeMap<String, String>> {
    let value = serde_json::to_value(endpoints)?;
    let object = value.as_object().context("endpoints are an object")?;
    Ok(object
        .iter()
        .map(|(name, value)| (name.to_uppercase(), value.as_str().unwrap_or_default().to_owned()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_somebody_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mine");
        fs::write(&file, "x").unwrap();
        assert!(claim(folder.path()).is_err());
        assert!(stop(folder.path()).is_err());
        assert!(file.is_file());
    }

    #[test]
    fn stopping_keeps_logs_only_and_may_be_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let dir = claim(&folder.path().join("new")).unwrap();
        fs::create_dir_all(dir.join("docker/deep")).unwrap();
        for name in ["dockerd.log", "engines.json", "docker/deep/file"] {
            fs::write(dir.join(name), "x").unwrap();
        }
        for _ in 0..2 {
            stop(&dir).unwrap();
            let mut names: Vec<_> =
                fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            assert_eq!(names, ["dockerd.log", NOTE]);
        }
        assert_eq!(claim(&dir).unwrap(), dir, "it can be started again");
        stop(&dir.join("not there")).unwrap();
    }

    #[test]
    fn endpoints_are_printed_as_variables() {
        let endpoints = Endpoints { docker_sock: "/d.sock".into(), ..Endpoints::default() };
        let lines = lines(&endpoints).unwrap();
        assert_eq!(lines["DOCKER_SOCK"], "/d.sock");
        assert!(lines.contains_key("PODMAN_SOCK") && lines.contains_key("REGISTRY"));
    }
}
