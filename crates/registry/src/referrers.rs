//! What refers to an image (OCI Distribution Specification 1.1, "Listing Referrers" and "Referrers Tag
//! Schema").

use fluvial_image::oci::DOCUMENT_BYTES_MAX;
use oci_client::RegistryOperation;
use oci_spec::image::{Descriptor, ImageIndex, MediaType};
use reqwest::header::{ACCEPT, LINK};
use reqwest::{StatusCode, Url};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::patience::Patience;
use crate::{Manifest, RegistryError, Repository, Watch};

const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// Pages of a list at most.
const PAGES_MAX: usize = 16;
/// How often the list under the fallback tag is written, if others write it at the same time.
const WRITES_MAX: usize = 4;

impl Repository {
    /// The manifests of `artifact_type` whose `subject` is `subject`, a digest. Where the registry lacks the
    /// referrers API, the fallback tag is read.
    ///
    /// # Errors
    /// [`RegistryError`]; a list that is not there is an empty one.
    pub fn referrers(
        &self,
        subject: &str,
        artifact_type: &str,
        watch: Watch<'_>,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let wanted = MediaType::Other(artifact_type.into());
        let mut all = self.runtime.block_on(async {
            match self.list_referrers(subject, artifact_type, watch).await? {
                Some(all) => Ok(all),
                None => self.list_fallback(subject, watch).await,
            }
        })?;
        // A registry need not choose for us.
        all.retain(|one| one.artifact_type().as_ref() == Some(&wanted));
        Ok(all)
    }

