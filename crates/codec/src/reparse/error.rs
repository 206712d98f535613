//! Ways to fail.

use std::io;

/// Why a stream could not be taken apart.
#[derive(Debug, thiserror::Error)]
pub enum AnalyzeError {
    /// The input does not begin with a well-formed frame.
    #[error("not a well-formed zstd frame: {0}")]
    Malformed(&'static str),
    /// The frame needs a dictionary, which nobody here has.
    #[error("the zstd frame needs dictionary {0}")]
    Dictionary(u32),
    /// The content is larger than a position can tell.
    #[error("a zstd frame of more than {max} bytes")]
    TooLarge {
        /// The limit.
        max: u64,
    },
    /// Packing again would need more memory than allowed.
    #[error("packing again takes {needed} bytes of memory, {allowed} are allowed")]
    OverBudget {
        /// What it would take.
        needed: u64,
        /// What is allowed.
        allowed: u64,
    },
    /// Packing again did not give the same bytes: an error of this crate.
    #[error("packing again gave other bytes")]
    NotReproduced,
    /// Packing again failed.
    #[error("packing again failed")]
    Pack(#[from] PackError),
}

/// Why a stream could not be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The corrections do not fit the content, or are damaged.
    #[error("the corrections of a zstd stream are damaged ({0})")]
    Corrections(&'static str),
    /// There is less or more content than announced.
    #[error("the content of a zstd stream is not as long as announced")]
    PlainLen,
    /// Memory ran out.
    #[error("out of memory")]
    OutOfMemory,
    /// The packed bytes could not be handed on.
    #[error("could not write packed bytes")]
    Sink(#[source] io::Error),
}
