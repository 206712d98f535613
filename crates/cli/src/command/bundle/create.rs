//! `fluvial bundle create`.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Instant;

use fluvial_bundle::{
    BundleHeader, Component, Cutting, Index, Manifest, PartInfo, PartKind, Payload, PayloadInfo, Scatter,
    Sketch, WholeOptions, WriteOptions, write, write_whole,
};
use fluvial_delta::diff::{DiffOptions, Named, diff};
use fluvial_delta::hash::{HashError, both_of, sha256_of};
use fluvial_delta::header::Sha256Digest;
use fluvial_delta::structure::{Files, ReadAt};
use indicatif::HumanBytes;

use super::APPLY_MEMORY_BYTES;
use super::release::{Release, SlotImage};
use crate::arguments::BundleCreateArguments;
use crate::command::diff::{check_patch_path, use_threads, write_patch};
use fluvial_console::Interrupt;
use fluvial_console::Progress;
use fluvial_console::{Fault, Kind};
use fluvial_console::{open, say};
use fluvial_device::disk::durable::folder_of;
use fluvial_device::disk::{Contents, DiskScratch, Medium};
use fluvial_image::{Anatomist, file_extents, leftover_bytes};

/// Bytes that are hashed or copied at a time.
const STEP_BYTES: usize = 256 << 10;

/// So much that deleted files have left is worth a word.
const LEFTOVER_BYTES_MIN: u64 = 1 << 20;

/// What was made.
struct Outcome {
    manifest: Manifest,
    /// What deleted files have left in each image, in bytes.
    leftover_bytes: Vec<u64>,
    header: BundleHeader,
    bundle_bytes: u64,
}

/// A slot's image, cut and packed.
struct Packed {
    component: Component,
    leftover_bytes: u64,
    sketch: Vec<u8>,
    index: Vec<u8>,
    /// Pages and chunks, in a temporary file.
    chunks: File,
    chunks_bytes: u64,
    /// The image as a whole: its table, and frames in a temporary file.
    table: Vec<u8>,
    frames: File,
    frames_bytes: u64,
}

/// Makes a bundle.
///
/// # Errors
/// Every way that it fails; BUNDLE is then not written.
pub fn run(arguments: &BundleCreateArguments, interrupt: Interrupt) -> Result<(), Fault> {
    let started = Instant::now();
    let progress = Progress::new(interrupt, arguments.json);
    let result = create(arguments, &progress);
    progress.finish();
    show(arguments, &result?, started.elapsed().as_secs_f64())
}

fn create(arguments: &BundleCreateArguments, progress: &Progress) -> Result<Outcome, Fault> {
    use_threads(arguments.jobs)?;
    let release = Release::read(&arguments.release)?;
    let options = WriteOptions { level: arguments.level, cutting: arguments.cutting, hash: arguments.hash };
    let mut packed = Vec::new();
    for slot in &release.slots {
        packed.push(pack(slot, arguments, options, progress)?);
    }
    let mut manifest = Manifest::new(release.name, release.version, release.sequence);
    (manifest.floor, manifest.hardware) = (release.floor, release.hardware);
    manifest.components = packed.iter().map(|packed| packed.component.clone()).collect();
    let bytes = manifest.to_bytes().map_err(|error| Fault::new(Kind::Usage, error))?;
    let mut header = BundleHeader::new(bytes);
    for (component, packed) in packed.iter().enumerate() {
        // Devices fetch the start of a bundle in one request: a sketch comes with it.
        header.push(component, PartKind::Sketch, packed.sketch.len() as u64);
        header.push(component, PartKind::Index, packed.index.len() as u64);
        header.push(component, PartKind::Chunks, packed.chunks_bytes);
        if !packed.table.is_empty() {
            header.push(component, PartKind::Full, packed.table.len() as u64 + packed.frames_bytes);
        }
    }
    let start = header.to_bytes()?;
    let header = BundleHeader::read(&start)?;
    let failed = |error| Fault::writing(&arguments.bundle, error);
    write_patch(&arguments.bundle, |draft| {
        draft.write_all(&start).map_err(failed)?;
        for packed in &mut packed {
            draft.write_all(&packed.sketch).map_err(failed)?;
            draft.write_all(&packed.index).map_err(failed)?;
            for (before, part) in [(&[][..], &mut packed.chunks), (&packed.table, &mut packed.frames)] {
                draft.write_all(before).map_err(failed)?;
                part.seek(SeekFrom::Start(0)).map_err(failed)?;
                copy(part, draft, progress).map_err(failed)?;
            }
        }
        Ok(())
    })?;
    let bundle_bytes = header.file_len(start.len() as u64);
    let leftover_bytes = packed.iter().map(|packed| packed.leftover_bytes).collect();
    Ok(Outcome { manifest, leftover_bytes, header, bundle_bytes })
}

