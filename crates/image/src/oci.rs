//! Container images: what they are made of, wherever they are kept.
//!
//! An image is a config and layers (OCI Image Format Specification 1.1; Docker Image Specification
//! 1.3 for archives of `docker save`). Layers are packed as their keeper likes, and packed bytes cannot
//! be made again in general; what names a layer for good is its **diff id**, the SHA-256 of its tar as
//! it is. So an [`Image`] gives layers by diff id, and opens them as plain tars.

mod blobs;
mod document;
mod error;
mod groups;
mod image;
mod layer;
mod merged;
mod reference;
mod slice;
mod store;
mod writer;

pub use crate::tar::Metadata;

pub use blobs::{Announced, Blob, Blobs};
pub use document::{DOCUMENT_BYTES_MAX, Document, INDEXES_MAX, manifest_for, sha256_of};
pub use error::{ImageError, ReferenceError};
pub use groups::{Group, GroupRecipe, Grouper};
pub use image::{Image, Platform, PlatformError, diff_ids_of, digest_of};
pub use layer::{LAYER_BYTES_MAX, Layer, LayerTar, digest_text};
pub use merged::{MergedFile, TreeEntry, TreeKind, is_unspeakable, merge, places, tree};
pub use reference::{EngineKind, EngineReference, FileReference, ImageReference};
pub use slice::Slice;
pub use writer::{LayerSource, Writer};
