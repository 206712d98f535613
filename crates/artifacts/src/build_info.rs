//! Build-info: lines of KEY=VALUE, as shells and `BitBake` have them.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use crate::limits::{BUILD_INFO_LINES_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// A line of build-info cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BuildInfoError {
    /// There is no `=`.
    #[error("{0:?} is not KEY=VALUE")]
    NoValue(String),
    /// The key is no name of a variable, or too long.
    #[error("{0:?} is no key: letters, digits and '_' make keys, at most {KEY_BYTES_MAX}, no digit first")]
    Key(String),
    /// The value is longer than [`VALUE_BYTES_MAX`].
    #[error("the value of {0} has more than {VALUE_BYTES_MAX} bytes")]
    TooLong(Key),
    /// The value has a line break or another control character.
    #[error("the value of {0} contains a control character")]
    Control(Key),
    /// There is another value for the same key.
    #[error("{0} is given twice")]
    Twice(Key),
    /// There are more than [`BUILD_INFO_LINES_MAX`] lines.
    #[error("more than {BUILD_INFO_LINES_MAX} lines of build-info")]
    TooMany,
}

/// The key of a line: the name of a variable of a shell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Key(String);

impl Key {
    /// The key itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Key {
    type Err = BuildInfoError;

    fn from_str(text: &str) -> Result<Self, BuildInfoError> {
        let is_key = !text.is_empty()
            && text.len() <= KEY_BYTES_MAX
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !text.starts_with(|first: char| first.is_ascii_digit());
        if is_key { Ok(Self(text.into())) } else { Err(BuildInfoError::Key(text.into())) }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lines of KEY=VALUE, each key once, in the order of the keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct BuildInfo(BTreeMap<Key, String>);

impl BuildInfo {
    /// Takes lines of KEY=VALUE.
    ///
    /// # Errors
    /// [`BuildInfoError`].
    pub fn from_lines<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Self, BuildInfoError> {
        let mut info = Self::default();
        for line in lines {
            let (key, value) = line.split_once('=').ok_or_else(|| BuildInfoError::NoValue(line.into()))?;
            info.insert(key, value)?;
        }
        Ok(info)
    }

    /// Takes one more line.
    ///
    /// # Errors
    /// [`BuildInfoError`].
    pub fn insert(&mut self, key: &str, value: &str) -> Result<(), BuildInfoError> {
        let key: Key = key.parse()?;
        if value.len() > VALUE_BYTES_MAX {
            return Err(BuildInfoError::TooLong(key));
        }
        if value.chars().any(char::is_control) {
            return Err(BuildInfoError::Control(key));
        }
        if self.0.contains_key(&key) {
            return Err(BuildInfoError::Twice(key));
        }
        if self.0.len() >= BUILD_INFO_LINES_MAX {
            return Err(BuildInfoError::TooMany);
        }
        self.0.insert(key, value.into());
        Ok(())
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        // Borrowing as `str` would need an unchecked key.
        self.0.iter().find(|(known, _)| known.as_str() == key).map(|(_, value)| value.as_str())
    }

    /// All lines, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &str)> {
        self.0.iter().map(|(key, value)| (key, value.as_str()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for BuildInfo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Lines)
    }
}

/// Reads lines one after another: each is checked before the next one is looked at.
struct Lines;

impl<'de> Visitor<'de> for Lines {
    type Value = BuildInfo;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<BuildInfo, A::Error> {
        let mut info = BuildInfo::default();
        while let Some((key, value)) = map.next_entry::<String, String>()? {
            info.insert(&key, &value).map_err(A::Error::custom)?;
        }
        Ok(info)
    }
}

/// The text of a file that shells read: `KEY=VALUE`, values quoted where a shell would not take them as they are.
/// What a document says itself comes first, and is not said again by its build-info.
pub(crate) fn shell_text(own: &[(&str, String)], infos: [&BuildInfo; 2]) -> Vec<u8> {
    let is_own = |key: &str| own.iter().any(|(own, _)| *own == key);
    let told = infos.into_iter().flat_map(BuildInfo::iter).map(|(key, value)| (key.as_str(), value));
    let own_lines = own.iter().map(|(key, value)| (*key, value.as_str()));
    let mut text = String::new();
    for (key, value) in own_lines.chain(told.filter(|(key, _)| !is_own(key))) {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-/:@%+,=".contains(letter);
        // Writing to a string cannot fail.
        let _ = if value.chars().all(is_plain) {
            writeln!(text, "{key}={value}")
        } else {
            writeln!(text, "{key}='{}'", value.replace('\'', r"'\''"))
        };
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_refused_each_for_its_reason() {
        let of = |line: &str| BuildInfo::from_lines([line]).unwrap_err();
        assert_eq!(of("COMMIT"), BuildInfoError::NoValue("COMMIT".into()));
        for key in ["", "1ST", "A-B", "A B", "Ä", &"K".repeat(KEY_BYTES_MAX + 1)] {
            assert_eq!(of(&format!("{key}=1")), BuildInfoError::Key(key.into()));
        }
        assert_eq!(
            of(&format!("A={}", "x".repeat(VALUE_BYTES_MAX + 1))),
            BuildInfoError::TooLong(Key("A".into()))
        );
        assert_eq!(of("A=one\ntwo"), BuildInfoError::Control(Key("A".into())));
        assert_eq!(
            BuildInfo::from_lines(["A=1", "A=1"]).unwrap_err(),
            BuildInfoError::Twice(Key("A".into()))
        );
        let many: Vec<String> = (0..=BUILD_INFO_LINES_MAX).map(|index| format!("K{index}=")).collect();
        let many = BuildInfo::from_lines(many.iter().map(String::as_str));
        assert_eq!(many.unwrap_err(), BuildInfoError::TooMany);
        assert_eq!(BuildInfo::from_lines(["A=b=c"]).unwrap().get("A"), Some("b=c"));
    }

    #[test]
    fn an_object_with_a_key_twice_is_refused() {
        assert!(serde_json::from_str::<BuildInfo>(r#"{"A":"1","A":"2"}"#).is_err());
        let info: BuildInfo = serde_json::from_str(r#"{"B":"2","A":"1"}"#).unwrap();
        assert_eq!(serde_json::to_string(&info).unwrap(), r#"{"A":"1","B":"2"}"#);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_shell_reads_what_was_written(value in "[^\\p{Cc}]{0,40}") {
            let mut info = BuildInfo::default();
            info.insert("VALUE", &value).unwrap();
            let script = String::from_utf8(shell_text(&[], [&info, &BuildInfo::default()])).unwrap() + "printf %s \"$VALUE\"";
            let read = Command::new("sh").args(["-c", &script]).output().unwrap();
            prop_assert_eq!(String::from_utf8(read.stdout).unwrap(), value);
        }
    }
}
