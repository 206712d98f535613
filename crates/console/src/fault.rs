//! Faults: what went wrong, folded to a kind, a chain of messages, a hint and an exit code.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use thiserror::Error;

mod artifacts;
mod fold;
mod kind;
mod swu;
mod trust;

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
    #[must_use]
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
        Kind::DamagedBundle => "fetch the bundle again; `fluvial bundle verify` tells whether it is whole",
        Kind::DamagedPackage => "fetch the package again; `fluvial swu verify` tells whether it is whole",
        Kind::Untrusted => "docs/trust.md tells what each refusal means",
        Kind::Registry => "`skopeo inspect` shows what others see; `docker login` or `podman login` signs in",
        Kind::NoRoute => "give the full bundle, or take another --route",
        Kind::ArtifactExists => {
            "versions are never overwritten: give it another version, or remove what is there"
        }
        Kind::NoArtifact => "`fluvial artifacts list` shows what there is",
        Kind::DamagedArtifact => {
            "take it from a copy of the store; an image built again is another, and no base for a delta"
        }
        Kind::UnfitPair => "docs/artifacts.md tells what two versions must have in common",
        Kind::Device => "docs/boot.md and docs/agent.md tell what a device has to have",
        Kind::Usage | Kind::Io | Kind::OverMemory | Kind::Refused | Kind::Cancelled => return None,
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
