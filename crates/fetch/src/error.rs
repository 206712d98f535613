//! What can go wrong with fetching.

use std::io;
use std::path::{Path, PathBuf};

use fluvial_bundle::AssembleError;
use reqwest::StatusCode;
use thiserror::Error;

/// Something cannot be fetched, or not be put together.
#[derive(Debug, Error)]
pub enum FetchError {
    /// No client can be made: there are no root certificates, for example.
    #[error(transparent)]
    Client(reqwest::Error),
    /// The server was not reached, or the connection was cut, or silent for too long.
    #[error("{url}: {causes}")]
    Cut {
        /// What was asked for.
        url: String,
        /// What happened, from the outermost message to the cause.
        causes: String,
    },
    /// The server answers with another status than it should.
    #[error("{url}: the server answers {status}")]
    Refused {
        /// What was asked for.
        url: String,
        /// What it says.
        status: StatusCode,
    },
    /// The server sends what was not asked for, or less than the published file should have.
    #[error("{url}: the server sends other ranges than were asked for")]
    OtherRanges {
        /// What was asked for.
        url: String,
    },
    /// A file or a range is longer than allowed.
    #[error("{name} has more than {limit} bytes")]
    TooLong {
        /// The file's name.
        name: String,
        /// How many bytes it may have.
        limit: u64,
    },
    /// A published file in a folder cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system reports.
        source: io::Error,
    },
    /// What was fetched cannot be kept.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file, or its folder.
        path: PathBuf,
        /// What the system reports.
        source: io::Error,
    },
    /// Payloads cannot be put together.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl FetchError {
    /// Whether the same request may work later, with nothing changed here.
    pub fn may_retry(&self) -> bool {
        match self {
            Self::Cut { .. } => true,
            Self::Refused { status, .. } => {
                status.is_server_error()
                    || *status == StatusCode::TOO_MANY_REQUESTS
                    || *status == StatusCode::REQUEST_TIMEOUT
            }
            _ => false,
        }
    }

    pub(crate) fn cut(url: &str, error: impl std::error::Error) -> Self {
        let first: &dyn std::error::Error = &error;
        let causes = std::iter::successors(Some(first), |error| error.source());
        let causes: Vec<String> = causes.map(ToString::to_string).collect();
        Self::Cut { url: url.into(), causes: causes.join(": ") }
    }

    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        Self::Read { path: path.into(), source }
    }

    pub(crate) fn write(path: &Path, source: io::Error) -> Self {
        Self::Write { path: path.into(), source }
    }
}
