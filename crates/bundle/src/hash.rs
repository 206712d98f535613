//! The hashes that chunks may be told by.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256, Sha512_256};
use thiserror::Error;

/// A hash function with a digest of 32 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum HashKind {
    /// BLAKE3: the fastest without help from the processor.
    #[default]
    Blake3,
    /// SHA-256 (FIPS 180-4).
    Sha256,
    /// SHA-512/256 (FIPS 180-4).
    Sha512_256,
}

/// It is no hash that is known here.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0:?} is no hash that is known here: take blake3, sha256 or sha512-256")]
pub struct UnknownHash(String);

impl HashKind {
    const ALL: [Self; 3] = [Self::Blake3, Self::Sha256, Self::Sha512_256];

    /// The digest of these bytes.
    pub fn digest(self, bytes: &[u8]) -> [u8; 32] {
        match self {
            Self::Blake3 => *blake3::hash(bytes).as_bytes(),
            Self::Sha256 => Sha256::digest(bytes).into(),
            Self::Sha512_256 => Sha512_256::digest(bytes).into(),
        }
    }

    /// Hashes bytes that come one after another.
    pub fn hasher(self) -> Hasher {
        match self {
            Self::Blake3 => Hasher::Blake3(Box::default()),
            Self::Sha256 => Hasher::Sha256(Sha256::default()),
            Self::Sha512_256 => Hasher::Sha512_256(Sha512_256::default()),
        }
    }

    /// The number that stands for it in files.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// The hash of a number.
    pub(crate) fn of_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| hash.code() == code)
    }
}

/// A digest in the making.
#[derive(Debug, Clone)]
pub enum Hasher {
    /// BLAKE3.
    Blake3(Box<blake3::Hasher>),
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-512/256.
    Sha512_256(Sha512_256),
}

impl Hasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Blake3(hasher) => {
                hasher.update(bytes);
            }
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512_256(hasher) => hasher.update(bytes),
        }
    }

    /// The digest of all that came.
    pub fn finish(self) -> [u8; 32] {
        match self {
            Self::Blake3(hasher) => *hasher.finalize().as_bytes(),
            Self::Sha256(hasher) => hasher.finalize().into(),
            Self::Sha512_256(hasher) => hasher.finalize().into(),
        }
    }
}

impl fmt::Display for HashKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blake3 => "blake3",
            Self::Sha256 => "sha256",
            Self::Sha512_256 => "sha512-256",
        })
    }
}

impl FromStr for HashKind {
    type Err = UnknownHash;

    fn from_str(text: &str) -> Result<Self, UnknownHash> {
        let hash = Self::ALL.into_iter().find(|hash| hash.to_string() == text);
        hash.ok_or_else(|| UnknownHash(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standards() {
        let hex = |hash: HashKind| hex::encode(hash.digest(b"abc"));
        assert_eq!(hex(HashKind::Sha256), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(
            hex(HashKind::Sha512_256),
            "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"
        );
        assert_eq!(hex(HashKind::Blake3), "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85");
    }

    #[test]
    fn bytes_may_come_one_after_another() {
        for hash in HashKind::ALL {
            let mut hasher = hash.hasher();
            hasher.update(b"a");
            hasher.update(b"bc");
            assert_eq!(hasher.finish(), hash.digest(b"abc"));
        }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for hash in HashKind::ALL {
            assert_eq!(hash.to_string().parse(), Ok(hash));
            assert_eq!(HashKind::of_code(hash.code()), Some(hash));
        }
        assert!("md5".parse::<HashKind>().is_err());
    }
}
