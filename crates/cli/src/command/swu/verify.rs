//! `fluvial swu verify`.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;
use std::time::Instant;

use fluvial_console::{Fault, Interrupt, Kind, Progress, say};
use fluvial_delta::structure::ReadAt;
use fluvial_swu::description::{Compression, Description};
use fluvial_swu::package::ImageDigest;
use fluvial_swu::rsync::Applier;
use fluvial_swu::sign::{SignatureInfo, UnixSeconds, Verifier};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::input::{Source, now, watched};
use super::unpack::Unpacked;
use super::{choice_name, choices, fault, trust};
use crate::arguments::SwuVerifyArguments;

/// Bytes that are hashed at a time.
const STEP_BYTES: usize = 128 << 10;

/// What was verified.
struct Outcome {
    version: String,
    kind: &'static str,
    signer: Option<String>,
    files: usize,
    deltas: usize,
    images: usize,
}

/// What a file of a package makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Makes {
    compression: Option<Compression>,
    base: Option<ImageDigest>,
    target: ImageDigest,
}

/// An image is not what the description tells.
#[derive(Debug, Error)]
#[error("it has {found_bytes} bytes with the SHA-256 {found}, not {wanted_bytes} with {wanted}")]
struct ImageError {
    wanted_bytes: u64,
    wanted: String,
    found_bytes: u64,
    found: String,
}

/// A base that is not here: of a delta that makes nothing, nobody reads it.
struct Absent(u64);

impl ReadAt for Absent {
    fn len(&self) -> u64 {
        self.0
    }

    fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Verifies a package.
///
/// # Errors
/// Every way that it fails.
pub fn run(arguments: &SwuVerifyArguments, interrupt: Interrupt) -> Result<(), Fault> {
    let started = Instant::now();
    let outcome = watched(interrupt, arguments.json, |progress| verify(arguments, progress))?;
    let duration_s = started.elapsed().as_secs_f64();
    let Outcome { version, kind, signer, files, deltas, images } = outcome;
    if arguments.json {
        return say(serde_json::json!({
            "package": arguments.package,
            "version": version,
            "signature": kind,
            "signer": signer,
            "files": files,
            "deltas": deltas,
            "images": images,
            "duration_s": duration_s,
        }));
    }
    let signer = signer.map_or_else(String::new, |signer| format!(" by {signer}"));
    say(format_args!(
        "{}: version {version}, signed{signer} ({kind}); {files} files are as described, {deltas} deltas and \
         {images} images make the lengths that they should, in {duration_s:.1} s",
        arguments.package.display(),
    ))
}

fn verify(arguments: &SwuVerifyArguments, progress: &Progress) -> Result<Outcome, Fault> {
    let no_trust = || trust::nobody("give --cert, or --public-key");
    let verifier = trust::verifier(&arguments.trust)?.ok_or_else(no_trust)?;
    let time = match arguments.at {
        Some(at) => UnixSeconds(u64::try_from(at.as_second()).unwrap_or(0)),
        None => now(),
    };
    let source = Source::open(&arguments.package)?;
    let path = source.path();
    progress.phase("verifying", source.len);
    let advance = |bytes| progress.advance(bytes);
    let mut package = source.package(Some(&verifier), time, &advance)?;
    let description = package.description().clone();
    let info = package.signature().map(SignatureInfo::of);
    let parts = parts(&path, &description)?;
    let (mut files, mut deltas, mut images) = (0, 0, 0);
    while let Some(mut file) = package.next_file().map_err(|error| fault::of_open(&path, error))? {
        files += 1;
        let name = file.name().to_owned();
        match parts.get(&name[..]) {
            Some(part) if part.base.is_some() => {
                check_delta(&path, &name, &mut file, part, progress)?;
                deltas += 1;
            }
            Some(part) => {
                check_image(&path, &name, &mut file, part)?;
                images += 1;
            }
            None => {}
        }
    }
    let kind = match &verifier {
        Verifier::Cms { .. } => "cms",
        Verifier::Rsa(_) => "rsa",
        Verifier::Pss(_) => "pss",
    };
    let signer = match info {
        Some(SignatureInfo::Cms { subject }) => subject,
        _ => None,
    };
    Ok(Outcome { version: description.version, kind, signer, files, deltas, images })
}

/// What each file makes. Every choice must be guarded, and all must agree.
fn parts<'a>(path: &Path, description: &'a Description) -> Result<HashMap<&'a str, Makes>, Fault> {
    let refused = |message: String| {
        Err(Fault::new(Kind::Refused, format!("{}: {message}", path.display()))
            .hint("whoever made the package has to make it again"))
    };
    let choices = choices(description);
    if choices.is_empty() {
        return refused("the package installs nothing".into());
    }
    if description.version.is_empty() {
        return refused("the package has no version".into());
    }
    let mut parts = HashMap::new();
    for choice in &choices {
        if description.lists_for(choice).hardware.is_empty() {
            return refused(format!("the package names no hardware for {}", choice_name(choice)));
        }
        for part in description.partitions_for(choice).map_err(|error| fault::of_refusal(path, error))? {
            let base = part.base.map(|base| base.image);
            let makes = Makes { compression: part.compression, base, target: part.target };
            if parts.insert(part.filename, makes).is_some_and(|other| other != makes) {
                return refused(format!("{} is described in two ways", part.filename));
            }
        }
    }
    Ok(parts)
}

/// Walks through a delta: it must be whole, stay inside the base, and make the target's length.
fn check_delta(
    path: &Path,
    name: &str,
    file: &mut dyn Read,
    part: &Makes,
    progress: &Progress,
) -> Result<(), Fault> {
    let failed = |error| fault::of_reader(path, name, error);
    let mut delta = Unpacked::new(file, part.compression).map_err(failed)?;
    let base = Absent(part.base.map_or(0, |base| base.size_bytes));
    let target_len = part.target.size_bytes;
    Applier::new(&base, target_len)
        .skip_to(target_len)
        .apply(&mut delta, &mut io::sink(), &|_| progress.advance(0))
        .map_err(|error| fault::of_delta(path, name, error))
}

/// Compares an image with what is described.
fn check_image(path: &Path, name: &str, file: &mut dyn Read, part: &Makes) -> Result<(), Fault> {
    let failed = |error| fault::of_reader(path, name, error);
    let mut image = Unpacked::new(file, part.compression).map_err(failed)?;
    let (mut hash, mut size_bytes, mut buf) = (Sha256::new(), 0, vec![0; STEP_BYTES]);
    loop {
        let count = image.read(&mut buf).map_err(failed)?;
        if count == 0 {
            break;
        }
        hash.update(&buf[..count]);
        size_bytes += count as u64;
        // Few bytes may unpack to any number.
        if size_bytes > part.target.size_bytes {
            break;
        }
    }
    let found = ImageDigest { size_bytes, sha256: hash.finalize().into() };
    if found == part.target {
        return Ok(());
    }
    let error = ImageError {
        wanted_bytes: part.target.size_bytes,
        wanted: hex::encode(part.target.sha256),
        found_bytes: size_bytes,
        found: hex::encode(found.sha256),
    };
    Err(fault::of_content(name, error))
}
