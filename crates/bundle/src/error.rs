//! What can go wrong with indexes and payloads.

use std::io;

use fluvial_delta::wire::WireError;
use thiserror::Error;

/// An index or a page of one, a table of frames or a sketch cannot be read.
#[derive(Debug, Error)]
pub enum IndexError {
    /// The bytes do not begin as an index does.
    #[error("it is no index")]
    NotAnIndex,
    /// It is of a version that is not known here.
    #[error("it is of format version {0}, which is not known here")]
    Version(u8),
    /// A value is cut, or above its limit.
    #[error("it is damaged")]
    Wire(#[from] WireError),
    /// It does not unpack.
    #[error("it does not unpack: {0}")]
    Packed(&'static str),
    /// Parts do not fit together.
    #[error("it is damaged: {0}")]
    Invalid(&'static str),
    /// A value is not allowed.
    #[error("{0} is out of range")]
    Range(&'static str),
    /// It is longer than allowed.
    #[error("it has {have} bytes, {limit} are allowed")]
    TooLong {
        /// Its length in bytes.
        have: u64,
        /// How many may be.
        limit: u64,
    },
}

/// A payload cannot be cut and written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// The payload cannot be read.
    #[error("the payload cannot be read")]
    Read(#[source] io::Error),
    /// What is made of it cannot be written.
    #[error("the chunks cannot be written")]
    Write(#[source] io::Error),
    /// The payload is above a limit.
    #[error("{what} has {have}, above the limit of {limit}")]
    Limit {
        /// What it is.
        what: &'static str,
        /// How much there is.
        have: u64,
        /// How much may be.
        limit: u64,
    },
    /// Files overlap, or lie outside the payload.
    #[error("file {0} of the payload is out of range or out of order")]
    Files(usize),
    /// Packing failed.
    #[error("packing failed: {0}")]
    Pack(&'static str),
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// A payload cannot be put together.
#[derive(Debug, Error)]
pub enum AssembleError {
    /// What the device has cannot be read.
    #[error("what is there already cannot be read")]
    ReadOld(#[source] io::Error),
    /// The payload in the making cannot be read back.
    #[error("the result cannot be read back")]
    ReadTarget(#[source] io::Error),
    /// The payload cannot be written.
    #[error("the result cannot be written")]
    Write(#[source] io::Error),
    /// What was fetched cannot be read back.
    #[error("what was fetched cannot be read back")]
    Shelf(#[source] io::Error),
    /// A page of the index is other bytes than its digest says.
    #[error("page {page} of the index of payload {payload} is other bytes than its digest says")]
    PageDigest {
        /// Which payload.
        payload: usize,
        /// Which page.
        page: usize,
    },
    /// A page of the index is damaged.
    #[error("page {page} of the index of payload {payload} cannot be used")]
    Page {
        /// Which payload.
        payload: usize,
        /// Which page.
        page: usize,
        /// What is wrong with it.
        source: IndexError,
    },
    /// What was fetched is not what the index says, twice.
    #[error("{len} bytes at {offset} of payload {payload} came wrong twice")]
    Content {
        /// Which payload.
        payload: usize,
        /// Where they stand in the published chunks.
        offset: u64,
        /// How many of them.
        len: u64,
    },
    /// A frame does not unpack.
    #[error("frame {frame} of payload {payload} cannot be unpacked")]
    Frame {
        /// Which payload.
        payload: usize,
        /// Which frame.
        frame: usize,
        /// What is wrong with it.
        source: IndexError,
    },
    /// Zstandard cannot be set up: there is no memory.
    #[error("cannot unpack: {0}")]
    Unpacker(&'static str),
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}
