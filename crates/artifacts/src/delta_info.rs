//! What a delta is: `delta-info.json` in `<TO>/updates/from_<FROM>/`. docs/delta-info.schema.json is its schema.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::build_info::{BuildInfo, shell_text};
use crate::digest::Sha256Digest;
use crate::document::{self, DocumentError};
use crate::limits::{BLOCK_LEN_BYTES_MAX, IMAGE_BYTES_MAX, PARTITIONS_MAX};
use crate::manifest::{FORMAT_VERSION, Manifest, check_creator};
use crate::name::{FileName, Name};
use crate::version::Version;

/// A package that turns one version into another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeltaInfo {
    /// The version of this format, [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The machine that both versions are for.
    pub machine: Name,
    /// The image that both are versions of.
    pub image: Name,
    /// What devices have: the base.
    pub from: Endpoint,
    /// What they shall have: the target.
    pub to: Endpoint,
    /// What comes for each partition, in the order of the image's partitions.
    pub partitions: Vec<PartitionUpdate>,
    /// The package.
    pub swu: PackedFile,
    /// By whom it was made.
    pub created_by: String,
    /// When, in seconds since 1970, if whoever did it told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_unix_s: Option<u64>,
}

/// One of the two versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// The version.
    pub version: Version,
    /// Its build-info.
    #[serde(default)]
    pub build_info: BuildInfo,
    /// Its notes.
    #[serde(default)]
    pub build_notes: BuildInfo,
}

impl From<&Manifest> for Endpoint {
    fn from(manifest: &Manifest) -> Self {
        Self {
            version: manifest.version.clone(),
            build_info: manifest.build_info.clone(),
            build_notes: manifest.build_notes.clone(),
        }
    }
}

/// Bytes that are somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileInfo {
    /// How many there are.
    pub size_bytes: u64,
    /// Their SHA-256.
    pub sha256: Sha256Digest,
}

/// A file beside `delta-info.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackedFile {
    /// Its name.
    pub name: FileName,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// Its SHA-256.
    pub sha256: Sha256Digest,
}

/// What comes for a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionUpdate {
    /// Its name.
    pub name: Name,
    /// The image that devices have.
    pub base: FileInfo,
    /// The image that they shall have.
    pub target: FileInfo,
    /// As what it comes.
    pub kind: UpdateKind,
    /// Why so.
    pub why: Why,
    /// The delta, if it comes as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delta: Option<DeltaFile>,
    /// The image as it is packed, if it comes whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full: Option<PackedInfo>,
}

/// As what the image of a partition comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateKind {
    /// As a delta to the base.
    Delta,
    /// Whole.
    Full,
}

/// Why a partition comes as it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The delta is smaller than the whole image, both packed.
    DeltaSmaller,
    /// The delta is not smaller than the whole image, both packed.
    DeltaNotSmaller,
    /// Whoever made it asked for that.
    Asked,
}

/// A delta, unpacked and packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeltaFile {
    /// What kind of delta.
    pub algorithm: Algorithm,
    /// The length of the blocks that the base was cut to, in bytes.
    pub block_len_bytes: u32,
    /// The length of the delta, unpacked.
    pub size_bytes: u64,
    /// Its SHA-256, unpacked.
    pub sha256: Sha256Digest,
    /// How it is packed.
    pub compression: Compression,
    /// Its length, packed.
    pub compressed_size_bytes: u64,
    /// Its SHA-256, packed.
    pub compressed_sha256: Sha256Digest,
}

/// A whole image as it is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackedInfo {
    /// How it is packed.
    pub compression: Compression,
    /// Its length, packed.
    pub compressed_size_bytes: u64,
    /// Its SHA-256, packed.
    pub compressed_sha256: Sha256Digest,
}

/// A kind of delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// That of librsync, as `rdiff` writes it.
    Rdiff,
}

/// How bytes are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    None,
    /// As gzip does; `SWUpdate` calls it `zlib`.
    Gzip,
    /// As Zstandard does.
    Zstd,
}

impl DeltaInfo {
    /// The file that it is.
    pub const FILE_NAME: &'static str = "delta-info.json";

    /// Reads it. Unknown fields are refused.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn read(bytes: &[u8]) -> Result<Self, DocumentError> {
        let info: Self = document::read(bytes, FORMAT_VERSION)?;
        info.check()?;
        Ok(info)
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`DocumentError`] where it could not be read again.
    pub fn to_bytes(&self) -> Result<Vec<u8>, DocumentError> {
        self.check()?;
        document::write(self)
    }

    /// `build-info.txt`: what a shell can read of it, with the build-info of the target.
    pub fn shell_text(&self) -> Vec<u8> {
        let names: Vec<_> = self.partitions.iter().map(|partition| partition.name.as_str()).collect();
        let own = [
            ("MACHINE", self.machine.to_string()),
            ("IMAGE", self.image.to_string()),
            ("BUILD_VERSION", self.to.version.to_string()),
            ("VERSION_FROM", self.from.version.to_string()),
            ("VERSION_TO", self.to.version.to_string()),
            ("PARTITIONS", names.join(" ")),
            ("SWU", self.swu.name.to_string()),
        ];
        shell_text(&own, [&self.to.build_info, &self.to.build_notes])
    }

    fn check(&self) -> Result<(), DocumentError> {
        if self.from.version == self.to.version {
            let message = format!("base and target are both {}", self.to.version);
            return Err(DocumentError::Contradiction(message));
        }
        if self.partitions.is_empty() || self.partitions.len() > PARTITIONS_MAX {
            return Err(DocumentError::Range("the count of partitions"));
        }
        check_creator(&self.created_by)?;
        check_size(self.swu.size_bytes)?;
        let mut names = HashSet::new();
        for partition in &self.partitions {
            if !names.insert(&partition.name) {
                return Err(DocumentError::Twice(partition.name.to_string()));
            }
            partition.check()?;
        }
        Ok(())
    }
}

impl PartitionUpdate {
    fn check(&self) -> Result<(), DocumentError> {
        check_size(self.base.size_bytes)?;
        check_size(self.target.size_bytes)?;
        let is_consistent = match self.kind {
            UpdateKind::Delta => {
                self.delta.is_some() && self.full.is_none() && self.why != Why::DeltaNotSmaller
            }
            UpdateKind::Full => self.full.is_some() && self.delta.is_none() && self.why != Why::DeltaSmaller,
        };
        if !is_consistent {
            let message = format!("what comes for {} is not of the kind that it says", self.name);
            return Err(DocumentError::Contradiction(message));
        }
        if let Some(delta) = &self.delta {
            check_size(delta.size_bytes)?;
            check_size(delta.compressed_size_bytes)?;
            if !(1..=BLOCK_LEN_BYTES_MAX).contains(&delta.block_len_bytes) {
                return Err(DocumentError::Range("the length of a block"));
            }
        }
        self.full.as_ref().map_or(Ok(()), |full| check_size(full.compressed_size_bytes))
    }
}

fn check_size(size_bytes: u64) -> Result<(), DocumentError> {
    if (1..=IMAGE_BYTES_MAX).contains(&size_bytes) { Ok(()) } else { Err(DocumentError::Range("a size")) }
}
