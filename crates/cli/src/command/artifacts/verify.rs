//! `fluvial artifacts verify`.

use fluvial_artifacts::{Entry, Manifest, Stored, VerifyReport};
use fluvial_console::{Fault, Interrupt, Kind, Progress, say};
use serde_json::{Value, json};

use super::words;
use crate::arguments::ArtifactsListArguments;

/// Reads versions again, and says which are damaged, and how.
///
/// # Errors
/// [`Kind::DamagedArtifact`] where one is; [`Kind::NoArtifact`] where a filter names none.
pub fn run(arguments: &ArtifactsListArguments, interrupt: Interrupt) -> Result<(), Fault> {
    let store = arguments.store.open();
    let entries = store.list(&arguments.filter())?;
    let versions: Vec<Stored> = entries
        .into_iter()
        .filter_map(|entry| if let Entry::Version(stored) = entry { Some(*stored) } else { None })
        .collect();
    let is_filtered = arguments.machine.is_some() || arguments.image.is_some() || arguments.version.is_some();
    if versions.is_empty() && is_filtered {
        return Err(Fault::new(Kind::NoArtifact, "the store has no such version"));
    }
    let progress = Progress::new(interrupt, arguments.json);
    let sizes = versions.iter().filter_map(|stored| stored.manifest.as_ref().ok()).map(Manifest::size_bytes);
    progress.phase("reading", sizes.sum());
    let reports: Result<Vec<VerifyReport>, _> =
        versions.into_iter().map(|stored| store.verify(stored, &|bytes| progress.advance(bytes))).collect();
    progress.finish();
    let reports = reports?;
    tell(&reports, arguments.json)?;
    let damaged = reports.iter().filter(|report| !report.is_whole()).count();
    if damaged == 0 {
        return Ok(());
    }
    Err(Fault::new(Kind::DamagedArtifact, format!("{damaged} of {} versions are damaged", reports.len())))
}

fn tell(reports: &[VerifyReport], json: bool) -> Result<(), Fault> {
    if json {
        let versions: Vec<_> = reports.iter().map(object).collect();
        return say(json!({ "versions": versions }));
    }
    for report in reports {
        if report.is_whole() {
            say(format_args!("{}: whole, {} bytes read", report.id, report.bytes))?;
        }
        for damage in &report.damages {
            say(format_args!("{}: {}", report.id, words(damage)))?;
        }
        for (delta, damage) in &report.delta_damages {
            say(format_args!("{}: delta {delta}: {}", report.id, words(damage)))?;
        }
    }
    Ok(())
}

fn object(report: &VerifyReport) -> Value {
    let delta = |(delta, damage): &(String, _)| json!({ "delta": delta, "damage": words(damage) });
    json!({
        "machine": report.id.of.machine,
        "image": report.id.of.image,
        "version": report.id.version,
        "whole": report.is_whole(),
        "bytes": report.bytes,
        "damages": report.damages.iter().map(words).collect::<Vec<_>>(),
        "delta_damages": report.delta_damages.iter().map(delta).collect::<Vec<_>>(),
    })
}
