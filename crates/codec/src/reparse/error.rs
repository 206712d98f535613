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
    #[error("the content of a zstd stream has {got} bytes so far, but was to have {promised}")]
    PlainLen {
        /// What was announced.
        promised: u64,
        /// What came, as far as it was looked at.
        got: u64,
    },
    /// Memory ran out.
    #[error("out of memory")]
    OutOfMemory,
    /// The packed bytes could not be handed on.
    #[error("could not write packed bytes")]
    Sink(#[source] io::Error),
}
