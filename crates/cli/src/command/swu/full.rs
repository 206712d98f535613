//! `fluvial swu full`.

use std::path::PathBuf;
use std::time::Instant;

use fluvial_console::{Fault, Interrupt, Progress, say};
use fluvial_device::disk::durable::folder_of;
use fluvial_swu::package::{FileSpec, PackageSpec, Partition, write};
use indicatif::HumanBytes;

use super::make::{choices, compression, digest, downgrade, hardware, images, signer, time};
use super::packing::{pack, suffix};
use crate::arguments::SwuFullArguments;
use crate::command::diff::write_patch;

/// Makes a package of whole images.
///
/// # Errors
/// Every way that it fails; nothing is written then.
pub fn run(arguments: &SwuFullArguments, interrupt: Interrupt) -> Result<(), Fault> {
    let started = Instant::now();
    let package = &arguments.package;
    let progress = Progress::new(interrupt, package.json);
    let signer = signer(package)?;
    let store = package.store.open();
    let manifest = store.manifest(&package.image_id().version(&arguments.version))?;
    let default = || PathBuf::from(format!("full-update-{}.swu", arguments.version));
    let path = arguments.output.clone().unwrap_or_else(default);
    let folder = tempfile::tempdir_in(folder_of(&path)).map_err(|error| Fault::writing(&path, error))?;
    let names: Vec<(String, bool)> =
        manifest.partitions.iter().map(|partition| (partition.name.to_string(), false)).collect();
    let (choices, hardware) = (choices(package, &names)?, hardware(package)?);

    let mut packed = Vec::new();
    for partition in &manifest.partitions {
        let [image] = images(&store, [(&manifest, partition)], &progress)?;
        let name = format!("{}.img{}", partition.name, suffix(package.compression));
        progress.phase("packing", image.len());
        let path = folder.path().join(&name);
        packed.push((name, pack(&image, path, package.compression, &progress)?));
    }
    let spec = PackageSpec {
        version: arguments.version.to_string(),
        name: package.image.to_string(),
        text: String::new(),
        hardware,
        partitions: packed
            .iter()
            .zip(&manifest.partitions)
            .map(|((name, file), stored)| Partition {
                name: stored.name.to_string(),
                file: FileSpec {
                    name: name.clone(),
                    content: &file.medium,
                    compression: compression(package.compression),
                },
                target: digest(stored),
                base: None,
            })
            .collect(),
        choices,
        downgrade: downgrade(package),
    };
    let time = time(package);
    write_patch(&path, |draft| Ok(write(&spec, signer.as_ref(), time, draft)?))?;
    progress.finish();
    let size_bytes = path.metadata().map_err(|error| Fault::reading(&path, error))?.len();
    if package.json {
        return say(serde_json::json!({
            "swu": path,
            "swu_bytes": size_bytes,
            "version": arguments.version,
            "is_signed": signer.is_some(),
            "duration_s": started.elapsed().as_secs_f64(),
        }));
    }
    let unsigned = if signer.is_some() { "" } else { ", not signed" };
    say(format_args!(
        "{}: {} {}, {}{unsigned}",
        path.display(),
        package.image,
        arguments.version,
        HumanBytes(size_bytes)
    ))
}
