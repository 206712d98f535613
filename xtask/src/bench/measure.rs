//! What running a command costs: time, processor time and memory.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use wait4::Wait4;

/// How much of what a failing tool said is kept.
const SAID_BYTES_MAX: usize = 400;
/// Files are compared in steps of this size, so that this program stays small: the kernel counts a child's
/// memory from its parent's at the fork.
const COMPARE_BYTES: usize = 64 << 10;

/// The cost of one or several commands run one after the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    pub wall_s: f64,
    /// User and system time of the process and the children it waited for.
    pub cpu_s: f64,
    /// Largest resident memory of any of the commands.
    pub rss_bytes: u64,
}

impl Cost {
    /// Adds a command that ran after these.
    pub fn then(self, next: Self) -> Self {
        Self {
            wall_s: self.wall_s + next.wall_s,
            cpu_s: self.cpu_s + next.cpu_s,
            rss_bytes: self.rss_bytes.max(next.rss_bytes),
        }
    }
}

/// Runs a command without input, its output thrown away, and measures it.
///
/// # Errors
/// When it does not start or does not succeed, with the end of what it said.
pub fn measure(command: &mut Command, scratch: &Path) -> Result<Cost> {
    let said = scratch.join("stderr");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&said)?).env("LC_ALL", "C");
    let start = Instant::now();
    let child = command.spawn().with_context(|| format!("starting {}", command.get_program().display()))?;
    let end = child.wait4()?;
    let wall_s = start.elapsed().as_secs_f64();
    if !end.status.success() {
        let mut bytes = Vec::new();
        File::open(&said)?.read_to_end(&mut bytes)?;
        let tail = &bytes[bytes.len().saturating_sub(SAID_BYTES_MAX)..];
        bail!("{}: {}", end.status, String::from_utf8_lossy(tail).trim());
    }
    let usage = end.rusage;
    Ok(Cost { wall_s, cpu_s: (usage.utime + usage.stime).as_secs_f64(), rss_bytes: usage.maxrss })
}

/// Whether two files hold the same bytes.
///
/// # Errors
/// When one cannot be read.
pub fn same_bytes(left: &Path, right: &Path) -> Result<bool> {
    let open = |path: &Path| File::open(path).with_context(|| path.display().to_string());
    let (mut left, mut right) = (open(left)?, open(right)?);
    if left.metadata()?.len() != right.metadata()?.len() {
        return Ok(false);
    }
    let (mut a, mut b) = (vec![0; COMPARE_BYTES], vec![0; COMPARE_BYTES]);
    loop {
        let len = left.read(&mut a)?;
        if len == 0 {
            return Ok(true);
        }
        right.read_exact(&mut b[..len])?;
        if a[..len] != b[..len] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_measured_and_its_failure_told() {
        let scratch = tempfile::tempdir().unwrap();
        let cost = measure(Command::new("sh").args(["-c", "sleep 0.05"]), scratch.path()).unwrap();
        assert!(cost.wall_s >= 0.05 && cost.cpu_s < cost.wall_s && cost.rss_bytes > 100 << 10, "{cost:?}");
        let error = measure(Command::new("sh").args(["-c", "echo broken >&2; exit 3"]), scratch.path());
        let text = error.unwrap_err().to_string();
        assert!(text.contains("broken") && text.contains('3'), "{text}");
    }

    #[test]
    fn a_single_different_byte_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let (left, right) = (folder.path().join("left"), folder.path().join("right"));
        let mut bytes = vec![7; 3 * COMPARE_BYTES + 1];
        std::fs::write(&left, &bytes).unwrap();
        std::fs::write(&right, &bytes).unwrap();
        assert!(same_bytes(&left, &right).unwrap());
        *bytes.last_mut().unwrap() = 8;
        std::fs::write(&right, &bytes).unwrap();
        assert!(!same_bytes(&left, &right).unwrap());
        std::fs::write(&right, &bytes[1..]).unwrap();
        assert!(!same_bytes(&left, &right).unwrap());
    }
}
