//! What a version is: `build-info.json` in its folder. docs/build-info.schema.json is its schema.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::build_info::{BuildInfo, shell_text};
use crate::digest::Sha256Digest;
use crate::document::{self, DocumentError};
use crate::limits::{BLOCK_LEN_BYTES_MAX, CREATOR_BYTES_MAX, IMAGE_BYTES_MAX, PARTITIONS_MAX};
use crate::name::Name;
use crate::version::Version;

/// The version of `build-info.json` and of `delta-info.json`.
pub const FORMAT_VERSION: u32 = 1;
/// The length of a block where none is told: that of a sector, the least that a block device takes.
pub const BLOCK_LEN_BYTES_DEFAULT: u32 = 512;

/// One version of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of this format, [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The machine that it is for.
    pub machine: Name,
    /// The image.
    pub image: Name,
    /// Its version.
    pub version: Version,
    /// The distribution that it is of, if that was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Name>,
    /// Its partitions, in the order in which they were given. Each has its image beside this file, `<name>.img`.
    pub partitions: Vec<Partition>,
    /// How it was configured. A delta is only made between versions that were configured the same.
    #[serde(default)]
    pub build_info: BuildInfo,
    /// What else is told of it: a commit, a date. Deltas do not mind.
    #[serde(default)]
    pub build_notes: BuildInfo,
    /// By whom this was written.
    pub created_by: String,
    /// When, in seconds since 1970, if whoever did it told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_unix_s: Option<u64>,
}

/// A partition, and the image in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// Its name.
    pub name: Name,
    /// The length of the image, in bytes.
    pub size_bytes: u64,
    /// The image's SHA-256.
    pub sha256: Sha256Digest,
    /// The length of the partition, in bytes, where it is longer than the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_bytes: Option<u64>,
    /// The length of its blocks, in bytes.
    pub block_len_bytes: u32,
}

impl Partition {
    /// The file that holds the image.
    pub fn file_name(&self) -> String {
        file_name(&self.name)
    }

    /// How much room the partition has, in bytes.
    pub fn room_bytes(&self) -> u64 {
        self.partition_bytes.unwrap_or(self.size_bytes)
    }
}

/// The file that holds the image of a partition.
pub(crate) fn file_name(partition: &Name) -> String {
    format!("{partition}.img")
}

impl Manifest {
    /// The file that it is.
    pub const FILE_NAME: &'static str = "build-info.json";
    /// The same for shells.
    pub const TEXT_NAME: &'static str = "build-info.txt";

    /// Reads a manifest. Unknown fields are refused.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn read(bytes: &[u8]) -> Result<Self, DocumentError> {
        let manifest: Self = document::read(bytes, FORMAT_VERSION)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`DocumentError`] where it could not be read again.
    pub fn to_bytes(&self) -> Result<Vec<u8>, DocumentError> {
        self.check()?;
        document::write(self)
    }

    /// The partition of a name.
    pub fn partition(&self, name: &Name) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.name == *name)
    }

    /// The sum of the images' lengths, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.size_bytes).sum()
    }

    /// `build-info.txt`: what a shell can read of it.
    pub fn shell_text(&self) -> Vec<u8> {
        shell_text(&self.own_lines(), [&self.build_info, &self.build_notes])
    }

    /// The lines that do not come from build-info.
    fn own_lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            ("MACHINE", self.machine.to_string()),
            ("IMAGE", self.image.to_string()),
            ("BUILD_VERSION", self.version.to_string()),
        ];
        lines.extend(self.distribution.as_ref().map(|name| ("DISTRO", name.to_string())));
        let names: Vec<_> = self.partitions.iter().map(|partition| partition.name.as_str()).collect();
        lines.push(("PARTITIONS", names.join(" ")));
        lines
    }

    fn check(&self) -> Result<(), DocumentError> {
        if self.partitions.is_empty() || self.partitions.len() > PARTITIONS_MAX {
            return Err(DocumentError::Range("the count of partitions"));
        }
        check_creator(&self.created_by)?;
        let mut names = HashSet::new();
        for partition in &self.partitions {
            if !names.insert(&partition.name) {
                return Err(DocumentError::Twice(partition.name.to_string()));
            }
            if !(1..=IMAGE_BYTES_MAX).contains(&partition.size_bytes) {
                return Err(DocumentError::Range("the size of an image"));
            }
            if !(partition.size_bytes..=IMAGE_BYTES_MAX).contains(&partition.room_bytes()) {
                return Err(DocumentError::Range("the size of a partition"));
            }
            if !(1..=BLOCK_LEN_BYTES_MAX).contains(&partition.block_len_bytes) {
                return Err(DocumentError::Range("the length of a block"));
            }
        }
        self.check_lines()
    }

    /// A key says one thing, however often it is told.
    fn check_lines(&self) -> Result<(), DocumentError> {
        let own = self.own_lines();
        for (key, value) in self.build_info.iter().chain(self.build_notes.iter()) {
            if let Some((_, other)) = own.iter().find(|(own, other)| *own == key.as_str() && other != value) {
                let message = format!("{key} is {other}, and build-info says {value}");
                return Err(DocumentError::Contradiction(message));
            }
        }
        match self.build_info.iter().find(|(key, _)| self.build_notes.get(key.as_str()).is_some()) {
            Some((key, _)) => Err(DocumentError::Contradiction(format!("{key} is build-info and a note"))),
            None => Ok(()),
        }
    }
}

/// Who made a document is told in a line.
pub(crate) fn check_creator(creator: &str) -> Result<(), DocumentError> {
    let is_line = creator.len() <= CREATOR_BYTES_MAX && !creator.chars().any(char::is_control);
    if is_line { Ok(()) } else { Err(DocumentError::Range("the name of who made it")) }
}
