//! U-Boot: two variables in its environment, `fluvial_default` and `fluvial_try`, through libubootenv's
//! `fw_printenv` and `fw_setenv`.
//!
//! Both variables change in one call, from a script, so in one write. With a redundant environment (two
//! places in `fw_env.config`) that write goes to the copy that is not in use, and a checksum and a counter
//! decide which one counts; with a single place a power cut in the middle of it leaves no environment.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::program::Program;
use super::{BootError, BootFlow, Change, Choice, Common, choice_of};
use crate::system::{Group, Groups};

const DEFAULT: &str = "fluvial_default";
const TRY: &str = "fluvial_try";
/// How long a tool may take: raw flash is slow.
const TIME_LIMIT: Duration = Duration::from_mins(1);
/// What the tools say, and then succeed, when they find no environment and take what it was at first.
const DEFAULTED: &str = "using default";

/// U-Boot's environment.
#[derive(Debug)]
pub(super) struct UBoot {
    common: Common,
    config: PathBuf,
    printenv: Program,
    setenv: Program,
}

impl UBoot {
    pub(super) fn new(common: Common, config: PathBuf, printenv: PathBuf, setenv: PathBuf) -> Self {
        let [printenv, setenv] = [printenv, setenv].map(|path| Program::new(path, TIME_LIMIT));
        Self { common, config, printenv, setenv }
    }

    fn place(&self) -> String {
        format!("the environment that {} names", self.config.display())
    }

    fn call(&self, program: &Program, further: &[&str]) -> Result<String, BootError> {
        let config = self.config.to_string_lossy();
        let said = program.run(&[&["-c", config.as_ref()], further].concat());
        let damaged = |reason: &str| BootError::Damaged { place: self.place(), reason: reason.trim().into() };
        match said {
            Ok(said) if said.errors.contains(DEFAULTED) => Err(damaged(&said.errors)),
            Ok(said) => Ok(said.output),
            Err(BootError::Failed { message, .. }) if message.contains(DEFAULTED) => Err(damaged(&message)),
            Err(error) => Err(error),
        }
    }

    fn write(&self, script: &str) -> Result<(), BootError> {
        let failed = |path: &Path, source| BootError::Write { path: path.into(), source };
        let mut file =
            tempfile::NamedTempFile::new().map_err(|error| failed(&std::env::temp_dir(), error))?;
        file.write_all(script.as_bytes()).map_err(|error| failed(file.path(), error))?;
        let path = file.path().to_string_lossy().into_owned();
        self.call(&self.setenv, &["-s", &path]).map(drop)
    }
}

impl BootFlow for UBoot {
    fn groups(&self) -> &Groups {
        &self.common.groups
    }

    fn active(&self) -> Result<Group, BootError> {
        self.common.told_active()
    }

    fn choice(&self) -> Result<Choice, BootError> {
        // All of them: versions differ in what they answer when one that is asked for is not there.
        let variables = self.call(&self.printenv, &[])?;
        let value =
            |name: &str| variables.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        choice_of(&self.common.groups, &self.place(), value(DEFAULT), value(TRY))
    }

    fn make(&self, _: &Change, result: &Choice) -> Result<(), BootError> {
        let pending = result.pending.as_ref().map_or("", Group::as_str);
        // A variable without a value is removed.
        self.write(&format!("{DEFAULT}={}\n{TRY}={pending}\n", result.default))
    }

    fn reboot(&self) -> Result<(), BootError> {
        self.common.restart.run(None)
    }
}
