//! What kind of fault each error of a package is.

use std::io;
use std::path::{Path, PathBuf};

use fluvial_console::{Fault, Kind};
use fluvial_swu::cpio::CpioError;
use fluvial_swu::package::{OpenError, RefusalError};
use fluvial_swu::rsync::ApplyError;
use fluvial_swu::sign::VerifyError;
use thiserror::Error;

/// A fault with the package that it is of.
#[derive(Debug, Error)]
#[error("{} is refused", path.display())]
struct PackageError<E: std::error::Error + 'static> {
    path: PathBuf,
    source: E,
}

/// A file of a package does not make what the description tells.
#[derive(Debug, Error)]
#[error("{name} in the package does not make what is described")]
struct FileError<E: std::error::Error + 'static> {
    name: String,
    source: E,
}

/// A package is not opened, or not read to its end.
pub(super) fn of_open(path: &Path, error: OpenError) -> Fault {
    let kind = match &error {
        OpenError::Archive(CpioError::Io(source)) if source.raw_os_error().is_some() => Kind::Io,
        OpenError::Signature(_) | OpenError::Unsigned => Kind::Untrusted,
        _ => Kind::DamagedPackage,
    };
    let hint = match &error {
        OpenError::Unsigned => Some("take a package that is signed with a key that you trust"),
        OpenError::Signature(error) => Some(hint_of_signature(error)),
        OpenError::Unknown { .. } | OpenError::Missing { .. } | OpenError::NoHash { .. } => {
            Some("whoever made the package has to make it again")
        }
        _ => None,
    };
    let fault = Fault::new(kind, PackageError { path: path.to_owned(), source: error });
    match hint {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}

fn hint_of_signature(error: &VerifyError) -> &'static str {
    match error {
        VerifyError::Content => "the description was changed after it was signed: fetch the package again",
        VerifyError::Expired | VerifyError::NotYetValid => {
            "check the clock; if it is right, have the package signed again with a certificate that is valid"
        }
        VerifyError::Purpose { .. } => {
            "have it signed with another certificate; --cert-purpose says what it must be for"
        }
        VerifyError::Message | VerifyError::Algorithm { .. } => {
            "--signature says how packages are signed: cms, rsa or pss"
        }
        _ => {
            "give the certificate or the key that it was signed with, or take a package that is signed with yours"
        }
    }
}

/// A package is not for this device, or does not guard itself.
pub(super) fn of_refusal(path: &Path, error: RefusalError) -> Fault {
    let hint = match &error {
        RefusalError::Hardware { .. } => {
            "take the package for this hardware; --device-hardware or --hardware-revision says what it is"
        }
        RefusalError::Choice => "`fluvial swu inspect` lists the choices; --select takes one",
        RefusalError::Downgrade { .. } | RefusalError::Versions { .. } => {
            "take a newer package, or say --allow-downgrade"
        }
        RefusalError::Unguarded { .. } => {
            "make the package with fluvial: then it tells what its base and its result are"
        }
    };
    Fault::new(Kind::Refused, PackageError { path: path.to_owned(), source: error }).hint(hint)
}

/// Reading a file of a package fails: because of the system, the archive, its hash, or how it is packed.
pub(super) fn of_reader(path: &Path, name: &str, error: io::Error) -> Fault {
    if error.raw_os_error().is_some() {
        return Fault::reading(path, error);
    }
    let error = match error.downcast::<OpenError>() {
        Ok(error) => return of_open(path, error),
        Err(error) => error,
    };
    match error.downcast::<CpioError>() {
        Ok(error) => of_open(path, error.into()),
        Err(source) => of_content(name, source),
    }
}

/// A file of a package is not what it should be.
pub(super) fn of_content(name: &str, source: impl std::error::Error + Send + Sync + 'static) -> Fault {
    Fault::new(Kind::DamagedPackage, FileError { name: name.to_owned(), source })
        .hint("fetch the package again; if it is the same, whoever made it has to make it again")
}

/// A delta is not carried out, but for reading the base and writing the target.
pub(super) fn of_delta(path: &Path, name: &str, error: ApplyError) -> Fault {
    match error {
        ApplyError::ReadDelta(error) => of_reader(path, name, error),
        ApplyError::Cancelled => Fault::new(Kind::Cancelled, error),
        error => of_content(name, error),
    }
}
