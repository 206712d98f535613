//! `fluvial release`: who vouches for a release.

use std::num::NonZeroU64;

use fluvial_bundle::BundleHeader;
use fluvial_console::{Fault, Kind, say};
use fluvial_trust::{KeyFolder, SignOptions, Timestamp, sign};

use super::bundle::{BundleFile, copy};
use super::diff::write_patch;
use crate::arguments::{ReleaseArguments, ReleaseCommand, ReleaseSignArguments};

/// Carries out a command for releases.
///
/// # Errors
/// Every way that it fails.
pub fn run(arguments: &ReleaseArguments) -> Result<(), Fault> {
    match &arguments.command {
        ReleaseCommand::Sign(sign) => sign_bundle(sign),
    }
}

fn sign_bundle(arguments: &ReleaseSignArguments) -> Result<(), Fault> {
    let bundle = BundleFile::open(&arguments.bundle)?;
    let keys = KeyFolder::open(&arguments.keys)?;
    let Some(version) = NonZeroU64::new(bundle.manifest.sequence) else {
        return Err(Fault::new(Kind::DamagedBundle, "the release has no sequence"));
    };
    let options = SignOptions { version, lifetimes: None, now: Timestamp::now() };
    let metadata = sign(&keys, &bundle.header.manifest, &options)?;
    let mut header = BundleHeader { metadata: Vec::new(), ..bundle.header.clone() };
    header.metadata.extend(metadata.iter().map(|(name, bytes)| (name.to_owned(), bytes.to_vec())));
    let start = header.to_bytes()?;
    let output = arguments.output.as_ref().unwrap_or(&arguments.bundle);
    let body_bytes = bundle.header.file_len(bundle.header_bytes) - bundle.header_bytes;
    write_patch(output, |draft| {
        let write = draft.write_all(&start);
        let write = write.and_then(|()| copy(&bundle.medium, bundle.header_bytes, body_bytes, draft));
        write.map_err(|error| Fault::writing(output, error))
    })?;
    let names: Vec<&str> = metadata.iter().map(|(name, _)| name).collect();
    let manifest = &bundle.manifest;
    if arguments.json {
        return say(serde_json::json!({
            "bundle": output,
            "name": manifest.name,
            "version": manifest.version,
            "sequence": manifest.sequence,
            "trust_metadata": names,
        }));
    }
    say(format_args!("{}: {} {} is signed", output.display(), manifest.name, manifest.version))
}
