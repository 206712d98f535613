//! Signatures of a description, in the three ways that `SWUpdate` can be built for: CMS with a certificate, RSA
//! with PKCS#1 v1.5, RSA with PSS. All over SHA-256.
//!
//! A [`Signer`] makes them, a [`Verifier`] checks them. CMS is what `openssl cms -sign -binary -nosmimecap
//! -outform DER` makes (RFC 5652, detached, with signed attributes); the raw ones are what `openssl dgst -sha256
//! -sign` makes. Salts of PSS are as long as the digest: `SWUpdate` takes any (`rsa_pss_saltlen:-2`).
//!
//! AWS-LC computes. Chains of certificates are followed by `rustls-webpki`, messages and certificates read by
//! the crates `cms` and `x509-cert`.

mod certificate;
mod cms;
mod error;
mod info;
mod key;
mod raw;

pub use certificate::{Certificate, Purpose};
pub use error::{KeyError, SignError, VerifyError};
pub use info::SignatureInfo;
pub use key::{PrivateKey, PublicKey};

use crate::limits::SIGNATURE_BYTES_MAX;

/// A moment: seconds since 1970 began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixSeconds(pub u64);

/// Signs descriptions.
#[derive(Debug)]
pub enum Signer {
    /// CMS.
    Cms(Box<CmsSigner>),
    /// RSA with PKCS#1 v1.5.
    Rsa(PrivateKey),
    /// RSA with PSS.
    Pss(PrivateKey),
}

/// A key, its certificate, and those that lead to one that devices trust.
#[derive(Debug)]
pub struct CmsSigner {
    key: PrivateKey,
    certificate: Certificate,
    chain: Vec<Certificate>,
    purpose: Purpose,
}

/// Verifies descriptions.
#[derive(Debug)]
pub enum Verifier {
    /// CMS.
    Cms {
        /// Certificates that are trusted, and may have issued others.
        trusted: Vec<Certificate>,
        /// What the signer's certificate must be for.
        purpose: Purpose,
    },
    /// RSA with PKCS#1 v1.5.
    Rsa(PublicKey),
    /// RSA with PSS.
    Pss(PublicKey),
}

impl CmsSigner {
    /// Takes a key and its certificates: the signer's first.
    ///
    /// # Errors
    /// [`SignError::NoCertificate`], [`SignError::OtherKey`] if the certificate is of another key, and
    /// [`SignError::Certificate`] if it is not for this purpose.
    pub fn new(key: PrivateKey, certificates: Vec<Certificate>, purpose: Purpose) -> Result<Self, SignError> {
        let mut chain = certificates.into_iter();
        let certificate = chain.next().ok_or(SignError::NoCertificate)?;
        if !key.is_of(certificate.public_key()) {
            return Err(SignError::OtherKey);
        }
        certificate.check_purpose(purpose).map_err(SignError::Certificate)?;
        Ok(Self { key, certificate, chain: chain.collect(), purpose })
    }

    /// What its certificate is for.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }
}

impl Signer {
    /// Signs. `time` is when, which CMS says too.
    ///
    /// # Errors
    /// [`SignError::Certificate`] if the certificate is not valid at the time; [`SignError::NotRsa`].
    pub fn sign(&self, content: &[u8], time: UnixSeconds) -> Result<Vec<u8>, SignError> {
        match self {
            Self::Cms(signer) => cms::sign(signer, content, time),
            Self::Rsa(key) => raw::sign_pkcs1(key, content),
            Self::Pss(key) => raw::sign_pss(key, content),
        }
    }
}

impl Verifier {
    /// Verifies a signature at a time.
    ///
    /// # Errors
    /// Every way that it is refused.
    pub fn verify(&self, content: &[u8], signature: &[u8], time: UnixSeconds) -> Result<(), VerifyError> {
        if signature.len() > SIGNATURE_BYTES_MAX {
            return Err(VerifyError::TooLong);
        }
        match self {
            Self::Cms { trusted, purpose } => cms::verify(trusted, *purpose, content, signature, time),
            Self::Rsa(key) => raw::verify_pkcs1(key, content, signature),
            Self::Pss(key) => raw::verify_pss(key, content, signature),
        }
    }
}
