//! What packages of both kinds have.

use std::path::PathBuf;

use fluvial_artifacts::{Manifest, Partition as Stored, Sha256Digest, Store};
use fluvial_console::{Fault, Kind, Progress};
use fluvial_device::disk::Medium;
use fluvial_swu::description::{Compression, Variable};
use fluvial_swu::package::{Choice, Downgrade, Hardware, ImageDigest, Place};
use fluvial_swu::sign::{Certificate, CmsSigner, PrivateKey, Signer, UnixSeconds};
use rayon::prelude::*;

use super::input::now;
use super::packing::Content;
use super::trust::read;
use crate::arguments::{PackageArguments, SwuCompression, SwuSignatureName};
use crate::command::bundle::hash;

/// A revision where none is given: what examples of `SWUpdate` have.
const REVISION: &str = "1.0";
/// Where partitions are found by their labels.
const BY_LABEL: &str = "/dev/disk/by-partlabel";

/// The images of a partition in several versions, which are read and compared with what was added.
pub fn images<const COUNT: usize>(
    store: &Store,
    of: [(&Manifest, &Stored); COUNT],
    progress: &Progress,
) -> Result<[Content; COUNT], Fault> {
    let mut images = Vec::with_capacity(COUNT);
    for (manifest, partition) in of {
        let file = store.open_image(manifest, &partition.name)?;
        let path = PathBuf::from(format!("the image of {} in {}", partition.name, manifest.version));
        let medium = Medium::new(file).map_err(|error| Fault::reading(&path, error))?;
        images.push(Content { path, medium });
    }
    progress.phase("hashing", images.iter().map(Content::len).sum());
    let check = |(image, (_, partition)): (&Content, &(&Manifest, &Stored))| {
        let sha256 = Sha256Digest(hash(&image.path, &image.medium, progress)?);
        if (image.len(), sha256) == (partition.size_bytes, partition.sha256) {
            return Ok(());
        }
        let message = format!("{} is not what was added", image.path.display());
        Err(Fault::new(Kind::DamagedArtifact, message)
            .hint("`fluvial artifacts verify` tells which are; build that version again from a copy"))
    };
    images.par_iter().zip(of.par_iter()).try_for_each(check)?;
    images.try_into().map_err(|_| Fault::new(Kind::Internal, "an image was lost"))
}

/// What a partition holds.
pub fn digest(partition: &Stored) -> ImageDigest {
    ImageDigest { size_bytes: partition.size_bytes, sha256: partition.sha256.0 }
}

/// How `SWUpdate` names it.
pub fn compression(compression: SwuCompression) -> Option<Compression> {
    match compression {
        SwuCompression::Zlib => Some(Compression::Zlib),
        SwuCompression::Zstd => Some(Compression::Zstd),
        SwuCompression::None => None,
    }
}

/// Who signs; nobody only where that was asked for. Keys are read before any work is done.
pub fn signer(arguments: &PackageArguments) -> Result<Option<Signer>, Fault> {
    let Some(path) = &arguments.sign_key else { return Ok(None) };
    let key = read(path, PrivateKey::from_pem)?;
    Ok(Some(match arguments.signature {
        SwuSignatureName::Rsa => Signer::Rsa(key),
        SwuSignatureName::Pss => Signer::Pss(key),
        SwuSignatureName::Cms => {
            let Some(path) = &arguments.sign_cert else {
                let fault = Fault::new(Kind::Usage, "a CMS signature needs a certificate");
                return Err(fault.hint("give it by --sign-cert, or sign with --signature rsa or pss"));
            };
            let certificates = read(path, Certificate::from_pem)?;
            Signer::Cms(Box::new(CmsSigner::new(key, certificates, arguments.cert_purpose.into())?))
        }
    }))
}

/// When it is signed.
pub fn time(arguments: &PackageArguments) -> UnixSeconds {
    arguments.source_date_epoch.map_or_else(now, UnixSeconds)
}

