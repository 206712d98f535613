//! Manifests: what a tag or a digest stands for.

use fluvial_delta::header::Sha256Digest;
use fluvial_image::oci::{DOCUMENT_BYTES_MAX, Document, INDEXES_MAX, Platform, digest_text, manifest_for};
use oci_client::RegistryOperation;
use oci_spec::image::{Descriptor, DescriptorBuilder, Digest, ImageManifest, MediaType};
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use sha2::{Digest as _, Sha256};

use crate::patience::Patience;
use crate::{RegistryError, Repository, Watch};

/// What we can read (OCI Image Format Specification 1.1; Docker Image Manifest version 2, schema 2).
const MEDIA_TYPES: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";

/// A manifest or an index, byte for byte.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Their SHA-256.
    pub sha256: Sha256Digest,
    /// What the registry says that they are.
    pub media_type: MediaType,
}

impl Manifest {
    /// Its digest, as registries write it.
    pub fn digest(&self) -> String {
        digest_text(&self.sha256)
    }

    /// What others name it by.
    ///
    /// # Errors
    /// In no case that is known: the digest is one of ours.
    pub fn descriptor(&self) -> Result<Descriptor, RegistryError> {
        let malformed = |reason: String| RegistryError::Malformed { what: self.digest(), reason };
        let digest: Digest = self.digest().parse().map_err(|error| malformed(format!("{error}")))?;
        DescriptorBuilder::default()
            .media_type(self.media_type.clone())
            .digest(digest)
            .size(self.bytes.len() as u64)
            .build()
            .map_err(|error| malformed(error.to_string()))
    }
}

/// An image in a registry.
#[derive(Debug, Clone)]
pub struct RegistryImage {
    /// Its manifest, byte for byte.
    pub manifest: Manifest,
    /// What stands in it.
    pub parsed: ImageManifest,
}

impl Repository {
    /// Fetches what a tag or a digest stands for: a manifest or an index. It is compared with the digest
    /// where that is its name. At most 4 MiB are read.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn manifest(&self, name: &str, watch: Watch<'_>) -> Result<Manifest, RegistryError> {
        self.runtime.block_on(self.fetch_manifest(name, watch))
    }

    /// Fetches the manifest of the image that the repository was opened for. Where there are several, it is
    /// the one for `platform`, or for this machine's.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn image(
        &self,
        platform: Option<&Platform>,
        watch: Watch<'_>,
    ) -> Result<RegistryImage, RegistryError> {
        let reference = &self.reference;
        let mut name = reference.digest().or(reference.tag()).unwrap_or("latest").to_owned();
        for _ in 0..INDEXES_MAX {
            let manifest = self.manifest(&name, watch)?;
            let malformed = |reason| RegistryError::Malformed { what: self.name_of(&name), reason };
            match Document::parse(&manifest.bytes, &manifest.media_type).map_err(malformed)? {
                Document::Manifest(parsed) => return Ok(RegistryImage { manifest, parsed: *parsed }),
                Document::Index(index) => {
                    let found =
                        manifest_for(&index, platform).map_err(|(wanted, have)| RegistryError::Platform {
                            what: self.name_of(&name),
                            wanted: wanted.to_string(),
                            have,
                        })?;
                    name = found.digest().to_string();
                }
            }
        }
        let reason = "its indexes are nested too deeply".into();
        Err(RegistryError::Malformed { what: self.name_of(&name), reason })
    }

    pub(crate) async fn fetch_manifest(
        &self,
        name: &str,
        watch: Watch<'_>,
    ) -> Result<Manifest, RegistryError> {
        let mut patience = Patience::new(&self.settings);
        loop {
            match self.fetch_manifest_once(name, watch).await {
                Ok(manifest) => return Ok(manifest),
                Err(error) => patience.pause(error, watch).await?,
            }
        }
    }

    async fn fetch_manifest_once(&self, name: &str, watch: Watch<'_>) -> Result<Manifest, RegistryError> {
        let url = format!("{}/manifests/{name}", self.url);
        let request = |http: &reqwest::Client| http.get(&url).header(ACCEPT, MEDIA_TYPES);
        let answer = self.send(RegistryOperation::Pull, request, watch).await?;
        if answer.status() != StatusCode::OK {
            return Err(self.refusal(name, answer.status()));
        }
        let media_type = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let media_type = MediaType::from(media_type);
        let bytes = self.body(answer, name, DOCUMENT_BYTES_MAX, watch).await?;
        let sha256 = Sha256::digest(&bytes).into();
        if name.contains(':') && name != digest_text(&sha256) {
            return Err(RegistryError::Digest { what: self.name_of(name) });
        }
        Ok(Manifest { bytes, sha256, media_type })
    }
}
