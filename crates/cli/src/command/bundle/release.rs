//! RELEASE.toml: what a release is made of, as its author writes it.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use fluvial_console::{Fault, Kind};

/// The file at most, in bytes.
const RELEASE_BYTES_MAX: u64 = 1 << 20;

/// A release, as its author writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    pub name: String,
    pub version: String,
    pub sequence: u64,
    #[serde(default)]
    pub floor: u64,
    #[serde(default)]
    pub hardware: Vec<String>,
    #[serde(default, rename = "slot")]
    pub slots: Vec<SlotImage>,
}

/// The image of a slot.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotImage {
    pub name: String,
    pub image: PathBuf,
}

impl Release {
    /// Reads RELEASE.toml; paths in it are relative to its folder.
    pub fn read(path: &Path) -> Result<Self, Fault> {
        let failed = |error| Fault::reading(path, error);
        let metadata = path.metadata().map_err(failed)?;
        if metadata.len() > RELEASE_BYTES_MAX {
            let message = format!("{} is too long for the description of a release", path.display());
            return Err(Fault::new(Kind::Usage, message));
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let mut release: Self = toml::from_str(&text).map_err(|error| {
            let message = format!("{}: {}", path.display(), error.to_string().trim_end());
            Fault::new(Kind::Usage, message).hint("docs/bundle-format.md has an example")
        })?;
        if release.slots.is_empty() {
            let message = format!("{} has no slot", path.display());
            return Err(Fault::new(Kind::Usage, message).hint("add [[slot]] with name and image"));
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        for slot in &mut release.slots {
            slot.image = folder.join(&slot.image);
        }
        Ok(release)
    }
}
