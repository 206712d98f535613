//! Whose signature counts.

use std::path::Path;

use fluvial_console::{Fault, Kind};
use fluvial_swu::limits::KEY_FILE_BYTES_MAX;
use fluvial_swu::sign::{Certificate, KeyError, PublicKey, Verifier};
use std::fs::File;
use std::io::Read as _;
use thiserror::Error;

use crate::arguments::{SwuSignatureName, SwuTrustArguments};

/// A file with a key or with certificates cannot be used.
#[derive(Debug, Error)]
#[error("{path} cannot be used")]
struct FileError {
    path: String,
    source: KeyError,
}

/// The verifier that was asked for; none where nothing says whom to trust.
pub(super) fn verifier(arguments: &SwuTrustArguments) -> Result<Option<Verifier>, Fault> {
    let kind = match (&arguments.public_key, arguments.signature) {
        (_, Some(kind)) => kind,
        (Some(_), None) => SwuSignatureName::Rsa,
        (None, None) => SwuSignatureName::Cms,
    };
    let wrong = |message: &str| Err(Fault::new(Kind::Usage, message.to_owned()));
    match (kind, &arguments.public_key) {
        (SwuSignatureName::Cms, Some(_)) => wrong("signatures with CMS are checked with --cert"),
        (SwuSignatureName::Rsa | SwuSignatureName::Pss, None) if arguments.signature.is_some() => {
            wrong("signatures without CMS are checked with --public-key")
        }
        (SwuSignatureName::Rsa, Some(path)) => Ok(Some(Verifier::Rsa(public_key(path)?))),
        (SwuSignatureName::Pss, Some(path)) => Ok(Some(Verifier::Pss(public_key(path)?))),
        _ if arguments.cert.is_empty() => Ok(None),
        _ => {
            let mut trusted = Vec::new();
            for path in &arguments.cert {
                trusted.extend(read(path, Certificate::from_pem)?);
            }
            Ok(Some(Verifier::Cms { trusted, purpose: arguments.cert_purpose.into() }))
        }
    }
}

fn public_key(path: &Path) -> Result<PublicKey, Fault> {
    read(path, PublicKey::from_pem)
}

/// Reads a file of keys or certificates.
pub(super) fn read<T>(path: &Path, parse: impl FnOnce(&[u8]) -> Result<T, KeyError>) -> Result<T, Fault> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(KEY_FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| Fault::reading(path, error))?;
    let unusable = |source| FileError { path: path.display().to_string(), source };
    parse(&bytes).map_err(|error| Fault::new(Kind::Usage, unusable(error)))
}

/// The fault where a command needs to know whom to trust, and does not.
pub(super) fn nobody(hint: &str) -> Fault {
    Fault::new(Kind::Usage, "nothing says whose signature counts").hint(hint)
}
