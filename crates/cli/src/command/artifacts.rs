//! `fluvial artifacts`: the versions that deltas are made between.

mod add;
mod list;
mod prune;
mod show;
mod verify;

use std::error::Error;

use fluvial_artifacts::{Damage, Store, StoredDelta, Version};
use fluvial_console::{Fault, Interrupt};
use serde_json::{Value, json};

use crate::arguments::{ArtifactsArguments, ArtifactsCommand, StoreArguments};

/// Carries out a command for the artifact store.
///
/// # Errors
/// Every way that it fails.
pub fn run(arguments: &ArtifactsArguments, interrupt: Interrupt) -> Result<(), Fault> {
    match &arguments.command {
        ArtifactsCommand::Add(add) => add::run(add, interrupt),
        ArtifactsCommand::List(list) => list::run(list),
        ArtifactsCommand::Show(show) => show::run(show),
        ArtifactsCommand::Verify(verify) => verify::run(verify, interrupt),
        ArtifactsCommand::Prune(prune) => prune::run(prune),
    }
}

impl StoreArguments {
    /// The store.
    pub fn open(&self) -> Store {
        Store::at(&self.artifacts)
    }
}

/// What is wrong with something, in one line.
fn words(damage: &Damage) -> String {
    let mut text = damage.to_string();
    let mut source = damage.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// A delta, for machines.
fn delta_json(delta: &StoredDelta) -> Value {
    let damage = delta.from.as_ref().err().or(delta.info.as_ref().err());
    json!({
        "from": delta.base(),
        "path": delta.path,
        "swu": delta.info.as_ref().ok().map(|info| &info.swu),
        "damage": damage.map(words),
    })
}

/// A delta's base, for people.
fn base_name(base: Option<&Version>) -> &str {
    base.map_or("an unknown version", Version::as_str)
}
