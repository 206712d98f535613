//! The real binary, on real files.

mod damage;
mod folder;
mod media;
mod resume;
mod round_trip;
mod support;
mod text;