/// Cuts and packs the image of a slot.
fn pack(
    slot: &SlotImage,
    arguments: &BundleCreateArguments,
    options: WriteOptions,
    progress: &Progress,
) -> Result<Packed, Fault> {
    let image = open(&slot.image)?;
    check_patch_path(&arguments.bundle, image.identity().ok(), "the image of a slot")?;
    progress.phase("hashing", image.len());
    let hashes = both_of(&image, &mut |bytes| progress.advance(bytes));
    let (sha256, blake3) = hashes.map_err(|error| unhashed(&slot.image, error))?;
    let folder = folder_of(&arguments.bundle);
    let failed = |error| Fault::writing(folder, error);
    let temporary = || tempfile::tempfile_in(folder).map(BufWriter::new).map_err(failed);
    let finished = |file: BufWriter<File>| file.into_inner().map_err(|error| failed(error.into_error()));

    let mut chunks = temporary()?;
    let name = slot.name.as_str();
    let index = write_chunks((name, sha256), &image, options, folder, &mut chunks, progress)?;
    let (mut frames, mut table, mut frames_bytes) = (temporary()?, Vec::new(), 0);
    if !arguments.no_full {
        progress.phase("packing", image.len());
        let whole_options = WholeOptions::new(arguments.full_level, options.hash);
        let advance = |bytes| progress.advance(bytes);
        let files = file_extents(&image);
        let whole = write_whole(&image, &files, whole_options, &mut frames, &advance)?;
        (table, frames_bytes) = (whole.to_bytes()?, whole.packed_len());
    }
    let (chunks_bytes, sketch) = (index.chunk_file_len(), Sketch::of(&index).to_bytes());
    let index = index.to_bytes()?;
    let payload = PayloadInfo {
        size_bytes: image.len(),
        sha256,
        blake3,
        index: PartInfo::of(&index),
        sketch: Some(PartInfo::of(&sketch)),
        whole: (!table.is_empty()).then(|| PartInfo::of(&table)),
    };
    let component = Component::Slot { name: slot.name.clone(), payload };
    let (chunks, frames) = (finished(chunks)?, finished(frames)?);
    let leftover_bytes = leftover_bytes(&image);
    Ok(Packed { component, leftover_bytes, sketch, index, chunks, chunks_bytes, table, frames, frames_bytes })
}

/// Cuts and packs an image, and what is packed in it; answers the index of its chunks.
pub fn write_chunks(
    (name, sha256): (&str, Sha256Digest),
    image: &Medium,
    options: WriteOptions,
    folder: &Path,
    chunks: &mut dyn io::Write,
    progress: &Progress,
) -> Result<Index, Fault> {
    let advance = |bytes| progress.advance(bytes);
    if let Cutting::Blocks(_) = options.cutting {
        progress.phase("packing", image.len());
        let payload = Payload { name, sha256, bytes: image, files: &Files::new(), unpacked: None };
        return Ok(write(payload, options, chunks, &advance)?);
    }
    progress.phase("unpacking", image.len());
    let found = Contents::find(image, folder, Some(APPLY_MEMORY_BYTES), options.hash, None);
    let (mut contents, files) = found.map_err(|error| Fault::writing(folder, error))?;
    contents.unpacked.packing = packing(&contents, image, folder, progress)?;
    let bytes = contents.behind(image);
    progress.phase("packing", bytes.len());
    let payload = Payload { name, sha256, bytes: &bytes, files: &files, unpacked: Some(&contents.unpacked) };
    Ok(write(payload, options, chunks, &advance)?)
}

