//! Manifests and indexes, wherever they are kept: in a layout, or in a registry.

use fluvial_delta::header::Sha256Digest;
use oci_spec::image::{Descriptor, Digest, DigestAlgorithm, ImageIndex, ImageManifest, MediaType};

use super::Platform;

/// A manifest, an index or a config at most, in bytes (as in containers/image).
pub const DOCUMENT_BYTES_MAX: u64 = 4 << 20;
/// Indexes inside indexes at most.
pub const INDEXES_MAX: usize = 4;

/// What a name in a layout or a registry leads to.
#[derive(Debug, Clone)]
pub enum Document {
    /// The manifest of one image (OCI Image Format Specification 1.1; Docker's schema 2 has the same fields).
    Manifest(Box<ImageManifest>),
    /// A list of them, for several platforms.
    Index(Box<ImageIndex>),
}

impl Document {
    /// Reads a document of a media type. The type decides what it is, as the specification asks: bytes that
    /// could be read either way mean the same to everybody.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(bytes: &[u8], media_type: &MediaType) -> Result<Self, String> {
        let is_index = match media_type {
            MediaType::ImageIndex => true,
            MediaType::Other(other) => other.ends_with("manifest.list.v2+json"),
            _ => false,
        };
        if is_index {
            let index = serde_json::from_slice(bytes);
            return index
                .map(|index| Self::Index(Box::new(index)))
                .map_err(|error| format!("an index cannot be read: {error}"));
        }
        let manifest = serde_json::from_slice(bytes);
        manifest.map(Self::Manifest).map_err(|error| format!("a manifest cannot be read: {error}"))
    }
}

/// The manifest that an index names for a platform, this machine's if none is given.
///
/// # Errors
/// The platform that was looked for, and those that there are.
pub fn manifest_for(
    index: &ImageIndex,
    platform: Option<&Platform>,
) -> Result<Descriptor, (Platform, Vec<String>)> {
    let wanted = platform.cloned().unwrap_or_else(Platform::here);
    match index.manifests().iter().find(|one| wanted.fits(one)) {
        Some(found) => Ok(found.clone()),
        None => Err((wanted, index.manifests().iter().filter_map(platform_of).collect())),
    }
}

fn platform_of(descriptor: &Descriptor) -> Option<String> {
    let platform = descriptor.platform().as_ref()?;
    let variant = platform.variant().as_ref().map(|variant| format!("/{variant}")).unwrap_or_default();
    Some(format!("{}/{}{variant}", platform.os(), platform.architecture()))
}

/// The 32 bytes of a digest, if it is a SHA-256.
pub fn sha256_of(digest: &Digest) -> Option<Sha256Digest> {
    if *digest.algorithm() != DigestAlgorithm::Sha256 {
        return None;
    }
    let mut bytes = [0; 32];
    let text = digest.digest();
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    (text.len() == 64).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_decides() {
        // Both lists: CVE-2021-41190.
        let bytes = br#"{"schemaVersion": 2, "manifests": [], "layers": [],
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "size": 2,
            "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}}"#;
        let index = Document::parse(bytes, &MediaType::ImageIndex).unwrap();
        assert!(matches!(index, Document::Index(_)));
        let list = MediaType::Other("application/vnd.docker.distribution.manifest.list.v2+json".into());
        assert!(matches!(Document::parse(bytes, &list).unwrap(), Document::Index(_)));
        let manifest = Document::parse(bytes, &MediaType::ImageManifest).unwrap();
        assert!(matches!(manifest, Document::Manifest(_)));
    }
}
