//! What can go wrong with packages of `SWUpdate` that are made.

use fluvial_swu::package::WriteError;
use fluvial_swu::rsync::{DeltaError, SignatureError};
use fluvial_swu::sign::SignError;

use super::{Fault, Kind, kind_of_write};

impl From<WriteError> for Fault {
    fn from(error: WriteError) -> Self {
        let kind = match &error {
            WriteError::Io(_) => Kind::Io,
            WriteError::Archive(fluvial_swu::cpio::CpioError::Io(source)) => kind_of_write(source),
            _ => Kind::Usage,
        };
        Self::new(kind, error)
    }
}

impl From<SignError> for Fault {
    fn from(error: SignError) -> Self {
        Self::new(Kind::Usage, error)
    }
}

impl From<SignatureError> for Fault {
    fn from(error: SignatureError) -> Self {
        let kind = match &error {
            SignatureError::Cancelled => Kind::Cancelled,
            SignatureError::ReadBase(_) | SignatureError::Read(_) => Kind::Io,
            _ => Kind::Usage,
        };
        Self::new(kind, error)
    }
}

impl From<DeltaError> for Fault {
    fn from(error: DeltaError) -> Self {
        let kind = match &error {
            DeltaError::Cancelled => Kind::Cancelled,
            DeltaError::Write(source) => kind_of_write(source),
            DeltaError::Read(_) | DeltaError::OtherBase { .. } => Kind::Io,
        };
        Self::new(kind, error)
    }
}
