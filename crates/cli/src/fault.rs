//! Faults: what went wrong, folded to a kind, a chain of messages, a hint and an exit code.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fluvial_bundle::{AssembleError, IndexError, WriteError};
use fluvial_codec::RecipeError;
use fluvial_delta::apply::ApplyError;
use fluvial_delta::diff::DiffError;
use fluvial_delta::frame::FrameError;
use fluvial_delta::header::HeaderError;
use fluvial_delta::map::MapError;
use fluvial_device::engine::EngineError;
use fluvial_image::oci::ImageError;
use fluvial_registry::RegistryError;
use fluvial_simulate::SimulateError;
use thiserror::Error;

mod kind;

pub use kind::Kind;

/// An I/O error with its path.
#[derive(Debug, Error)]
#[error("cannot {action} {}", path.display())]
struct PathError {
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
    hint: Option<String>,
}

impl Fault {
    /// A fault of a kind, with that kind's usual hint.
    pub fn new(kind: Kind, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind, error: error.into(), hint: usual_hint(kind).map(str::to_owned) }
    }

    /// Reading something failed.
    pub fn reading(path: &Path, source: io::Error) -> Self {
        let kind = if source.kind() == ErrorKind::Interrupted { Kind::Cancelled } else { Kind::Io };
        Self::new(kind, PathError { action: "read", path: path.into(), source })
    }

    /// A source that the patch names cannot be read.
    pub fn wrong_source(path: &Path, source: io::Error) -> Self {
        Self::new(Kind::WrongSource, PathError { action: "read", path: path.into(), source })
    }

    /// The output would take the place of an input.
    pub fn overwriting(path: &Path, what: &str) -> Self {
        let message = format!("{} is {what}, and would be overwritten", path.display());
        Self::new(Kind::Usage, message).hint("choose another place with -o")
    }

    /// Writing something failed.
    pub fn writing(path: &Path, source: io::Error) -> Self {
        Self::new(kind_of_write(&source), PathError { action: "write", path: path.into(), source })
    }

    /// Another hint than the kind's usual one.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The messages, from the outermost to the cause.
    fn messages(&self) -> Vec<String> {
        let mut messages = vec![self.error.to_string()];
        let mut source = self.error.source();
        while let Some(error) = source {
            messages.push(error.to_string());
            source = error.source();
        }
        messages
    }

    /// All messages in one line.
    pub fn text(&self) -> String {
        self.messages().join(": ")
    }

    /// Writes it to the standard error stream; answers the exit code.
    pub fn show(&self, json: bool) -> ExitCode {
        let messages = self.messages();
        if json {
            let object = serde_json::json!({
                "error": {
                    "kind": self.kind.name(),
                    "exit_code": self.kind.exit_code(),
                    "messages": messages,
                    "hint": self.hint,
                }
            });
            eprintln!("{object}");
        } else {
            eprintln!("error: {}", self.text());
            if let Some(hint) = &self.hint {
                eprintln!("hint: {hint}");
            }
        }
        ExitCode::from(self.kind.exit_code())
    }
}

fn usual_hint(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Internal => "this is a fault of fluvial: please report it, with the patch if there is one",
        Kind::NotAPatch => "the patch is the second argument of `apply`, and the only one of `inspect`",
        Kind::UnsupportedPatch => "install the version of fluvial that made the patch, or a later one",
        Kind::DamagedPatch => "fetch the patch again",
        Kind::WrongSource => "`fluvial inspect PATCH` shows name, size and SHA-256 of what the patch needs",
        Kind::NoSpace => "free some space, then run the same command again",
        Kind::ReadOnly => "choose another place, or mount it writable",
        Kind::WrongTarget => {
            "OLD may have been written to meanwhile, or the storage is failing; run the same command again"
        }
        Kind::Busy => "wait for the other program, or unmount the device",
        Kind::NotAnImage => "`skopeo inspect` shows what others see in it",
        Kind::Engine => "the engine's own log tells more; it has what it had before",
        Kind::Unreachable => "check the network and the name of the host, then run the same command again",
        Kind::Registry => "`skopeo inspect` shows what others see; `docker login` or `podman login` signs in",
        Kind::Usage | Kind::Io | Kind::OverMemory | Kind::Cancelled => return None,
    })
}

fn kind_of_write(error: &io::Error) -> Kind {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Kind::NoSpace,
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => Kind::ReadOnly,
        ErrorKind::ResourceBusy => Kind::Busy,
        ErrorKind::Interrupted => Kind::Cancelled,
        _ => Kind::Io,
    }
}

