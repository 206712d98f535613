//! Where an image is kept, in skopeo's words.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::ReferenceError;

/// Where an image is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageReference {
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
        let (path, name) = match rest.split_once(':') {
            Some((path, name)) => (path, Some(name.to_owned()).filter(|name| !name.is_empty())),
            None => (rest, None),
        };
        let make = match transport {
            "oci" => |folder, tag| Self::Layout { folder, tag },
            "oci-archive" => |file, tag| Self::OciArchive { file, tag },
            "docker-archive" => |file, name| Self::DockerArchive { file, name },
            _ => return Err(unknown()),
        };
        if path.is_empty() {
            return Err(ReferenceError::Empty { text: text.into() });
        }
        Ok(make(PathBuf::from(path), name))
    }
}

impl fmt::Display for ImageReference {
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
        ] {
            let reference: ImageReference = text.parse().unwrap();
            assert_eq!(reference.to_string(), text);
        }
        assert_eq!(
            "docker-archive:b.tar:app:1".parse(),
            Ok(ImageReference::DockerArchive { file: "b.tar".into(), name: Some("app:1".into()) })
        );
    }

    #[test]
    fn what_names_no_image_is_refused() {
        for text in ["", "app", "app:1.2", "oci", "tar:x"] {
            assert!(
                matches!(text.parse::<ImageReference>(), Err(ReferenceError::Transport { .. })),
                "{text}"
            );
        }
        assert!(matches!("oci::tag".parse::<ImageReference>(), Err(ReferenceError::Empty { .. })));
    }
}
