//! `cargo xtask ci`: every check a change passes before it lands.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::command::{command, find, output, run, workspace_root};
use crate::engines::{self, Engines};

#[derive(Args)]
pub struct Options {
    /// Install no cargo tool: without cargo-nextest run `cargo test`, without cargo-deny skip its check.
    #[arg(long)]
    offline: bool,
    /// Start no container engines: the tests that need them say so and do nothing.
    #[arg(long)]
    no_engines: bool,
}

/// Runs all checks and stops at the first that fails.
///
/// # Errors
/// The check that failed.
pub fn run_all(options: &Options) -> Result<()> {
    cargo("formatting", &["fmt", "--all", "--check"], &[])?;
    cargo("lints", &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"], &[])?;
    licences(options)?;
    tests(options)?;
    corpora()?;
    cargo("the documentation's examples", &["test", "--workspace", "--doc", "--locked"], &[])?;
    let documentation = ["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"];
    cargo("documentation", &documentation, &[("RUSTDOCFLAGS", "-D warnings")])
}

/// Unit, integration and property tests.
fn tests(options: &Options) -> Result<()> {
    let engines = engines(options)?;
    let folder = engines.as_ref().map(|engines| engines.dir().to_string_lossy().into_owned());
    let environment: Vec<(&str, &str)> =
        folder.iter().map(|folder| (engines::VARIABLE, folder.as_str())).collect();
    if available("cargo-nextest", &[], options) {
        let nextest = ["nextest", "run", "--workspace", "--locked", "--no-tests", "pass"];
        cargo("tests", &nextest, &environment)
    } else {
        cargo("tests", &["test", "--workspace", "--all-targets", "--locked"], &environment)
    }
}

/// Container engines for the tests, where they are wanted and this machine can run them; they stop when the tests
/// are through, and a run that was killed has its engines stopped by the next.
fn engines(options: &Options) -> Result<Option<Engines>> {
    let reason = if options.no_engines {
        Some("--no-engines is given")
    } else if output(&mut command("id", ["-u"]))? != "0" {
        Some("it takes root to run them")
    } else if options.offline && !engines::are_installed() {
        Some("they are not installed: cargo xtask engines install")
    } else {
        None
    };
    if let Some(reason) = reason {
        eprintln!("images are NOT tested with container engines: {reason}");
        return Ok(None);
    }
    engines::install()?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace_root().join("target"), PathBuf::from);
    Engines::start(&target.join("engines")).context("starting container engines").map(Some)
}

/// The bodies of the fuzz targets over their committed corpora. `fuzz/` is a workspace of its own, but
/// shares what is built with this one.
fn corpora() -> Result<()> {
    let manifest = ["--manifest-path", "fuzz/Cargo.toml"];
    let options = ["--locked", "--target-dir", "target"];
    let format = [&["fmt"][..], &manifest, &["--check"]].concat();
    cargo("the fuzz targets' formatting", &format, &[])?;
    let lints = [&["clippy"][..], &manifest, &options, &["--all-targets", "--", "-D", "warnings"]].concat();
    cargo("the fuzz targets' lints", &lints, &[])?;
    let tests = [&["test"][..], &manifest, &options, &["--lib"]].concat();
    cargo("fuzz corpora", &tests, &[])
}

/// Licences, bans and sources; not advisories, whose list comes over the network and changes by the hour.
fn licences(options: &Options) -> Result<()> {
    if available("cargo-deny", &["--no-default-features"], options) {
        cargo("licences and bans", &["deny", "--locked", "check", "licenses", "bans", "sources"], &[])
    } else {
        eprintln!("cargo-deny is not here: licences and bans are NOT checked");
        Ok(())
    }
}

/// Whether a cargo tool is here, after installing it if that is allowed and works.
fn available(tool: &str, features: &[&str], options: &Options) -> bool {
    if find(tool).is_some() {
        return true;
    }
    !options.offline && run(command("cargo", ["install", "--locked", "--quiet", tool]).args(features)).is_ok()
}

fn cargo(what: &str, args: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    let mut cargo = command("cargo", args);
    cargo.current_dir(workspace_root()).envs(environment.iter().copied());
    run(&mut cargo).with_context(|| format!("the check of {what} failed"))
}