    /// Sees to it that a manifest that was pushed is listed among the referrers of its subject. A registry
    /// with the referrers API does so by itself; elsewhere it is added to the list under the fallback tag,
    /// whose other entries stay. `entry` is its descriptor, with artifact type and annotations.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn add_referrer(
        &self,
        subject: &str,
        artifact_type: &str,
        entry: &Value,
        watch: Watch<'_>,
    ) -> Result<(), RegistryError> {
        self.runtime.block_on(async {
            if self.list_referrers(subject, artifact_type, watch).await?.is_some() {
                return Ok(());
            }
            // Registries have no way to write only what nobody else has written meanwhile: what was written
            // is read again.
            for _ in 0..WRITES_MAX {
                let mut index = self.fallback_index(subject, watch).await?;
                if !add_entry(&mut index, entry) {
                    return Ok(());
                }
                let bytes = index.to_string().into_bytes();
                if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
                    let what = self.name_of(&fallback_tag(subject));
                    return Err(RegistryError::TooLong { what, limit: DOCUMENT_BYTES_MAX });
                }
                let sha256 = Sha256::digest(&bytes).into();
                let manifest = Manifest { bytes, sha256, media_type: MediaType::ImageIndex };
                self.put_manifest(&manifest, &fallback_tag(subject), watch).await?;
            }
            let reason = "others write it at the same time".into();
            Err(RegistryError::Malformed { what: self.name_of(&fallback_tag(subject)), reason })
        })
    }

    /// The list of the API; `None` where the registry has none.
    async fn list_referrers(
        &self,
        subject: &str,
        artifact_type: &str,
        watch: Watch<'_>,
    ) -> Result<Option<Vec<Descriptor>>, RegistryError> {
        let what = format!("referrers of {subject}");
        let malformed = |reason: String| RegistryError::Malformed { what: self.name_of(&what), reason };
        let parsed = Url::parse_with_params(
            &format!("{}/referrers/{subject}", self.url),
            [("artifactType", artifact_type)],
        );
        let mut url = parsed.map_err(|error| malformed(error.to_string()))?;
        let mut all = Vec::new();
        for _ in 0..PAGES_MAX {
            let Some((bytes, next)) = self.list_page(&url, &what, watch).await? else { return Ok(None) };
            let index: ImageIndex =
                serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
            all.extend_from_slice(index.manifests());
            match next {
                // Credentials go along: nowhere else.
                Some(next) if next.origin() == url.origin() => url = next,
                _ => break,
            }
        }
        Ok(Some(all))
    }

    /// One page, and where the next one is.
    async fn list_page(
        &self,
        url: &Url,
        what: &str,
        watch: Watch<'_>,
    ) -> Result<Option<(Vec<u8>, Option<Url>)>, RegistryError> {
        let mut patience = Patience::new(&self.settings);
        let request = |http: &reqwest::Client| http.get(url.clone()).header(ACCEPT, INDEX_TYPE);
        loop {
            let error = match self.send(RegistryOperation::Pull, request, watch).await {
                Ok(answer) if answer.status() == StatusCode::OK => {
                    let link = answer.headers().get(LINK).and_then(|link| link.to_str().ok());
                    let next = link.and_then(next_of).and_then(|next| url.join(next).ok());
                    match self.body(answer, what, DOCUMENT_BYTES_MAX, watch).await {
                        Ok(bytes) => return Ok(Some((bytes, next))),
                        Err(error) => error,
                    }
                }
                Ok(answer) if lacks_api(answer.status()) => return Ok(None),
                Ok(answer) => self.refusal(what, answer.status()),
                Err(error) => error,
            };
            patience.pause(error, watch).await?;
        }
    }

    async fn list_fallback(&self, subject: &str, watch: Watch<'_>) -> Result<Vec<Descriptor>, RegistryError> {
        let index = self.fallback_index(subject, watch).await?;
        let malformed = |error: serde_json::Error| RegistryError::Malformed {
            what: self.name_of(&fallback_tag(subject)),
            reason: error.to_string(),
        };
        let index: ImageIndex = serde_json::from_value(index).map_err(malformed)?;
        Ok(index.manifests().clone())
    }

    /// The index under the fallback tag; an empty one where there is none.
    async fn fallback_index(&self, subject: &str, watch: Watch<'_>) -> Result<Value, RegistryError> {
        let tag = fallback_tag(subject);
        let manifest = match self.fetch_manifest(&tag, watch).await {
            Err(RegistryError::Missing { .. }) => {
                return Ok(json!({ "schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [] }));
            }
            manifest => manifest?,
        };
        let malformed = |reason: String| RegistryError::Malformed { what: self.name_of(&tag), reason };
        let index: Value =
            serde_json::from_slice(&manifest.bytes).map_err(|error| malformed(error.to_string()))?;
        if manifest.media_type == MediaType::ImageIndex && index["manifests"].is_array() {
            return Ok(index);
        }
        Err(malformed("it is no index".into()))
    }
}

/// Adds an entry to an index, or takes the place of that with the same digest; answers whether anything has
/// changed.
fn add_entry(index: &mut Value, entry: &Value) -> bool {
    let Some(entries) = index["manifests"].as_array_mut() else { return false };
    match entries.iter_mut().find(|one| one["digest"] == entry["digest"]) {
        Some(one) if one == entry => return false,
        Some(one) => *one = entry.clone(),
        None => entries.push(entry.clone()),
    }
    true
}

/// How registries say that they have no referrers API: 404 as specified, others as older ones answer to paths
/// that they do not know.
fn lacks_api(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NOT_FOUND
            | StatusCode::BAD_REQUEST
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::NOT_IMPLEMENTED
    )
}

fn fallback_tag(subject: &str) -> String {
    subject.replacen(':', "-", 1)
}

/// The next page, as a `Link` header tells it (RFC 8288): `</v2/...>; rel="next"`.
fn next_of(link: &str) -> Option<&str> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    (parameters.contains("rel=\"next\"") || parameters.contains("rel=next")).then_some(target)
}

#[cfg(test)]
mod tests {
    use fluvial_image::oci::digest_text;

    use super::*;

    #[test]
    fn other_entries_stay() {
        let other = json!({ "digest": "sha256:aa", "size": 1, "unknown": [1, 2] });
        let mut index = json!({ "schemaVersion": 2, "manifests": [other], "more": true });
        let entry = json!({ "digest": "sha256:bb", "size": 2 });
        assert!(add_entry(&mut index, &entry));
        assert!(!add_entry(&mut index, &entry), "it is there already");
        assert_eq!(index, json!({ "schemaVersion": 2, "manifests": [other, entry], "more": true }));
        let again = json!({ "digest": "sha256:bb", "size": 2, "annotations": {} });
        assert!(add_entry(&mut index, &again));
        assert_eq!(index["manifests"], json!([other, again]));
    }

    #[test]
    fn the_next_page_is_found() {
        assert_eq!(next_of("</v2/a/referrers/x?n=1>; rel=\"next\""), Some("/v2/a/referrers/x?n=1"));
        assert_eq!(next_of("</v2/a>; rel=\"prev\""), None);
        assert_eq!(next_of("nonsense"), None);
    }

    #[test]
    fn the_fallback_tag_is_a_tag() {
        let digest = digest_text(&[0xab; 32]);
        assert_eq!(fallback_tag(&digest), format!("sha256-{}", "ab".repeat(32)));
    }
}
