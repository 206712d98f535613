//! The ways in which a boot flow fails.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{Choice, OUTPUT_BYTES_MAX};

/// A boot flow cannot tell or do what it was asked.
#[derive(Debug, Error)]
pub enum BootError {
    /// Something of the boot loader's cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something of the boot loader's cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// What.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What the boot loader keeps is not as it should be.
    #[error("{place} is not as it should be: {reason}")]
    Damaged {
        /// Where it keeps it.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// What the boot loader keeps has no room for more.
    #[error("{} has no room for the boot group's variables", path.display())]
    Full {
        /// Where it keeps it.
        path: PathBuf,
    },
    /// It is not told which group is running.
    #[error("{place} does not say which boot group is running")]
    NoActive {
        /// Where it should stand.
        place: String,
    },
    /// Something names a group that the configuration does not have.
    #[error("{place} names the boot group {group:?}, which this device does not have")]
    UnknownGroup {
        /// What names it.
        place: String,
        /// The name.
        group: String,
    },
    /// A program cannot be started or listened to.
    #[error("cannot run {}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A program reports that it failed.
    #[error("{} {arguments} failed ({status}): {message}", program.display())]
    Failed {
        /// The program.
        program: PathBuf,
        /// What it was called with.
        arguments: String,
        /// How it ended.
        status: String,
        /// What it said, from its beginning.
        message: String,
    },
    /// A program took too long, and was stopped.
    #[error("{} {arguments} was stopped: it took longer than {limit_s} s", program.display())]
    TimedOut {
        /// The program.
        program: PathBuf,
        /// What it was called with.
        arguments: String,
        /// How long it may take, in seconds.
        limit_s: u64,
    },
    /// A program says more than [`OUTPUT_BYTES_MAX`].
    #[error("{} {arguments} says more than {OUTPUT_BYTES_MAX} bytes", program.display())]
    Output {
        /// The program.
        program: PathBuf,
        /// What it was called with.
        arguments: String,
    },
    /// Everything seemed to go well, and yet nothing changed.
    #[error("the boot loader did not keep the change: it should be {expected}, and is {found}")]
    NotKept {
        /// What should be kept now.
        expected: Choice,
        /// What is kept.
        found: Choice,
    },
}

/// A file of the boot loader's is not as it should be.
pub(super) fn damaged(path: &Path, reason: &str) -> BootError {
    BootError::Damaged { place: path.display().to_string(), reason: reason.into() }
}
