//! The four roles that sign.

use std::fmt;

use tough::schema::RoleType;

/// A role: a kind of metadata, and the keys that sign it (TUF 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Says which keys each role has, itself included.
    Root,
    /// Names the manifest of a release.
    Targets,
    /// Names the targets metadata, so that parts of two releases cannot be mixed.
    Snapshot,
    /// Names the snapshot, and expires first: what is old is known by it.
    Timestamp,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Root, Self::Targets, Self::Snapshot, Self::Timestamp];

    /// Its name, in small letters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Targets => "targets",
            Self::Snapshot => "snapshot",
            Self::Timestamp => "timestamp",
        }
    }

    pub(crate) fn kind(self) -> RoleType {
        match self {
            Self::Root => RoleType::Root,
            Self::Targets => RoleType::Targets,
            Self::Snapshot => RoleType::Snapshot,
            Self::Timestamp => RoleType::Timestamp,
        }
    }
}

impl From<RoleType> for Role {
    fn from(kind: RoleType) -> Self {
        match kind {
            RoleType::Root => Self::Root,
            RoleType::Targets | RoleType::DelegatedTargets => Self::Targets,
            RoleType::Snapshot => Self::Snapshot,
            RoleType::Timestamp => Self::Timestamp,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
