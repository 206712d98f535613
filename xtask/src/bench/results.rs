//! What was measured, as kept in `results.json` and, for peers, in the data folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::measure::Cost;
use super::{chart, report};
use crate::command::{command, output, workspace_root};

/// One tool on one pair.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    pub pair: String,
    pub tool: String,
    /// The tool's version and commands; for ours the commit.
    pub identity: String,
    /// BLAKE3 of the old and the new file.
    pub hashes: [String; 2],
    pub old_bytes: u64,
    pub new_bytes: u64,
    /// When it was measured, as UTC date and time.
    pub measured: String,
    pub outcome: Outcome,
}

/// How it ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The patch was applied and gave the new file, byte for byte.
    Proved(Figures),
    /// A command failed, or the result was not the new file.
    Failed(String),
    /// It was not tried, for this reason.
    Skipped(String),
}

/// The figures of a proved round trip.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figures {
    pub patch_bytes: u64,
    pub diff: Cost,
    pub apply: Cost,
    /// Memory that the patch says applying it needs; ours only.
    #[serde(default)]
    pub declared_bytes: Option<u64>,
}

/// Two tools' patches of one pair, applied in turn: the machine's speed changes from hour to hour.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Turns {
    pub pair: String,
    pub tools: [String; 2],
    /// When they were measured, as UTC date and time.
    pub measured: String,
    /// What each application cost, by round.
    pub rounds: Vec<[Cost; 2]>,
}

impl Turns {
    /// The median time of the first tool as a ratio of the second's.
    pub fn ratio(&self) -> Option<f64> {
        Some(self.median_s(0)? / self.median_s(1)?)
    }

    /// The median time of a tool in seconds.
    pub fn median_s(&self, tool: usize) -> Option<f64> {
        let mut times: Vec<f64> = self.rounds.iter().map(|costs| costs[tool].wall_s).collect();
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied()
    }
}

impl Row {
    pub fn figures(&self) -> Option<&Figures> {
        match &self.outcome {
            Outcome::Proved(figures) => Some(figures),
            _ => None,
        }
    }
}

/// All rows and the machine that they were measured on.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Results {
    pub machine: String,
    /// What the systems of the pairs hold, in words.
    pub data: Vec<String>,
    pub rows: Vec<Row>,
    #[serde(default)]
    pub turns: Option<Turns>,
}

impl Results {
    /// Reads kept results; none when the file is not there.
    ///
    /// # Errors
    /// When the file cannot be read or is no such file.
    pub fn load(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    /// Writes the results to a file, whole or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn store(&self, path: &Path) -> Result<()> {
        let part = path.with_extension("part");
        fs::write(&part, serde_json::to_string_pretty(self)? + "\n")?;
        fs::rename(&part, path).with_context(|| path.display().to_string())
    }

    /// Puts a row in the place of an earlier one for the same pair and tool.
    pub fn put(&mut self, row: Row) {
        self.rows.retain(|kept| kept.pair != row.pair || kept.tool != row.tool);
        self.rows.push(row);
    }

    pub fn row(&self, pair: &str, tool: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.pair == pair && row.tool == tool)
    }

    pub fn figures(&self, pair: &str, tool: &str) -> Option<&Figures> {
        self.row(pair, tool)?.figures()
    }

    /// Writes `results.json`, `RESULTS.md` and `results.svg`.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn publish(&self) -> Result<()> {
        let folder = workspace_root().join("bench");
        fs::create_dir_all(&folder)?;
        self.store(&path())?;
        fs::write(folder.join("results.svg"), chart::draw(self))?;
        fs::write(folder.join("RESULTS.md"), report::write(self))?;
        Ok(())
    }
}

/// Where the committed results stand.
pub fn path() -> PathBuf {
    workspace_root().join("bench/results.json")
}

/// This machine in a line: processor, cores, memory, kernel.
pub fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let gib = kib.and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / f64::from(1 << 20);
    let kernel = output(&mut command("uname", ["-sr"])).unwrap_or_default();
    format!(
        "{}, {cores} cores, {gib:.0} GiB, {kernel}",
        model.map_or("unknown processor", |(_, name)| name.trim())
    )
}
