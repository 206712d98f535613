//! An image, opened from wherever it is kept.

use std::fmt;
use std::str::FromStr;

use fluvial_delta::header::Sha256Digest;
use oci_spec::image::{Descriptor, Digest, ImageIndex, ImageManifest};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::document::{DOCUMENT_BYTES_MAX, Document, INDEXES_MAX, manifest_for, sha256_of};
use super::layer::digest_text;
use super::store::Store;
use super::{FileReference, ImageError, Layer};

/// Layers of one image at most: engines stop at 127.
const LAYERS_MAX: usize = 1024;
/// Where a layout keeps the name of an image.
const NAME_ANNOTATION: &str = "org.opencontainers.image.ref.name";
const INDEX_FILE: &str = "index.json";
const DOCKER_MANIFEST_FILE: &str = "manifest.json";

/// The processor and operating system that an image is for: `linux/arm64`, `linux/arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// As Go names it: `amd64`, `arm64`, `arm`.
    pub architecture: String,
    /// `v7`; where none is given, any will do.
    pub variant: Option<String>,
}

/// Text that names no platform.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no platform: write OS/ARCHITECTURE[/VARIANT], as in linux/arm64")]
pub struct PlatformError(String);

impl Platform {
    /// That of this machine.
    pub fn here() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            other => other,
        };
        Self { os: std::env::consts::OS.into(), architecture: architecture.into(), variant: None }
    }

    pub(super) fn fits(&self, descriptor: &Descriptor) -> bool {
        let Some(platform) = descriptor.platform() else { return false };
        platform.os().to_string() == self.os
            && platform.architecture().to_string() == self.architecture
            && self.variant.as_ref().is_none_or(|variant| platform.variant().as_ref() == Some(variant))
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            [os, architecture] if !os.is_empty() && !architecture.is_empty() => {
                Ok(Self { os: os.into(), architecture: architecture.into(), variant: None })
            }
            [os, architecture, variant] if ![os, architecture, variant].contains(&"") => {
                Ok(Self { os: os.into(), architecture: architecture.into(), variant: Some(variant.into()) })
            }
            _ => Err(PlatformError(text.into())),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

/// An image: its config, and its layers as they are kept.
#[derive(Debug, Clone)]
pub struct Image {
    /// The config, byte for byte.
    pub config: Vec<u8>,
    /// Its SHA-256: what Docker calls the image's id.
    pub config_digest: Sha256Digest,
    /// The layers, the lowest first.
    pub layers: Vec<Layer>,
}

/// The part of a config that tells of layers.
#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<Digest>,
}

