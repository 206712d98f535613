//! The files that go with a manifest.

use std::collections::BTreeSet;

use bytes::Bytes;
use thiserror::Error;

use crate::limits::{
    METADATA_BYTES_MAX, METADATA_FILE_BYTES_MAX, METADATA_FILES_MAX, METADATA_NAME_BYTES_MAX,
};

/// A release's signed metadata: small named files, in order. `1.root.json` to `N.root.json` come first, then
/// `timestamp.json`, `snapshot.json` and `targets.json`. Nothing in them is trusted, or even looked at,
/// before [`Trust::verify`](crate::Trust::verify).
///
/// None at all is metadata, too: that of a release that nobody signed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    files: Vec<(String, Bytes)>,
}

/// Files cannot be a release's metadata.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MetadataError {
    /// Too many files.
    #[error("the metadata has more than {METADATA_FILES_MAX} files")]
    Count,
    /// A file is too long.
    #[error("{name} has more than {METADATA_FILE_BYTES_MAX} bytes")]
    FileBytes {
        /// The file.
        name: String,
    },
    /// All together are too long.
    #[error("the metadata has more than {METADATA_BYTES_MAX} bytes")]
    Bytes,
    /// A name that is not a plain file name.
    #[error("{name:?} is no name for metadata")]
    Name {
        /// The name, or its beginning.
        name: String,
    },
    /// A name that comes twice.
    #[error("the metadata has two files {name}")]
    Twice {
        /// The name.
        name: String,
    },
}

impl Metadata {
    /// Puts files together, in this order. A name has up to [`METADATA_NAME_BYTES_MAX`] letters, digits,
    /// `.`, `-` and `_`, and begins with none of the last three. Who reads files from a stream holds them
    /// against the limits first, before there is memory taken for them.
    ///
    /// # Errors
    /// [`MetadataError`], at the first file that cannot be.
    pub fn from_files<N, B>(files: impl IntoIterator<Item = (N, B)>) -> Result<Self, MetadataError>
    where
        N: Into<String>,
        B: Into<Bytes>,
    {
        let mut metadata = Self::default();
        let mut names = BTreeSet::new();
        let mut len = 0;
        for (name, bytes) in files {
            let (name, bytes) = (name.into(), bytes.into());
            check_name(&name)?;
            len += bytes.len();
            if metadata.files.len() == METADATA_FILES_MAX {
                return Err(MetadataError::Count);
            } else if bytes.len() > METADATA_FILE_BYTES_MAX {
                return Err(MetadataError::FileBytes { name });
            } else if len > METADATA_BYTES_MAX {
                return Err(MetadataError::Bytes);
            } else if !names.insert(name.clone()) {
                return Err(MetadataError::Twice { name });
            }
            metadata.files.push((name, bytes));
        }
        Ok(metadata)
    }

    /// Names and bytes, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_ref()))
    }

    /// Whether there is nothing: the release is not signed.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The bytes of a file.
    pub(crate) fn file(&self, name: &str) -> Option<&Bytes> {
        self.files.iter().find(|(found, _)| found == name).map(|(_, bytes)| bytes)
    }
}

fn check_name(name: &str) -> Result<(), MetadataError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let is_name = name.len() <= METADATA_NAME_BYTES_MAX
        && name.bytes().all(is_plain)
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
    if is_name {
        return Ok(());
    }
    Err(MetadataError::Name { name: name.chars().take(METADATA_NAME_BYTES_MAX).collect() })
}

/// The version in a name such as `3.root.json`.
pub(crate) fn root_version(name: &str) -> Option<u64> {
    let version = name.strip_suffix(".root.json")?;
    let number = version.parse::<u64>().ok()?;
    // `03` and `+3` are other names.
    (number.to_string() == version).then_some(number)
}

/// The name of a root.
pub(crate) fn root_name(version: u64) -> String {
    format!("{version}.root.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> MetadataError {
        Metadata::from_files(files).unwrap_err()
    }

    #[test]
    fn names_are_plain_file_names() {
        let long = "a".repeat(METADATA_NAME_BYTES_MAX + 1);
        let names = [
            "",
            ".",
            "..",
            ".hidden",
            "-r",
            "_",
            "a/b",
            "../root.json",
            "a\\b",
            "a\0b",
            "ä.json",
            "a b",
            &long,
        ];
        for name in names {
            assert!(matches!(error([(name.into(), vec![])]), MetadataError::Name { .. }), "{name:?}");
        }
        let good = ["1.root.json", "timestamp.json", "a-b_c", &long[1..]];
        let metadata = Metadata::from_files(good.map(|name| (name, vec![7]))).unwrap();
        assert_eq!(metadata.iter().map(|(name, _)| name).collect::<Vec<_>>(), good);
    }

    #[test]
    fn bombs_are_refused_by_count_and_by_length() {
        let file = |index: usize, len: usize| (format!("{index}.root.json"), vec![0; len]);
        let most = || (0..METADATA_FILES_MAX).map(|index| file(index, 1));
        assert_eq!(Metadata::from_files(most()).unwrap().iter().len(), METADATA_FILES_MAX);
        assert_eq!(error(most().chain([file(METADATA_FILES_MAX, 1)])), MetadataError::Count);
        assert_eq!(error((0..).map(|index| file(index, 1))), MetadataError::Count);

        let longest = file(1, METADATA_FILE_BYTES_MAX);
        assert!(!Metadata::from_files([longest]).unwrap().is_empty());
        let name = "1.root.json".to_owned();
        assert_eq!(error([file(1, METADATA_FILE_BYTES_MAX + 1)]), MetadataError::FileBytes { name });
        assert_eq!(error((0..).map(|index| file(index, METADATA_FILE_BYTES_MAX))), MetadataError::Bytes);
    }

    #[test]
    fn a_name_comes_once() {
        let file = || ("a.json".to_owned(), vec![]);
        assert_eq!(error([file(), file()]), MetadataError::Twice { name: "a.json".into() });
    }

    #[test]
    fn a_roots_name_is_written_in_one_way() {
        assert_eq!(root_version("12.root.json"), Some(12));
        for name in ["012.root.json", "+1.root.json", "root.json", ".root.json", "1.root.jso", "x.root.json"]
        {
            assert_eq!(root_version(name), None, "{name}");
        }
        assert_eq!(root_version(&root_name(3)), Some(3));
    }
}
