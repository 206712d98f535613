//! `cargo xtask bench run`: each tool on each pair, every result compared with the new file.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, bail, ensure};

use super::measure::{Cost, measure, same_bytes};
use super::pair::{self, Pair};
use super::peer::{self, Places, Tool};
use super::results::{self, Figures, Outcome, Results, Row, Turns};
use crate::command::{command, output, run as run_command, workspace_root};

/// What the caller wants measured.
pub struct Wish {
    pub pairs: Vec<String>,
    pub tools: Vec<String>,
    pub quick: bool,
    pub fresh: bool,
    pub fluvial: Option<PathBuf>,
}

impl Wish {
    fn holds(words: &[String], name: &str) -> bool {
        words.is_empty() || words.iter().any(|word| name.contains(word.as_str()))
    }
}

/// Measures what is wished, keeps peers' results in `dir`, and publishes after every pair.
///
/// # Errors
/// When no pair of that name is built, or our program cannot be built.
pub fn run(dir: &Path, wish: &Wish) -> Result<()> {
    let dir = &fs::canonicalize(dir).with_context(|| format!("{}: run bench data first", dir.display()))?;
    let pairs: Vec<Pair> = pair::all()
        .into_iter()
        .filter(|pair| Wish::holds(&wish.pairs, &pair.name) && pair.is_built(dir))
        .collect();
    ensure!(!pairs.is_empty(), "no such pair is built in {}: run bench data first", dir.display());
    let version = match &wish.fluvial {
        // A program given by path may come from any commit.
        Some(path) => format!("program {:.16}", Hashes::default().of(path)?),
        None => format!("commit {}", peer::commit(workspace_root())?),
    };
    let tools: Vec<Tool> = peer::tools(&version)
        .into_iter()
        .filter(|tool| Wish::holds(&wish.tools, tool.name))
        .filter(|tool| !wish.quick || !tool.is_ours() || tool.name == peer::OURS)
        .collect();
    let wants_ours = tools.iter().any(Tool::is_ours);
    let fluvial = match &wish.fluvial {
        Some(path) => fs::canonicalize(path).with_context(|| path.display().to_string())?,
        None if wants_ours => build_fluvial()?,
        None => PathBuf::new(),
    };
    let mut contest =
        Contest { dir, search_path: peer::search_path(dir, &fluvial)?, hashes: Hashes::default() };
    for pair in &pairs {
        for tool in &tools {
            let Some(row) = contest.row(pair, tool, wish)? else { continue };
            eprintln!("{}", line(&row));
            // Read again each time: another run may have measured something else meanwhile.
            let mut results = Results::load(&results::path())?;
            results.machine = results::machine();
            results.data = data_in_words(dir);
            results.put(row);
            results.publish()?;
        }
    }
    Ok(())
}

/// Makes patches of the system pair with ours, for 32 MiB, and with the peer that is held to be the fastest,
/// applies them in turn, and publishes what that took.
///
/// # Errors
/// When the pair is not built, or a command fails.
pub fn turns(dir: &Path, fluvial: Option<&Path>, rounds: usize) -> Result<()> {
    let dir = &fs::canonicalize(dir).with_context(|| format!("{}: run bench data first", dir.display()))?;
    let pair = pair::all().into_iter().find(|pair| pair.name == pair::SYSTEM_TAR && pair.is_built(dir));
    let pair = pair.with_context(|| format!("{} is not built: run bench data first", pair::SYSTEM_TAR))?;
    let fluvial = match fluvial {
        Some(path) => fs::canonicalize(path).with_context(|| path.display().to_string())?,
        None => build_fluvial()?,
    };
    let contest = Contest { dir, search_path: peer::search_path(dir, &fluvial)?, hashes: Hashes::default() };
    let known = peer::tools("in turn");
    let tool = |name| known.iter().find(|tool| tool.name == name).context(name);
    let turns = contest.turns(&pair, [tool(peer::OURS_SMALL)?, tool(peer::HDIFFPATCH)?], rounds)?;
    let mut results = Results::load(&results::path())?;
    results.turns = Some(turns);
    results.publish()
}

pub(super) struct Contest<'a> {
    pub dir: &'a Path,
    pub search_path: std::ffi::OsString,
    pub hashes: Hashes,
}

