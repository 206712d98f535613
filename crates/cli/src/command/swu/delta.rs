//! `fluvial swu delta`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use fluvial_artifacts::{
    Algorithm, Compression, DeltaFile, DeltaInfo, Endpoint, Existing, FORMAT_VERSION, FileInfo, FileName,
    Manifest, PackedFile, PackedInfo, Pair, PairOptions, Partition as Stored, PartitionUpdate, Sha256Digest,
    Store, UpdateDraft, UpdateKind, Why, creator,
};
use fluvial_console::{Fault, Interrupt, Kind, Progress, say};
use fluvial_swu::package::{FileSpec, PackageSpec, Partition, write};
use fluvial_swu::rsync::{Signature, SignatureOptions, write_delta};
use indicatif::HumanBytes;

use super::make::{choices, compression, digest, downgrade, hardware, images, signer, time};
use super::packing::{Content, pack, pack_below, suffix};
use crate::arguments::{SwuCompression, SwuDeltaArguments};
use crate::command::bundle::hash;

/// What a partition comes as.
struct Made {
    update: PartitionUpdate,
    /// What is packed: its name in the archive, and its bytes.
    name: String,
    file: Content,
}

/// Makes a package of deltas, and puts it into the store.
///
/// # Errors
/// Every way that it fails; the store is then as before.
pub fn run(arguments: &SwuDeltaArguments, interrupt: Interrupt) -> Result<(), Fault> {
    let started = Instant::now();
    let package = &arguments.package;
    let progress = Progress::new(interrupt, package.json);
    let build_version = || std::env::var("BUILD_VERSION").ok();
    let to = match (&arguments.to, build_version()) {
        (Some(to), _) => to.clone(),
        (None, Some(text)) => {
            text.parse().map_err(|error| Fault::new(Kind::Usage, format!("BUILD_VERSION: {error}")))?
        }
        (None, None) => {
            let fault = Fault::new(Kind::Usage, "it has to be told which version devices get");
            return Err(fault.hint("give --to V, or VERSION_TO or BUILD_VERSION in the environment"));
        }
    };
    let (store, of) = (package.store.open(), package.image_id());
    let options = PairOptions {
        downgrade: package.allow_downgrade,
        ignored_keys: arguments.ignore.iter().cloned().collect(),
    };
    let pair = store.pair(&of, &arguments.from, &to, &options)?;
    let (signer, hardware) = (signer(package)?, hardware(package)?);
    // What is wrong with the slots is told before any work: a delta wants the most of them.
    let named = |stored: &Stored| (stored.name.to_string(), true);
    let partitions: Vec<(String, bool)> = pair.target.partitions.iter().map(named).collect();
    choices(package, &partitions)?;
    let existing = if arguments.replace { Existing::Replaced } else { Existing::Kept };
    let draft = store.begin_update(pair, existing)?;

    let Pair { base, target, .. } = draft.pair();
    let mut made = Vec::new();
    for (old, new) in base.partitions.iter().zip(&target.partitions) {
        made.push(partition(arguments, &store, &draft, (base, old), (target, new), &progress)?);
    }
    let kinds: Vec<(String, bool)> =
        made.iter().map(|one| (one.update.name.to_string(), one.update.kind == UpdateKind::Delta)).collect();
    let partition = |(one, (old, new)): (&Made, (&Stored, &Stored))| -> (String, _, _) {
        (one.name.clone(), digest(new), (one.update.kind == UpdateKind::Delta).then(|| digest(old)))
    };
    let digests: Vec<_> =
        made.iter().zip(base.partitions.iter().zip(&target.partitions)).map(partition).collect();
    let spec = PackageSpec {
        version: to.to_string(),
        name: package.image.to_string(),
        text: format!("from {}", arguments.from),
        hardware,
        partitions: made
            .iter()
            .zip(digests)
            .map(|(one, (name, target, base))| Partition {
                name: one.update.name.to_string(),
                file: FileSpec {
                    name,
                    content: &one.file.medium,
                    compression: compression(package.compression),
                },
                target,
                base,
            })
            .collect(),
        choices: choices(package, &kinds)?,
        downgrade: downgrade(package),
    };
    let name = format!("delta-update-{}-to-{to}.swu", arguments.from);
    let path = draft.path().join(&name);
    let failed = |error| Fault::writing(&path, error);
    let mut out = BufWriter::new(File::create_new(&path).map_err(failed)?);
    write(&spec, signer.as_ref(), time(package), &mut out)?;
    out.flush().map_err(failed)?;
    let swu = info_of(&Content::open(path)?, &progress)?;

    let info = DeltaInfo {
        format_version: FORMAT_VERSION,
        machine: of.machine.clone(),
        image: of.image.clone(),
        from: endpoint(base),
        to: endpoint(target),
        partitions: made.into_iter().map(|one| one.update).collect(),
        swu: PackedFile { name: file_name(&name)?, size_bytes: swu.size_bytes, sha256: swu.sha256 },
        created_by: creator(),
        time_unix_s: package.source_date_epoch,
    };
    let folder = draft.finish(&info, &arguments.collect)?;
    progress.finish();
    show(arguments, &info, &folder, signer.is_some(), started.elapsed().as_secs_f64())
}

