//! Keys.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair, UnparsedPublicKey,
};
use x509_cert::der::{Decode as _, asn1::ObjectIdentifier};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::{KeyError, SignError, VerifyError};
use crate::limits::{KEY_FILE_BYTES_MAX, RSA_BITS_MAX, RSA_BITS_MIN};

/// `rsaEncryption` (RFC 8017, A.1).
pub(super) const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// `id-ecPublicKey` (RFC 5480, 2.1.1).
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// `secp256r1`, which is P-256 (RFC 5480, 2.1.1.1).
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

/// A private key.
#[derive(Debug)]
pub struct PrivateKey {
    pub(super) pair: Pair,
}

#[derive(Debug)]
pub(super) enum Pair {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    pub(super) kind: KeyKind,
    /// The key alone: `RSAPublicKey` (RFC 8017, A.1.1), or an uncompressed point.
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyKind {
    Rsa,
    Ecdsa,
}

impl PrivateKey {
    /// Reads a key in PEM: PKCS#8, PKCS#1, or that of a curve (RFC 5915).
    ///
    /// # Errors
    /// Every way that it is refused.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let wanted = "private key";
        let blocks = blocks(pem, wanted)?;
        let block = blocks.iter().find(|block| block.tag().ends_with("PRIVATE KEY"));
        let block = block.ok_or(KeyError::NotPem { wanted })?;
        if block.tag().starts_with("ENCRYPTED") || block.headers().get("DEK-Info").is_some() {
            return Err(KeyError::Encrypted);
        }
        let der = block.contents();
        let curve = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let pair = match block.tag() {
            "RSA PRIVATE KEY" => RsaKeyPair::from_der(der).map(Pair::Rsa),
            "EC PRIVATE KEY" => EcdsaKeyPair::from_private_key_der(curve, der).map(Pair::Ecdsa),
            _ => RsaKeyPair::from_pkcs8(der)
                .map(Pair::Rsa)
                .or_else(|_| EcdsaKeyPair::from_pkcs8(curve, der).map(Pair::Ecdsa)),
        };
        let pair = pair.map_err(|_| KeyError::Unknown)?;
        if let Pair::Rsa(pair) = &pair {
            check_bits(pair.public_modulus_len() * 8)?;
        }
        Ok(Self { pair })
    }

    /// The key that others know it by.
    pub fn public_key(&self) -> PublicKey {
        match &self.pair {
            Pair::Rsa(pair) => PublicKey { kind: KeyKind::Rsa, bytes: pair.public_key().as_ref().to_vec() },
            Pair::Ecdsa(pair) => {
                PublicKey { kind: KeyKind::Ecdsa, bytes: pair.public_key().as_ref().to_vec() }
            }
        }
    }

    pub(super) fn is_of(&self, key: &PublicKey) -> bool {
        self.public_key() == *key
    }

    /// Signs with whatever its kind does in CMS.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match &self.pair {
            Pair::Rsa(pair) => sign_rsa(pair, &RSA_PKCS1_SHA256, message),
            Pair::Ecdsa(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message).map_err(|_| SignError::Library)?;
                Ok(signature.as_ref().to_vec())
            }
        }
    }

    pub(super) fn sign_pss(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match &self.pair {
            Pair::Rsa(pair) => sign_rsa(pair, &RSA_PSS_SHA256, message),
            Pair::Ecdsa(_) => Err(SignError::NotRsa),
        }
    }
}

fn sign_rsa(
    pair: &RsaKeyPair,
    padding: &'static dyn RsaEncoding,
    message: &[u8],
) -> Result<Vec<u8>, SignError> {
    let mut signature = vec![0; pair.public_modulus_len()];
    // The library takes its own randomness, whatever it is given.
    let signed = pair.sign(padding, &SystemRandom::new(), message, &mut signature);
    signed.map_err(|_| SignError::Library)?;
    Ok(signature)
}

impl PublicKey {
    /// Reads a key in PEM (`openssl pkey -pubout`).
    ///
    /// # Errors
    /// Every way that it is refused.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let wanted = "public key";
        let blocks = blocks(pem, wanted)?;
        let block =
            blocks.iter().find(|block| block.tag() == "PUBLIC KEY").ok_or(KeyError::NotPem { wanted })?;
        let info = SubjectPublicKeyInfoRef::from_der(block.contents()).map_err(|_| KeyError::Unknown)?;
        Self::from_info(&info)
    }

    pub(super) fn from_info(info: &SubjectPublicKeyInfoRef<'_>) -> Result<Self, KeyError> {
        let bytes = info.subject_public_key.as_bytes().ok_or(KeyError::Unknown)?.to_vec();
        if info.algorithm.oid == RSA {
            let key = rsa::pkcs1::RsaPublicKey::try_from(&bytes[..]).map_err(|_| KeyError::Unknown)?;
            let modulus = key.modulus.as_bytes();
            let zeros = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
            check_bits(modulus.len() * 8 - zeros)?;
            return Ok(Self { kind: KeyKind::Rsa, bytes });
        }
        let is_p256 = info.algorithm.oid == EC && info.algorithm.parameters_oid() == Ok(P256);
        if is_p256 { Ok(Self { kind: KeyKind::Ecdsa, bytes }) } else { Err(KeyError::Unknown) }
    }

    /// Verifies what [`PrivateKey::sign`] makes.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), VerifyError> {
        let verified = match self.kind {
            KeyKind::Rsa => {
                UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.bytes).verify(message, signature)
            }
            KeyKind::Ecdsa => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.bytes).verify(message, signature)
            }
        };
        verified.map_err(|_| VerifyError::Signature)
    }
}

fn check_bits(bits: usize) -> Result<(), KeyError> {
    if (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) { Ok(()) } else { Err(KeyError::RsaBits { bits }) }
}

/// The blocks of a file in PEM.
pub(super) fn blocks(bytes: &[u8], wanted: &'static str) -> Result<Vec<pem::Pem>, KeyError> {
    if bytes.len() > KEY_FILE_BYTES_MAX {
        return Err(KeyError::TooLong);
    }
    pem::parse_many(bytes).map_err(|_| KeyError::NotPem { wanted })
}
