//! Another maker's program, run to its end.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use thiserror::Error;
use wait4::Wait4 as _;

use fluvial_console::Progress;

/// How often a stop is looked for while a program runs.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// What is read of its complaints, in bytes.
const COMPLAINTS_BYTES_MAX: u64 = 64 << 10;

/// What a run took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spent {
    pub wall_s: f64,
    /// The largest resident set.
    pub memory_bytes: u64,
}

/// A program did not do what it was asked for.
#[derive(Debug, Error)]
pub enum RunError {
    #[error("{0} is not installed")]
    NotInstalled(String),
    #[error("{program} failed ({status}): {complaint}")]
    Failed { program: String, status: ExitStatus, complaint: String },
    #[error("{program} cannot be run")]
    System { program: String, source: io::Error },
    #[error("cancelled")]
    Cancelled,
}

/// Runs a program. A stop that is asked for ends it, too.
pub fn run(command: &mut Command, progress: &Progress) -> Result<Spent, RunError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let system = |source| RunError::System { program: program.clone(), source };
    // A file, not a pipe: nobody has to read it for the program to go on.
    let complaints = tempfile::tempfile().map_err(system)?;
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::from(complaints.try_clone().map_err(system)?));
    let started = Instant::now();
    let mut child = command.spawn().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => RunError::NotInstalled(program.clone()),
        _ => system(source),
    })?;
    let is_wanted = watch(&child, progress);
    if !matches!(is_wanted, Ok(true)) {
        // It may just have ended by itself.
        let _ = child.kill();
    }
    let used = child.wait4().map_err(system)?;
    if !is_wanted.map_err(system)? {
        return Err(RunError::Cancelled);
    }
    if !used.status.success() {
        let complaint = last_line(complaints);
        return Err(RunError::Failed { program, status: used.status, complaint });
    }
    Ok(Spent { wall_s: started.elapsed().as_secs_f64(), memory_bytes: used.rusage.maxrss })
}

/// Waits until the program has ended (true) or a stop is asked for (false).
fn watch(child: &Child, progress: &Progress) -> io::Result<bool> {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let interval = Timespec { tv_sec: 0, tv_nsec: LOOK_INTERVAL.as_nanos() as _ };
    loop {
        // It becomes readable when the process ends.
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&interval)) {
            Ok(0) | Err(Errno::INTR) => {
                if !progress.advance(0) {
                    return Ok(false);
                }
            }
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

fn last_line(mut complaints: File) -> String {
    let mut bytes = Vec::new();
    // What cannot be read is not told.
    let _ = complaints.seek(SeekFrom::Start(0));
    let _ = complaints.take(COMPLAINTS_BYTES_MAX).read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it said nothing").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fluvial_console::Interrupt;

    fn progress() -> Progress {
        Progress::new(Interrupt::listen().unwrap(), true)
    }

    #[test]
    fn a_run_has_an_end_a_cost_and_a_reason() {
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            run(&mut command, &progress())
        };
        assert!(shell("true").unwrap().memory_bytes > 0);
        let failure = shell("echo first >&2; echo last >&2; exit 3").unwrap_err().to_string();
        assert_eq!(failure, "sh failed (exit status: 3): last");
        let missing = run(&mut Command::new("fluvial-no-such-program"), &progress()).unwrap_err();
        assert_eq!(missing.to_string(), "fluvial-no-such-program is not installed");
    }
}
