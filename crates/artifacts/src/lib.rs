//! The store of versioned build artifacts: the images that a build has made, kept for the deltas that later builds
//! are told by, and those deltas.
//!
//! It is a folder, laid out as `<machine>/<image>/<version>/`; docs/artifacts.md describes it for people. A version
//! is written once and never changed; what is there under its name is whole, whatever was cut. Nothing here makes
//! a delta or a package: whoever does asks [`Store::pair`] whether one may be made, fills an [`UpdateDraft`], and
//! says what it has made with a [`DeltaInfo`]. No clock is read: times are given by the caller, or not there.

#![forbid(unsafe_code)]

mod build_info;
mod copy;
mod delta_info;
mod digest;
mod disk;
mod document;
mod limits;
mod manifest;
mod name;
mod pair;
mod patterns;
mod store;
mod update;
mod version;

pub use build_info::{BuildInfo, BuildInfoError, Key};
pub use delta_info::{
    Algorithm, Compression, DeltaFile, DeltaInfo, Endpoint, FileInfo, PackedFile, PackedInfo,
    PartitionUpdate, UpdateKind, Why,
};
pub use digest::{DigestError, Sha256Digest};
pub use document::DocumentError;
pub use limits::*;
pub use manifest::{BLOCK_LEN_BYTES_DEFAULT, FORMAT_VERSION, Manifest, Partition};
pub use name::{FileName, Name, NameError};
pub use pair::{Difference, LayoutDifference, Pair, PairError, PairOptions, Role};
pub use patterns::{PatternError, Patterns};
pub use store::{
    AddError, Damage, Decision, Entry, Fate, Filter, ImageId, ImageReport, KeepReason, NewImage, NewVersion,
    PruneOptions, Removal, Store, StoreError, Stored, StoredDelta, VerifyReport, VersionId,
};
pub use update::{Existing, UpdateDraft, UpdateError};
pub use version::Version;

/// The name and version of this program, as documents tell by whom they were made.
pub fn creator() -> String {
    format!("fluvial {}", env!("CARGO_PKG_VERSION"))
}