fn endpoint(manifest: &Manifest) -> Endpoint {
    Endpoint {
        version: manifest.version.clone(),
        build_info: manifest.build_info.clone(),
        build_notes: manifest.build_notes.clone(),
    }
}

fn file_name(name: &str) -> Result<FileName, Fault> {
    name.parse().map_err(|error: fluvial_artifacts::NameError| Fault::new(Kind::Usage, error))
}

fn info_of(content: &Content, progress: &Progress) -> Result<FileInfo, Fault> {
    progress.phase("hashing", content.len());
    let sha256 = Sha256Digest(hash(&content.path, &content.medium, progress)?);
    Ok(FileInfo { size_bytes: content.len(), sha256 })
}

/// Makes the delta of a partition; takes the whole image where that is not larger.
fn partition(
    arguments: &SwuDeltaArguments,
    store: &Store,
    draft: &UpdateDraft,
    (base, old): (&Manifest, &Stored),
    (target, new): (&Manifest, &Stored),
    progress: &Progress,
) -> Result<Made, Fault> {
    let kind = arguments.package.compression;
    let [old_image, new_image] = images(store, [(base, old), (target, new)], progress)?;
    let path = |suffix: &str| draft.path().join(format!("{}{suffix}", new.name));
    let delta =
        make_delta(arguments, (&old_image, &new_image), (&path(".signature"), path(".delta")), progress)?;
    let delta_info = info_of(&delta, progress)?;

    let name = format!("{}.delta{}", new.name, suffix(kind));
    let full_name = format!("{}.img{}", new.name, suffix(kind));
    progress.phase("packing", delta.len() + new_image.len());
    // The whole image is given up as soon as it takes more than the delta.
    let end = AtomicU64::new(u64::MAX);
    let pack_delta = || {
        let packed = match kind {
            SwuCompression::None => Ok((None, delta)),
            _ => pack(&delta, draft.path().join(&name), kind, progress).map(|packed| (Some(delta), packed)),
        };
        end.store(packed.as_ref().map_or(0, |(_, packed)| packed.len() + 1), Ordering::Relaxed);
        packed
    };
    let pack_full = || pack_below(&end, &new_image, draft.path().join(&full_name), kind, progress);
    let (packed, full) = rayon::join(pack_delta, pack_full);
    let (unpacked, packed) = packed?;
    let full = match full? {
        // It was through before the delta was.
        Some(full) if full.len() > packed.len() => {
            full.remove()?;
            None
        }
        full => full,
    };
    let info = |size_bytes, sha256| FileInfo { size_bytes, sha256 };
    let mut update = PartitionUpdate {
        name: new.name.clone(),
        base: info(old.size_bytes, old.sha256),
        target: info(new.size_bytes, new.sha256),
        kind: UpdateKind::Delta,
        why: Why::DeltaSmaller,
        delta: None,
        full: None,
    };
    let compression = match kind {
        SwuCompression::Zlib => Compression::Gzip,
        SwuCompression::Zstd => Compression::Zstd,
        SwuCompression::None => Compression::None,
    };
    if let Some(full) = full {
        let FileInfo { size_bytes, sha256 } = info_of(&full, progress)?;
        (update.kind, update.why) = (UpdateKind::Full, Why::DeltaNotSmaller);
        update.full =
            Some(PackedInfo { compression, compressed_size_bytes: size_bytes, compressed_sha256: sha256 });
        // Nobody is to take it for what is installed.
        unpacked.into_iter().chain([packed]).try_for_each(Content::remove)?;
        return Ok(Made { update, name: full_name, file: full });
    }
    let FileInfo { size_bytes, sha256 } =
        if unpacked.is_some() { info_of(&packed, progress)? } else { delta_info };
    update.delta = Some(DeltaFile {
        algorithm: Algorithm::Rdiff,
        block_len_bytes: arguments.block_len as u32,
        size_bytes: delta_info.size_bytes,
        sha256: delta_info.sha256,
        compression,
        compressed_size_bytes: size_bytes,
        compressed_sha256: sha256,
    });
    Ok(Made { update, name, file: packed })
}

