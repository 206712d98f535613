//! The kinds of faults. Names and exit codes are part of the interface; docs/cli.md lists them.

use std::fmt::Write as _;

/// What kind of fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A fault of this program.
    Internal,
    /// The command line makes no sense.
    Usage,
    /// Reading or writing failed.
    Io,
    /// The file is no patch.
    NotAPatch,
    /// The patch is of a format, or names an engine, that this program does not know.
    UnsupportedPatch,
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
    /// Another program uses the place of the result.
    Busy,
    /// What should be a container image is none, or damaged.
    NotAnImage,
    /// The container engine does not answer, or refuses.
    Engine,
    /// A registry cannot be reached.
    Unreachable,
    /// A registry lacks what was asked for, refuses it, or answers what it should not.
    Registry,
    /// A bundle is none, cut or changed.
    DamagedBundle,
    /// A release is not signed as it has to be.
    Untrusted,
    /// A release may not be installed on this device, or not now.
    Refused,
    /// A release cannot come to this device in the way that is allowed.
    NoRoute,
    /// The device's configuration, its state or its boot loader.
    Device,
    /// The artifact store has this already.
    ArtifactExists,
    /// The artifact store lacks this.
    NoArtifact,
    /// Something in the artifact store is not what was added.
    DamagedArtifact,
    /// No delta may be made between two versions.
    UnfitPair,
    /// A package of `SWUpdate` is none, cut or changed.
    DamagedPackage,
    /// Stopped by a signal.
    Cancelled,
}

/// A kind's name, exit code and meaning.
struct Row {
    kind: Kind,
    name: &'static str,
    exit_code: u8,
    meaning: &'static str,
}

/// Every kind. 128 + 2 is what a shell makes of SIGINT, and clap ends with 2.
const TABLE: [Row; 27] = [
    row(Kind::Internal, "internal", 1, "a fault of this program"),
    row(Kind::Usage, "usage", 2, "the command line makes no sense"),
    row(Kind::Io, "io", 3, "reading or writing failed"),
    row(Kind::NotAPatch, "not_a_patch", 10, "the file is no patch"),
    row(Kind::UnsupportedPatch, "unsupported_patch", 11, "the patch needs another version of this program"),
    row(Kind::DamagedPatch, "damaged_patch", 12, "the patch is cut or changed"),
    row(Kind::WrongSource, "wrong_source", 13, "OLD is not what the patch was made from"),
    row(Kind::OverMemory, "over_memory", 14, "more memory is needed than allowed"),
    row(Kind::NoSpace, "no_space", 15, "the disk is full, or the device too small"),
    row(Kind::ReadOnly, "read_only", 16, "the result may not be written there"),
    row(Kind::WrongTarget, "wrong_target", 17, "the result came out wrong and was thrown away"),
    row(Kind::Busy, "busy", 18, "another program uses the place of the result"),
    row(Kind::NotAnImage, "not_an_image", 19, "what should be a container image is none, or damaged"),
    row(Kind::Engine, "engine", 20, "the container engine does not answer, or refuses"),
    row(Kind::Unreachable, "unreachable", 21, "a registry cannot be reached"),
    row(Kind::Registry, "registry", 22, "a registry lacks what was asked for, refuses it, or is at fault"),
    row(Kind::DamagedBundle, "damaged_bundle", 23, "the bundle is none, cut or changed"),
    row(Kind::Untrusted, "untrusted", 24, "the release is not signed as this device demands"),
    row(Kind::Refused, "refused", 25, "the release may not be installed on this device, or not now"),
    row(Kind::NoRoute, "no_route", 26, "the release cannot come to this device in a way that is allowed"),
    row(Kind::Device, "device", 27, "the device's configuration, its state or its boot loader"),
    row(Kind::ArtifactExists, "artifact_exists", 28, "the artifact store has this version already"),
    row(Kind::NoArtifact, "no_artifact", 29, "the artifact store has no such version"),
    row(Kind::DamagedArtifact, "damaged_artifact", 30, "a version in the artifact store is damaged"),
    row(Kind::UnfitPair, "unfit_pair", 31, "no delta may be made between these two versions"),
    row(Kind::DamagedPackage, "damaged_package", 32, "the package (.swu) is none, cut or changed"),
    row(Kind::Cancelled, "cancelled", 130, "stopped by a signal"),
];

const fn row(kind: Kind, name: &'static str, exit_code: u8, meaning: &'static str) -> Row {
    Row { kind, name, exit_code, meaning }
}

impl Kind {
    fn row(self) -> &'static Row {
        // A test sees to it that every kind has a row.
        TABLE.iter().find(|row| row.kind == self).unwrap_or(&TABLE[0])
    }

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Its exit code.
    pub fn exit_code(self) -> u8 {
        self.row().exit_code
    }

    /// The table of all kinds, for people.
    pub fn table() -> String {
        let mut text = "Exit codes:\n   0  done".to_owned();
        for Row { kind: _, name, exit_code, meaning } in &TABLE {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n {exit_code:3}  {name}: {meaning}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_finds_its_own_row() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.kind as usize, index, "{}", row.name);
            assert_eq!(row.kind.name(), row.name);
        }
        assert_eq!(Kind::Cancelled as usize + 1, TABLE.len());
    }

    #[test]
    fn the_manual_lists_every_kind() {
        let manual = include_str!("../../../../docs/cli.md");
        for row in &TABLE {
            let line = format!("| {} | `{}` | {} |", row.exit_code, row.name, row.meaning);
            assert!(manual.contains(&line), "docs/cli.md lacks the line: {line}");
        }
    }
}
