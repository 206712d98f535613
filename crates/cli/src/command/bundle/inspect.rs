//! `fluvial bundle inspect`.

use std::fmt::Write as _;

use fluvial_bundle::{Component, PartKind};
use indicatif::HumanBytes;

use super::file::BundleFile;
use crate::arguments::BundleInspectArguments;
use fluvial_console::Fault;
use fluvial_console::say;

const KINDS: [PartKind; 5] =
    [PartKind::Sketch, PartKind::Index, PartKind::Chunks, PartKind::Full, PartKind::Patch];

/// Shows a bundle.
///
/// # Errors
/// Every way that it fails.
pub fn run(arguments: &BundleInspectArguments) -> Result<(), Fault> {
    let bundle = BundleFile::open(&arguments.bundle)?;
    if arguments.json { say(json(&bundle)) } else { say(text(&bundle).trim_end()) }
}

fn json(bundle: &BundleFile) -> serde_json::Value {
    let component = |(index, component): (usize, &Component)| {
        let part = |kind| super::part_bytes(&bundle.header, index, kind);
        serde_json::json!({
            "name": component.name(),
            "size_bytes": component.payload().size_bytes,
            "sha256": hex::encode(component.payload().sha256),
            "blake3": hex::encode(component.payload().blake3),
            "sketch_bytes": part(PartKind::Sketch),
            "index_bytes": part(PartKind::Index),
            "chunks_bytes": part(PartKind::Chunks),
            "full_bytes": part(PartKind::Full),
            "patch_bytes": part(PartKind::Patch),
        })
    };
    let manifest = &bundle.manifest;
    let components: Vec<_> = manifest.components.iter().enumerate().map(component).collect();
    let metadata: Vec<_> = bundle.header.metadata.iter().map(|(name, _)| name).collect();
    serde_json::json!({
        "bundle": bundle.path,
        "bundle_bytes": bundle.header.file_len(bundle.header_bytes),
        "header_bytes": bundle.header_bytes,
        "name": manifest.name,
        "version": manifest.version,
        "sequence": manifest.sequence,
        "floor": manifest.floor,
        "hardware": manifest.hardware,
        "components": components,
        "trust_metadata": metadata,
        "full_name": bundle.header.full_name,
    })
}

fn text(bundle: &BundleFile) -> String {
    let manifest = &bundle.manifest;
    let hardware = if manifest.hardware.is_empty() { "any".into() } else { manifest.hardware.join(", ") };
    let signed = if bundle.header.metadata.is_empty() {
        "no: devices refuse it unless told otherwise".to_owned()
    } else {
        let names: Vec<&str> = bundle.header.metadata.iter().map(|(name, _)| name.as_str()).collect();
        format!("{} (`fluvial-agent install --dry-run` checks it)", names.join(", "))
    };
    let mut text = format!(
        "{} {}, sequence {}, for devices from {} on\nhardware  {hardware}\nsigned    {signed}\nheader    {}\n",
        manifest.name,
        manifest.version,
        manifest.sequence,
        manifest.floor,
        HumanBytes(bundle.header_bytes),
    );
    for (index, component) in manifest.components.iter().enumerate() {
        let payload = component.payload();
        let parts = KINDS.iter().filter_map(|&kind| {
            let bytes = super::part_bytes(&bundle.header, index, kind)?;
            Some(format!("{} {}", kind.name(), HumanBytes(bytes)))
        });
        let parts: Vec<String> = parts.collect();
        let (name, size, sha256) =
            (component.name(), HumanBytes(payload.size_bytes), hex::encode(payload.sha256));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "slot {name}: {size}, SHA-256 {sha256}\n  {}", parts.join(", "));
    }
    if !bundle.header.full_name.is_empty() {
        let name = &bundle.header.full_name;
        let _ = writeln!(text, "what has no chunks here is fetched from {name} in the same folder");
    }
    text
}
