//! What can go wrong with the artifact store.

use fluvial_artifacts::{AddError, BuildInfoError, PairError, PatternError, StoreError, UpdateError};

use super::{Fault, Kind, kind_of_write};

const WHAT_THERE_IS: &str = "`fluvial artifacts list` shows what there is";
const RUN_AGAIN: &str = "wait for the other run, then run the same command again";

impl From<BuildInfoError> for Fault {
    fn from(error: BuildInfoError) -> Self {
        Self::new(Kind::Usage, error)
    }
}

impl From<PatternError> for Fault {
    fn from(error: PatternError) -> Self {
        Self::new(Kind::Usage, error)
    }
}

impl From<AddError> for Fault {
    fn from(error: AddError) -> Self {
        let kind = match &error {
            AddError::Exists(_) => Kind::ArtifactExists,
            AddError::Read { .. } => Kind::Io,
            AddError::Changed(_) => Kind::Busy,
            AddError::Document { .. } => Kind::Usage,
            AddError::Write { source, .. } => kind_of_write(source),
            AddError::Cancelled => Kind::Cancelled,
        };
        let hint = match &error {
            AddError::Changed(_) => "add the images once the build is through",
            _ => return Self::new(kind, error),
        };
        Self::new(kind, error).hint(hint)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        let kind = kind_of_store(&error);
        match &error {
            StoreError::Busy(_) => Self::new(kind, error).hint(RUN_AGAIN),
            _ => Self::new(kind, error),
        }
    }
}

fn kind_of_store(error: &StoreError) -> Kind {
    match error {
        StoreError::Read { .. } | StoreError::TooMany(_) => Kind::Io,
        StoreError::Write { source, .. } => kind_of_write(source),
        StoreError::NoVersion { .. } => Kind::NoArtifact,
        StoreError::Damaged { .. } => Kind::DamagedArtifact,
        StoreError::Busy(_) => Kind::Busy,
        StoreError::Cancelled => Kind::Cancelled,
    }
}

impl From<PairError> for Fault {
    fn from(error: PairError) -> Self {
        let kind = match &error {
            PairError::Missing { .. } => Kind::NoArtifact,
            PairError::Store { source, .. } => kind_of_store(source),
            PairError::Misplaced { .. } => Kind::DamagedArtifact,
            _ => Kind::UnfitPair,
        };
        let hint = match &error {
            PairError::Missing { .. } => {
                "a base has to be kept as it was built: an image built again is another"
            }
            PairError::OtherMachine { .. } | PairError::Misplaced { .. } => {
                "move the folder of the version back to where it was"
            }
            PairError::OtherConfiguration { .. } => {
                "build both alike; what differs from build to build is added with --build-note"
            }
            PairError::OtherLayout { .. } => {
                "devices have the layout of the base; where partitions have room to spare, add both versions with \
                 --partition-size"
            }
            PairError::NotWholeBlocks { .. } => {
                "pad the image, or add the version with the --block-len that its partition has"
            }
            PairError::Downgrade { .. } => "say that a downgrade is meant",
            PairError::SameVersion(_) => "name another target",
            PairError::Store { .. } => return Self::new(kind, error),
        };
        Self::new(kind, error).hint(hint)
    }
}

impl From<UpdateError> for Fault {
    fn from(error: UpdateError) -> Self {
        let (kind, hint) = match &error {
            UpdateError::Exists { .. } => (Kind::ArtifactExists, None),
            UpdateError::Busy(_) => (Kind::Busy, Some(RUN_AGAIN)),
            UpdateError::Changed(_) => (Kind::DamagedArtifact, Some(WHAT_THERE_IS)),
            UpdateError::Store(source) => (kind_of_store(source), None),
            UpdateError::Document(_) | UpdateError::NotSo(_) | UpdateError::Package { .. } => {
                (Kind::Internal, None)
            }
            UpdateError::Write { source, .. } => (kind_of_write(source), None),
        };
        let fault = Self::new(kind, error);
        match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_full_disk_is_one_whatever_is_written() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let path = || "artifacts".into();
        assert_eq!(Fault::from(AddError::Write { path: path(), source: full() }).kind, Kind::NoSpace);
        assert_eq!(Fault::from(StoreError::Write { path: path(), source: full() }).kind, Kind::NoSpace);
        assert_eq!(Fault::from(UpdateError::Write { path: path(), source: full() }).kind, Kind::NoSpace);
    }

    #[test]
    fn every_check_before_a_delta_has_a_hint() {
        let version = |text: &str| text.parse::<fluvial_artifacts::Version>().unwrap();
        let same = Fault::from(PairError::SameVersion(version("1")));
        assert_eq!((same.kind, same.hint.is_some()), (Kind::UnfitPair, true));
        let older = Fault::from(PairError::Downgrade { from: version("2"), to: version("1") });
        assert_eq!((older.kind, older.hint.is_some()), (Kind::UnfitPair, true));
    }
}
