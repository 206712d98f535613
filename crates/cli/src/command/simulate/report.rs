//! What was measured, as people and machines read it.

use std::fmt;
use std::path::{Path, PathBuf};

use fluvial_simulate::{Cost, REQUEST_OVERHEAD_BYTES};
use indicatif::HumanBytes;
use serde::{Deserialize, Serialize};

use crate::arguments::{Method, SimulateArguments};
use crate::chart::{self, Bar};
use fluvial_console::Fault;
use fluvial_console::say;

/// What `fluvial simulate --json` prints, and `fluvial savings` reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Simulation {
    pub old: PathBuf,
    pub new: PathBuf,
    pub old_bytes: u64,
    pub new_bytes: u64,
    /// What each request is counted with beside its body.
    pub request_overhead_bytes: u64,
    pub methods: Vec<Measured>,
    pub left_out: Vec<LeftOut>,
    pub duration_s: f64,
}

/// What one way transfers, and what it takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    pub method: String,
    /// Everything together.
    pub bytes: u64,
    #[serde(flatten)]
    pub cost: Cost,
    /// In percent of what `full-xz` transfers, where that was measured.
    pub xz_percent: Option<f64>,
    /// To make what is transferred, where that is a patch or an archive.
    pub make_s: Option<f64>,
    pub make_memory_bytes: Option<u64>,
    /// To make NEW from it, where that was tried.
    pub apply_s: Option<f64>,
    pub apply_memory_bytes: Option<u64>,
}

/// A way that could not be gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    pub method: String,
    pub reason: String,
}

impl Measured {
    pub fn new(method: Method, cost: Cost) -> Self {
        Self {
            method: method.name().into(),
            bytes: cost.bytes(),
            cost,
            xz_percent: None,
            make_s: None,
            make_memory_bytes: None,
            apply_s: None,
            apply_memory_bytes: None,
        }
    }

    fn line(&self) -> String {
        let percent = self.xz_percent.map_or(String::new(), |percent| format!("{percent:.2}"));
        let time = |seconds: Option<f64>| seconds.map_or(String::new(), |s| format!("{s:.1} s"));
        let memory = |bytes: Option<u64>| bytes.map_or(String::new(), |bytes| HumanBytes(bytes).to_string());
        format!(
            "{:<16} {:>12} {percent:>9} {:>9}  {:>9} {:>11}  {:>10} {:>11}",
            self.method,
            self.bytes,
            self.cost.requests,
            time(self.make_s),
            memory(self.make_memory_bytes),
            time(self.apply_s),
            memory(self.apply_memory_bytes),
        )
    }

    /// Whether it is a way of this program's.
    pub fn is_ours(&self) -> bool {
        self.method.starts_with("fluvial")
    }
}

impl Simulation {
    pub fn new(arguments: &SimulateArguments, old_bytes: u64, new_bytes: u64) -> Self {
        Self {
            old: arguments.old.clone(),
            new: arguments.new.clone(),
            old_bytes,
            new_bytes,
            request_overhead_bytes: REQUEST_OVERHEAD_BYTES,
            methods: Vec::new(),
            left_out: Vec::new(),
            duration_s: 0.0,
        }
    }

    /// What all of NEW takes, packed with xz, if that was measured.
    pub fn full_bytes(&self) -> Option<u64> {
        let full = self.methods.iter().find(|measured| measured.method == Method::FullXz.name());
        full.map(|measured| measured.bytes)
    }

    /// All ways have been measured: compares them.
    pub fn finish(&mut self, duration_s: f64) {
        self.duration_s = duration_s;
        let full = self.full_bytes();
        for measured in &mut self.methods {
            measured.xz_percent = full.map(|full| 100.0 * measured.bytes as f64 / full as f64);
        }
    }

    pub fn show(&self, json: bool) -> Result<(), Fault> {
        if json { say(serde_json::json!(self)) } else { say(self.to_string().trim_end()) }
    }

    /// Draws what is transferred.
    pub fn plot(&self, path: &Path) -> Result<(), Fault> {
        let bar = |measured: &Measured| Bar {
            label: measured.method.clone(),
            value: measured.bytes as f64,
            text: format!("{:.2} MB", measured.bytes as f64 / 1e6),
            is_ours: measured.is_ours(),
        };
        let bars: Vec<Bar> = self.methods.iter().map(bar).collect();
        let note =
            format!("{} -> {}, requests counted; shorter is better", self.old.display(), self.new.display());
        chart::write(path, "Bytes that an update transfers", &note, &bars)
    }
}

impl fmt::Display for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} ({}) -> {} ({}), {} bytes for each request beside its body\n",
            self.old.display(),
            HumanBytes(self.old_bytes),
            self.new.display(),
            HumanBytes(self.new_bytes),
            self.request_overhead_bytes,
        )?;
        writeln!(
            f,
            "{:<16} {:>12} {:>9} {:>9}  {:>9} {:>11}  {:>10} {:>11}",
            "method", "bytes", "% of xz", "requests", "made in", "memory", "applied in", "memory"
        )?;
        for measured in &self.methods {
            writeln!(f, "{}", measured.line().trim_end())?;
        }
        for LeftOut { method, reason } in &self.left_out {
            writeln!(f, "left out: {method}: {reason}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut simulation = Simulation {
            old: "old".into(),
            new: "new".into(),
            old_bytes: 1 << 20,
            new_bytes: 2 << 20,
            request_overhead_bytes: REQUEST_OVERHEAD_BYTES,
            methods: vec![
                Measured::new(Method::FullXz, Cost::of_file(100_000 - REQUEST_OVERHEAD_BYTES)),
                Measured::new(Method::Casync64, Cost { data_bytes: 5000, index_bytes: 800, requests: 25 }),
            ],
            left_out: vec![LeftOut { method: "rdiff".into(), reason: "rdiff is not installed".into() }],
            duration_s: 0.0,
        };
        simulation.finish(1.5);
        assert_eq!(simulation.methods[1].bytes, 5000 + 800 + 25 * 768);
        assert_eq!(simulation.methods[1].xz_percent, Some(25.0));
        let text = serde_json::to_string(&simulation).unwrap();
        assert_eq!(serde_json::from_str::<Simulation>(&text).unwrap(), simulation);
        insta::assert_snapshot!(simulation.to_string());
    }
}
