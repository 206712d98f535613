//! What kind of fault each library's errors are.

use fluvial_bundle::{AssembleError, BundleError, IndexError, ManifestError, WriteError};
use fluvial_codec::RecipeError;
use fluvial_delta::apply::ApplyError;
use fluvial_delta::diff::DiffError;
use fluvial_delta::frame::FrameError;
use fluvial_delta::header::HeaderError;
use fluvial_delta::map::MapError;
use fluvial_device::boot::BootError;
use fluvial_device::disk::{DestinationError, MakeError};
use fluvial_device::engine::EngineError;
use fluvial_device::system::SystemError;
use fluvial_fetch::FetchError;
use fluvial_image::oci::ImageError;
use fluvial_registry::RegistryError;
use fluvial_simulate::SimulateError;

use super::{Fault, Kind, kind_of_write};

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

impl From<DestinationError> for Fault {
    fn from(error: DestinationError) -> Self {
        let (kind, hint) = match &error {
            DestinationError::Kind { .. } | DestinationError::NotAFile { .. } => (Kind::Usage, None),
            DestinationError::Input { .. } => (Kind::Usage, Some("choose another place with -o")),
            DestinationError::Busy { .. } => (Kind::Busy, None),
            DestinationError::SmallDevice { .. } => (Kind::NoSpace, Some("choose a larger device")),
            DestinationError::NoSpace { .. } => (Kind::NoSpace, None),
            DestinationError::Write { source, .. } => (kind_of_write(source), None),
        };
        let fault = Self::new(kind, error);
        match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }
}

impl From<MakeError> for Fault {
    fn from(error: MakeError) -> Self {
        match error {
            MakeError::Apply(error) => error.into(),
            MakeError::Destination(error) => error.into(),
            MakeError::ReadJournal { path, source } => Self::reading(&path, source),
            MakeError::RemoveJournal { path, source } => Self::writing(&path, source),
        }
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

impl From<SystemError> for Fault {
    fn from(error: SystemError) -> Self {
        Self::new(Kind::Device, error)
    }
}

impl From<BootError> for Fault {
    fn from(error: BootError) -> Self {
        Self::new(Kind::Device, error)
    }
}

impl From<BundleError> for Fault {
    fn from(error: BundleError) -> Self {
        let kind = match &error {
            BundleError::Version(_)
            | BundleError::Manifest(ManifestError::Version(_))
            | BundleError::Part { source: IndexError::Version(_), .. } => Kind::UnsupportedPatch,
            _ => Kind::DamagedBundle,
        };
        Self::new(kind, error)
    }
}

impl From<ManifestError> for Fault {
    fn from(error: ManifestError) -> Self {
        let kind = match &error {
            ManifestError::Version(_) => Kind::UnsupportedPatch,
            _ => Kind::DamagedBundle,
        };
        Self::new(kind, error)
    }
}

impl From<AssembleError> for Fault {
    fn from(error: AssembleError) -> Self {
        let kind = match &error {
            AssembleError::ReadOld(_) | AssembleError::ReadTarget(_) | AssembleError::Shelf(_) => Kind::Io,
            AssembleError::Write(source) => kind_of_write(source),
            AssembleError::PageDigest { .. }
            | AssembleError::Page { .. }
            | AssembleError::Content { .. }
            | AssembleError::Frame { .. } => Kind::DamagedPatch,
            AssembleError::Unpacker(_) => Kind::OverMemory,
            AssembleError::Cancelled => Kind::Cancelled,
        };
        Self::new(kind, error)
    }
}

impl From<FetchError> for Fault {
    fn from(error: FetchError) -> Self {
        let (kind, hint) = match error {
            FetchError::Assemble(error) => return error.into(),
            FetchError::Read { path, source } => return Self::reading(&path, source),
            FetchError::Write { path, source } => return Self::writing(&path, source),
            FetchError::Client(_) => (Kind::Internal, None),
            FetchError::Cut { .. } => (Kind::Io, Some("run the same command again: what has come is kept")),
            FetchError::Refused { status, .. } => {
                (Kind::Io, hint_of_status(status.as_u16(), error.may_retry()))
            }
            FetchError::OtherRanges { .. } => {
                (Kind::Io, Some("look what stands between here and the server: a proxy may be at fault"))
            }
            FetchError::TooLong { .. } => (Kind::DamagedPatch, Some("publish the image again")),
            FetchError::Cancelled => (Kind::Cancelled, None),
        };
        let fault = Self::new(kind, error);
        match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }
}

fn hint_of_status(status: u16, may_retry: bool) -> Option<&'static str> {
    match status {
        404 => Some("publish the image to this folder, and ask for its digest"),
        416 => Some("the published file is cut: publish the image again"),
        _ if may_retry => Some("run the same command again later: what has come is kept"),
        _ => None,
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
