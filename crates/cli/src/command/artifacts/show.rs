//! `fluvial artifacts show`.

use std::fmt::Write as _;

use fluvial_artifacts::{BuildInfo, Manifest, StoredDelta};
use fluvial_console::{Fault, Kind, say};
use serde_json::json;

use super::{base_name, delta_json, words};
use crate::arguments::ArtifactsShowArguments;

/// Shows a version.
///
/// # Errors
/// Where it is not there, or damaged.
pub fn run(arguments: &ArtifactsShowArguments) -> Result<(), Fault> {
    let stored = arguments.store.open().version(&arguments.version.id())?;
    let manifest = stored.manifest.map_err(|damage| {
        Fault::new(Kind::DamagedArtifact, format!("{} is damaged: {}", stored.id, words(&damage)))
    })?;
    if arguments.json {
        let deltas: Vec<_> = stored.deltas.iter().map(delta_json).collect();
        return say(json!({ "path": stored.path, "manifest": manifest, "deltas": deltas }));
    }
    say(text(&manifest, &stored.deltas).trim_end())
}

fn text(manifest: &Manifest, deltas: &[StoredDelta]) -> String {
    let Manifest { machine, image, version, .. } = manifest;
    let mut text = format!("{machine}/{image}/{version}, added by {}\n", manifest.created_by);
    // Writing to a string cannot fail.
    if let Some(distribution) = &manifest.distribution {
        let _ = writeln!(text, "distribution {distribution}");
    }
    if let Some(time) = manifest.time_unix_s {
        let _ = writeln!(text, "made {time} s after 1970");
    }
    for partition in &manifest.partitions {
        let _ = writeln!(text, "{}: {} bytes, {}", partition.name, partition.size_bytes, partition.sha256);
        let (room, block_len) = (partition.room_bytes(), partition.block_len_bytes);
        let _ = writeln!(text, "  partition of {room} bytes, blocks of {block_len}");
    }
    lines(&mut text, "build-info", &manifest.build_info);
    lines(&mut text, "notes", &manifest.build_notes);
    for delta in deltas {
        let _ = match &delta.info {
            Ok(info) => {
                writeln!(text, "delta from {}: {} bytes", base_name(delta.base()), info.swu.size_bytes)
            }
            Err(damage) => {
                writeln!(text, "delta from {}: damaged: {}", base_name(delta.base()), words(damage))
            }
        };
    }
    text
}

fn lines(text: &mut String, name: &str, info: &BuildInfo) {
    if !info.is_empty() {
        let _ = writeln!(text, "{name}:");
    }
    for (key, value) in info.iter() {
        let _ = writeln!(text, "  {key}={value}");
    }
}
