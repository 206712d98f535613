//! Payloads in chunks. A payload (a layer of a container image, a partition) is cut into chunks once and
//! put on any server for static files; a device fetches by range only those chunks that it cannot find in
//! the files that it has. No patch is made beforehand, so every old version will do.
//!
//! [`write()`] cuts a payload; [`Index`] says what it is made of; [`Assembly`] puts it together on a device:
//! it is shown what the device has, says which bytes of the published files it still needs, and takes them
//! as they come. The crate does no I/O, reads no clock and draws no randomness.
//!
//! A release is a [`Manifest`], which names every payload, and a bundle is one file that has it all
//! ([`BundleHeader`]).
//!
//! docs/index-format.md and docs/bundle-format.md have the byte layouts and the threat models.

#![forbid(unsafe_code)]

mod assembly;
mod behind;
mod bundle;
mod chunker;
mod cut;
mod cutting;
mod error;
mod guesses;
mod guide;
mod hash;
mod have;
mod in_order;
mod index;
pub mod limits;
mod manifest;
mod notes;
mod pack;
mod page;
mod parity;
mod pieces;
mod programs;
mod ranges;
mod scatter;
mod shelf;
mod sketch;
mod spool;
mod survey;
mod taught;
mod whole;
mod write;

pub use assembly::{Assembly, Copies, Early, LostRun, Part, Tally, Want};
pub use behind::Behind;
pub use bundle::{BUNDLE_PREFIX_BYTES, BundleError, BundleHeader, BundlePart, PartKind};
pub use chunker::{Chunker, ChunkerError, Chunks};
pub use cut::{Chunk, Each, Run, cut};
pub use cutting::{Cutting, CuttingError};
pub use error::{AssembleError, IndexError, WriteError};
pub use guide::Guide;
pub use hash::{HashKind, UnknownHash};
pub use index::{Index, RunDigest, RunInfo, Unpacked, is_one};
pub use manifest::{Component, Manifest, ManifestError, PartInfo, PayloadInfo};
pub use notes::Notes;
#[doc(hidden)]
pub use page::probe as probe_page;
pub use scatter::{Scatter, between, gaps};
pub use shelf::Shelf;
pub use sketch::{Estimate, Sketch};
pub use survey::{Offer, Survey};
pub use whole::{FrameReader, Piece, Restorer, Whole, WholeFrame, WholeOptions, write_whole};
pub use write::{Payload, WriteOptions, index_of, write};
