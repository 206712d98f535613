//! `fluvial artifacts prune`.

use std::fmt::Write as _;

use fluvial_artifacts::{Decision, Fate, Filter, ImageReport, KeepReason, PruneOptions};
use fluvial_console::{Fault, say};
use serde_json::{Value, json};

use super::base_name;
use crate::arguments::ArtifactsPruneArguments;

/// Removes old versions, and says why the others stay.
///
/// # Errors
/// Where the store cannot be read or written, or a delta is being made.
pub fn run(arguments: &ArtifactsPruneArguments) -> Result<(), Fault> {
    let ArtifactsPruneArguments { store, keep, machine, image, deltas, dry_run, json } = arguments;
    let filter = Filter { machine: machine.clone(), image: image.clone(), version: None };
    let options = PruneOptions { keep: *keep, deltas: *deltas, dry_run: *dry_run };
    let reports = store.open().prune(&filter, options)?;
    if *json {
        let images: Vec<_> = reports.iter().map(object).collect();
        return say(json!({ "dry_run": dry_run, "images": images }));
    }
    let mut text = String::new();
    for report in &reports {
        describe(report, *dry_run, &mut text);
    }
    if text.is_empty() { say("no versions") } else { say(text.trim_end()) }
}

fn object(report: &ImageReport) -> Value {
    let decision = |Decision { version, fate }: &Decision| match fate {
        Fate::Kept(reasons) => json!({
            "version": version,
            "removed": false,
            "reasons": reasons.iter().map(KeepReason::to_string).collect::<Vec<_>>(),
        }),
        Fate::Removed { bytes } => json!({ "version": version, "removed": true, "size_bytes": bytes }),
    };
    let deltas = report.deltas.iter().map(|delta| json!({ "from": delta.from, "to": delta.to }));
    json!({
        "machine": report.id.machine,
        "image": report.id.image,
        "versions": report.decisions.iter().map(decision).collect::<Vec<_>>(),
        "removed_deltas": deltas.collect::<Vec<_>>(),
        "removed_unfinished": report.leftovers,
    })
}

fn describe(report: &ImageReport, dry_run: bool, text: &mut String) {
    let removed = if dry_run { "would be removed" } else { "removed" };
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}", report.id);
    for Decision { version, fate } in &report.decisions {
        let _ = match fate {
            Fate::Removed { bytes } => writeln!(text, "  {version}: {removed}, {bytes} bytes"),
            Fate::Kept(reasons) => {
                let reasons: Vec<_> = reasons.iter().map(KeepReason::to_string).collect();
                writeln!(text, "  {version}: kept: {}", reasons.join(", "))
            }
        };
    }
    for delta in &report.deltas {
        let _ = writeln!(text, "  delta from {} to {}: {removed}", base_name(delta.from.as_ref()), delta.to);
    }
    if report.leftovers > 0 {
        let _ = writeln!(text, "  {} folders that were never finished: {removed}", report.leftovers);
    }
}
