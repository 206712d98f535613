//! `fluvial artifacts list`.

use std::fmt::Write as _;

use fluvial_artifacts::{Entry, ImageId, Store, Stored};
use fluvial_console::{Fault, say};
use serde_json::{Value, json};

use super::{base_name, delta_json, words};
use crate::arguments::ArtifactsListArguments;

/// Lists what there is. What is damaged or not ours is listed as such.
///
/// # Errors
/// Where the store cannot be read.
pub fn run(arguments: &ArtifactsListArguments) -> Result<(), Fault> {
    let store = arguments.store.open();
    let entries = store.list(&arguments.filter())?;
    if arguments.json { say(objects(&store, &entries)) } else { say(text(&store, &entries).trim_end()) }
}

fn objects(store: &Store, entries: &[Entry]) -> Value {
    let (mut versions, mut foreign, mut unfinished) = (Vec::new(), Vec::new(), Vec::new());
    for entry in entries {
        match entry {
            Entry::Version(stored) => versions.push(object(stored)),
            Entry::Foreign { path, damage } => foreign.push(json!({ "path": path, "reason": words(damage) })),
            Entry::Leftover(path) => unfinished.push(path),
        }
    }
    json!({ "artifacts": store.root(), "versions": versions, "foreign": foreign, "unfinished": unfinished })
}

fn object(stored: &Stored) -> Value {
    let manifest = stored.manifest.as_ref().ok();
    json!({
        "machine": stored.id.of.machine,
        "image": stored.id.of.image,
        "version": stored.id.version,
        "path": stored.path,
        "size_bytes": manifest.map(fluvial_artifacts::Manifest::size_bytes),
        "partitions": manifest.map(|manifest| {
            manifest.partitions.iter().map(|partition| &partition.name).collect::<Vec<_>>()
        }),
        "damage": stored.manifest.as_ref().err().map(words),
        "deltas": stored.deltas.iter().map(delta_json).collect::<Vec<_>>(),
    })
}

fn text(store: &Store, entries: &[Entry]) -> String {
    let mut text = String::new();
    let mut image: Option<&ImageId> = None;
    for entry in entries {
        // Writing to a string cannot fail.
        let _ = match entry {
            Entry::Version(stored) => {
                if image != Some(&stored.id.of) {
                    image = Some(&stored.id.of);
                    let _ = writeln!(text, "{}", stored.id.of);
                }
                writeln!(text, "  {}", line(stored))
            }
            Entry::Foreign { path, damage } => {
                writeln!(text, "not a version: {}: {}", path.display(), words(damage))
            }
            Entry::Leftover(path) => writeln!(text, "not finished: {}", path.display()),
        };
    }
    if text.is_empty() { format!("{}: no versions", store.root().display()) } else { text }
}

fn line(stored: &Stored) -> String {
    let Stored { id, manifest, deltas, .. } = stored;
    let mut line = match manifest {
        Ok(manifest) => {
            let names: Vec<_> = manifest.partitions.iter().map(|partition| partition.name.as_str()).collect();
            format!("{}: {} bytes ({})", id.version, manifest.size_bytes(), names.join(", "))
        }
        Err(damage) => format!("{}: damaged: {}", id.version, words(damage)),
    };
    if !deltas.is_empty() {
        let bases: Vec<_> = deltas.iter().map(|delta| base_name(delta.base())).collect();
        let _ = write!(line, ", deltas from {}", bases.join(", "));
    }
    line
}
