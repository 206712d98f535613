//! The real binary, on real files.
#![expect(clippy::unwrap_used, reason = "what the tests share is test code too")]

mod artifacts;
mod cutting;
mod damage;
mod engine;
mod folder;
mod hostile;
mod image;
mod images;
mod keys;
mod media;
mod packages;
mod ranges;
mod registry;
mod resume;
mod round_trip;
mod simulate;
mod support;
mod swu;
mod swu_apply;
mod swu_faults;
mod swu_make;
mod swu_versions;
mod text;
mod yocto;