impl Contest<'_> {
    /// Measures a tool on a pair, or takes what was measured before on the same bytes; `None` when the tool
    /// has no part in this pair.
    fn row(&mut self, pair: &Pair, tool: &Tool, wish: &Wish) -> Result<Option<Row>> {
        let (old, new) = (self.dir.join(&pair.old), self.dir.join(&pair.new));
        let mut row = Row {
            pair: pair.name.clone(),
            tool: tool.name.to_owned(),
            identity: tool.identity(),
            hashes: [self.hashes.of(&old)?, self.hashes.of(&new)?],
            old_bytes: fs::metadata(&old)?.len(),
            new_bytes: fs::metadata(&new)?.len(),
            measured: now()?,
            outcome: Outcome::Skipped(String::new()),
        };
        if !tool.has_part_in(pair) {
            return Ok(None);
        }
        if let Some(reason) = tool.unfit(row.old_bytes, row.new_bytes) {
            row.outcome = Outcome::Skipped(reason);
            return Ok(Some(row));
        }
        let peers = self.dir.join("peers.json");
        let kept = Results::load(&peers)?;
        let kept = kept.row(&row.pair, &row.tool);
        let kept = kept.filter(|kept| kept.hashes == row.hashes && kept.identity == row.identity);
        if let Some(kept) = kept.filter(|_| !wish.fresh && !tool.is_ours()) {
            return Ok(Some(kept.clone()));
        }
        if wish.quick && !tool.is_ours() {
            return Ok(None);
        }
        row.outcome = match self.round_trip(tool, &old, &new) {
            Ok(figures) => Outcome::Proved(figures),
            Err(error) => Outcome::Failed(without_folder(&format!("{error:#}"), self.dir)),
        };
        if !tool.is_ours() {
            let mut kept = Results::load(&peers)?;
            kept.put(row.clone());
            kept.store(&peers)?;
        }
        Ok(Some(row))
    }

    fn turns(&self, pair: &Pair, tools: [&Tool; 2], rounds: usize) -> Result<Turns> {
        let scratch = Scratch::new(self.dir.join(format!("run.{}", std::process::id())))?;
        let mut sides = Vec::new();
        for (index, tool) in tools.iter().enumerate() {
            let tmp = scratch.0.join(index.to_string());
            fs::create_dir_all(&tmp)?;
            let places = places(&self.dir.join(&pair.old), &self.dir.join(&pair.new), &tmp);
            self.cost(tool.diff_commands(&places), &tmp).with_context(|| format!("{}: diff", tool.name))?;
            sides.push((tool, places));
        }
        let mut costs = Vec::new();
        for round in 0..rounds {
            let mut both = [Cost::default(); 2];
            for turn in 0..2 {
                // Neither always comes first.
                let side = (round + turn) % 2;
                let (tool, places) = &sides[side];
                let cost = self.cost(tool.apply_commands(places), &places.tmp);
                both[side] = cost.with_context(|| format!("{}: apply", tool.name))?;
                ensure!(
                    same_bytes(&places.out, &places.new)?,
                    "{}: the result is not the new file",
                    tool.name
                );
                fs::remove_file(&places.out)?;
                eprintln!("{:26} {:6.2} s {:6.2} cpu", tool.name, both[side].wall_s, both[side].cpu_s);
            }
            costs.push(both);
        }
        Ok(Turns {
            pair: pair.name.clone(),
            tools: tools.map(|tool| tool.name.to_owned()),
            measured: now()?,
            rounds: costs,
        })
    }

    fn round_trip(&self, tool: &Tool, old: &Path, new: &Path) -> Result<Figures> {
        let tmp = self.dir.join(format!("run.{}", std::process::id()));
        let scratch = Scratch::new(tmp.clone())?;
        let places = places(old, new, &tmp);
        let diff = self.cost(tool.diff_commands(&places), &tmp).context("diff")?;
        let patch_bytes = fs::metadata(&places.patch).context("the patch")?.len();
        let apply = self.cost(tool.apply_commands(&places), &tmp).context("apply")?;
        if !same_bytes(&places.out, new)? {
            bail!("the result is not the new file");
        }
        let declared_bytes = if tool.is_ours() { self.declared_bytes(&places.patch) } else { None };
        drop(scratch);
        Ok(Figures { patch_bytes, diff, apply, declared_bytes })
    }

    /// Runs commands one after the other and sums up what they cost.
    pub fn cost(&self, commands: Vec<Command>, scratch: &Path) -> Result<Cost> {
        let mut cost = Cost::default();
        // What earlier commands wrote is not to be written back at the cost of these.
        output(&mut command("sync", [] as [&str; 0]))?;
        for mut command in commands {
            cost = cost.then(measure(command.env("PATH", &self.search_path), scratch)?);
        }
        Ok(cost)
    }

    /// What the patch's header says that applying it needs.
    pub fn declared_bytes(&self, patch: &Path) -> Option<u64> {
        let mut inspect = command("fluvial", ["inspect", "--json"]);
        let text = output(inspect.arg(patch).env("PATH", &self.search_path)).ok()?;
        let value: serde_json::Value = serde_json::from_str(&text).ok()?;
        value.get("apply_memory_bytes")?.as_u64()
    }
}

