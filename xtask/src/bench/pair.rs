//! The pairs: which old and new file, and what is measured on them.

use std::path::{Path, PathBuf};

use super::binaries::{Architecture, PROGRAMS, SYSTEM_BINARIES};
use super::image::Kind;

/// The pair that most bars are about.
pub const SYSTEM_TAR: &str = "system-tar";

/// What a pair shows, and so which bars it is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Story {
    /// A point release to the same with security updates, a new kernel among them.
    System,
    /// A point release to the same with about 40 packages upgraded, no kernel among them.
    Upgrade,
    /// One large program replaced by its next version, the rest the same.
    Application,
    /// One file of 20 KB changed, the rest the same.
    SmallChange,
    /// One distribution release to the next.
    Distribution,
    /// Nothing changed.
    Identical,
    /// One executable or library to its next version.
    Binary(Architecture),
}

/// Two files: what a device has and what it needs.
#[derive(Debug, Clone)]
pub struct Pair {
    pub name: String,
    pub story: Story,
    /// The container, for pairs of whole systems.
    pub kind: Option<Kind>,
    /// Paths inside the data folder.
    pub old: PathBuf,
    pub new: PathBuf,
}

impl Pair {
    fn of_trees(name: &str, story: Story, kind: Kind, old: &str, new: &str) -> Self {
        Self {
            name: format!("{name}-{}", kind.extension()),
            story,
            kind: Some(kind),
            old: kind.file_name(old).into(),
            new: kind.file_name(new).into(),
        }
    }

    /// Whether both files have been built.
    pub fn is_built(&self, dir: &Path) -> bool {
        dir.join(&self.old).is_file() && dir.join(&self.new).is_file()
    }
}

/// All pairs, in the order in which the report shows them.
pub fn all() -> Vec<Pair> {
    let mut pairs = Vec::new();
    let changes = [
        ("system", Story::System, "bookworm-old", "bookworm-new"),
        ("application", Story::Application, "app-old", "app-new"),
        ("small-change", Story::SmallChange, "bookworm-old", "small-new"),
    ];
    for (name, story, old, new) in changes {
        pairs.extend(Kind::ALL.map(|kind| Pair::of_trees(name, story, kind, old, new)));
    }
    pairs.push(Pair::of_trees("upgrade", Story::Upgrade, Kind::Ext4, "upgrade-old", "upgrade-new"));
    pairs.push(Pair::of_trees("distribution", Story::Distribution, Kind::Tar, "bookworm-new", "trixie"));
    pairs.push(Pair::of_trees("identical", Story::Identical, Kind::Tar, "bookworm-new", "bookworm-new"));
    for architecture in Architecture::ALL {
        pairs.extend(PROGRAMS.iter().map(|program| binary(program.name, architecture)));
    }
    pairs.extend(SYSTEM_BINARIES.iter().map(|(name, _)| binary(name, Architecture::X64)));
    pairs
}

fn binary(name: &str, architecture: Architecture) -> Pair {
    let name = format!("{name}-{}", architecture.name());
    Pair {
        old: format!("elf/{name}-old").into(),
        new: format!("elf/{name}-new").into(),
        name: format!("elf-{name}"),
        story: Story::Binary(architecture),
        kind: None,
    }
}
