//! Boot flows: which boot group runs, which one runs next, and what becomes of it if nobody confirms it.
//!
//! Every flow knows two things that outlast a restart, its [`Choice`]: the group that boots when nothing is
//! asked, and a group that is tried once. The boot loader forgets the try **before** it starts the tried
//! group, so a group that hangs, or that nobody commits, is followed by the default again. `docs/boot.md` has
//! the boot loaders' sides.
//!
//! Nothing here looks at what stands in slots, and nothing decides whether a group is good.

use std::fmt;

use self::error::damaged;
use crate::system::{ActiveSource, FlowConfig, Group, Groups, System};

mod active;
mod custom;
mod efi;
mod error;
mod grub;
mod program;
mod restart;
mod systemd_boot;
mod tryboot;
mod uboot;
mod write;

pub use active::COMMAND_LINE_BYTES_MAX;
pub use error::BootError;
pub use grub::GRUB_ENVIRONMENT_BYTES;
pub use program::OUTPUT_BYTES_MAX;
pub use tryboot::AUTOBOOT_BYTES_MAX;

/// What a boot flow keeps over a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The group that boots when nothing is asked.
    pub default: Group,
    /// The group that the next boot tries, once. It is never the default.
    pub pending: Option<Group>,
}

/// What is running, and what a boot flow keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootState {
    /// The group that is running.
    pub active: Group,
    /// The group that boots when nothing is asked.
    pub default: Group,
    /// The group that the next boot tries, once.
    pub pending: Option<Group>,
}

/// A change of a [`Choice`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The next boot, once, is this group.
    Try(Group),
    /// This group is the default from now on; nothing is tried.
    Commit(Group),
    /// Nothing is tried.
    Cancel,
}

impl Choice {
    /// A choice as a boot loader keeps it. To try the default is to try nothing.
    pub fn new(default: Group, pending: Option<Group>) -> Self {
        let pending = pending.filter(|pending| *pending != default);
        Self { default, pending }
    }

    /// What it is after a change.
    #[must_use]
    pub fn after(&self, change: &Change) -> Self {
        match change {
            Change::Try(group) => Self::new(self.default.clone(), Some(group.clone())),
            Change::Commit(group) => Self::new(group.clone(), None),
            Change::Cancel => Self::new(self.default.clone(), None),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pending {
            Some(pending) => write!(formatter, "{}, then once {pending}", self.default),
            None => write!(formatter, "{}", self.default),
        }
    }
}

/// A boot loader, and how it is told what to boot. Callers see to it that one process at a time changes it.
///
/// An implementation has [`BootFlow::make`]; callers use [`BootFlow::try_next`], [`BootFlow::commit`] and
/// [`BootFlow::cancel_try`], which look afterwards whether the change was kept.
pub trait BootFlow: fmt::Debug + Send {
    /// The device's boot groups.
    fn groups(&self) -> &Groups;

    /// The group that is running.
    ///
    /// # Errors
    /// Where this is not told, or cannot be read.
    fn active(&self) -> Result<Group, BootError>;

    /// What is kept over a restart.
    ///
    /// # Errors
    /// Where it is damaged, or cannot be read.
    fn choice(&self) -> Result<Choice, BootError>;

    /// Makes a change, which leads to `result`, durable. Whatever cuts it, the old choice is kept or the new
    /// one.
    ///
    /// # Errors
    /// Whatever the boot loader's medium or tools report.
    fn make(&self, change: &Change, result: &Choice) -> Result<(), BootError>;

    /// Asks the system to restart, so that a pending try is made. Answers before it happens.
    ///
    /// # Errors
    /// Where the system refuses.
    fn reboot(&self) -> Result<(), BootError>;

    /// What is running, and what is kept.
    ///
    /// # Errors
    /// As [`BootFlow::active`] and [`BootFlow::choice`].
    fn state(&self) -> Result<BootState, BootError> {
        let active = self.active()?;
        let Choice { default, pending } = self.choice()?;
        Ok(BootState { active, default, pending })
    }

    /// The group that boots when nothing is asked.
    ///
    /// # Errors
    /// As [`BootFlow::choice`].
    fn default_group(&self) -> Result<Group, BootError> {
        Ok(self.choice()?.default)
    }

