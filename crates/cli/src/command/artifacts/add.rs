//! `fluvial artifacts add`.

use std::collections::BTreeMap;

use fluvial_artifacts::{BLOCK_LEN_BYTES_DEFAULT, BuildInfo, Name, NewImage, NewVersion};
use fluvial_console::{Fault, Interrupt, Kind, Progress, say};
use serde_json::json;

use crate::arguments::{ArtifactsAddArguments, Named};

/// Adds a version.
///
/// # Errors
/// Every way that it fails; the store then is as it was.
pub fn run(arguments: &ArtifactsAddArguments, interrupt: Interrupt) -> Result<(), Fault> {
    let store = arguments.store.open();
    let new = arguments.new_version()?;
    let progress = Progress::new(interrupt, arguments.json);
    let lens = new.images.iter().filter_map(|image| image.path.metadata().ok());
    progress.phase("adding", lens.map(|metadata| metadata.len()).sum());
    let added = store.add(&new, &|bytes| progress.advance(bytes));
    progress.finish();
    let manifest = added?;
    let folder = store.version_folder(&new.id);
    if arguments.json {
        return say(json!({ "path": folder, "manifest": manifest }));
    }
    say(format_args!("{}: {} bytes", new.id, manifest.size_bytes()))?;
    for partition in &manifest.partitions {
        say(format_args!("  {}: {} bytes, {}", partition.name, partition.size_bytes, partition.sha256))?;
    }
    Ok(())
}

impl ArtifactsAddArguments {
    fn new_version(&self) -> Result<NewVersion, Fault> {
        let mut partition_bytes = self.by_name("--partition-size", &self.partition_size)?;
        let mut block_lens = self.by_name("--block-len", &self.block_len)?;
        let image = |Named { name, value: path }: &Named<_>| NewImage {
            name: name.clone(),
            path: std::path::PathBuf::clone(path),
            partition_bytes: partition_bytes.remove(name).map(|size| size.0),
            block_len_bytes: block_lens.remove(name).unwrap_or(BLOCK_LEN_BYTES_DEFAULT),
        };
        Ok(NewVersion {
            id: self.version.id(),
            distribution: self.distribution.clone(),
            images: self.images.iter().map(image).collect(),
            build_info: BuildInfo::from_lines(self.build_info.iter().map(String::as_str))?,
            build_notes: BuildInfo::from_lines(self.build_note.iter().map(String::as_str))?,
            time_unix_s: self.source_date_epoch,
        })
    }

    /// What is told of partitions, each of which has to be there, and once.
    fn by_name<T: Clone>(&self, option: &str, told: &[Named<T>]) -> Result<BTreeMap<Name, T>, Fault> {
        let mut values = BTreeMap::new();
        for Named { name, value } in told {
            if !self.images.iter().any(|image| image.name == *name) {
                let message = format!("{option} tells of {name}, of which there is no image");
                return Err(Fault::new(Kind::Usage, message));
            }
            if values.insert(name.clone(), value.clone()).is_some() {
                return Err(Fault::new(Kind::Usage, format!("{option} tells twice of {name}")));
            }
        }
        Ok(values)
    }
}
