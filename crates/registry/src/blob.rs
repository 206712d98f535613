//! Blobs, fetched so that nothing has to come twice.

use std::fs;
use std::path::{Path, PathBuf};

use fluvial_delta::header::Sha256Digest;
use fluvial_image::oci::{digest_text, sha256_of};
use oci_client::RegistryOperation;
use oci_spec::image::Descriptor;
use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Response, StatusCode};

use crate::part::Part;
use crate::patience::{Patience, watched};
use crate::{RegistryError, Repository, Watch};

/// What a blob must be.
struct Wanted {
    /// Its digest, as registries write it.
    name: String,
    sha256: Sha256Digest,
    len: u64,
}

impl Repository {
    /// Fetches a blob to `FOLDER/HEX`, HEX being its SHA-256; answers that path. What an earlier call has
    /// left in `FOLDER/HEX.part` is gone on from. A file of that name and the right length is taken as it is.
    ///
    /// # Errors
    /// [`RegistryError`]. What has come is kept, unless it is wrong.
    pub fn blob(
        &self,
        descriptor: &Descriptor,
        folder: &Path,
        watch: Watch<'_>,
    ) -> Result<PathBuf, RegistryError> {
        let wanted = Wanted::new(descriptor)?;
        let path = folder.join(wanted.hex());
        if is_there(&path, &wanted) {
            return Ok(path);
        }
        let mut part = Part::open(&part_of(&path), wanted.len)?;
        self.runtime.block_on(self.fill(&mut part, &wanted, wanted.len, watch))?;
        part.publish(&path)?;
        Ok(path)
    }

    /// Fetches the first `len` bytes of a blob, or all of a shorter one, unless they are there already.
    /// [`Repository::blob`] goes on from there. **The bytes are not compared with the digest**: that takes
    /// all of them.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn blob_start(
        &self,
        descriptor: &Descriptor,
        len: u64,
        folder: &Path,
        watch: Watch<'_>,
    ) -> Result<Vec<u8>, RegistryError> {
        let wanted = Wanted::new(descriptor)?;
        let len = len.min(wanted.len);
        let path = folder.join(wanted.hex());
        let at = if is_there(&path, &wanted) { path } else { part_of(&path) };
        let mut part = Part::open(&at, wanted.len)?;
        self.runtime.block_on(self.fill(&mut part, &wanted, len, watch))?;
        part.start(len)
    }

    /// Fetches until `until` bytes are there; checks the digest when it is all of them.
    async fn fill(
        &self,
        part: &mut Part,
        wanted: &Wanted,
        until: u64,
        watch: Watch<'_>,
    ) -> Result<(), RegistryError> {
        let mut patience = Patience::new(&self.settings);
        let mut furthest = part.len();
        // What an earlier process has left may be wrong, and so the range that is asked for.
        let mut may_start_over = part.len() > 0;
        loop {
            while part.len() < until {
                match self.fill_once(part, wanted, until, watch).await {
                    Ok(()) => {}
                    Err(RegistryError::Range { .. }) if may_start_over => {
                        may_start_over = false;
                        part.clear()?;
                    }
                    Err(error) => {
                        if part.len() > furthest {
                            furthest = part.len();
                            may_start_over = true;
                            patience.renew();
                        }
                        patience.pause(error, watch).await?;
                    }
                }
            }
            if part.len() < wanted.len || part.sha256() == wanted.sha256 {
                return Ok(());
            }
            part.clear()?;
            if !may_start_over {
                return Err(RegistryError::Digest { what: self.name_of(&wanted.name) });
            }
            may_start_over = false;
        }
    }

    /// One request.
    async fn fill_once(
        &self,
        part: &mut Part,
        wanted: &Wanted,
        until: u64,
        watch: Watch<'_>,
    ) -> Result<(), RegistryError> {
        let url = format!("{}/blobs/{}", self.url, wanted.name);
        let range = match (part.len(), until) {
            (0, until) if until == wanted.len => None,
            (from, until) if until == wanted.len => Some(format!("bytes={from}-")),
            (from, until) => Some(format!("bytes={from}-{}", until - 1)),
        };
        let request = |http: &reqwest::Client| {
            let request = http.get(&url);
            range.iter().fold(request, |request, range| request.header(RANGE, range))
        };
        let mut answer = self.send(RegistryOperation::Pull, request, watch).await?;
        let out_of_range = || RegistryError::Range { what: self.name_of(&wanted.name), offset: part.len() };
        match answer.status() {
            StatusCode::PARTIAL_CONTENT if starts_at(&answer, part.len(), wanted.len) => {}
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => return Err(out_of_range()),
            // The whole blob: the server knows no ranges.
            StatusCode::OK => part.clear()?,
            status => return Err(self.refusal(&wanted.name, status)),
        }
        let too_long = || RegistryError::TooLong { what: self.name_of(&wanted.name), limit: wanted.len };
        if answer.content_length().is_some_and(|len| len > wanted.len - part.len()) {
            return Err(too_long());
        }
        let cut = |source| RegistryError::Cut { what: self.name_of(&wanted.name), source };
        while let Some(chunk) = watched(answer.chunk(), watch).await?.map_err(|error| cut(Some(error)))? {
            if chunk.len() as u64 > wanted.len - part.len() {
                part.clear()?;
                return Err(too_long());
            }
            part.append(&chunk)?;
            self.count(chunk.len(), watch)?;
            if part.len() >= until && until < wanted.len {
                return Ok(());
            }
        }
        if part.len() < until { Err(cut(None)) } else { Ok(()) }
    }
}

impl Wanted {
    fn new(descriptor: &Descriptor) -> Result<Self, RegistryError> {
        let digest = descriptor.digest();
        let sha256 = sha256_of(digest).ok_or_else(|| RegistryError::Malformed {
            what: digest.to_string(),
            reason: "only SHA-256 is known here".into(),
        })?;
        Ok(Self { name: digest_text(&sha256), sha256, len: descriptor.size() })
    }

    fn hex(&self) -> &str {
        self.name.trim_start_matches("sha256:")
    }
}

fn part_of(path: &Path) -> PathBuf {
    path.with_extension("part")
}

fn is_there(path: &Path, wanted: &Wanted) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == wanted.len)
}

/// Whether an answer holds the bytes from `offset` on, of a blob of `len` (RFC 9110, 14.4).
fn starts_at(answer: &Response, offset: u64, len: u64) -> bool {
    let range = answer.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let Some((range, whole)) = range.and_then(|range| range.strip_prefix("bytes ")?.split_once('/')) else {
        return false;
    };
    let from = range.split('-').next().and_then(|from| from.parse().ok());
    from == Some(offset) && (whole == "*" || whole.parse() == Ok(len))
}
