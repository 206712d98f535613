//! Signatures that are nothing but a number.

use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use rsa::RsaPublicKey;
use rsa::pkcs1::DecodeRsaPublicKey as _;
use rsa::pss::Pss;
use rsa::sha2::{Digest as _, Sha256};
use rsa::traits::PublicKeyParts as _;

use super::key::{KeyKind, Pair};
use super::{PrivateKey, PublicKey, SignError, VerifyError};

/// The length of SHA-256 in bytes.
const DIGEST_BYTES: usize = 32;
/// What PSS takes beside digest and salt, in bytes (RFC 8017, 9.1.1).
const PSS_FRAME_BYTES: usize = 2;

pub(super) fn sign_pkcs1(key: &PrivateKey, content: &[u8]) -> Result<Vec<u8>, SignError> {
    if matches!(key.pair, Pair::Rsa(_)) { key.sign(content) } else { Err(SignError::NotRsa) }
}

pub(super) fn sign_pss(key: &PrivateKey, content: &[u8]) -> Result<Vec<u8>, SignError> {
    key.sign_pss(content)
}

pub(super) fn verify_pkcs1(key: &PublicKey, content: &[u8], signature: &[u8]) -> Result<(), VerifyError> {
    if key.kind == KeyKind::Rsa { key.verify(content, signature) } else { Err(VerifyError::Signature) }
}

/// Verifies PSS with a salt as long as the digest, as ours are, or as long as fits, as those are that
/// `openssl dgst` makes with `rsa_pss_saltlen:-2`.
pub(super) fn verify_pss(key: &PublicKey, content: &[u8], signature: &[u8]) -> Result<(), VerifyError> {
    if key.kind != KeyKind::Rsa {
        return Err(VerifyError::Signature);
    }
    let public_key = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, &key.bytes);
    if public_key.verify(content, signature).is_ok() {
        return Ok(());
    }
    let public_key = RsaPublicKey::from_pkcs1_der(&key.bytes).map_err(|_| VerifyError::Signature)?;
    let encoded_len = (public_key.n().bits() - 1).div_ceil(8);
    let salt_len = encoded_len.checked_sub(DIGEST_BYTES + PSS_FRAME_BYTES).ok_or(VerifyError::Signature)?;
    let padding = Pss::new_with_salt::<Sha256>(salt_len);
    public_key.verify(padding, &Sha256::digest(content), signature).map_err(|_| VerifyError::Signature)
}