impl From<ApplyError> for Fault {
    fn from(error: ApplyError) -> Self {
        let kind = match &error {
            ApplyError::Header(HeaderError::NotAPatch) => Kind::NotAPatch,
            ApplyError::Header(HeaderError::Version(_)) => Kind::UnsupportedPatch,
            ApplyError::Header(HeaderError::Read(_))
            | ApplyError::ReadPatch(_)
            | ApplyError::ReadSource { .. }
            | ApplyError::ReadTarget { .. } => Kind::Io,
            ApplyError::Map(MapError::Recipe(recipe)) if !matches!(recipe, RecipeError::Malformed) => {
                Kind::UnsupportedPatch
            }
            // What the system says is no fault of the patch: a bad sector under OLD, a full disk
            // under the temporary storage.
            ApplyError::Frame { source: FrameError::Cover { source, .. }, .. }
                if source.raw_os_error().is_some() =>
            {
                kind_of_write(source)
            }
            ApplyError::UnpackSource(source) if source.raw_os_error().is_some() => kind_of_write(source),
            ApplyError::WriteTarget(source) | ApplyError::Journal(source) | ApplyError::Thread(source) => {
                kind_of_write(source)
            }
            ApplyError::WrongSource { .. } | ApplyError::Arity { .. } => Kind::WrongSource,
            ApplyError::WrongTarget { .. } => Kind::WrongTarget,
            ApplyError::Cancelled => Kind::Cancelled,
            ApplyError::NoSuchCheckpoint(_) => Kind::Internal,
            _ => Kind::DamagedPatch,
        };
        Self::new(kind, error)
    }
}

impl From<ImageError> for Fault {
    fn from(error: ImageError) -> Self {
        let kind = match &error {
            ImageError::Read { .. } => Kind::Io,
            ImageError::Write { source, .. } | ImageError::Scratch(source) => kind_of_write(source),
            ImageError::Choice { .. } => Kind::Usage,
            ImageError::Kind { .. } | ImageError::Content { .. } | ImageError::Limit { .. } => {
                Kind::NotAnImage
            }
            ImageError::Busy { .. } => Kind::Busy,
            ImageError::Cancelled => Kind::Cancelled,
        };
        Self::new(kind, error)
    }
}

impl From<WriteError> for Fault {
    fn from(error: WriteError) -> Self {
        let kind = match &error {
            WriteError::Read(_) => Kind::Io,
            WriteError::Write(source) => kind_of_write(source),
            WriteError::Limit { .. } => Kind::NotAnImage,
            WriteError::Files(_) | WriteError::Pack(_) => Kind::Internal,
            WriteError::Cancelled => Kind::Cancelled,
        };
        Self::new(kind, error)
    }
}

impl From<IndexError> for Fault {
    fn from(error: IndexError) -> Self {
        let kind = match &error {
            IndexError::Version(_) => Kind::UnsupportedPatch,
            _ => Kind::DamagedPatch,
        };
        Self::new(kind, error)
    }
}

impl From<AssembleError> for Fault {
    fn from(error: AssembleError) -> Self {
        let kind = match &error {
            AssembleError::ReadOld(_) | AssembleError::ReadTarget(_) | AssembleError::Shelf(_) => Kind::Io,
            AssembleError::Write(source) => kind_of_write(source),
            AssembleError::PageDigest { .. } | AssembleError::Page { .. } | AssembleError::Content { .. } => {
                Kind::DamagedPatch
            }
            AssembleError::Unpacker(_) => Kind::OverMemory,
            AssembleError::Cancelled => Kind::Cancelled,
        };
        Self::new(kind, error)
    }
}

impl From<RegistryError> for Fault {
    fn from(error: RegistryError) -> Self {
        let kind = match &error {
            RegistryError::Client { .. } | RegistryError::Unreachable { .. } => Kind::Unreachable,
            RegistryError::Platform { .. } => Kind::Usage,
            RegistryError::File { source, .. } => kind_of_write(source),
            RegistryError::Busy { .. } => Kind::Busy,
            RegistryError::Cancelled => Kind::Cancelled,
            _ => Kind::Registry,
        };
        let is_usage = kind == Kind::Usage;
        let fault = Self::new(kind, error);
        if is_usage { fault.hint("choose one with --platform") } else { fault }
    }
}

impl From<DiffError> for Fault {
    fn from(error: DiffError) -> Self {
        let kind = match &error {
            DiffError::ReadOld(_) | DiffError::ReadNew(_) => Kind::Io,
            DiffError::Scratch(source) | DiffError::Write(source) => kind_of_write(source),
            DiffError::Memory | DiffError::OverBudget { .. } => Kind::OverMemory,
            DiffError::Internal(_) | DiffError::Unsound(_) => Kind::Internal,
            DiffError::Cancelled => Kind::Cancelled,
        };
        let over_budget = matches!(error, DiffError::OverBudget { .. });
        let fault = Self::new(kind, error);
        if over_budget { fault.hint("raise --apply-memory, if the devices have it") } else { fault }
    }
}

impl From<SimulateError> for Fault {
    fn from(error: SimulateError) -> Self {
        let kind = match &error {
            SimulateError::Read { .. } => Kind::Io,
            SimulateError::NoFiles(_) => Kind::Usage,
            SimulateError::Xz(_) | SimulateError::Zstd(_) => Kind::Internal,
            SimulateError::Cancelled => Kind::Cancelled,
        };
        Self::new(kind, error)
    }
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        let kind = match &error {
            EngineError::NoImage { .. } | EngineError::Name { .. } => Kind::Usage,
            EngineError::Read(_) | EngineError::System(_) => Kind::Io,
            EngineError::Write(source) => kind_of_write(source),
            EngineError::Connect { .. }
            | EngineError::Request { .. }
            | EngineError::Load { .. }
            | EngineError::Lost { .. } => Kind::Engine,
            EngineError::Cancelled => Kind::Cancelled,
        };
        let is_away = matches!(error, EngineError::Connect { .. });
        let fault = Self::new(kind, error);
        if is_away { fault.hint("start the engine, or name its socket with --engine-socket") } else { fault }
    }
}
