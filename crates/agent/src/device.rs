//! The device: its configuration, its boot loader, and what is kept of its slots.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fluvial_console::{Fault, Kind, open};
use fluvial_device::boot::{self, BootFlow, BootState};
use fluvial_device::disk::Medium;
use fluvial_device::system::{Group, Roots, Slot, System};

use crate::arguments::PlaceArguments;
use crate::state::{State, StateFolder};

/// The device, with its state locked.
pub struct Device {
    pub system: System,
    pub flow: Box<dyn BootFlow>,
    pub folder: StateFolder,
    pub state: State,
    /// What boots now, and next.
    pub boot: BootState,
    paths: BTreeMap<String, PathBuf>,
}

impl Device {
    /// Reads the configuration, the state, and the boot loader's choice.
    pub fn open(places: &PlaceArguments) -> Result<Self, Fault> {
        let system = System::load(&places.config)?;
        let paths = system.paths(&Roots::default())?;
        let paths = paths.into_iter().map(|(name, path)| (name.to_owned(), path)).collect();
        let flow = boot::open(&system);
        let folder = StateFolder::open(&places.state)?;
        let state = folder.load()?;
        let boot = flow.state()?;
        Ok(Self { system, flow, folder, state, boot, paths })
    }

    /// Where a slot stands.
    pub fn path(&self, slot: &Slot) -> &Path {
        // Every slot of the configuration has a path.
        self.paths.get(&slot.name).map_or(Path::new(""), PathBuf::as_path)
    }

    /// A slot to be read. Behind its payload a slot holds what nobody wrote on purpose.
    pub fn source(&self, slot: &Slot) -> Result<Medium, Fault> {
        let medium = open(self.path(slot))?;
        let len = self.state.whole(&slot.name).map_or(u64::MAX, |content| content.size_bytes);
        Ok(medium.shortened(len))
    }

    /// The group that does not run.
    pub fn other_group(&self) -> Group {
        self.system.groups().other(&self.boot.active).clone()
    }

    /// Keeps the changed state.
    pub fn store(&mut self) -> Result<(), Fault> {
        Ok(self.folder.store(&mut self.state)?)
    }

    /// Refuses to write to a group that may boot: while a release is being tried, the other group is what the
    /// device falls back to.
    pub fn check_confirmed(&self) -> Result<(), Fault> {
        if self.boot.active == self.boot.default {
            return Ok(());
        }
        let message = format!(
            "{} runs and is not confirmed, {} is what the device falls back to",
            self.boot.active, self.boot.default
        );
        Err(Fault::new(Kind::Refused, message)
            .hint("confirm what runs with `fluvial-agent system commit`, or restart to go back"))
    }
}
