//! Blobs and manifests, pushed.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fluvial_delta::header::Sha256Digest;
use fluvial_image::oci::digest_text;
use oci_client::RegistryOperation;
use oci_client::errors::OciDistributionError;
use oci_spec::image::{Descriptor, DescriptorBuilder, Digest, MediaType};
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use sha2::{Digest as _, Sha256};
use tokio_util::io::ReaderStream;

use futures_util::StreamExt as _;

use crate::patience::{Patience, watched};
use crate::{Manifest, RegistryError, Repository, Watch};

/// A request carries at most so many bytes: registries limit them, and a slow link takes its time.
const CHUNK_BYTES: usize = 2 << 20;

impl Repository {
    /// Pushes a file as a blob, unless the repository has it; answers its descriptor. The file is read twice:
    /// its digest comes first.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn push_blob(
        &self,
        path: &Path,
        media_type: MediaType,
        watch: Watch<'_>,
    ) -> Result<Descriptor, RegistryError> {
        let failed = |source| RegistryError::File { action: "read", path: path.into(), source };
        let mut file = File::open(path).map_err(failed)?;
        let mut hash = Sha256::new();
        let len = io::copy(&mut file, &mut HashWriter(&mut hash)).map_err(failed)?;
        let descriptor = descriptor_of(&hash.finalize().into(), len, media_type)?;
        self.runtime.block_on(self.push_checked(&Content::File(path), &descriptor, watch))?;
        Ok(descriptor)
    }

    /// Pushes a few bytes as a blob.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn push_bytes(
        &self,
        bytes: &[u8],
        media_type: MediaType,
        watch: Watch<'_>,
    ) -> Result<Descriptor, RegistryError> {
        let descriptor = descriptor_of(&Sha256::digest(bytes).into(), bytes.len() as u64, media_type)?;
        self.runtime.block_on(self.push_checked(&Content::Bytes(bytes), &descriptor, watch))?;
        Ok(descriptor)
    }

    /// Pushes a manifest under its digest, or under a tag.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn push_manifest(
        &self,
        bytes: Vec<u8>,
        media_type: MediaType,
        tag: Option<&str>,
        watch: Watch<'_>,
    ) -> Result<Manifest, RegistryError> {
        let manifest = Manifest { sha256: Sha256::digest(&bytes).into(), bytes, media_type };
        let name = tag.map_or_else(|| manifest.digest(), str::to_owned);
        self.runtime.block_on(self.put_manifest(&manifest, &name, watch))?;
        Ok(manifest)
    }

    async fn push_checked(
        &self,
        content: &Content<'_>,
        descriptor: &Descriptor,
        watch: Watch<'_>,
    ) -> Result<(), RegistryError> {
        // The client signs in by itself, with what it is given here.
        self.oci.store_auth_if_needed(self.reference.resolve_registry(), &self.auth).await;
        let name = descriptor.digest().to_string();
        let failed = |source: OciDistributionError| match source {
            OciDistributionError::UnauthorizedError { .. } => {
                RegistryError::Denied { what: self.name_of(&name), status: 401 }
            }
            source => RegistryError::Session {
                what: format!("pushing {}", self.name_of(&name)),
                source: source.into(),
            },
        };
        let mut patience = Patience::new(&self.settings);
        loop {
            let pushed = match watched(self.oci.blob_exists(&self.reference, &name), watch).await? {
                Ok(true) => return Ok(()),
                Ok(false) => self.upload(content, descriptor, watch).await?,
                Err(error) => Err(error),
            };
            match pushed {
                Ok(()) => return Ok(()),
                Err(error) => patience.pause(failed(error), watch).await?,
            }
        }
    }

    /// One try. The inner error is the client's.
    async fn upload(
        &self,
        content: &Content<'_>,
        descriptor: &Descriptor,
        watch: Watch<'_>,
    ) -> Result<Result<(), OciDistributionError>, RegistryError> {
        let name = descriptor.digest().to_string();
        let path = match content {
            Content::Bytes(bytes) => {
                let pushed = self.oci.push_blob(&self.reference, bytes.to_vec(), &name);
                return Ok(watched(pushed, watch).await?.map(drop));
            }
            Content::File(path) => path,
        };
        let failed = |source| RegistryError::File { action: "read", path: (*path).into(), source };
        let file = tokio::fs::File::open(path).await.map_err(failed)?;
        // The stream belongs to the client; only a count comes back.
        let sent = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&sent);
        let stream = ReaderStream::with_capacity(file, CHUNK_BYTES).map(move |chunk| {
            let chunk = chunk.map_err(OciDistributionError::from)?;
            counted.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            Ok(chunk)
        });
        let told = Cell::new(0);
        let tell = |_| watch(sent.load(Ordering::Relaxed) - told.replace(sent.load(Ordering::Relaxed)));
        let pushed = self.oci.push_blob_stream(&self.reference, stream, &name, Some(descriptor.size()));
        Ok(watched(pushed, &tell).await?.map(drop))
    }

    pub(crate) async fn put_manifest(
        &self,
        manifest: &Manifest,
        name: &str,
        watch: Watch<'_>,
    ) -> Result<(), RegistryError> {
        let mut patience = Patience::new(&self.settings);
        let url = format!("{}/manifests/{name}", self.url);
        let media_type = manifest.media_type.to_string();
        let request = |http: &reqwest::Client| {
            http.put(&url).header(CONTENT_TYPE, &media_type).body(manifest.bytes.clone())
        };
        loop {
            let error = match self.send(RegistryOperation::Push, request, watch).await {
                Ok(answer) if answer.status() == StatusCode::CREATED => return Ok(()),
                Ok(answer) => self.refusal(name, answer.status()),
                Err(error) => error,
            };
            patience.pause(error, watch).await?;
        }
    }
}

enum Content<'a> {
    File(&'a Path),
    Bytes(&'a [u8]),
}

fn descriptor_of(
    sha256: &Sha256Digest,
    len: u64,
    media_type: MediaType,
) -> Result<Descriptor, RegistryError> {
    let malformed = |reason: String| RegistryError::Malformed { what: digest_text(sha256), reason };
    let digest: Digest = digest_text(sha256).parse().map_err(|error| malformed(format!("{error}")))?;
    let builder = DescriptorBuilder::default().media_type(media_type).digest(digest).size(len);
    builder.build().map_err(|error| malformed(error.to_string()))
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
