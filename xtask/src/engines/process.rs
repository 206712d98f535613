//! The processes of engines: how they are started, found again, and ended.
//!
//! A process belongs to the engines of a folder when its environment names the folder, which everything that they
//! start inherits; when it is podman's monitor of a container there, which gets an environment of its own; or when
//! the root file system that it sees is a container's below the folder. So whoever started them may crash.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::mounts::unescaped;
use crate::command::{command, output};

/// The variable that names the folder.
const VARIABLE: &str = "FLUVIAL_ENGINES_OF";
const POLL: Duration = Duration::from_millis(50);

/// What tells the processes of one folder's engines from all others.
pub struct Marker {
    dir: PathBuf,
}

/// A process, told from a later one of the same number by when it started.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    id: u32,
    started: String,
}

impl Marker {
    /// The marker of a folder, given without symbolic links.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Starts a program in a session of its own, so that it outlives ours and its terminal; what it says goes to
    /// `NAME.log`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn spawn(&self, name: &str, service: &Command) -> Result<Child> {
        let log = File::create(self.log(name))?;
        // A forked child leads no group, so `setsid` becomes the program, and its id is the program's.
        let mut setsid = command("setsid", [service.get_program()]);
        setsid.args(service.get_args()).env(VARIABLE, &self.dir);
        for (name, value) in service.get_envs() {
            setsid.env(name, value.unwrap_or_default());
        }
        setsid.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        setsid.spawn().with_context(|| format!("starting {name}"))
    }

    /// Where a program's output goes.
    pub fn log(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.log"))
    }

    /// Asks every process to end, and kills those that did not in time.
    ///
    /// # Errors
    /// When one outlives even that.
    pub fn end_all(&self, within: Duration) -> Result<()> {
        // Killing a monitor may let its container be seen, so look again.
        for signal in ["-TERM", "-KILL", "-KILL"] {
            let start = Instant::now();
            let processes = self.processes();
            signal_all(signal, &processes);
            while processes.iter().any(Process::is_alive) && start.elapsed() < within {
                sleep(POLL);
            }
        }
        let left = self.processes();
        ensure!(left.is_empty(), "process {} of the engines does not end", left[0].id);
        Ok(())
    }

    fn processes(&self) -> Vec<Process> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let processes = ids.filter(|&id: &u32| id != std::process::id() && self.is_of_id(id));
        // A process may end while it is looked at.
        processes.filter_map(Process::of).collect()
    }

    fn is_of_id(&self, id: u32) -> bool {
        let read = |what: &str| fs::read(format!("/proc/{id}/{what}")).unwrap_or_default();
        let mounts = || String::from_utf8_lossy(&read("mountinfo")).into_owned();
        self.is_in_environment(&read("environ"))
            || self.is_monitor(&read("cmdline"))
            || self.is_root(&mounts())
    }

    fn is_in_environment(&self, environment: &[u8]) -> bool {
        let mut wanted = OsString::from(VARIABLE);
        wanted.push("=");
        wanted.push(&self.dir);
        environment.split(|&byte| byte == 0).any(|entry| entry == wanted.as_bytes())
    }

    fn is_monitor(&self, line: &[u8]) -> bool {
        let mut words = line.split(|&byte| byte == 0);
        let is_conmon = words.next().is_some_and(|program| program.ends_with(b"conmon"));
        let mut below = self.dir.as_os_str().as_bytes().to_vec();
        below.push(b'/');
        is_conmon && words.any(|word| word.starts_with(&below))
    }

    /// Whether `/` is an overlay whose folders stand below ours.
    fn is_root(&self, mounts: &str) -> bool {
        let root = mounts.lines().rfind(|line| line.split(' ').nth(4) == Some("/"));
        let below = format!("upperdir={}/", self.dir.display());
        root.is_some_and(|line| unescaped(line).contains(&below))
    }
}

impl Process {
    fn of(id: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name stands in brackets and may hold anything; the state is field 3, the start field 22.
        let mut fields = text.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        let started = fields.nth(18)?.to_owned();
        // A zombie has ended; nobody may be left to hear of it.
        (state != "Z").then_some(Self { id, started })
    }

    fn is_alive(&self) -> bool {
        Self::of(self.id).as_ref() == Some(self)
    }
}

fn signal_all(signal: &str, processes: &[Process]) {
    let ids: Vec<String> = processes.iter().map(|process| process.id.to_string()).collect();
    if !ids.is_empty() {
        // One that has ended meanwhile makes `kill` fail, and is no failure.
        let _ = output(command("kill", [signal, "--"]).args(ids));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_found_by_its_mark_and_ended() {
        let folder = tempfile::tempdir().unwrap();
        let dir = fs::canonicalize(folder.path()).unwrap();
        let marker = Marker::new(&dir);
        // Its child inherits the mark, and one that ignores the request is killed.
        let script = "trap '' TERM; echo up; sleep 600 & wait; wait";
        let mut child = marker.spawn("sh", &command("sh", ["-c", script])).unwrap();
        while fs::read_to_string(marker.log("sh")).unwrap() != "up\n" || marker.processes().len() < 2 {
            sleep(POLL);
        }
        assert!(
            marker.processes().iter().any(|process| process.id == child.id()),
            "setsid became the program"
        );
        let neighbour = Marker::new(&dir.join("neighbour"));
        assert_eq!(neighbour.processes(), []);
        marker.end_all(Duration::from_millis(300)).unwrap();
        assert_eq!(marker.processes(), []);
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn monitors_and_containers_are_told_by_what_they_use() {
        let marker = Marker::new(Path::new("/e"));
        assert!(marker.is_monitor(b"/usr/bin/conmon\0-b\0/e/podman/c\0"));
        assert!(!marker.is_monitor(b"/usr/bin/conmon\0-b\0/else/podman/c\0"));
        assert!(!marker.is_monitor(b"tar\0-C\0/e/podman/c\0"));
        let of = |upper: &str| format!("1 2 0:5 / / rw - overlay overlay rw,lowerdir=/l,upperdir={upper}\n");
        assert!(marker.is_root(&of("/e/docker/overlay2/x/diff")));
        assert!(!marker.is_root(&of("/ee/docker/overlay2/x/diff")));
        let host =
            format!("1 2 8:1 / / rw - ext4 /dev/a rw\n{}", of("/e/d").replace(" / / ", " / /e/merged "));
        assert!(!marker.is_root(&host), "who sees a container's folder is not in it");
    }
}
