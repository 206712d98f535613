//! Putting a package together.

use std::io::Write;

use super::guarded::{
    BASE_SHA256, BASE_SIZE, RDIFF_BASE, READBACK_SHA256, READBACK_SIZE, TARGET_SHA256, TARGET_SIZE,
};
use super::script::script;
use super::spec::{Choice, PackageSpec, Partition, Place};
use super::{DESCRIPTION_NAME, ImageDigest, SIGNATURE_NAME, WriteError};
use crate::cpio::{Checksum, CpioWriter};
use crate::description::{Description, Image, ImageKind, Property, Script, ScriptKind, Section};
use crate::limits::READBACK_BYTES_MAX;
use crate::sign::{Signer, UnixSeconds};

/// How the names of scripts begin.
pub(super) const SCRIPT_PREFIX: &str = "fluvial-check-";

/// A packed file, and what was found in it.
struct Counted<'a, 'b> {
    partition: &'b Partition<'a>,
    sha256: [u8; 32],
    checksum: Checksum,
}

/// Writes a package: the description, its signature if it is signed, scripts, files. Memory: 64 KiB beside the
/// description. Each file is read once to be counted, and once more to be written.
///
/// # Errors
/// What is wrong with the specification, and whatever the media report.
pub fn write<W: Write>(
    spec: &PackageSpec<'_>,
    signer: Option<&Signer>,
    time: UnixSeconds,
    out: W,
) -> Result<Description, WriteError> {
    spec.check()?;
    let (mut files, mut packed) = (Vec::new(), Vec::new());
    for partition in &spec.partitions {
        let (digest, checksum) = ImageDigest::and_checksum(partition.file.content)?;
        files.push(Counted { partition, sha256: digest.sha256, checksum });
        packed.push(digest);
    }
    let scripts: Vec<(String, String)> = spec
        .choices
        .iter()
        .enumerate()
        .map(|(index, choice)| (script_name(index), script(spec, choice, &packed)))
        .collect();
    let description = describe(spec, &files, &scripts)?;
    let text = description.to_text()?;
    let mut archive = CpioWriter::new(out);
    add(&mut archive, DESCRIPTION_NAME, text.as_bytes())?;
    if let Some(signer) = signer {
        add(&mut archive, SIGNATURE_NAME, &signer.sign(text.as_bytes(), time)?)?;
    }
    for (name, script) in &scripts {
        add(&mut archive, name, script.as_bytes())?;
    }
    for Counted { partition, checksum, .. } in files {
        archive.add(&partition.file.name, partition.file.content, checksum)?;
    }
    archive.finish()?;
    Ok(description)
}

fn script_name(index: usize) -> String {
    format!("{SCRIPT_PREFIX}{}.sh", index + 1)
}

fn add<W: Write>(archive: &mut CpioWriter<W>, name: &str, bytes: &[u8]) -> Result<(), WriteError> {
    Ok(archive.add(name, &bytes, Checksum::of(&bytes)?)?)
}

fn describe(
    spec: &PackageSpec<'_>,
    files: &[Counted<'_, '_>],
    scripts: &[(String, String)],
) -> Result<Description, WriteError> {
    let board: Vec<String> = spec.hardware.board.iter().cloned().collect();
    let hardware = spec.hardware.revisions.clone();
    let mut sections = vec![Section { path: board.clone(), hardware, ..Section::default() }];
    for (choice, (name, script)) in spec.choices.iter().zip(scripts) {
        let set_and_mode = choice.set_and_mode.iter().flat_map(|(set, mode)| [set.clone(), mode.clone()]);
        let path = board.iter().cloned().chain(set_and_mode).collect();
        let digest = ImageDigest::of(&script.as_bytes())?;
        let section = described(spec, choice, files, name, digest.sha256);
        if choice.set_and_mode.is_some() {
            sections.push(Section { path, ..section });
        } else if let Some(first) = sections.first_mut() {
            *first = Section { path, hardware: std::mem::take(&mut first.hardware), ..section };
        }
    }
    let (version, name, text) = (spec.version.clone(), spec.name.clone(), spec.text.clone());
    Ok(Description { version, name, text, sections })
}

/// What is done for one choice of slots.
fn described(
    spec: &PackageSpec<'_>,
    choice: &Choice,
    files: &[Counted<'_, '_>],
    script_name: &str,
    script_sha256: [u8; 32],
) -> Section {
    let images = files.iter().zip(&choice.places).map(|(file, place)| image(spec, file, place)).collect();
    let check = Script {
        filename: Some(script_name.to_owned()),
        kind: ScriptKind::Shell,
        device: String::new(),
        data: String::new(),
        sha256: Some(script_sha256),
        properties: Vec::new(),
    };
    let targets = spec.partitions.iter().map(|partition| &partition.target).zip(&choice.places);
    let read_back = targets
        .filter(|(target, _)| target.size_bytes <= READBACK_BYTES_MAX)
        .map(|(target, place)| readback(target, place));
    let scripts = std::iter::once(check).chain(read_back).collect();
    Section { images, scripts, bootenv: choice.bootenv.clone(), ..Section::default() }
}

fn image(spec: &PackageSpec<'_>, file: &Counted<'_, '_>, place: &Place) -> Image {
    let partition = file.partition;
    let mut properties = Vec::new();
    let mut describe = |image: &ImageDigest, size: &str, sha256: &str| {
        properties.push(Property::new(size, image.size_bytes.to_string()));
        properties.push(Property::new(sha256, hex::encode(image.sha256)));
    };
    describe(&partition.target, TARGET_SIZE, TARGET_SHA256);
    if let Some(base) = &partition.base {
        describe(base, BASE_SIZE, BASE_SHA256);
    }
    properties.extend(place.base.iter().map(|base| Property::new(RDIFF_BASE, base)));
    Image {
        filename: partition.file.name.clone(),
        name: partition.name.clone(),
        version: spec.version.clone(),
        kind: if partition.base.is_some() { ImageKind::RdiffImage } else { ImageKind::Raw },
        device: place.target.clone(),
        compression: partition.file.compression,
        sha256: Some(file.sha256),
        is_installed_directly: false,
        properties,
    }
}

fn readback(target: &ImageDigest, place: &Place) -> Script {
    Script {
        filename: None,
        kind: ScriptKind::Readback,
        device: place.target.clone(),
        data: String::new(),
        sha256: None,
        properties: vec![
            Property::new(READBACK_SHA256, hex::encode(target.sha256)),
            Property::new(READBACK_SIZE, target.size_bytes.to_string()),
            Property::new("offset", "0"),
        ],
    }
}
