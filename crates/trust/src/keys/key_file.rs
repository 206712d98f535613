//! One key: Ed25519 (RFC 8032) in PKCS#8 (RFC 8410) in PEM (RFC 7468), as `openssl genpkey` makes them.

use std::error::Error;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::signature::Ed25519KeyPair;
use tough::key_source::KeySource;
use tough::schema::decoded::{Decoded, Hex};
use tough::schema::key::Key;
use tough::sign::Sign;

use super::{KeyError, failed_to_write, read};
use crate::disk;
use crate::limits::{KEY_FILE_BYTES_MAX, KEY_FILES_MAX};

const PEM_TAG: &str = "PRIVATE KEY";
/// So much of a key's id is its file's name.
const NAME_DIGITS: usize = 16;

/// A key that can sign, and where it stands.
#[derive(Clone)]
pub(crate) struct KeyFile {
    path: PathBuf,
    id: Decoded<Hex>,
    public: Key,
    der: Vec<u8>,
}

impl KeyFile {
    /// Makes a new key, which will stand in this folder. Nothing is written yet.
    pub(super) fn generate(folder: &Path) -> Result<Self, KeyError> {
        let failed = |_| KeyError::System { source: "no new key can be made".into() };
        let pair = Ed25519KeyPair::generate().map_err(failed)?;
        // Version 1 is what other programs read.
        let der: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
        Self::from_der(folder.to_owned(), der.as_ref().to_vec()).map(|mut key| {
            key.path = folder.join(format!("{}.pem", &hex::encode(&key.id)[..NAME_DIGITS]));
            key
        })
    }

    /// The keys in a folder; none where there is no folder.
    pub(super) fn all_in(folder: &Path) -> Result<Vec<Self>, KeyError> {
        let failed = |source| KeyError::File { action: "read", path: folder.into(), source };
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "pem") {
                paths.push(path);
            }
            if paths.len() > KEY_FILES_MAX {
                return Err(KeyError::TooMany { path: folder.into(), limit: KEY_FILES_MAX });
            }
        }
        paths.sort();
        paths.into_iter().map(Self::open).collect()
    }

    fn open(path: PathBuf) -> Result<Self, KeyError> {
        let bytes = read(&path, KEY_FILE_BYTES_MAX)?;
        match pem::parse(&bytes) {
            Ok(pem) if pem.tag() == PEM_TAG => Self::from_der(path, pem.into_contents()),
            _ => Err(KeyError::Key { path }),
        }
    }

    fn from_der(path: PathBuf, der: Vec<u8>) -> Result<Self, KeyError> {
        let Ok(pair) = Ed25519KeyPair::from_pkcs8(&der) else { return Err(KeyError::Key { path }) };
        let public = pair.tuf_key();
        let id = public.key_id().map_err(|error| KeyError::System { source: error.into() })?;
        Ok(Self { path, id, public, der })
    }

    /// Writes it to its place, for its owner alone.
    pub(super) fn write(&self) -> Result<(), KeyError> {
        let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        let text = pem::encode_config(&pem::Pem::new(PEM_TAG, self.der.clone()), config);
        disk::write_new(&self.path, text.as_bytes(), 0o600).map_err(failed_to_write(&self.path))
    }

    /// The SHA-256 of its public half (TUF 4.2).
    pub(super) fn id(&self) -> &Decoded<Hex> {
        &self.id
    }

    /// Its public half.
    pub(super) fn public(&self) -> &Key {
        &self.public
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// For the library that signs.
    pub(crate) fn source(&self) -> Box<dyn KeySource> {
        Box::new(self.clone())
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nobody is shown the secret.
        f.debug_struct("KeyFile").field("path", &self.path).finish_non_exhaustive()
    }
}

#[async_trait]
impl KeySource for KeyFile {
    async fn as_sign(&self) -> Result<Box<dyn Sign>, Box<dyn Error + Send + Sync + 'static>> {
        Ok(Box::new(Ed25519KeyPair::from_pkcs8(&self.der)?))
    }

    async fn write(&self, _: &str, _: &str) -> Result<(), Box<dyn Error + Send + Sync + 'static>> {
        Err("keys are not written by the library".into())
    }
}