/// An entry of the manifest of `docker save`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerManifest {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Image {
    /// Opens an image. Layers are not read yet. `platform` chooses where there are several; this machine's
    /// is taken if none is given.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn open(reference: &FileReference, platform: Option<&Platform>) -> Result<Self, ImageError> {
        match reference {
            FileReference::Layout { folder, tag } => {
                let store = Store::folder(folder);
                if !store.has(INDEX_FILE) {
                    return Err(not_a(&store, "OCI image layout", "it has no index.json"));
                }
                Self::from_layout(&store, tag.as_deref(), platform)
            }
            FileReference::OciArchive { file, tag } => {
                let store = Store::archive(file, "OCI archive")?;
                if !store.has(INDEX_FILE) {
                    return Err(not_a(&store, "OCI archive", "it has no index.json"));
                }
                Self::from_layout(&store, tag.as_deref(), platform)
            }
            FileReference::DockerArchive { file, name } => {
                let store = Store::archive(file, "Docker archive")?;
                if !store.has(DOCKER_MANIFEST_FILE) {
                    return Err(not_a(&store, "Docker archive", "it has no manifest.json"));
                }
                Self::from_docker(&store, name.as_deref())
            }
        }
    }

    fn from_layout(
        store: &Store,
        tag: Option<&str>,
        platform: Option<&Platform>,
    ) -> Result<Self, ImageError> {
        let index = store.read(INDEX_FILE, "index.json", DOCUMENT_BYTES_MAX)?;
        let index: ImageIndex = parsed(store, "OCI image layout", "index.json", &index)?;
        let name_of = |descriptor: &Descriptor| {
            descriptor.annotations().as_ref().and_then(|all| all.get(NAME_ANNOTATION)).cloned()
        };
        let named: Vec<&Descriptor> = index
            .manifests()
            .iter()
            .filter(|descriptor| tag.is_none_or(|tag| name_of(descriptor).as_deref() == Some(tag)))
            .collect();
        // Some layouts list the images of several platforms side by side.
        let fitting = named.iter().filter(|one| platform.is_some_and(|wanted| wanted.fits(one)));
        let descriptor = match (&named[..], &fitting.collect::<Vec<_>>()[..]) {
            ([one], _) => *one,
            (_, [one]) => **one,
            _ => {
                let wanted = match tag {
                    Some(tag) => format!("there must be one with the tag {tag:?}"),
                    None => "name one with :TAG".to_owned(),
                };
                let have = index.manifests().iter().filter_map(name_of).collect();
                return Err(ImageError::Choice { path: store.path().into(), wanted, have });
            }
        };
        let manifest = find_manifest(store, descriptor.clone(), platform)?;
        let config = read_document(store, "the config", manifest.config())?;
        let blob = |descriptor: &Descriptor| store.open(&blob_name("the layer", descriptor.digest())?);
        let blobs = manifest.layers().iter().map(blob).collect::<Result<Vec<_>, _>>()?;
        Self::assemble(store, config, blobs)
    }

    fn from_docker(store: &Store, name: Option<&str>) -> Result<Self, ImageError> {
        let bytes = store.read(DOCKER_MANIFEST_FILE, "manifest.json", DOCUMENT_BYTES_MAX)?;
        let all: Vec<DockerManifest> =
            serde_json::from_slice(&bytes).map_err(|error| not_a(store, "Docker archive", error))?;
        let tags = |manifest: &DockerManifest| manifest.repo_tags.clone().unwrap_or_default();
        let mut fitting =
            all.iter().filter(|one| name.is_none_or(|name| tags(one).iter().any(|tag| tag == name)));
        let (Some(manifest), None) = (fitting.next(), fitting.next()) else {
            let wanted = name.map_or_else(
                || "name one with :NAME".to_owned(),
                |name| format!("there must be one with the name {name:?}"),
            );
            let have = all.iter().flat_map(tags).collect();
            return Err(ImageError::Choice { path: store.path().into(), wanted, have });
        };
        let config = store.read(&manifest.config, "the config", DOCUMENT_BYTES_MAX)?;
        let blobs = manifest.layers.iter().map(|layer| store.open(layer)).collect::<Result<Vec<_>, _>>()?;
        Self::assemble(store, config, blobs)
    }

    fn assemble(store: &Store, config: Vec<u8>, blobs: Vec<super::Slice>) -> Result<Self, ImageError> {
        let diff_ids = diff_ids_of(&config).map_err(|reason| not_a(store, "image", reason))?;
        if diff_ids.len() != blobs.len() {
            let reason = format!("its config names {} layers, there are {}", diff_ids.len(), blobs.len());
            return Err(not_a(store, "image", reason));
        }
        let layers = diff_ids.into_iter().zip(blobs).map(|(diff_id, blob)| Layer { diff_id, blob }).collect();
        Ok(Self { config_digest: Sha256::digest(&config).into(), config, layers })
    }
}

/// The diff ids that a config names, the lowest layer first.
///
/// # Errors
/// What is wrong with the config, in words.
pub fn diff_ids_of(config: &[u8]) -> Result<Vec<Sha256Digest>, String> {
    let config: Config =
        serde_json::from_slice(config).map_err(|error| format!("its config cannot be read: {error}"))?;
    let diff_ids = config.rootfs.diff_ids;
    if diff_ids.len() > LAYERS_MAX {
        return Err(format!("it has {} layers, above the limit of {LAYERS_MAX}", diff_ids.len()));
    }
    diff_ids.iter().map(|digest| sha256_of(digest).ok_or_else(|| format!("{digest} is no SHA-256"))).collect()
}

