//! CMS: detached signed data (RFC 5652, 5).

use std::time::Duration;

use cms::cert::{CertificateChoices, IssuerAndSerialNumber};
use cms::content_info::{CmsVersion, ContentInfo};
use cms::signed_data::{
    CertificateSet, EncapsulatedContentInfo, SignedData, SignerIdentifier, SignerInfo, SignerInfos,
};
use sha2::{Digest as _, Sha256};
use x509_cert::attr::Attribute;
use x509_cert::der::asn1::{Any, GeneralizedTime, Null, ObjectIdentifier, OctetString, SetOfVec, UtcTime};
use x509_cert::der::{self, Decode as _, Encode as _};
use x509_cert::ext::pkix::SubjectKeyIdentifier;
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_cert::time::Time;

use super::key::{KeyKind, RSA};
use super::{Certificate, CmsSigner, Purpose, SignError, UnixSeconds, VerifyError};
use crate::limits::CERTIFICATES_MAX;

/// Types of content, and attributes (RFC 5652, 4, 5.1 and 11).
const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SIGNING_TIME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.5");
/// SHA-256, and the signatures that use it (RFC 5754, 2.2 and 3).
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const SHA256_WITH_ECDSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
/// From here on times are not in the short form (RFC 5652, 11.3): the beginning of 2050.
const LONG_TIMES_FROM: UnixSeconds = UnixSeconds(2_524_608_000);

pub(super) fn sign(signer: &CmsSigner, content: &[u8], time: UnixSeconds) -> Result<Vec<u8>, SignError> {
    signer.certificate.check_time(time).map_err(SignError::Certificate)?;
    let attributes = attributes(content, time).map_err(|_| SignError::Library)?;
    // What is signed is the set, whatever tag it has in the message (RFC 5652, 5.4).
    let signature = signer.key.sign(&attributes.to_der().map_err(|_| SignError::Library)?)?;
    message(signer, attributes, signature).map_err(|_| SignError::Library)
}

fn attributes(content: &[u8], time: UnixSeconds) -> der::Result<SetOfVec<Attribute>> {
    let since = Duration::from_secs(time.0);
    let time = if time < LONG_TIMES_FROM {
        Time::UtcTime(UtcTime::from_unix_duration(since)?)
    } else {
        Time::GeneralTime(GeneralizedTime::from_unix_duration(since)?)
    };
    let digest = OctetString::new(&Sha256::digest(content)[..])?;
    let attribute = |oid, value: Any| -> der::Result<Attribute> {
        Ok(Attribute { oid, values: SetOfVec::try_from(vec![value])? })
    };
    SetOfVec::try_from(vec![
        attribute(CONTENT_TYPE, Any::encode_from(&DATA)?)?,
        attribute(SIGNING_TIME, Any::encode_from(&time)?)?,
        attribute(MESSAGE_DIGEST, Any::encode_from(&digest)?)?,
    ])
}

fn message(signer: &CmsSigner, attributes: SetOfVec<Attribute>, signature: Vec<u8>) -> der::Result<Vec<u8>> {
    let digest_algorithm = AlgorithmIdentifierOwned { oid: SHA256, parameters: None };
    let signature_algorithm = match signer.certificate.public_key().kind {
        KeyKind::Rsa => AlgorithmIdentifierOwned { oid: RSA, parameters: Some(Any::encode_from(&Null)?) },
        KeyKind::Ecdsa => AlgorithmIdentifierOwned { oid: SHA256_WITH_ECDSA, parameters: None },
    };
    let certificate = &signer.certificate.parsed.tbs_certificate;
    let signer_info = SignerInfo {
        version: CmsVersion::V1,
        sid: SignerIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
            issuer: certificate.issuer.clone(),
            serial_number: certificate.serial_number.clone(),
        }),
        digest_alg: digest_algorithm.clone(),
        signed_attrs: Some(attributes),
        signature_algorithm,
        signature: OctetString::new(signature)?,
        unsigned_attrs: None,
    };
    let certificates = std::iter::once(&signer.certificate).chain(&signer.chain);
    let certificates: Vec<_> =
        certificates.map(|one| CertificateChoices::Certificate(one.parsed.clone())).collect();
    let signed_data = SignedData {
        version: CmsVersion::V1,
        digest_algorithms: SetOfVec::try_from(vec![digest_algorithm])?,
        encap_content_info: EncapsulatedContentInfo { econtent_type: DATA, econtent: None },
        certificates: Some(CertificateSet::try_from(certificates)?),
        crls: None,
        signer_infos: SignerInfos::try_from(vec![signer_info])?,
    };
    ContentInfo { content_type: SIGNED_DATA, content: Any::encode_from(&signed_data)? }.to_der()
}

