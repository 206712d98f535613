//! What can go wrong with images.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Text that names no image.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReferenceError {
    /// There is no such transport, or none is named.
    #[error(
        "{text:?} does not say where the image is kept: oci:FOLDER[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME], docker://HOST/NAME[:TAG], docker-daemon:NAME, podman:NAME"
    )]
    Transport {
        /// The text.
        text: String,
    },
    /// What stands behind `docker://` is no name of an image.
    #[error("{text:?} names no image of a registry: {reason}")]
    Name {
        /// The text.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing stands behind the transport.
    #[error("{text:?} names no file or folder")]
    Empty {
        /// The text.
        text: String,
    },
}

/// An image cannot be read or written.
#[derive(Debug, Error)]
pub enum ImageError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no image of the kind that the reference says.
    #[error("{} is no {kind}: {reason}", path.display())]
    Kind {
        /// The file or folder.
        path: PathBuf,
        /// What it should be.
        kind: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// There are several images, or none of that name.
    #[error("{} holds {}; {wanted}", path.display(), list(have))]
    Choice {
        /// The file or folder.
        path: PathBuf,
        /// What was asked for, in words.
        wanted: String,
        /// The names that there are.
        have: Vec<String>,
    },
    /// What a digest names is missing, or other bytes.
    #[error("{what} {digest} {problem}")]
    Content {
        /// A manifest, a config, a layer.
        what: &'static str,
        /// As it is named.
        digest: String,
        /// What is wrong with it.
        problem: String,
    },
    /// More than a named limit allows.
    #[error("{what} has {have}, above the limit of {limit}")]
    Limit {
        /// What it is.
        what: &'static str,
        /// How much there is.
        have: u64,
        /// How much may be.
        limit: u64,
    },
    /// Another run writes there.
    #[error("another run of fluvial is writing {}", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// Temporary storage failed.
    #[error("temporary storage failed")]
    Scratch(#[source] io::Error),
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

fn list(names: &[String]) -> String {
    match names {
        [] => "no image".into(),
        [one] => format!("the image {one:?}"),
        _ => format!("the images {names:?}"),
    }
}
