//! Where an image is kept, in skopeo's words.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use oci_spec::distribution::Reference;

use super::ReferenceError;

/// The transport of registries, and what stands in front of a host.
const REGISTRY: &str = "docker";
const REGISTRY_HOST: &str = "//";

/// Where an image is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageReference {
    /// Files.
    File(FileReference),
    /// `docker://HOST/NAME[:TAG|@DIGEST]`: a registry.
    Registry(Reference),
    /// `docker-daemon:NAME`, `podman:NAME`: an engine.
    Engine(EngineReference),
}

/// An engine that runs containers, by the program that serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// `dockerd`, and what speaks as it does.
    Docker,
    /// `podman system service`.
    Podman,
}

/// An image of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineReference {
    /// Which engine.
    pub kind: EngineKind,
    /// A name with a tag, or an image's id.
    pub name: String,
}

/// An image in files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileReference {
    /// `oci:FOLDER[:TAG]`: an OCI image layout.
    Layout {
        /// The folder.
        folder: PathBuf,
        /// The value of `org.opencontainers.image.ref.name`; not needed where there is one image.
        tag: Option<String>,
    },
    /// `oci-archive:FILE[:TAG]`: a tar of an OCI image layout.
    OciArchive {
        /// The file.
        file: PathBuf,
        /// As for a layout.
        tag: Option<String>,
    },
    /// `docker-archive:FILE[:NAME]`: what `docker save` writes.
    DockerArchive {
        /// The file.
        file: PathBuf,
        /// A name with a tag; not needed where there is one image.
        name: Option<String>,
    },
}

impl ImageReference {
    /// The file or folder, where it is in one.
    pub fn path(&self) -> Option<&Path> {
        if let Self::File(file) = self { Some(file.path()) } else { None }
    }
}

impl FileReference {
    /// The file or folder.
    pub fn path(&self) -> &Path {
        match self {
            Self::Layout { folder, .. } => folder,
            Self::OciArchive { file, .. } | Self::DockerArchive { file, .. } => file,
        }
    }
}

impl FromStr for ImageReference {
    type Err = ReferenceError;

    /// The path ends at the first colon, as in skopeo.
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let unknown = || ReferenceError::Transport { text: text.into() };
        let (transport, rest) = text.split_once(':').ok_or_else(unknown)?;
        let empty = || ReferenceError::Empty { text: text.into() };
        if transport == REGISTRY {
            let name = rest.strip_prefix(REGISTRY_HOST).ok_or_else(unknown)?;
            let invalid = |error| ReferenceError::Name { text: text.into(), reason: format!("{error}") };
            return name.parse().map(Self::Registry).map_err(invalid);
        }
        if let Some(kind) = EngineKind::of(transport) {
            if rest.is_empty() {
                return Err(empty());
            }
            return Ok(Self::Engine(EngineReference { kind, name: rest.into() }));
        }
        let (path, name) = match rest.split_once(':') {
            Some((path, name)) => (path, Some(name.to_owned()).filter(|name| !name.is_empty())),
            None => (rest, None),
        };
        let make = match transport {
            "oci" => |folder, tag| FileReference::Layout { folder, tag },
            "oci-archive" => |file, tag| FileReference::OciArchive { file, tag },
            "docker-archive" => |file, name| FileReference::DockerArchive { file, name },
            _ => return Err(unknown()),
        };
        if path.is_empty() {
            return Err(empty());
        }
        Ok(Self::File(make(PathBuf::from(path), name)))
    }
}

impl EngineKind {
    const ALL: [Self; 2] = [Self::Docker, Self::Podman];

    fn of(transport: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.transport() == transport)
    }

    /// The word that stands in front of the colon.
    pub fn transport(self) -> &'static str {
        match self {
            Self::Docker => "docker-daemon",
            Self::Podman => "podman",
        }
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => file.fmt(f),
            Self::Registry(reference) => write!(f, "{REGISTRY}:{REGISTRY_HOST}{reference}"),
            Self::Engine(engine) => engine.fmt(f),
        }
    }
}

impl fmt::Display for EngineReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.transport(), self.name)
    }
}

impl fmt::Display for FileReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, name) = match self {
            Self::Layout { tag, .. } => ("oci", tag),
            Self::OciArchive { tag, .. } => ("oci-archive", tag),
            Self::DockerArchive { name, .. } => ("docker-archive", name),
        };
        write!(f, "{transport}:{}", self.path().display())?;
        name.iter().try_for_each(|name| write!(f, ":{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for text in [
            "oci:images/app",
            "oci:images/app:1.2",
            "oci-archive:/a/b.tar:latest",
            "docker-archive:b.tar:registry:5000/app:1",
            "docker://localhost:5000/team/app:1",
            "docker-daemon:app:1",
            "podman:localhost/app:1",
        ] {
            let reference: ImageReference = text.parse().unwrap();
            assert_eq!(reference.to_string(), text);
        }
        assert_eq!(
            "docker-archive:b.tar:app:1".parse(),
            Ok(ImageReference::File(FileReference::DockerArchive {
                file: "b.tar".into(),
                name: Some("app:1".into())
            }))
        );
    }

    #[test]
    fn what_names_no_image_is_refused() {
        for text in ["", "app", "app:1.2", "oci", "tar:x", "docker:app"] {
            assert!(
                matches!(text.parse::<ImageReference>(), Err(ReferenceError::Transport { .. })),
                "{text}"
            );
        }
        for text in ["oci::tag", "podman:"] {
            assert!(matches!(text.parse::<ImageReference>(), Err(ReferenceError::Empty { .. })), "{text}");
        }
        let bad = "docker://local host/app";
        assert!(matches!(bad.parse::<ImageReference>(), Err(ReferenceError::Name { .. })));
    }
}
