//! Who vouches for a release.

use std::path::Path;

use fluvial_console::{Fault, Kind};
use fluvial_trust::{Metadata, Policy, Timestamp, Trust, Verified, VerifyError};

use crate::arguments::{InstallArguments, PlaceArguments};
use crate::bundle::Bundle;

/// The root of trust at most, in bytes.
const ROOT_BYTES_MAX: u64 = 1 << 20;
/// Where versions that were seen are kept, in the state folder.
const FOLDER_NAME: &str = "trust";

/// A release that somebody vouches for, or that is taken without.
pub struct Vouched {
    verified: Option<(Trust, Verified)>,
}

/// Verifies the bundle's signatures from the device's root on. Nothing is kept yet.
///
/// # Errors
/// [`Kind::Untrusted`], with what is lost where it is taken all the same.
pub fn vouch(
    bundle: &Bundle,
    places: &PlaceArguments,
    state: &Path,
    arguments: &InstallArguments,
) -> Result<Vouched, Fault> {
    let is_unsigned = bundle.header.metadata.is_empty();
    if is_unsigned && arguments.allow_unsigned {
        eprintln!(
            "warning: nobody vouches for {}: whoever can change it on its way can put anything on this device",
            bundle.name
        );
        return Ok(Vouched { verified: None });
    }
    let root = match read_root(&places.root) {
        Ok(root) => root,
        Err(_) if arguments.allow_unsigned && !places.root.exists() => {
            eprintln!(
                "warning: this device has no root of trust, so the signatures of {} say nothing",
                bundle.name
            );
            return Ok(Vouched { verified: None });
        }
        Err(fault) => return Err(fault),
    };
    let trust = Trust::new(&root, Some(&state.join(FOLDER_NAME)))?;
    let files = bundle.header.metadata.iter().map(|(name, bytes)| (name.clone(), bytes.clone()));
    let metadata = Metadata::from_files(files)?;
    let policy = Policy { now: Timestamp::now(), allow_expired: arguments.allow_expired };
    let verified = match trust.verify(&metadata, &bundle.header.manifest, &policy) {
        Err(VerifyError::Rollback { .. }) if arguments.allow_downgrade => {
            eprintln!(
                "warning: {} is older than what this device has seen: faults that were mended come back, and \
                 keys that were replaced since count again",
                bundle.name
            );
            Trust::new(&root, None)?
                .verify(&metadata, &bundle.header.manifest, &policy)
                .map(|older| (older, false))
        }
        verified => verified.map(|verified| (verified, true)),
    };
    let (verified, is_newest) = verified?;
    if verified.is_expired {
        eprintln!(
            "warning: the signatures of {} have expired: nobody can tell whether there is a newer release",
            bundle.name
        );
    }
    // What was seen stays what it was: only where it is allowed may the device go back once more.
    Ok(Vouched { verified: is_newest.then_some((trust, verified)) })
}

fn read_root(path: &Path) -> Result<Vec<u8>, Fault> {
    let hint = "copy root.json of the operator's keys there, or take the bundle with --allow-unsigned";
    let failed = |error| Fault::reading(path, error).hint(hint);
    if path.metadata().map_err(failed)?.len() > ROOT_BYTES_MAX {
        return Err(Fault::new(Kind::Untrusted, format!("{} is no root of trust", path.display())).hint(hint));
    }
    std::fs::read(path).map_err(failed)
}

impl Vouched {
    /// Keeps what was seen: older releases are refused from now on.
    pub fn remember(&self) -> Result<(), Fault> {
        match &self.verified {
            Some((trust, verified)) => Ok(trust.remember(verified)?),
            None => Ok(()),
        }
    }
}
