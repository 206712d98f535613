//! What is wrong with a configuration, or with where it says that slots stand.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::CONFIG_BYTES_MAX;

/// The configuration cannot be had, or says something of a disk that is not so.
#[derive(Debug, Error)]
pub enum SystemError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is longer than [`CONFIG_BYTES_MAX`].
    #[error("{} is longer than {CONFIG_BYTES_MAX} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The file says something that cannot be.
    #[error("{} is no configuration of a device", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: ConfigError,
    },
    /// The disk or the partition of a slot is not there.
    #[error("slot {slot:?}: cannot find {}", path.display())]
    Missing {
        /// The slot.
        slot: String,
        /// What was looked for.
        path: PathBuf,
        /// Why it is not found.
        source: io::Error,
    },
    /// The disk of a slot has no such partition.
    #[error("slot {slot:?}: {} has no partition {number}", disk.display())]
    NoPartition {
        /// The slot.
        slot: String,
        /// The disk.
        disk: PathBuf,
        /// The partition's number.
        number: u32,
    },
    /// Two slots that are named differently lead to the same place.
    #[error("slots {first:?} and {second:?} are both {}", path.display())]
    SamePlace {
        /// A slot.
        first: String,
        /// Another one.
        second: String,
        /// The place.
        path: PathBuf,
    },
}

/// A configuration says something that cannot be.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// It is no TOML, or has a key or a value that is not known here.
    #[error("line {line}: {reason}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// There is more of something than is allowed.
    #[error("more than {max} {what}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How much is allowed.
        max: u64,
    },
    /// A name has other characters than names may have, or too many.
    #[error("{what} {name:?} is not made of letters, digits, '-', '_' and '.' alone")]
    Name {
        /// What is named so.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Something is not an absolute path.
    #[error("{what} {} is not an absolute path", path.display())]
    Path {
        /// What it should be the path of.
        what: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// There are not two boot groups.
    #[error("slots have {found} boot groups, not two")]
    Groups {
        /// How many there are.
        found: usize,
    },
    /// Two slots have one name.
    #[error("two slots have the name {name:?}")]
    SameName {
        /// The name.
        name: String,
    },
    /// Two slots of a group, or a shared one and another, have one role.
    #[error("slots {first:?} and {second:?} both have the role {role:?} at the same time")]
    SameRole {
        /// A slot.
        first: String,
        /// Another one.
        second: String,
        /// The role.
        role: String,
    },
    /// A slot of a group has no counterpart in the other group.
    #[error("slot {slot:?} has no counterpart: group {group:?} has no slot of the role {role:?}")]
    NoCounterpart {
        /// The slot.
        slot: String,
        /// The other group.
        group: String,
        /// The role.
        role: String,
    },
    /// Two slots are the same device or file.
    #[error("slots {first:?} and {second:?} are the same device or file")]
    SamePlace {
        /// A slot.
        first: String,
        /// Another one.
        second: String,
    },
    /// A slot does not say where it stands, or says it twice.
    #[error("slot {slot:?} must have one of `device`, `file` and `partition`")]
    Place {
        /// The slot.
        slot: String,
    },
    /// A partition is not told in one of the ways that there are.
    #[error("the partition of slot {slot:?} must have `disk` and `number`, or `uuid`, or `label`")]
    Partition {
        /// The slot.
        slot: String,
    },
    /// A table must have one key for each boot group.
    #[error("`{table}` must have one key for each boot group, and each another value")]
    PerGroup {
        /// The table.
        table: &'static str,
    },
    /// It is not told how the running group is found.
    #[error("`active` must have `parameter` or `file`")]
    Active,
    /// A command has no program.
    #[error("`{key}` names no program")]
    Command {
        /// The key.
        key: &'static str,
    },
    /// A number is out of its range.
    #[error("`{key}` must be from 1 to {max}")]
    Range {
        /// The key.
        key: &'static str,
        /// The largest that it may be.
        max: u32,
    },
}