fn places(old: &Path, new: &Path, tmp: &Path) -> Places {
    Places {
        old: old.to_owned(),
        new: new.to_owned(),
        patch: tmp.join("patch"),
        out: tmp.join("out"),
        tmp: tmp.to_owned(),
    }
}

/// UTC date and time.
pub(super) fn now() -> Result<String> {
    output(&mut command("date", ["--utc", "+%Y-%m-%d %H:%M"]))
}

/// A reason without the folder that the data stands in, which is another one elsewhere.
pub(super) fn without_folder(reason: &str, dir: &Path) -> String {
    reason.replace(&format!("{}/", dir.display()), "")
}

/// A folder for one measurement, removed afterwards.
pub(super) struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(path: PathBuf) -> Result<Self> {
        fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}

/// Hashes of files, each computed once a run.
#[derive(Default)]
pub(super) struct Hashes(HashMap<(PathBuf, u64, u64), String>);

impl Hashes {
    pub fn of(&mut self, path: &Path) -> Result<String> {
        let metadata = fs::metadata(path).with_context(|| path.display().to_string())?;
        let modified_ns = metadata.modified()?.duration_since(UNIX_EPOCH)?.as_nanos() as u64;
        let key = (path.to_owned(), metadata.len(), modified_ns);
        if let Some(hash) = self.0.get(&key) {
            return Ok(hash.clone());
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(fs::File::open(path)?)?;
        let hash = hasher.finalize().to_hex().to_string();
        self.0.insert(key, hash.clone());
        Ok(hash)
    }
}

/// Builds our program in release mode and returns where it stands.
///
/// # Errors
/// When the build fails.
pub fn build_fluvial() -> Result<PathBuf> {
    let root = workspace_root();
    let mut build = command("cargo", ["build", "--release", "--locked", "--package", "fluvial"]);
    run_command(build.current_dir(root))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("release/fluvial"))
}

/// What the systems hold, from the lists of packages that the builder left.
fn data_in_words(dir: &Path) -> Vec<String> {
    let packages = |name: &str| fs::read_to_string(dir.join(format!("{name}.packages"))).unwrap_or_default();
    let (old, new) = (packages("bookworm-old"), packages("bookworm-new"));
    if old.is_empty() || new.is_empty() {
        return Vec::new();
    }
    let changed: Vec<&str> = new.lines().filter(|line| !old.lines().any(|other| other == *line)).collect();
    let kernel = |list: &str| {
        let line = list.lines().find(|line| line.starts_with("linux-image-cloud")).unwrap_or_default();
        line.split_once(' ').map_or(String::new(), |(_, version)| version.to_owned())
    };
    vec![
        format!(
            "System pair: Debian bookworm, {} packages, point release -> with updates: {} packages changed, \
             kernel {} -> {}.",
            old.lines().count(),
            changed.len(),
            kernel(&old),
            kernel(&new)
        ),
        format!("Application pair: the updated system with {}.", super::binaries::application_text()),
        "Small change: the point release with one 21 KB Python file of the update.".to_owned(),
    ]
}

/// A row in a line, for whoever waits for the results.
pub(super) fn line(row: &Row) -> String {
    let head = format!("{:28} {:26}", row.pair, row.tool);
    match &row.outcome {
        Outcome::Proved(figures) => format!(
            "{head} {:>11} B  diff {:7.1} s {:7.1} cpu {:6} MB  apply {:6.2} s {:6.2} cpu {:5} MB",
            figures.patch_bytes,
            figures.diff.wall_s,
            figures.diff.cpu_s,
            figures.diff.rss_bytes / 1_000_000,
            figures.apply.wall_s,
            figures.apply.cpu_s,
            figures.apply.rss_bytes / 1_000_000
        ),
        Outcome::Failed(reason) => format!("{head} FAILED: {reason}"),
        Outcome::Skipped(reason) => format!("{head} skipped: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_no_folder_of_this_machine() {
        let reason = "apply: /some/data/run.7/out.part is kept";
        assert_eq!(without_folder(reason, Path::new("/some/data")), "apply: run.7/out.part is kept");
    }
}
