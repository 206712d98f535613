//! Programs that speak to boot loaders, called with limits on their time and their output.

use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use wait_timeout::ChildExt as _;

use super::BootError;

/// The most that a program may say on one of its streams, in bytes: the largest environments of U-Boot have
/// 256 KiB.
pub const OUTPUT_BYTES_MAX: u64 = 512 << 10;
/// What of a failed program's words stands in the error, in characters.
const MESSAGE_CHARS_MAX: usize = 1000;

/// A program and how long it may take.
#[derive(Debug)]
pub(super) struct Program {
    path: PathBuf,
    time_limit: Duration,
}

/// What a program said.
#[derive(Debug)]
pub(super) struct Said {
    /// On its standard output.
    pub output: String,
    /// On its standard error stream.
    pub errors: String,
}

impl Program {
    pub(super) fn new(path: PathBuf, time_limit: Duration) -> Self {
        Self { path, time_limit }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Calls it, and waits for its end. What it has started and left running is stopped too.
    ///
    /// # Errors
    /// [`BootError::Start`], [`BootError::Failed`], [`BootError::TimedOut`], [`BootError::Output`].
    pub(super) fn run(&self, arguments: &[&str]) -> Result<Said, BootError> {
        let started = |source| BootError::Start { program: self.path.clone(), source };
        let mut command = Command::new(&self.path);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own is stopped as a whole.
        let mut child = command.process_group(0).spawn().map_err(started)?;
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        let (status, output, errors) = thread::scope(|scope| {
            let output = scope.spawn(move || heard(output));
            let errors = scope.spawn(move || heard(errors));
            let status = ended(&mut child, self.time_limit);
            let lost = |_| Err(io::Error::other("its output cannot be read"));
            (status, output.join().unwrap_or_else(lost), errors.join().unwrap_or_else(lost))
        });
        let words = || arguments.join(" ");
        let Some(status) = status.map_err(started)? else {
            let limit_s = self.time_limit.as_secs();
            return Err(BootError::TimedOut { program: self.path.clone(), arguments: words(), limit_s });
        };
        let (Some(output), Some(errors)) = (output.map_err(started)?, errors.map_err(started)?) else {
            return Err(BootError::Output { program: self.path.clone(), arguments: words() });
        };
        if !status.success() {
            let said = if errors.trim().is_empty() { &output } else { &errors };
            return Err(BootError::Failed {
                program: self.path.clone(),
                arguments: words(),
                status: status.to_string(),
                message: said.trim().chars().take(MESSAGE_CHARS_MAX).collect(),
            });
        }
        Ok(Said { output, errors })
    }
}

/// Waits for a program; none if it took too long. Either way nothing of its group runs any more, and so
/// nobody holds its streams open.
fn ended(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let group = Pid::from_child(child);
    let status = child.wait_timeout(limit);
    // It fails where the group is empty.
    let _ = kill_process_group(group, Signal::KILL);
    if !matches!(status, Ok(Some(_))) {
        child.wait()?;
    }
    status
}

/// All that a stream says; none if that is too much.
fn heard(stream: Option<impl Read>) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        stream.take(OUTPUT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    }
    let is_short = bytes.len() as u64 <= OUTPUT_BYTES_MAX;
    Ok(is_short.then(|| String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Result<Said, BootError> {
        Program::new("/bin/sh".into(), limit).run(&["-c", script])
    }

    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn output_and_errors_are_heard() {
        let said = shell("echo one; echo two >&2", LONG).unwrap();
        assert_eq!((said.output.as_str(), said.errors.as_str()), ("one\n", "two\n"));
    }

    #[test]
    fn a_failure_is_reported_with_what_was_said() {
        let error = shell("echo no medium >&2; exit 3", LONG).unwrap_err();
        let BootError::Failed { status, message, .. } = error else { panic!("{error}") };
        assert_eq!((status.as_str(), message.as_str()), ("exit status: 3", "no medium"));
    }

    #[test]
    fn a_program_that_is_not_there_is_told() {
        let error = Program::new("/nowhere/program".into(), LONG).run(&[]).unwrap_err();
        assert!(matches!(error, BootError::Start { .. }), "{error}");
    }

    #[test]
    fn a_slow_program_is_stopped_with_all_that_it_started() {
        // Who inherits the streams would keep us waiting, if it were not stopped too.
        let error = shell("sleep 1000 & sleep 1000", Duration::from_millis(50)).unwrap_err();
        assert!(matches!(error, BootError::TimedOut { .. }), "{error}");
        shell("sleep 1000 & echo done", LONG).unwrap();
    }

    #[test]
    fn an_endless_output_is_cut() {
        let error = shell("while :; do echo more; done", LONG).unwrap_err();
        assert!(matches!(error, BootError::Output { .. }), "{error}");
    }
}
