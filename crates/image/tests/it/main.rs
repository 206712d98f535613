//! Real images by real tools, each compared byte for byte with the folder that it was made from.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

mod cpio;
mod disk;
mod erofs;
mod ext4;
mod fat;
mod hostile;
mod kernel;
mod proof;
mod squashfs;
mod tar;
mod tools;
mod tree;
mod zip;
