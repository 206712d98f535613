//! Faults: what went wrong, folded to a kind, a hint and an exit code.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fluvial_delta::apply::ApplyError;
use fluvial_delta::diff::DiffError;
use fluvial_delta::header::HeaderError;
use thiserror::Error;

/// What kind of fault it is. Names and exit codes are part of the interface; see docs/cli.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A fault of this program.
    Internal,
    /// Reading or writing failed.
    Io,
    /// The file is no patch.
    NotAPatch,
    /// The patch is of a later format than this program knows.
    NewerFormat,
    /// The patch is cut or changed.
    DamagedPatch,
    /// OLD is not what the patch was made from.
    WrongSource,
    /// More memory is needed than allowed.
    OverMemory,
    /// The disk is full.
    NoSpace,
    /// The result may not be written there.
    ReadOnly,
    /// The result came out wrong.
    WrongTarget,
    /// Stopped by a signal.
    Cancelled,
}

impl Kind {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Internal => "internal",
            Kind::Io => "io",
            Kind::NotAPatch => "not_a_patch",
            Kind::NewerFormat => "newer_format",
            Kind::DamagedPatch => "damaged_patch",
            Kind::WrongSource => "wrong_source",
            Kind::OverMemory => "over_memory",
            Kind::NoSpace => "no_space",
            Kind::ReadOnly => "read_only",
            Kind::WrongTarget => "wrong_target",
            Kind::Cancelled => "cancelled",
        }
    }

    /// The exit code.
    pub fn exit_code(self) -> ExitCode {
        ExitCode::from(self.number())
    }

    fn number(self) -> u8 {
        match self {
            Kind::Internal => 1,
            Kind::Io => 3,
            Kind::NotAPatch => 10,
            Kind::NewerFormat => 11,
            Kind::DamagedPatch => 12,
            Kind::WrongSource => 13,
            Kind::OverMemory => 14,
            Kind::NoSpace => 15,
            Kind::ReadOnly => 16,
            Kind::WrongTarget => 17,
            Kind::Cancelled => 130,
        }
    }
}

/// An I/O error with its path.
#[derive(Debug, Error)]
#[error("cannot {action} {}", path.display())]
pub struct PathError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// A fault, ready to be shown.
#[derive(Debug)]
pub struct Fault {
    /// Its kind.
    pub kind: Kind,
    error: Box<dyn Error + Send + Sync>,
}

impl Fault {
    /// An I/O error while doing something to a path.
    pub fn path(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self { kind: kind_of(&source), error: Box::new(PathError { action, path: path.into(), source }) }
    }

    /// Any error of a kind.
    pub fn new(kind: Kind, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind, error: error.into() }
    }

    /// Writes it to the standard error stream.
    pub fn show(&self, json: bool) {
        let mut chain = vec![self.error.to_string()];
        let mut source = self.error.source();
        while let Some(error) = source {
            chain.push(error.to_string());
            source = error.source();
        }
        if json {
            let error = serde_json::json!({
                "error": { "kind": self.kind.name(), "exit_code": self.kind.number(), "messages": chain }
            });
            eprintln!("{error}");
        } else {
            eprintln!("error: {}", chain.join(": "));
        }
    }
}

fn kind_of(error: &io::Error) -> Kind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::NoSpace,
        io::ErrorKind::ReadOnlyFilesystem => Kind::ReadOnly,
        io::ErrorKind::Interrupted => Kind::Cancelled,
        _ => Kind::Io,
    }
}

impl From<ApplyError> for Fault {
    fn from(error: ApplyError) -> Self {
        let kind = match &error {
            ApplyError::Header(HeaderError::NotAPatch) => Kind::NotAPatch,
            ApplyError::Header(HeaderError::Version(_)) => Kind::NewerFormat,
            ApplyError::ReadPatch(source)
            | ApplyError::ReadSource { source, .. }
            | ApplyError::WriteTarget(source)
            | ApplyError::ReadTarget { source, .. }
            | ApplyError::Journal(source)
            | ApplyError::Header(HeaderError::Read(source)) => kind_of(source),
            ApplyError::WrongSource { .. } | ApplyError::Arity { .. } => Kind::WrongSource,
            ApplyError::WrongTarget { .. } => Kind::WrongTarget,
            ApplyError::Cancelled => Kind::Cancelled,
            ApplyError::NoSuchCheckpoint(_) => Kind::Internal,
            _ => Kind::DamagedPatch,
        };
        Self::new(kind, error)
    }
}

impl From<DiffError> for Fault {
    fn from(error: DiffError) -> Self {
        let kind = match &error {
            DiffError::ReadOld(source)
            | DiffError::ReadNew(source)
            | DiffError::Scratch(source)
            | DiffError::Write(source) => kind_of(source),
            DiffError::Memory | DiffError::OverBudget { .. } => Kind::OverMemory,
            DiffError::Internal(_) => Kind::Internal,
            DiffError::Cancelled => Kind::Cancelled,
        };
        Self::new(kind, error)
    }
}
