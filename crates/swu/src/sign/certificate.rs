//! Certificates: whom they name, what they are for, who issued them.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::{self, ExtendedKeyUsage};
use x509_cert::spki::ObjectIdentifier;
use x509_cert::spki::der::referenced::OwnedToRef as _;

use super::key::blocks;
use super::{KeyError, PublicKey, UnixSeconds, VerifyError};
use crate::limits::CERTIFICATES_MAX;

/// What a signer's certificate is for. One without a list of purposes is for all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Purpose {
    /// `emailProtection`: what `SWUpdate` wants if it is told nothing else.
    #[default]
    EmailProtection,
    /// `codeSigning`: what it wants with `--cert-purpose codeSigning`.
    CodeSigning,
}

/// `emailProtection` and `codeSigning` (RFC 5280, 4.2.1.12), as text and as DER has them.
const EMAIL_PROTECTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.4");
const EMAIL_PROTECTION_DER: &[u8] = &[43, 6, 1, 5, 5, 7, 3, 4];
const CODE_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");
const CODE_SIGNING_DER: &[u8] = &[43, 6, 1, 5, 5, 7, 3, 3];

/// A certificate (RFC 5280).
#[derive(Debug, Clone)]
pub struct Certificate {
    pub(super) parsed: x509_cert::Certificate,
    der: Vec<u8>,
    key: PublicKey,
}

impl Certificate {
    /// Reads all certificates of a file in PEM, in order.
    ///
    /// # Errors
    /// Every way that one is refused.
    pub fn from_pem(pem: &[u8]) -> Result<Vec<Self>, KeyError> {
        let wanted = "certificate";
        let blocks = blocks(pem, wanted)?;
        let certificates = blocks.iter().filter(|block| block.tag() == "CERTIFICATE");
        let certificates: Vec<Self> = certificates
            .take(CERTIFICATES_MAX + 1)
            .map(|block| Self::from_der(block.contents()))
            .collect::<Result<_, _>>()?;
        match certificates.len() {
            0 => Err(KeyError::NotPem { wanted }),
            1..=CERTIFICATES_MAX => Ok(certificates),
            _ => Err(KeyError::TooMany),
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`KeyError::Certificate`], or what is wrong with its key.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let parsed = x509_cert::Certificate::from_der(der).map_err(|_| KeyError::Certificate)?;
        Self::from_parsed(parsed)
    }

    pub(super) fn from_parsed(parsed: x509_cert::Certificate) -> Result<Self, KeyError> {
        let der = parsed.to_der().map_err(|_| KeyError::Certificate)?;
        let info = parsed.tbs_certificate.subject_public_key_info.owned_to_ref();
        let key = PublicKey::from_info(&info)?;
        Ok(Self { parsed, der, key })
    }

    /// Its key.
    pub fn public_key(&self) -> &PublicKey {
        &self.key
    }

    /// Whom it names, as text (RFC 4514).
    pub fn subject(&self) -> String {
        self.parsed.tbs_certificate.subject.to_string()
    }

    /// Checks that it is valid at a time.
    ///
    /// # Errors
    /// [`VerifyError::Expired`], [`VerifyError::NotYetValid`].
    pub fn check_time(&self, time: UnixSeconds) -> Result<(), VerifyError> {
        let validity = &self.parsed.tbs_certificate.validity;
        let now = Duration::from_secs(time.0);
        if now < validity.not_before.to_unix_duration() {
            return Err(VerifyError::NotYetValid);
        }
        if now > validity.not_after.to_unix_duration() { Err(VerifyError::Expired) } else { Ok(()) }
    }

    /// Checks that it may sign: its key may make signatures, and it has the purpose or none.
    ///
    /// # Errors
    /// [`VerifyError::Purpose`].
    pub fn check_purpose(&self, purpose: Purpose) -> Result<(), VerifyError> {
        let broken = |_| VerifyError::Key(KeyError::Certificate);
        let usage = self.parsed.tbs_certificate.get::<pkix::KeyUsage>().map_err(broken)?;
        if usage.is_some_and(|(_, usage)| !usage.digital_signature() && !usage.non_repudiation()) {
            return Err(VerifyError::Purpose { wanted: "signatures (keyUsage digitalSignature)" });
        }
        let purposes = self.parsed.tbs_certificate.get::<ExtendedKeyUsage>().map_err(broken)?;
        if purposes.is_some_and(|(_, purposes)| !purposes.0.contains(&purpose.oid())) {
            return Err(VerifyError::Purpose { wanted: purpose.name() });
        }
        Ok(())
    }

    /// Checks that it is one of those that are trusted, or that one of them has issued it, maybe by way of
    /// others.
    pub(super) fn check_trust(
        &self,
        trusted: &[Self],
        others: &[Self],
        purpose: Purpose,
        time: UnixSeconds,
    ) -> Result<(), VerifyError> {
        self.check_time(time)?;
        self.check_purpose(purpose)?;
        if trusted.iter().any(|one| one.der == self.der) {
            return Ok(());
        }
        let (valid, not_valid): (Vec<_>, Vec<_>) =
            trusted.iter().partition(|one| one.check_time(time).is_ok());
        let followed = self.follow(&valid, others, purpose, time);
        // What would have held once says why.
        match not_valid.first().map(|one| one.check_time(time)) {
            Some(Err(reason)) if followed == Err(VerifyError::Untrusted) => {
                self.follow(&not_valid, others, purpose, time).and(Err(reason))
            }
            _ => followed,
        }
    }

    fn follow(
        &self,
        trusted: &[&Self],
        others: &[Self],
        purpose: Purpose,
        time: UnixSeconds,
    ) -> Result<(), VerifyError> {
        let der: Vec<CertificateDer<'_>> = trusted.iter().map(|one| one.der[..].into()).collect();
        let anchors: Vec<_> = der.iter().filter_map(|der| anchor_from_trusted_cert(der).ok()).collect();
        let others: Vec<CertificateDer<'_>> = others.iter().map(|one| one.der[..].into()).collect();
        let der = CertificateDer::from(&self.der[..]);
        let signer = EndEntityCert::try_from(&der).map_err(|_| VerifyError::Key(KeyError::Certificate))?;
        let time = UnixTime::since_unix_epoch(Duration::from_secs(time.0));
        let usage = KeyUsage::required_if_present(purpose.der());
        let followed = signer.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &others,
            time,
            usage,
            None,
            None,
        );
        match followed {
            Ok(_) => Ok(()),
            Err(webpki::Error::CertExpired { .. }) => Err(VerifyError::Expired),
            Err(webpki::Error::CertNotValidYet { .. }) => Err(VerifyError::NotYetValid),
            Err(webpki::Error::RequiredEkuNotFoundContext(_)) => {
                Err(VerifyError::Purpose { wanted: purpose.name() })
            }
            Err(_) => Err(VerifyError::Untrusted),
        }
    }
}

impl Purpose {
    /// Its name in certificates.
    pub fn name(self) -> &'static str {
        match self {
            Self::EmailProtection => "emailProtection",
            Self::CodeSigning => "codeSigning",
        }
    }

    fn oid(self) -> ObjectIdentifier {
        match self {
            Self::EmailProtection => EMAIL_PROTECTION,
            Self::CodeSigning => CODE_SIGNING,
        }
    }

    fn der(self) -> &'static [u8] {
        match self {
            Self::EmailProtection => EMAIL_PROTECTION_DER,
            Self::CodeSigning => CODE_SIGNING_DER,
        }
    }
}
