//! Names of machines, images and partitions. They are folders and files, stand on command lines and in packages.

use thiserror::Error;

use crate::limits::{FILE_NAME_BYTES_MAX, NAME_BYTES_MAX};

/// What should be a name is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// There is nothing.
    #[error("a name is empty")]
    Empty,
    /// It is longer than allowed.
    #[error("a name has {have} bytes, {limit} are allowed")]
    TooLong {
        /// How many bytes it has.
        have: usize,
        /// How many may be.
        limit: usize,
    },
    /// It begins as hidden files or options do.
    #[error("{0:?} begins with a dot or a hyphen")]
    Start(String),
    /// It has two dots in a row.
    #[error("{0:?} contains two dots in a row")]
    Dots(String),
    /// It has a character that not every file system, shell and archive takes as it is.
    #[error("{0:?} contains {1:?}: letters, digits, '.', '_', '-', '+' and '~' make names")]
    Character(String, char),
}

/// Whether something is a name.
pub(crate) fn check_name(name: &str, limit: usize) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > limit {
        return Err(NameError::TooLong { have: name.len(), limit });
    }
    let is_known = |letter: char| letter.is_ascii_alphanumeric() || "._-+~".contains(letter);
    if let Some(letter) = name.chars().find(|letter| !is_known(*letter)) {
        return Err(NameError::Character(name.into(), letter));
    }
    if name.starts_with(['.', '-']) {
        return Err(NameError::Start(name.into()));
    }
    if name.contains("..") {
        return Err(NameError::Dots(name.into()));
    }
    Ok(())
}

/// Makes a type of a checked name.
macro_rules! name_type {
    ($(#[$documentation:meta])* $type:ident, $limit:expr) => {
        $(#[$documentation])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Box<str>);

        impl $type {
            /// The name itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = $crate::name::NameError;

            fn try_from(name: String) -> Result<Self, Self::Error> {
                $crate::name::check_name(&name, $limit)?;
                Ok(Self(name.into()))
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::name::NameError;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                Self::try_from(name.to_owned())
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0.into()
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}
pub(crate) use name_type;

name_type! {
    /// The name of a machine, an image or a partition: 1 to [`NAME_BYTES_MAX`] letters, digits, `.`, `_`, `-`, `+`
    /// and `~`, not beginning with `.` or `-`, and without two dots in a row.
    #[derive(PartialOrd, Ord)]
    Name, NAME_BYTES_MAX
}

name_type! {
    /// The name of a file beside a `delta-info.json`: as [`Name`], of up to [`FILE_NAME_BYTES_MAX`] bytes.
    #[derive(PartialOrd, Ord)]
    FileName, FILE_NAME_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_elsewhere_or_looks_like_an_option_is_no_name() {
        for name in ["rootfs", "tolomeo-qemux86-64", "1.0.0~rc1+git_5", "a", "0", &"x".repeat(NAME_BYTES_MAX)]
        {
            assert_eq!(name.parse::<Name>().map(String::from), Ok(name.to_owned()));
        }
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        let check_name = |name: &str| check_name(name, NAME_BYTES_MAX);
        assert_eq!(check_name(""), Err(NameError::Empty));
        assert_eq!(check_name(&long), Err(NameError::TooLong { have: 101, limit: 100 }));
        for name in [".", "..", ".hidden", "-rf", "--json"] {
            assert_eq!(check_name(name), Err(NameError::Start(name.into())));
        }
        assert_eq!(check_name("a..b"), Err(NameError::Dots("a..b".into())));
        for name in ["a/b", "/a", "a\0", "a\n", "a b", "a\\b", "ä", "a=b", "a*"] {
            assert!(matches!(check_name(name), Err(NameError::Character(..))), "{name:?}");
        }
    }
}
