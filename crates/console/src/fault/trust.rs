//! What can go wrong with keys and signatures.

use fluvial_trust::{KeyError, MetadataError, SignError, StateError, TrustError, VerifyError};

use super::{Fault, Kind, kind_of_write};

const FETCH_AGAIN: &str = "fetch the release again, from where it was published";
const RESTORE: &str = "take the file back from a copy of the folder";

impl From<MetadataError> for Fault {
    fn from(error: MetadataError) -> Self {
        Self::new(Kind::Untrusted, error).hint(FETCH_AGAIN)
    }
}

impl From<KeyError> for Fault {
    fn from(error: KeyError) -> Self {
        let kind = match &error {
            KeyError::File { action: "write", source, .. } => kind_of_write(source),
            KeyError::File { .. } => Kind::Io,
            KeyError::System { .. } | KeyError::Sign { .. } | KeyError::Unsound { .. } => Kind::Internal,
            _ => Kind::Usage,
        };
        let hint = match &error {
            KeyError::AlreadyThere { .. } => "choose another folder: keys are not overwritten",
            KeyError::NotAKeyFolder { .. } => "`fluvial key init DIR` makes one",
            KeyError::KeysMissing { .. } => "put the files of the keys back into the folder",
            KeyError::TooManyRoots => "make keys in a new folder, and give devices its root.json",
            KeyError::Gap { .. }
            | KeyError::Malformed { .. }
            | KeyError::Version { .. }
            | KeyError::TooLong { .. }
            | KeyError::NoSuchRole { .. } => RESTORE,
            KeyError::Key { .. } => {
                "only keys belong there, as `openssl genpkey -algorithm ED25519` makes them"
            }
            _ => return Self::new(kind, error),
        };
        Self::new(kind, error).hint(hint)
    }
}

impl From<SignError> for Fault {
    fn from(error: SignError) -> Self {
        match error {
            SignError::Keys(error) => error.into(),
            SignError::Refused(VerifyError::Expired { .. }) => Self::new(Kind::Untrusted, error)
                .hint("`fluvial key rotate DIR root` makes a root that lives on"),
            SignError::Refused(_) | SignError::Root(_) => Self::new(Kind::Untrusted, error).hint(RESTORE),
            SignError::ManifestBytes | SignError::Metadata(_) => Self::new(Kind::Usage, error),
        }
    }
}

impl From<TrustError> for Fault {
    fn from(error: TrustError) -> Self {
        let hint = "a device trusts the root.json that `fluvial key init` or `fluvial key rotate` has made";
        Self::new(Kind::Untrusted, error).hint(hint)
    }
}

impl From<StateError> for Fault {
    fn from(error: StateError) -> Self {
        let kind = kind_of_state(&error);
        Self::new(kind, error).hint(hint_for_state(kind))
    }
}

fn kind_of_state(error: &StateError) -> Kind {
    match error {
        StateError::File { action: "write", source, .. } => kind_of_write(source),
        StateError::File { .. } => Kind::Io,
        StateError::Busy { .. } | StateError::Stale { .. } => Kind::Busy,
        StateError::Damaged { .. } | StateError::Format { .. } | StateError::OtherRoot { .. } => {
            Kind::Untrusted
        }
    }
}

fn hint_for_state(kind: Kind) -> &'static str {
    match kind {
        Kind::Busy => "run the same command again",
        Kind::Untrusted => {
            "if you know why, remove the file: the device then forgets which releases it has seen, and \
             would take an older one"
        }
        _ => "the device keeps there which releases it has seen: see to it that it can be read and written",
    }
}

impl From<VerifyError> for Fault {
    fn from(error: VerifyError) -> Self {
        let kind = match &error {
            VerifyError::State(state) => kind_of_state(state),
            VerifyError::Scratch { source } => kind_of_write(source),
            _ => Kind::Untrusted,
        };
        let hint = match &error {
            VerifyError::Unsigned => "take a release that is signed with the keys that this device trusts",
            VerifyError::OtherKeys { .. } | VerifyError::TooFewKeys { .. } => {
                "the release must be signed with the keys in the root.json that this device was given"
            }
            VerifyError::Expired { .. } => {
                "check the device's clock; if it is right, take a newer release, or have this one signed again"
            }
            VerifyError::Rollback { .. } => "take the newest release: this device does not go back",
            VerifyError::State(_) => hint_for_state(kind),
            VerifyError::Scratch { .. } => "see to it that temporary files can be written",
            _ => FETCH_AGAIN,
        };
        Self::new(kind, error).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_no_fault_of_the_disk() {
        assert_eq!(Fault::from(VerifyError::Unsigned).kind, Kind::Untrusted);
        let stale = || StateError::Stale { path: "trust.json".into() };
        assert_eq!(Fault::from(VerifyError::State(stale())).kind, Kind::Busy);
        assert_eq!(Fault::from(stale()).kind, Kind::Busy);
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert_eq!(Fault::from(VerifyError::Scratch { source: full() }).kind, Kind::NoSpace);
        let path = || "trust.json".into();
        let write = StateError::File { action: "write", path: path(), source: full() };
        assert_eq!(Fault::from(write).kind, Kind::NoSpace);
        let damaged = StateError::Damaged { path: path(), source: "cut".into() };
        assert_eq!(Fault::from(VerifyError::State(damaged)).kind, Kind::Untrusted);
    }
}
