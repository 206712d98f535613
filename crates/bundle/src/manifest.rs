//! The release manifest: what a release is made of. It is what gets signed, and the only thing that a device
//! believes.
//!
//! JSON (RFC 8259) without spaces and with sorted keys, so that the same release gives the same bytes.

use std::collections::HashSet;

use fluvial_delta::header::{Blake3Digest, Sha256Digest};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::hash::HashKind;
use crate::limits::{
    COMPONENTS_MAX, HARDWARE_MAX, INDEX_BYTES_MAX, MANIFEST_BYTES_MAX, MANIFEST_NAME_BYTES_MAX,
    PAYLOAD_BYTES_MAX, SKETCH_BYTES_MAX, TABLE_BYTES_MAX,
};

/// The version of the format.
const VERSION: u32 = 3;

/// A release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of this format, 3.
    pub manifest_version: u32,
    /// What the release is of: a product.
    pub name: String,
    /// Its version, for people.
    pub version: String,
    /// A number that grows from release to release: a device takes none with a lower one than it has had.
    pub sequence: u64,
    /// The lowest sequence that a device may have to take this release; lower ones take another one first.
    pub floor: u64,
    /// The hardware that it fits; any if there is none.
    pub hardware: Vec<String>,
    /// What it is made of.
    pub components: Vec<Component>,
}

/// The one field of a manifest that tells how to read the others.
#[derive(Deserialize)]
struct Versioned {
    manifest_version: u32,
}

/// A part of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Component {
    /// The image of a slot.
    Slot {
        /// The role of the slots that it is for: one of each boot group.
        name: String,
        /// The image.
        payload: PayloadInfo,
    },
}

/// A byte stream of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayloadInfo {
    /// Its length in bytes.
    pub size_bytes: u64,
    /// Its SHA-256.
    #[serde(with = "hex_digest")]
    pub sha256: Sha256Digest,
    /// Its BLAKE3, which a device compares while it writes: blocks that are read back in any order give it.
    #[serde(with = "hex_digest")]
    pub blake3: Blake3Digest,
    /// Its block index.
    pub index: PartInfo,
    /// The sketch of it, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sketch: Option<PartInfo>,
    /// The table of its frames, if it is packed as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<PartInfo>,
}

/// Bytes of a bundle, as a manifest names them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartInfo {
    /// How many there are.
    pub size_bytes: u64,
    /// Their SHA-256.
    #[serde(with = "hex_digest")]
    pub sha256: Sha256Digest,
}

impl PartInfo {
    /// That of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self { size_bytes: bytes.len() as u64, sha256: HashKind::Sha256.digest(bytes) }
    }
}

/// A manifest cannot be used.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// It is longer than allowed.
    #[error("the manifest has {have} bytes, {limit} are allowed")]
    TooLong {
        /// Its length in bytes.
        have: usize,
        /// How many may be.
        limit: usize,
    },
    /// It is no JSON, or not that of a manifest.
    #[error("the manifest cannot be read")]
    Json(#[from] serde_json::Error),
    /// It is of a version that is not known here.
    #[error("the manifest is of format version {0}, which is not known here")]
    Version(u32),
    /// A name is empty, too long, or made of other characters than letters, digits, `.`, `_`, `-` and `+`.
    #[error("{0:?} is no name for a release or a slot")]
    Name(String),
    /// Two components have the same name.
    #[error("the component {0:?} is there twice")]
    Twice(String),
    /// A value is above its limit, or below.
    #[error("{0} is out of range")]
    Range(&'static str),
}

impl Component {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Slot { name, .. } => name,
        }
    }

    /// Its bytes.
    pub fn payload(&self) -> &PayloadInfo {
        match self {
            Self::Slot { payload, .. } => payload,
        }
    }
}

impl Manifest {
    /// A release of the format's present version.
    pub fn new(name: String, version: String, sequence: u64) -> Self {
        let (hardware, components) = (Vec::new(), Vec::new());
        Self { manifest_version: VERSION, name, version, sequence, floor: 0, hardware, components }
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn read(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLong { have: bytes.len(), limit: MANIFEST_BYTES_MAX });
        }
        let Versioned { manifest_version } = serde_json::from_slice(bytes)?;
        if manifest_version != VERSION {
            return Err(ManifestError::Version(manifest_version));
        }
        let manifest: Self = serde_json::from_slice(bytes)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`ManifestError`] where it could not be read again.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ManifestError> {
        self.check()?;
        // A `Value` keeps its keys sorted.
        let bytes = serde_json::to_vec(&serde_json::to_value(self)?)?;
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLong { have: bytes.len(), limit: MANIFEST_BYTES_MAX });
        }
        Ok(bytes)
    }

    fn check(&self) -> Result<(), ManifestError> {
        check_name(&self.name)?;
        check_name(&self.version)?;
        if self.hardware.len() > HARDWARE_MAX {
            return Err(ManifestError::Range("the list of hardware"));
        }
        self.hardware.iter().try_for_each(|hardware| check_name(hardware))?;
        if self.components.is_empty() || self.components.len() > COMPONENTS_MAX {
            return Err(ManifestError::Range("the count of components"));
        }
        if self.sequence == 0 || self.floor > self.sequence {
            return Err(ManifestError::Range("the sequence or the floor"));
        }
        let mut names = HashSet::new();
        for component in &self.components {
            check_name(component.name())?;
            if !names.insert(component.name()) {
                return Err(ManifestError::Twice(component.name().into()));
            }
            let payload = component.payload();
            if payload.size_bytes == 0 || payload.size_bytes > PAYLOAD_BYTES_MAX {
                return Err(ManifestError::Range("a payload's size"));
            }
            if payload.index.size_bytes > INDEX_BYTES_MAX as u64 {
                return Err(ManifestError::Range("an index's size"));
            }
            if payload.sketch.as_ref().is_some_and(|info| info.size_bytes > SKETCH_BYTES_MAX as u64) {
                return Err(ManifestError::Range("a sketch's size"));
            }
            if payload.whole.as_ref().is_some_and(|info| info.size_bytes > TABLE_BYTES_MAX as u64) {
                return Err(ManifestError::Range("the size of a table of frames"));
            }
        }
        Ok(())
    }
}

