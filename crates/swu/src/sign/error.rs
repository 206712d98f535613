//! Every way that keys and signatures are refused.

use crate::limits::{CERTIFICATES_MAX, KEY_FILE_BYTES_MAX, RSA_BITS_MAX, RSA_BITS_MIN, SIGNATURE_BYTES_MAX};

/// What is wrong with a key or a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The file is too long.
    #[error("a file of keys or certificates has more than {KEY_FILE_BYTES_MAX} bytes")]
    TooLong,
    /// The file is no PEM, or has none of what is looked for.
    #[error("there is no {wanted} in PEM")]
    NotPem {
        /// What is looked for.
        wanted: &'static str,
    },
    /// The key is behind a password.
    #[error("the private key is encrypted: decrypt it first (openssl pkcs8)")]
    Encrypted,
    /// The key is damaged, or of a kind that is not known.
    #[error("the key is neither RSA nor on the curve P-256, or it is damaged")]
    Unknown,
    /// The RSA key is too short or too long.
    #[error("an RSA key of {bits} bits; from {RSA_BITS_MIN} to {RSA_BITS_MAX} are taken")]
    RsaBits {
        /// The length of its modulus.
        bits: usize,
    },
    /// The certificate cannot be read.
    #[error("the certificate is damaged")]
    Certificate,
    /// There are too many certificates.
    #[error("more than {CERTIFICATES_MAX} certificates")]
    TooMany,
}

/// Why nothing was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// CMS needs a certificate.
    #[error("there is no certificate")]
    NoCertificate,
    /// The certificate is of another key.
    #[error("the certificate is not that of the key")]
    OtherKey,
    /// Devices would refuse the certificate.
    #[error("devices would refuse the certificate")]
    Certificate(#[source] VerifyError),
    /// Signatures without CMS are made with RSA only.
    #[error("a signature without CMS needs an RSA key")]
    NotRsa,
    /// The cryptographic library failed.
    #[error("the signature could not be computed")]
    Library,
}

/// Why a signature is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// It is too long.
    #[error("the signature has more than {SIGNATURE_BYTES_MAX} bytes")]
    TooLong,
    /// It is no signed message, or damaged.
    #[error("the signature is not a detached CMS message")]
    Message,
    /// It is computed in a way that is not known.
    #[error("the signature is made with an algorithm that is not known: {oid}")]
    Algorithm {
        /// Which.
        oid: String,
    },
    /// The signer's certificate is not in the message and not trusted.
    #[error("the signer's certificate is not there")]
    NoCertificate,
    /// The content is not what was signed.
    #[error("the content is not what was signed")]
    Content,
    /// The signature is not of this key.
    #[error("the signature is not made by this key")]
    Signature,
    /// A certificate or a key inside cannot be used.
    #[error("a certificate of the signature cannot be used")]
    Key(#[source] KeyError),
    /// Nobody who is trusted has issued the certificate.
    #[error("the signer's certificate is not trusted")]
    Untrusted,
    /// A certificate has expired.
    #[error("a certificate has expired")]
    Expired,
    /// A certificate is not valid yet.
    #[error("a certificate is not valid yet")]
    NotYetValid,
    /// The certificate is for something else.
    #[error("the certificate is not for {wanted}")]
    Purpose {
        /// What it must be for.
        wanted: &'static str,
    },
}
