//! What can go wrong with registries.

use std::io;
use std::path::PathBuf;

use oci_client::errors::OciDistributionError;
use thiserror::Error;

/// Work with a registry failed.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// No client can be made: there are no root certificates, for example.
    #[error("no connection to {host} can be prepared")]
    Client {
        /// The registry.
        host: String,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The credentials that Docker or Podman keep for a registry cannot be read.
    #[error("the credentials for {host} cannot be read: {reason}")]
    Credentials {
        /// The registry.
        host: String,
        /// What is wrong with them.
        reason: String,
    },
    /// The registry cannot be reached.
    #[error("{host} cannot be reached")]
    Unreachable {
        /// The registry.
        host: String,
        /// What happened.
        source: reqwest::Error,
    },
    /// The connection was cut, or silent for too long.
    #[error("{what} did not come to its end")]
    Cut {
        /// What was being fetched.
        what: String,
        /// What happened, where the connection says so.
        source: Option<reqwest::Error>,
    },
    /// There is no such image or blob.
    #[error("{what} is not there")]
    Missing {
        /// What was asked for.
        what: String,
    },
    /// The registry wants other credentials, or none will do.
    #[error("{what} is refused to us (status {status})")]
    Denied {
        /// What was asked for.
        what: String,
        /// 401 or 403.
        status: u16,
    },
    /// The registry answered with another status than it should.
    #[error("{what}: the registry answers with status {status}")]
    Status {
        /// What was asked for.
        what: String,
        /// The status of HTTP.
        status: u16,
    },
    /// The registry does not serve the range that was asked for, though the blob has it.
    #[error("{what}: the registry does not serve the bytes from {offset} on")]
    Range {
        /// What was asked for.
        what: String,
        /// Where the range began.
        offset: u64,
    },
    /// Other bytes than the digest says.
    #[error("{what} is other bytes than its digest says")]
    Digest {
        /// What was fetched.
        what: String,
    },
    /// More bytes than were announced, or than a limit allows.
    #[error("{what} has more than {limit} bytes")]
    TooLong {
        /// What was being fetched.
        what: String,
        /// How many there may be.
        limit: u64,
    },
    /// What the registry answers cannot be understood.
    #[error("{what} cannot be used: {reason}")]
    Malformed {
        /// What was fetched.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no image for the platform.
    #[error("{what} has no image for {wanted}, but for {}", have.join(", "))]
    Platform {
        /// The index.
        what: String,
        /// The platform that was looked for.
        wanted: String,
        /// Those that there are.
        have: Vec<String>,
    },
    /// Signing in or pushing failed.
    #[error("{what} failed")]
    Session {
        /// What was tried.
        what: String,
        /// What the client says.
        source: Box<OciDistributionError>,
    },
    /// A file cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process is fetching the same blob to the same folder.
    #[error("{} is being fetched already", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl RegistryError {
    /// Whether the same request may succeed a little later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Cut { .. } => true,
            Self::Status { status, .. } => is_passing_status(*status),
            Self::Session { source, .. } => match &**source {
                OciDistributionError::RequestError(_) => true,
                OciDistributionError::ServerError { code, .. } => is_passing_status(*code),
                _ => false,
            },
            _ => false,
        }
    }
}

/// 408 and 429 ask for another try, as do faults of the server.
fn is_passing_status(status: u16) -> bool {
    matches!(status, 408 | 429 | 500..)
}