/// Names stand in file names and on command lines.
fn check_name(name: &str) -> Result<(), ManifestError> {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte);
    let is_name = !name.is_empty()
        && name.len() <= MANIFEST_NAME_BYTES_MAX
        && name.bytes().all(is_known)
        && !name.starts_with(['.', '-']);
    if is_name { Ok(()) } else { Err(ManifestError::Name(name.into())) }
}

/// Digests as people write them.
mod hex_digest {
    use fluvial_delta::header::Sha256Digest;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(digest: &Sha256Digest, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(digest))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Sha256Digest, D::Error> {
        let text = String::deserialize(from)?;
        let mut digest = [0; 32];
        hex::decode_to_slice(&text, &mut digest).map_err(D::Error::custom)?;
        // One digest, one spelling.
        if hex::encode(digest) == text { Ok(digest) } else { Err(D::Error::custom("not lower case")) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Manifest {
        let part = |size_bytes| PartInfo { size_bytes, sha256: [2; 32] };
        let (sketch, whole) = (Some(part(8)), Some(part(9)));
        let payload =
            PayloadInfo { size_bytes: 4096, sha256: [1; 32], blake3: [3; 32], index: part(7), sketch, whole };
        Manifest {
            hardware: vec!["rpi4".into()],
            components: vec![Component::Slot { name: "system".into(), payload }],
            ..Manifest::new("demo".into(), "1.2.0+3".into(), 12)
        }
    }

    #[test]
    fn what_is_written_is_read_and_has_one_form() {
        let bytes = sample().to_bytes().unwrap();
        assert_eq!(Manifest::read(&bytes).unwrap(), sample());
        let text = String::from_utf8(bytes).unwrap();
        assert!(
            text.starts_with(r#"{"components":[{"kind":"slot","name":"system","payload":{"blake3":"#),
            "{text}"
        );
        assert!(!text.contains(' '));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut value = serde_json::to_value(sample()).unwrap();
            change(&mut value);
            Manifest::read(&serde_json::to_vec(&value).unwrap()).unwrap_err()
        };
        assert!(matches!(refused(&|m| m["manifest_version"] = 1.into()), ManifestError::Version(1)));
        assert!(matches!(refused(&|m| m["extra"] = 1.into()), ManifestError::Json(_)));
        for name in ["", "../etc", "a/b", ".hidden", "-o", "a b", &"x".repeat(65)] {
            assert!(matches!(refused(&|m| m["name"] = name.into()), ManifestError::Name(_)), "{name}");
            let slot = |m: &mut serde_json::Value| m["components"][0]["name"] = name.into();
            assert!(matches!(refused(&slot), ManifestError::Name(_)), "{name}");
        }
        assert!(matches!(refused(&|m| m["sequence"] = 0.into()), ManifestError::Range(_)));
        assert!(matches!(refused(&|m| m["floor"] = 13.into()), ManifestError::Range(_)));
        assert!(matches!(refused(&|m| m["components"] = serde_json::json!([])), ManifestError::Range(_)));
        for part in ["index", "sketch", "whole"] {
            let long = |m: &mut serde_json::Value| {
                m["components"][0]["payload"][part]["size_bytes"] = (1_u64 << 40).into();
            };
            assert!(matches!(refused(&long), ManifestError::Range(_)), "{part}");
        }
        let twice = |m: &mut serde_json::Value| {
            let one = m["components"][0].clone();
            m["components"] = serde_json::json!([one, one]);
        };
        assert!(matches!(refused(&twice), ManifestError::Twice(_)));
        let long = vec![b' '; MANIFEST_BYTES_MAX + 1];
        assert!(matches!(Manifest::read(&long), Err(ManifestError::TooLong { .. })));
        let upper = |m: &mut serde_json::Value| {
            m["components"][0]["payload"]["sha256"] = "AB".repeat(32).into();
        };
        assert!(matches!(refused(&upper), ManifestError::Json(_)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = Manifest::read(&bytes);
        }
    }
}
