//! What is inside a file: archives, file-system images, kernels, and folders; and container images.
//!
//! [`Anatomist`] looks at the content of a byte stream, recognises the container and says which
//! bytes belong to which file, so that a diff pairs old files with new ones instead of guessing.
//! One level only: what a part holds is taken apart by asking again with that part's content.
//!
//! The crate writes container images and nothing else, never follows a symbolic link, and never reads
//! the content of files to find out where they stand. Every input is hostile: all limits are named constants,
//! checked before memory is taken, and a damaged image yields a shorter description or none.

#![forbid(unsafe_code)]

mod anatomist;
mod ar;
mod catalogue;
mod cpio;
mod disk;
mod erofs;
mod ext4;
mod extents;
mod fat;
mod field;
mod folder;
mod kernel;
mod magic;
pub mod oci;
mod packed;
mod pages;
mod source;
mod squashfs;
mod tar;
mod tree;
mod unpack;
mod zip;

pub use anatomist::Anatomist;
pub use ext4::leftover_bytes;
pub use extents::{file_extents, image_files};
pub use folder::{
    FOLDER_DEPTH_MAX, FOLDER_FILES_MAX, FOLDER_PATHS_BYTES_MAX, Folder, FolderError, FolderFile,
};
pub use source::{FileSource, SourceError};
pub use unpack::{ContentPart, Contents, PackedFile, all_and_packed_files, content_files};
