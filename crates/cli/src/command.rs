//! The commands.

pub mod apply;
pub mod diff;
pub mod inspect;

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::fault::Fault;
use crate::medium::Medium;

/// Opens something to read.
fn open(path: &Path) -> Result<Medium, Fault> {
    File::open(path).and_then(Medium::new).map_err(|source| Fault::path("open", path, source))
}

/// The folder in which a path stands.
fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.into(),
        _ => ".".into(),
    }
}

/// A file's name as a patch carries it.
fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(|| "image".into(), |name| name.to_string_lossy().into_owned())
}
