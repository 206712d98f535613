//! The route by a patch.

use std::io;

use fluvial_console::{Fault, Kind, open};
use fluvial_delta::apply::ApplyError;
use fluvial_delta::header::{Header, HeaderError};
use fluvial_delta::structure::ReadAt;
use fluvial_image::oci::digest_text;
use oci_spec::image::{Descriptor, ImageManifest};

use super::super::CONFIG_TARGET;
use super::super::apply::apply_to;
use super::super::old::OldImage;
use super::super::push_delta::{OLD_CONFIG_ANNOTATION, PATCH_BYTES_ANNOTATION, PATCH_TYPE};
use super::{Outcome, Pull, Route, passed};
use crate::command::apply::check_memory;

/// Patches of one image that are looked at, at most.
const PATCHES_MAX: usize = 16;
/// What is fetched at first, in bytes: the headers of most patches fit.
const HEADER_STEP_BYTES: u64 = 64 << 10;

impl Pull<'_> {
    /// Tries the patches from `old`, the smallest first. `None` where none will do; `reasons` says why.
    ///
    /// # Errors
    /// What would fail on every route.
    pub(super) fn by_patch(
        &self,
        old: &OldImage<'_>,
        reasons: &mut Vec<String>,
    ) -> Result<Option<Outcome>, Fault> {
        let patches = match self.patches_from(old) {
            Ok(patches) => patches,
            Err(fault) => {
                reasons.push(format!("the list of patches: {}", passed(fault)?));
                return Ok(None);
            }
        };
        if patches.is_empty() {
            reasons.push(format!("no patch from {}", digest_text(&old.config_digest())));
        }
        for artifact in patches {
            match self.try_patch(&artifact, old) {
                Ok(outcome) => return Ok(Some(outcome)),
                Err(fault) => reasons.push(format!("the patch {}: {}", artifact.digest(), passed(fault)?)),
            }
        }
        Ok(None)
    }

    /// The artifacts that say that they hold a patch from `old`, the smallest first.
    fn patches_from(&self, old: &OldImage<'_>) -> Result<Vec<Descriptor>, Fault> {
        let subject = self.image.manifest.digest();
        let mut patches = self.repository.referrers(&subject, PATCH_TYPE, &self.watch())?;
        let old_config = digest_text(&old.config_digest());
        let annotation =
            |one: &Descriptor, key: &str| one.annotations().as_ref().and_then(|all| all.get(key)).cloned();
        patches.retain(|one| annotation(one, OLD_CONFIG_ANNOTATION).as_deref() == Some(&old_config));
        patches.sort_by_key(|one| {
            let bytes = annotation(one, PATCH_BYTES_ANNOTATION).and_then(|bytes| bytes.parse().ok());
            bytes.unwrap_or(u64::MAX)
        });
        patches.truncate(PATCHES_MAX);
        Ok(patches)
    }

    fn try_patch(&self, artifact: &Descriptor, old: &OldImage<'_>) -> Result<Outcome, Fault> {
        let manifest = self.repository.manifest(artifact.digest().as_ref(), &self.watch())?;
        let unusable = |reason: &str| Fault::new(Kind::Registry, reason.to_owned());
        let parsed: ImageManifest = serde_json::from_slice(&manifest.bytes)
            .map_err(|error| unusable(&format!("its manifest cannot be read: {error}")))?;
        let [blob] = &parsed.layers()[..] else { return Err(unusable("it is not one patch")) };
        let pull_bytes = self.missing_bytes(old);
        if blob.size() >= pull_bytes {
            let message =
                format!("it has {} bytes, the layers that OLD lacks have {pull_bytes}", blob.size());
            return Err(unusable(&message));
        }
        self.check_header(&self.header_of(blob)?, old)?;

        self.progress.phase("fetching", blob.size());
        let patch = self.repository.blob(blob, &self.cache.blobs()?, &self.watch())?;
        let made = apply_to(old, &open(&patch)?, &self.arguments.to, self.access)?;
        Ok(Outcome {
            route: Route::Patch,
            reasons: Vec::new(),
            image_digest: made.image_digest,
            layers: made.layers,
            layers_new: made.layers_made,
            fetched_bytes: 0,
        })
    }

    /// Fetches no more of a patch than it takes to read its header.
    fn header_of(&self, blob: &Descriptor) -> Result<Header, Fault> {
        let mut len = HEADER_STEP_BYTES;
        loop {
            let bytes = self.repository.blob_start(blob, len, &self.cache.blobs()?, &self.watch())?;
            match Header::read(&Start { bytes, len: blob.size() }) {
                Ok((header, _)) => return Ok(header),
                // The limit of a header's length ends this.
                Err(HeaderError::Read(_)) if len < blob.size() => len = len.saturating_mul(4),
                Err(error) => return Err(ApplyError::Header(error).into()),
            }
        }
    }

    /// Finds out whether applying would work, before the patch is fetched.
    fn check_header(&self, header: &Header, old: &OldImage<'_>) -> Result<(), Fault> {
        let config = self.image.parsed.config().digest().to_string();
        let makes = header.targets.first().filter(|first| first.name == CONFIG_TARGET);
        if makes.is_none_or(|target| digest_text(&target.sha256) != config) {
            return Err(Fault::new(Kind::Registry, "it makes another image"));
        }
        check_memory(header, self.arguments.memory_limit)?;
        old.checked_sources(header).map(drop)
    }
}

/// The start of a longer stream.
struct Start {
    bytes: Vec<u8>,
    len: u64,
}

impl ReadAt for Start {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let range = offset as usize..offset as usize + buf.len();
        let bytes = self.bytes.get(range).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(bytes);
        Ok(())
    }
}
