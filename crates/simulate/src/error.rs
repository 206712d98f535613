//! What can go wrong with counting.

use std::fmt;
use std::io;

use thiserror::Error;

/// One of the two images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What devices have.
    Old,
    /// What they shall have.
    New,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Old => "OLD",
            Self::New => "NEW",
        })
    }
}

/// A way cannot be counted.
#[derive(Debug, Error)]
pub enum SimulateError {
    /// An image cannot be read.
    #[error("{side} cannot be read")]
    Read {
        /// Which one.
        side: Side,
        /// What the medium reports.
        source: io::Error,
    },
    /// There are no files to go by.
    #[error("{0} is no file system whose files stand in it as they are")]
    NoFiles(Side),
    /// Packing with xz failed.
    #[error("packing with xz failed")]
    Xz(#[source] liblzma::stream::Error),
    /// Packing with zstd failed.
    #[error("packing with zstd failed")]
    Zstd(#[source] io::Error),
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}
