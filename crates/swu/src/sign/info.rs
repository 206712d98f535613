//! What a signature says of itself.

use super::cms;
use crate::limits::SIGNATURE_BYTES_MAX;

/// What a signature says of itself: for people, and before anything is verified. Nobody vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureInfo {
    /// CMS.
    Cms {
        /// Whom the signer's certificate names (RFC 4514), if it is in the message.
        subject: Option<String>,
    },
    /// RSA, with PKCS#1 v1.5 or with PSS: only the key tells which.
    Raw,
}

impl SignatureInfo {
    /// Looks at a signature. What is no CMS is taken for a raw one.
    pub fn of(signature: &[u8]) -> Self {
        if signature.len() > SIGNATURE_BYTES_MAX {
            return Self::Raw;
        }
        match cms::signer(signature) {
            Ok(certificate) => Self::Cms { subject: certificate.map(|one| one.subject()) },
            Err(_) => Self::Raw,
        }
    }
}