/// The patch that makes an image's packed files of what they hold.
fn packing(
    contents: &Contents,
    image: &Medium,
    folder: &Path,
    progress: &Progress,
) -> Result<Vec<u8>, Fault> {
    let files = &contents.unpacked.files;
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let streams: Vec<Scatter<&Medium>> =
        files.iter().map(|extents| Scatter::new(image, extents.iter().copied())).collect();
    let names: Vec<String> = (0..files.len()).map(|number| number.to_string()).collect();
    let targets: Vec<Named<'_>> =
        names.iter().zip(&streams).map(|(name, stream)| Named::new(name, stream)).collect();
    let options = DiffOptions { apply_memory_bytes: APPLY_MEMORY_BYTES, ..DiffOptions::default() };
    let (scratch, mut patch) = (DiskScratch::new(folder), Vec::new());
    let source = [Named::new("contents", contents.medium())];
    diff(&source, &targets, &Anatomist, &scratch, &options, progress, &mut patch)?;
    Ok(patch)
}

/// The SHA-256 of a file or device.
pub fn hash(path: &Path, medium: &Medium, progress: &Progress) -> Result<Sha256Digest, Fault> {
    sha256_of(medium, &mut |bytes| progress.advance(bytes)).map_err(|error| unhashed(path, error))
}

/// Why something could not be hashed.
pub fn unhashed(path: &Path, error: HashError) -> Fault {
    match error {
        HashError::Read(source) => Fault::reading(path, source),
        HashError::Cancelled => Fault::new(Kind::Cancelled, error),
    }
}

/// Copies a file from where it stands to its end.
fn copy(from: &mut File, to: &mut dyn io::Write, progress: &Progress) -> io::Result<()> {
    let mut buf = vec![0; STEP_BYTES];
    loop {
        let len = from.read(&mut buf)?;
        if len == 0 {
            return Ok(());
        }
        to.write_all(&buf[..len])?;
        if !progress.advance(0) {
            return Err(io::ErrorKind::Interrupted.into());
        }
    }
}

fn show(arguments: &BundleCreateArguments, outcome: &Outcome, duration_s: f64) -> Result<(), Fault> {
    let Outcome { manifest, leftover_bytes, header, bundle_bytes } = outcome;
    for (component, &bytes) in manifest.components.iter().zip(leftover_bytes) {
        if bytes >= LEFTOVER_BYTES_MIN {
            let name = component.name();
            let bytes = HumanBytes(bytes);
            eprintln!(
                "warning: deleted files have left {bytes} in the free blocks of {name}: every device gets them"
            );
            eprintln!("  hint: `zerofree IMAGE` clears them, or a new image from the same files has none");
        }
    }
    let component = |(index, component): (usize, &Component)| {
        serde_json::json!({
            "name": component.name(),
            "size_bytes": component.payload().size_bytes,
            "sha256": hex::encode(component.payload().sha256),
            "blake3": hex::encode(component.payload().blake3),
            "index_bytes": super::part_bytes(header, index, PartKind::Index),
            "chunks_bytes": super::part_bytes(header, index, PartKind::Chunks),
            "full_bytes": super::part_bytes(header, index, PartKind::Full),
            "leftover_bytes": leftover_bytes[index],
        })
    };
    if arguments.json {
        let components: Vec<_> = manifest.components.iter().enumerate().map(component).collect();
        return say(serde_json::json!({
            "bundle": arguments.bundle,
            "bundle_bytes": bundle_bytes,
            "name": manifest.name,
            "version": manifest.version,
            "sequence": manifest.sequence,
            "cutting": arguments.cutting.to_string(),
            "hash": arguments.hash.to_string(),
            "components": components,
            "duration_s": duration_s,
        }));
    }
    let image_bytes: u64 = manifest.components.iter().map(|one| one.payload().size_bytes).sum();
    say(format_args!(
        "{}: {} {}, {} of images in {}, in {duration_s:.1} s",
        arguments.bundle.display(),
        manifest.name,
        manifest.version,
        HumanBytes(image_bytes),
        HumanBytes(*bundle_bytes),
    ))
}