pub(super) fn verify(
    trusted: &[Certificate],
    purpose: Purpose,
    content: &[u8],
    message: &[u8],
    time: UnixSeconds,
) -> Result<(), VerifyError> {
    let wrong = |_| VerifyError::Message;
    let message = ContentInfo::from_der(message).map_err(wrong)?;
    if message.content_type != SIGNED_DATA {
        return Err(VerifyError::Message);
    }
    let data: SignedData = message.content.decode_as().map_err(wrong)?;
    let is_detached = data.encap_content_info.econtent.is_none();
    // Several signers would have to be told apart by what they are trusted for.
    let [signer] = data.signer_infos.0.as_slice() else { return Err(VerifyError::Message) };
    if !is_detached || data.encap_content_info.econtent_type != DATA {
        return Err(VerifyError::Message);
    }
    let certificates = certificates(data.certificates.as_ref())?;
    let known = certificates.iter().chain(trusted);
    let certificate =
        known.into_iter().find(|one| is_named(one, &signer.sid)).ok_or(VerifyError::NoCertificate)?;
    check_signature(signer, certificate, content)?;
    certificate.check_trust(trusted, &certificates, purpose, time)
}

/// The certificate of whoever has signed, as far as the message says.
///
/// # Errors
/// [`VerifyError::Message`] where it is none.
pub(super) fn signer(message: &[u8]) -> Result<Option<Certificate>, VerifyError> {
    let wrong = |_| VerifyError::Message;
    let message = ContentInfo::from_der(message).map_err(wrong)?;
    let data: SignedData = message.content.decode_as().map_err(wrong)?;
    let [signer] = data.signer_infos.0.as_slice() else { return Err(VerifyError::Message) };
    let certificates = certificates(data.certificates.as_ref())?;
    Ok(certificates.into_iter().find(|one| is_named(one, &signer.sid)))
}

fn certificates(set: Option<&CertificateSet>) -> Result<Vec<Certificate>, VerifyError> {
    let choices = set.map_or(&[][..], |set| set.0.as_slice());
    if choices.len() > CERTIFICATES_MAX {
        return Err(VerifyError::Message);
    }
    let certificate = |choice: &CertificateChoices| match choice {
        CertificateChoices::Certificate(parsed) => {
            Certificate::from_parsed(parsed.clone()).map_err(VerifyError::Key)
        }
        CertificateChoices::Other(_) => Err(VerifyError::Message),
    };
    choices.iter().map(certificate).collect()
}

fn is_named(certificate: &Certificate, name: &SignerIdentifier) -> bool {
    let parsed = &certificate.parsed.tbs_certificate;
    match name {
        SignerIdentifier::IssuerAndSerialNumber(name) => {
            name.issuer == parsed.issuer && name.serial_number == parsed.serial_number
        }
        SignerIdentifier::SubjectKeyIdentifier(name) => {
            matches!(parsed.get::<SubjectKeyIdentifier>(), Ok(Some((_, own))) if own == *name)
        }
    }
}

fn check_signature(
    signer: &SignerInfo,
    certificate: &Certificate,
    content: &[u8],
) -> Result<(), VerifyError> {
    let unknown = |oid: ObjectIdentifier| VerifyError::Algorithm { oid: oid.to_string() };
    if signer.digest_alg.oid != SHA256 {
        return Err(unknown(signer.digest_alg.oid));
    }
    let algorithm = signer.signature_algorithm.oid;
    let is_known = match certificate.public_key().kind {
        KeyKind::Rsa => [RSA, SHA256_WITH_RSA].contains(&algorithm),
        KeyKind::Ecdsa => algorithm == SHA256_WITH_ECDSA,
    };
    if !is_known {
        return Err(unknown(algorithm));
    }
    // Without attributes the content itself would be signed, and so could be another message's attributes.
    let attributes = signer.signed_attrs.as_ref().ok_or(VerifyError::Message)?;
    if attribute::<ObjectIdentifier>(attributes, CONTENT_TYPE)? != DATA {
        return Err(VerifyError::Message);
    }
    let digest = attribute::<OctetString>(attributes, MESSAGE_DIGEST)?;
    if digest.as_bytes() != &Sha256::digest(content)[..] {
        return Err(VerifyError::Content);
    }
    let message = attributes.to_der().map_err(|_| VerifyError::Message)?;
    certificate.public_key().verify(&message, signer.signature.as_bytes())
}

/// The value of an attribute that must be there once.
fn attribute<'a, T: der::Choice<'a> + der::DecodeValue<'a>>(
    attributes: &'a SetOfVec<Attribute>,
    oid: ObjectIdentifier,
) -> Result<T, VerifyError> {
    let mut found = attributes.iter().filter(|attribute| attribute.oid == oid);
    let (Some(attribute), None) = (found.next(), found.next()) else { return Err(VerifyError::Message) };
    let [value] = attribute.values.as_slice() else { return Err(VerifyError::Message) };
    value.decode_as().map_err(|_| VerifyError::Message)
}
