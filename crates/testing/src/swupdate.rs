//! Devices that run the real `swupdate`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// Runs until one comes to a verdict. The part of `swupdate -i` that waits for the end sometimes looks before the
/// other part has begun, takes that for a good end, and stops the program in the middle, its temporary files
/// removed: more often under load.
const RUNS_MAX: usize = 10;
/// What the part that installs says, and then the one that waits for it.
const SUCCESS: [&str; 2] = ["SWUPDATE successful", "SWUpdate was successful"];
/// The same where it failed. A failure that only the first speaks of may be due to the other.
const FAILURE: [&str; 2] = ["SWUPDATE failed [1]", "SWUpdate *failed*"];

/// What an installation came to.
#[derive(Debug)]
pub struct Installed {
    /// All that `swupdate` said.
    pub output: String,
    /// Whether both of its parts say that it was one. The exit status is wrong now and then.
    pub is_success: bool,
    /// Whether the boot loader was told, by this run or by one before it that came to no verdict.
    pub is_good: bool,
}

/// A device with an environment of U-Boot of its own, and Debian's `swupdate`. Needs root.
#[derive(Debug)]
pub struct SwupdateDevice {
    folder: TempDir,
}

impl SwupdateDevice {
    /// What a package has to write to the boot loader's environment, so that its slot counts as good.
    pub const GOOD: &str = "chosen=b";

    /// One of which slot a counts as good, and which is a `demo-board` of revision 1.0.
    ///
    /// # Errors
    /// Whatever the machine reports.
    pub fn new() -> io::Result<Self> {
        let device = Self { folder: tempfile::tempdir()? };
        let (etc, environment) = (device.path("etc"), device.path("uboot.env"));
        fs::create_dir(&etc)?;
        for name in ["passwd", "group"] {
            fs::copy(Path::new("/etc").join(name), etc.join(name))?;
        }
        fs::write(etc.join("fw_env.config"), format!("{} 0x0 0x4000\n", environment.display()))?;
        fs::write(device.path("defaults"), "chosen=a\n")?;
        fs::write(&environment, vec![0; 0x4000])?;
        Ok(device)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Slot a is the one that counts as good.
    fn reset_environment(&self) -> io::Result<()> {
        let (config, defaults) = (self.path("etc/fw_env.config"), self.path("defaults"));
        let files = [Path::new("-c"), &config, Path::new("-f"), &defaults];
        run(Command::new("fw_setenv").args(files).args(["chosen", "a"])).map(drop)
    }

    /// The boot loader's environment, as lines.
    ///
    /// # Errors
    /// Whatever `fw_printenv` reports.
    pub fn environment(&self) -> io::Result<String> {
        let config = self.path("etc/fw_env.config");
        let output = run(Command::new("fw_printenv").args([Path::new("-c"), &config]))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Installs a package as a device would that trusts this certificate. `arguments` stand behind its own, and win.
    ///
    /// # Errors
    /// Whatever the machine reports, and when no run comes to a verdict.
    pub fn install(&self, package: &Path, certificate: &Path, arguments: &[&str]) -> io::Result<Installed> {
        self.reset_environment()?;
        for _ in 0..RUNS_MAX {
            let output = self.run(package, certificate, arguments)?;
            let is_said = |words: [&str; 2]| words.iter().all(|words| output.contains(words));
            let is_success = is_said(SUCCESS);
            if is_success || is_said(FAILURE) {
                let is_good = self.environment()?.lines().any(|line| line == Self::GOOD);
                return Ok(Installed { output, is_success, is_good });
            }
        }
        Err(io::Error::other(format!("none of {RUNS_MAX} runs came to a verdict")))
    }

    /// One run, with its own /etc and temporary folder.
    fn run(&self, package: &Path, certificate: &Path, arguments: &[&str]) -> io::Result<String> {
        let temporary = tempfile::tempdir_in(self.folder.path())?;
        let script = "mount --bind \"$1\" /etc && shift && exec swupdate \"$@\"";
        let output = Command::new("unshare")
            .args(["--mount", "sh", "-c", script, "sh"])
            .arg(self.path("etc"))
            .args(["-l", "5", "-B", "uboot", "-H", "demo-board:1.0"])
            .args([Path::new("-k"), certificate, Path::new("-i"), package])
            .args(arguments)
            .env("TMPDIR", temporary.path())
            .output()?;
        Ok([output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat())
    }
}

/// Runs a program, which must succeed.
fn run(command: &mut Command) -> io::Result<Output> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{command:?}: {said}")))
}