/// Which devices it fits.
pub fn hardware(arguments: &PackageArguments) -> Result<Hardware, Fault> {
    if arguments.hardware.is_empty() {
        let board = Some(arguments.machine.to_string());
        return Ok(Hardware { board, revisions: vec![REVISION.into()] });
    }
    let split = |text: &String| match text.split_once(':') {
        Some((board, revision)) => (Some(board.to_owned()), revision.to_owned()),
        None => (None, text.clone()),
    };
    let all: Vec<(Option<String>, String)> = arguments.hardware.iter().map(split).collect();
    let board = all[0].0.clone();
    if all.iter().any(|one| one.0 != board) {
        let fault = Fault::new(Kind::Usage, "a package is for the revisions of one board");
        return Err(fault.hint("make a package for each board"));
    }
    Ok(Hardware { board, revisions: all.into_iter().map(|(_, revision)| revision).collect() })
}

/// What happens on devices with a newer version.
pub fn downgrade(arguments: &PackageArguments) -> Downgrade {
    if arguments.allow_downgrade {
        return Downgrade::Allowed;
    }
    let component = arguments.versions_name.clone().unwrap_or_else(|| arguments.image.to_string());
    Downgrade::Refused { versions_file: arguments.versions_file.clone(), component }
}

/// Where everything goes: each of `partitions` is a name, and whether it comes as a delta.
pub fn choices(arguments: &PackageArguments, partitions: &[(String, bool)]) -> Result<Vec<Choice>, Fault> {
    let mut choices = Vec::new();
    if arguments.slot.is_empty() {
        choices = vec![by_label("copy1", ('a', 'b'), partitions), by_label("copy2", ('b', 'a'), partitions)];
    }
    let mut names = Vec::new();
    for slot in &arguments.slot {
        if !names.contains(&slot.set_and_mode) {
            names.push(slot.set_and_mode.clone());
        }
    }
    for set_and_mode in names {
        let of_choice = || arguments.slot.iter().filter(|slot| slot.set_and_mode == set_and_mode);
        let place = |(name, is_delta): &(String, bool)| {
            let mut of_partition = of_choice().filter(|slot| slot.name == *name);
            let (Some(slot), None) = (of_partition.next(), of_partition.next()) else {
                let message = format!("where {name} goes has to be told once for each choice of slots");
                let fault = Fault::new(Kind::Usage, message);
                return Err(fault.hint(format!("give --slot {name}=DEVICE,base=DEVICE")));
            };
            let base = slot.base.clone().filter(|_| *is_delta);
            Ok(Place { target: slot.target.clone(), base })
        };
        let places = partitions.iter().map(place).collect::<Result<_, Fault>>()?;
        if let Some(other) = of_choice().find(|slot| !partitions.iter().any(|(name, _)| *name == slot.name)) {
            return Err(Fault::new(Kind::Usage, format!("the image has no partition {:?}", other.name)));
        }
        choices.push(Choice { set_and_mode, places, bootenv: Vec::new() });
    }
    for variable in &arguments.bootenv {
        let is_meant = |choice: &&mut Choice| {
            variable.set_and_mode.is_none() || variable.set_and_mode == choice.set_and_mode
        };
        let mut meant = choices.iter_mut().filter(is_meant).peekable();
        if meant.peek().is_none() {
            let message = format!("no choice of slots is the one of the boot variable {:?}", variable.name);
            return Err(Fault::new(Kind::Usage, message));
        }
        for choice in meant {
            let (name, value) = (variable.name.clone(), variable.value.clone());
            choice.bootenv.push(Variable { name, value });
        }
    }
    Ok(choices)
}

fn by_label(mode: &str, (to, from): (char, char), partitions: &[(String, bool)]) -> Choice {
    let place = |(name, is_delta): &(String, bool)| Place {
        target: format!("{BY_LABEL}/{name}_{to}"),
        base: is_delta.then(|| format!("{BY_LABEL}/{name}_{from}")),
    };
    let places = partitions.iter().map(place).collect();
    Choice { set_and_mode: Some(("stable".into(), mode.into())), places, bootenv: Vec::new() }
}
