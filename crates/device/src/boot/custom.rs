//! A program of the device's own, called with `active`, `default`, `pending`, `try GROUP`, `commit GROUP` or
//! `cancel`.

use std::path::PathBuf;
use std::time::Duration;

use super::program::Program;
use super::{BootError, BootFlow, Change, Choice, Common, known};
use crate::system::{Group, Groups};

/// A program that knows the boot loader.
#[derive(Debug)]
pub(super) struct Custom {
    common: Common,
    program: Program,
}

impl Custom {
    pub(super) fn new(common: Common, program: PathBuf, time_limit_s: u32) -> Self {
        Self { common, program: Program::new(program, Duration::from_secs(time_limit_s.into())) }
    }

    /// The group that the program answers; none if it answers nothing.
    fn ask(&self, question: &str) -> Result<Option<Group>, BootError> {
        let said = self.program.run(&[question])?;
        let name = said.output.trim();
        if name.is_empty() {
            return Ok(None);
        }
        known(&self.common.groups, &self.place(question), name).map(Some)
    }

    fn place(&self, question: &str) -> String {
        format!("`{} {question}`", self.program.path().display())
    }
}

impl BootFlow for Custom {
    fn groups(&self) -> &Groups {
        &self.common.groups
    }

    fn active(&self) -> Result<Group, BootError> {
        let untold = || BootError::NoActive { place: self.place("active") };
        self.common.active(|| self.ask("active")?.ok_or_else(untold))
    }

    fn choice(&self) -> Result<Choice, BootError> {
        let untold =
            || BootError::Damaged { place: self.place("default"), reason: "it answers nothing".into() };
        let default = self.ask("default")?.ok_or_else(untold)?;
        Ok(Choice::new(default, self.ask("pending")?))
    }

    fn make(&self, change: &Change, result: &Choice) -> Result<(), BootError> {
        let said = match (change, &result.pending) {
            (Change::Commit(group), _) => self.program.run(&["commit", group.as_str()]),
            (_, Some(group)) => self.program.run(&["try", group.as_str()]),
            (_, None) => self.program.run(&["cancel"]),
        };
        said.map(drop)
    }

    fn reboot(&self) -> Result<(), BootError> {
        self.common.restart.run(None)
    }
}
