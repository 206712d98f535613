//! Every way that a description is refused.

use crate::limits::{DEPTH_MAX, DESCRIPTION_BYTES_MAX, VALUES_MAX};

/// What is wrong with a description, read or to be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DescriptionError {
    /// It is too long.
    #[error("sw-description has more than {DESCRIPTION_BYTES_MAX} bytes")]
    TooLong,
    /// It is no text in UTF-8, or has zeros inside.
    #[error("sw-description is not a text in UTF-8")]
    Encoding,
    /// Something else should stand here.
    #[error("sw-description, line {line}: expected {expected}")]
    Syntax {
        /// From 1.
        line: usize,
        /// What should stand there.
        expected: &'static str,
    },
    /// Groups stand in one another without end.
    #[error("sw-description, line {line}: more than {DEPTH_MAX} groups and lists in one another")]
    TooDeep {
        /// From 1.
        line: usize,
    },
    /// There are too many settings and values.
    #[error("sw-description has more than {VALUES_MAX} settings and values")]
    TooMany,
    /// A group has a setting twice.
    #[error("sw-description, line {line}: {name} is set twice")]
    Duplicate {
        /// From 1.
        line: usize,
        /// The name of the setting.
        name: String,
    },
    /// Another file is to be included.
    #[error("sw-description, line {line}: other files cannot be included")]
    Include {
        /// From 1.
        line: usize,
    },
    /// A setting is needed.
    #[error("sw-description lacks {at}")]
    Missing {
        /// Its path.
        at: String,
    },
    /// A setting is of another type than it must be.
    #[error("sw-description: {at} is not {expected}")]
    Type {
        /// Its path.
        at: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A setting means that something is done that cannot be checked here.
    #[error("sw-description: {at} is not supported")]
    Unsupported {
        /// Its path.
        at: String,
    },
    /// A text cannot be written so that every device reads it as it is.
    #[error("{what} cannot stand in sw-description: {reason}")]
    Text {
        /// Which text.
        what: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// Two sections have one path.
    #[error("two sections of sw-description at {path}")]
    SectionTwice {
        /// Their path, with dots.
        path: String,
    },
}