/// Reads a SHA-256 as images write it; engines leave `sha256:` out at times.
pub fn digest_of(text: &str) -> Option<Sha256Digest> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    sha256_of(&format!("sha256:{hex}").parse().ok()?)
}

/// Where a layout keeps a blob.
fn blob_name(what: &'static str, digest: &Digest) -> Result<String, ImageError> {
    let sha256 = sha256_of(digest).ok_or_else(|| ImageError::Content {
        what,
        digest: digest.to_string(),
        problem: "is named by a digest that is not known here: only SHA-256 is".into(),
    })?;
    Ok(digest_text(&sha256).replacen(':', "/", 1).replacen("sha256", "blobs/sha256", 1))
}

/// Follows indexes to the manifest for a platform.
fn find_manifest(
    store: &Store,
    mut descriptor: Descriptor,
    platform: Option<&Platform>,
) -> Result<ImageManifest, ImageError> {
    for _ in 0..INDEXES_MAX {
        let bytes = read_document(store, "the manifest", &descriptor)?;
        let document = Document::parse(&bytes, descriptor.media_type())
            .map_err(|reason| not_a(store, "OCI image layout", reason))?;
        let index = match document {
            Document::Manifest(manifest) => return Ok(*manifest),
            Document::Index(index) => index,
        };
        descriptor = manifest_for(&index, platform).map_err(|(wanted, have)| ImageError::Choice {
            path: store.path().into(),
            wanted: format!("there is none for {wanted}: choose with --platform"),
            have,
        })?;
    }
    Err(not_a(store, "OCI image layout", "its indexes are nested too deeply"))
}

/// Reads what a descriptor names, and compares it with its digest.
fn read_document(store: &Store, what: &'static str, descriptor: &Descriptor) -> Result<Vec<u8>, ImageError> {
    let bytes = store.read(&blob_name(what, descriptor.digest())?, what, DOCUMENT_BYTES_MAX)?;
    if sha256_of(descriptor.digest()).is_none_or(|digest| Sha256::digest(&bytes)[..] != digest) {
        let digest = descriptor.digest().to_string();
        return Err(ImageError::Content {
            what,
            digest,
            problem: "is other bytes than its digest says".into(),
        });
    }
    Ok(bytes)
}

fn parsed<T: serde::de::DeserializeOwned>(
    store: &Store,
    kind: &'static str,
    what: &str,
    bytes: &[u8],
) -> Result<T, ImageError> {
    serde_json::from_slice(bytes)
        .map_err(|error| not_a(store, kind, format!("{what} cannot be read: {error}")))
}

fn not_a(store: &Store, kind: &'static str, reason: impl fmt::Display) -> ImageError {
    ImageError::Kind { path: store.path().into(), kind, reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_read_and_written() {
        for text in ["linux/amd64", "linux/arm/v7"] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), text);
        }
        for text in ["", "linux", "linux/", "/arm", "linux/arm/v7/x", "linux/arm/"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_sha256_names_a_blob() {
        let digest = |text: &str| text.parse::<Digest>().unwrap();
        let hex = "ab".repeat(32);
        assert_eq!(blob_name("x", &digest(&format!("sha256:{hex}"))).unwrap(), format!("blobs/sha256/{hex}"));
        let long = digest(&format!("sha512:{}", "cd".repeat(64)));
        assert!(matches!(blob_name("x", &long), Err(ImageError::Content { .. })));
    }

    #[test]
    fn a_config_without_layers_is_an_image_still() {
        assert_eq!(diff_ids_of(br#"{"rootfs": {"type": "layers"}}"#).unwrap().len(), 0);
        assert!(diff_ids_of(b"{}").is_err());
        assert!(diff_ids_of(br#"{"rootfs": {"diff_ids": ["sha256:abc"]}}"#).is_err());
    }
}