    /// Makes the next boot, once, this group. Nothing is tried if it is the default.
    ///
    /// # Errors
    /// As [`BootFlow::choice`] and [`BootFlow::make`]; [`BootError::NotKept`].
    fn try_next(&self, group: &Group) -> Result<(), BootError> {
        self.change(&Change::Try(group.clone()))
    }

    /// Makes this group the default for good; nothing is tried any more.
    ///
    /// # Errors
    /// As [`BootFlow::try_next`].
    fn commit(&self, group: &Group) -> Result<(), BootError> {
        self.change(&Change::Commit(group.clone()))
    }

    /// Tries nothing at the next boot.
    ///
    /// # Errors
    /// As [`BootFlow::try_next`].
    fn cancel_try(&self) -> Result<(), BootError> {
        self.change(&Change::Cancel)
    }

    /// Makes a change unless nothing would change, and looks whether it was kept.
    ///
    /// # Errors
    /// As [`BootFlow::try_next`].
    fn change(&self, change: &Change) -> Result<(), BootError> {
        if let Change::Try(group) | Change::Commit(group) = change {
            known(self.groups(), "the caller", group.as_str())?;
        }
        let before = self.choice()?;
        let expected = before.after(change);
        if before == expected {
            return Ok(());
        }
        self.make(change, &expected)?;
        let found = self.choice()?;
        if found == expected { Ok(()) } else { Err(BootError::NotKept { expected, found }) }
    }
}

/// The boot flow that a device's configuration names. Touches nothing.
pub fn open(system: &System) -> Box<dyn BootFlow> {
    let boot = system.boot();
    let common = Common {
        groups: system.groups().clone(),
        active: boot.active.clone(),
        restart: restart::Restart::new(boot.reboot.clone()),
    };
    match boot.flow.clone() {
        FlowConfig::Grub { environment } => Box::new(grub::Grub::new(common, environment)),
        FlowConfig::UBoot { config, printenv, setenv } => {
            Box::new(uboot::UBoot::new(common, config, printenv, setenv))
        }
        FlowConfig::SystemdBoot { variables, loader, entries } => {
            Box::new(systemd_boot::SystemdBoot::new(common, variables, loader, entries))
        }
        FlowConfig::Tryboot { autoboot, partitions, booted, marker } => {
            Box::new(tryboot::Tryboot::new(common, autoboot, partitions, booted, marker))
        }
        FlowConfig::Custom { program, time_limit_s } => {
            Box::new(custom::Custom::new(common, program, time_limit_s))
        }
    }
}

/// What every flow has.
#[derive(Debug)]
struct Common {
    groups: Groups,
    active: Option<ActiveSource>,
    restart: restart::Restart,
}

impl Common {
    /// The running group, where the configuration says how it is found, or else as the flow finds it.
    fn active(&self, otherwise: impl FnOnce() -> Result<Group, BootError>) -> Result<Group, BootError> {
        self.active.as_ref().map_or_else(otherwise, |source| active::find(source, &self.groups))
    }

    /// The running group, of a flow that has no way of its own to find it.
    fn told_active(&self) -> Result<Group, BootError> {
        self.active(|| Err(BootError::NoActive { place: "the configuration".into() }))
    }
}

/// The group that `place` names.
fn known(groups: &Groups, place: &str, name: &str) -> Result<Group, BootError> {
    let unknown = || BootError::UnknownGroup { place: place.into(), group: name.into() };
    groups.find(name).cloned().ok_or_else(unknown)
}

/// What two variables say: the default, the first group where it is not told, and a try, none where it is
/// empty.
fn choice_of(
    groups: &Groups,
    place: &str,
    default: Option<&str>,
    pending: Option<&str>,
) -> Result<Choice, BootError> {
    let told = |value: Option<&str>| {
        value.filter(|value| !value.is_empty()).map(|name| known(groups, place, name)).transpose()
    };
    let default = told(default)?.unwrap_or_else(|| groups.first().clone());
    Ok(Choice::new(default, told(pending)?))
}

#[cfg(test)]
mod tests;