/// Writes the signature of the old image, and the delta to the new one.
fn make_delta(
    arguments: &SwuDeltaArguments,
    (old, new): (&Content, &Content),
    (signature_path, delta_path): (&Path, PathBuf),
    progress: &Progress,
) -> Result<Content, Fault> {
    let create =
        |path: &Path| File::create_new(path).map(BufWriter::new).map_err(|error| Fault::writing(path, error));
    let advance = |bytes| progress.advance(bytes);
    progress.phase("signature", old.len());
    let options = SignatureOptions { block_len: arguments.block_len, ..SignatureOptions::default() };
    let signature = Signature::make(&old.medium, options, &advance)?;
    let mut out = create(signature_path)?;
    let written = signature.write(&mut out).and_then(|()| out.flush());
    written.map_err(|error| Fault::writing(signature_path, error))?;
    progress.phase("delta", new.len());
    let mut out = create(&delta_path)?;
    write_delta(&signature, Some(&old.medium), &new.medium, &mut out, &advance)?;
    out.flush().map_err(|error| Fault::writing(&delta_path, error))?;
    Content::open(delta_path)
}

fn show(
    arguments: &SwuDeltaArguments,
    info: &DeltaInfo,
    folder: &Path,
    is_signed: bool,
    duration_s: f64,
) -> Result<(), Fault> {
    let swu = folder.join(info.swu.name.as_str());
    if arguments.package.json {
        return say(serde_json::json!({
            "swu": swu,
            "swu_bytes": info.swu.size_bytes,
            "is_signed": is_signed,
            "delta_info": info,
            "duration_s": duration_s,
        }));
    }
    for update in &info.partitions {
        let bytes = |size_bytes| HumanBytes(size_bytes);
        match (&update.delta, &update.full) {
            (Some(delta), _) => say(format_args!(
                "{}: a delta of {}, for an image of {}",
                update.name,
                bytes(delta.compressed_size_bytes),
                bytes(update.target.size_bytes)
            ))?,
            (None, full) => say(format_args!(
                "{}: the whole image in {}, because a delta is not smaller",
                update.name,
                bytes(full.map_or(0, |full| full.compressed_size_bytes))
            ))?,
        }
    }
    let unsigned = if is_signed { "" } else { ", not signed" };
    say(format_args!(
        "{}: {} {} to {}, {}{unsigned}, in {duration_s:.1} s",
        swu.display(),
        info.image,
        info.from.version,
        info.to.version,
        HumanBytes(info.swu.size_bytes)
    ))
}
