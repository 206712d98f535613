//! Which files are collected beside a package: `ARTIFACTS_PATTERNS`.

use std::str::FromStr;

use glob::Pattern;
use thiserror::Error;

use crate::limits::{PATTERN_BYTES_MAX, PATTERNS_MAX};

/// Patterns cannot be used.
#[derive(Debug, Error)]
pub enum PatternError {
    /// One is no pattern.
    #[error("{pattern:?} is no pattern")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why not.
        source: glob::PatternError,
    },
    /// One is longer than [`PATTERN_BYTES_MAX`].
    #[error("a pattern has more than {PATTERN_BYTES_MAX} bytes")]
    TooLong,
    /// There are more than [`PATTERNS_MAX`].
    #[error("more than {PATTERNS_MAX} patterns")]
    TooMany,
}

/// Patterns of file names, separated by white space, as shells have them: `*`, `?`, `[a-z]`, `[!a-z]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patterns(Vec<Pattern>);

impl Patterns {
    /// What is collected where nothing else is said.
    pub const DEFAULT: &'static str = "*.swu";

    /// Whether a file is collected.
    pub fn match_name(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name))
    }
}

impl FromStr for Patterns {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let mut patterns = Vec::new();
        for pattern in text.split_ascii_whitespace() {
            if pattern.len() > PATTERN_BYTES_MAX {
                return Err(PatternError::TooLong);
            }
            if patterns.len() >= PATTERNS_MAX {
                return Err(PatternError::TooMany);
            }
            let parsed = Pattern::new(pattern)
                .map_err(|source| PatternError::Pattern { pattern: pattern.into(), source })?;
            patterns.push(parsed);
        }
        Ok(Self(patterns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_shells() {
        let names =
            ["delta-update-1-to-2.swu", "rootfs.delta", "rootfs.delta.gz", "rootfs.signature", "boot.delta"];
        let collected = |text: &str| {
            let patterns: Patterns = text.parse().unwrap();
            names.into_iter().filter(|name| patterns.match_name(name)).collect::<Vec<_>>()
        };
        assert_eq!(collected(Patterns::DEFAULT), &names[..1]);
        assert_eq!(collected("*.swu  *.delta\n*.signature"), [names[0], names[1], names[3], names[4]]);
        assert_eq!(collected("[!b]*.delta rootfs.delta.g?"), [names[1], names[2]]);
        assert_eq!(collected("*"), names);
        assert!(collected("").is_empty());
        assert!(matches!("*.swu [".parse::<Patterns>(), Err(PatternError::Pattern { .. })));
        assert!(matches!("x".repeat(256).parse::<Patterns>(), Err(PatternError::TooLong)));
        assert!(matches!("a ".repeat(65).parse::<Patterns>(), Err(PatternError::TooMany)));
    }
}
