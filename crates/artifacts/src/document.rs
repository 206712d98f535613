//! Documents in JSON (RFC 8259) that others may have written: read to a limit, their version first.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::DOCUMENT_BYTES_MAX;

/// A document cannot be used.
#[derive(Debug, Error)]
pub enum DocumentError {
    /// It is longer than [`DOCUMENT_BYTES_MAX`].
    #[error("it has more than {DOCUMENT_BYTES_MAX} bytes")]
    TooLong,
    /// It is no JSON, or lacks what it should have, or has what is not known.
    #[error("it does not read as it should")]
    Json(#[from] serde_json::Error),
    /// It is of a version that is not known here.
    #[error("it is of format version {0}, which is not known here")]
    Version(u32),
    /// There is more of something than may be, or less, or it is out of range.
    #[error("{0} is out of range")]
    Range(&'static str),
    /// A name is there twice.
    #[error("the partition {0} is there twice")]
    Twice(String),
    /// Two things that it tells do not fit together.
    #[error("{0}")]
    Contradiction(String),
}

/// The one field that tells how to read the others.
#[derive(Deserialize)]
struct Versioned {
    format_version: u32,
}

/// Reads a document of one version. Fields that are not known are refused by the type: whoever adds one makes
/// another version.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8], version: u32) -> Result<T, DocumentError> {
    if bytes.len() > DOCUMENT_BYTES_MAX {
        return Err(DocumentError::TooLong);
    }
    let Versioned { format_version } = serde_json::from_slice(bytes)?;
    if format_version != version {
        return Err(DocumentError::Version(format_version));
    }
    Ok(serde_json::from_slice(bytes)?)
}

/// Writes a document for people and programs: indented, fields in the order of the type, a line break at the end.
pub(crate) fn write(document: &impl Serialize) -> Result<Vec<u8>, DocumentError> {
    let mut bytes = serde_json::to_vec_pretty(document)?;
    bytes.push(b'\n');
    if bytes.len() > DOCUMENT_BYTES_MAX { Err(DocumentError::TooLong) } else { Ok(bytes) }
}
