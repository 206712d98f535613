//! Signatures of ours and of openssl's, both ways.

use std::fs;
use std::path::Path;
use std::process::Command;

use fluvial_swu::sign::{
    Certificate, CmsSigner, KeyError, PrivateKey, PublicKey, Purpose, SignError, Signer, UnixSeconds,
    Verifier, VerifyError,
};
use tempfile::TempDir;

use crate::support::*;

const CONTENT: &[u8] = b"software = {\r\n version = \"1\";\n}\n";

struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        fs::write(bench.0.path().join("content"), CONTENT).unwrap();
        bench
    }

    fn openssl(&self, arguments: &str) -> bool {
        let output =
            Command::new("openssl").args(arguments.split(' ')).current_dir(self.0.path()).output().unwrap();
        output.status.success()
    }

    fn must(&self, arguments: &str) {
        run(Command::new("openssl").args(arguments.split(' ')).current_dir(self.0.path()));
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.path().join(name)).unwrap()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.path().join(name), bytes).unwrap();
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn key(&self, name: &str) -> PrivateKey {
        PrivateKey::from_pem(&self.read(name)).unwrap()
    }

    fn certificates(&self, name: &str) -> Vec<Certificate> {
        Certificate::from_pem(&self.read(name)).unwrap()
    }

    /// A key, and a certificate that another has issued.
    fn issue(&self, name: &str, issuer: &str, extensions: &str) {
        self.write("extensions", extensions.replace(' ', "\n").as_bytes());
        self.must(&format!(
            "req -new -newkey rsa:2048 -nodes -keyout {name}.key -subj /CN={name} -out {name}.csr"
        ));
        self.must(&format!(
            "x509 -req -in {name}.csr -CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial -days 10 \
             -extfile extensions -out {name}.pem"
        ));
    }

    fn issue_root(&self) {
        self.must("req -x509 -newkey rsa:2048 -nodes -keyout root.key -subj /CN=root -days 10 -out root.pem");
    }

    fn verifier(&self, name: &str) -> Verifier {
        Verifier::Cms { trusted: self.certificates(name), purpose: Purpose::EmailProtection }
    }

    /// What openssl signs with a key and a certificate.
    fn signed(&self, name: &str, more: &str) -> Vec<u8> {
        self.must(&format!(
            "cms -sign -in content -out openssl.sig -signer {name}.pem -inkey {name}.key -outform DER -nosmimecap \
             -binary{more}"
        ));
        self.read("openssl.sig")
    }
}

const SIGNS: &str = "keyUsage=digitalSignature extendedKeyUsage=emailProtection";
const ISSUES: &str = "basicConstraints=critical,CA:TRUE keyUsage=keyCertSign";

fn assert_both_ways(bench: &Bench, name: &str) {
    let signer = CmsSigner::new(
        bench.key(&format!("{name}.key")),
        bench.certificates(&format!("{name}.pem")),
        Purpose::EmailProtection,
    );
    let ours = Signer::Cms(Box::new(signer.unwrap())).sign(CONTENT, now()).unwrap();
    bench.write("ours.sig", &ours);
    let verify = "cms -verify -in ours.sig -inform DER -content content -binary -out verified -CAfile";
    bench.must(&format!("{verify} {name}.pem"));
    assert_eq!(bench.read("verified"), CONTENT);
    let verifier = bench.verifier(&format!("{name}.pem"));
    verifier.verify(CONTENT, &ours, now()).unwrap();
    for more in ["", " -keyid", " -nocerts"] {
        let theirs = bench.signed(name, more);
        verifier.verify(CONTENT, &theirs, now()).unwrap();
        let other = [CONTENT, b" "].concat();
        assert_eq!(verifier.verify(&other, &theirs, now()), Err(VerifyError::Content), "{more}");
        // Every byte of the signature counts, or is not looked at and changes nothing: the last one counts.
        let mut flipped = theirs.clone();
        *flipped.last_mut().unwrap() ^= 1;
        assert_eq!(verifier.verify(CONTENT, &flipped, now()), Err(VerifyError::Signature), "{more}");
        assert_eq!(verifier.verify(CONTENT, &theirs[..theirs.len() - 1], now()), Err(VerifyError::Message));
    }
}

#[test]
fn cms_with_rsa_of_every_length() {
    for bits in [2048, 3072, 4096] {
        let bench = Bench::new();
        bench.must(&format!(
            "req -x509 -newkey rsa:{bits} -nodes -keyout one.key -subj /CN=one -days 10 -out one.pem \
             -addext keyUsage=digitalSignature -addext extendedKeyUsage=emailProtection"
        ));
        assert_both_ways(&bench, "one");
        // The older form of the same key.
        bench.must("rsa -in one.key -traditional -out one.key");
        assert!(bench.read("one.key").starts_with(b"-----BEGIN RSA PRIVATE KEY"));
        assert_both_ways(&bench, "one");
    }
}

#[test]
fn cms_with_p256() {
    let bench = Bench::new();
    bench.must("ecparam -name prime256v1 -genkey -noout -out one.key");
    bench.must("req -x509 -new -key one.key -subj /CN=one -days 10 -out one.pem");
    assert!(bench.read("one.key").starts_with(b"-----BEGIN EC PRIVATE KEY"));
    assert_both_ways(&bench, "one");
    bench.must("pkcs8 -topk8 -nocrypt -in one.key -out pkcs8.key");
    fs::rename(bench.path().join("pkcs8.key"), bench.path().join("one.key")).unwrap();
    assert_both_ways(&bench, "one");
    let key = bench.key("one.key");
    assert_eq!(Signer::Pss(key).sign(CONTENT, now()), Err(SignError::NotRsa));
    let key = bench.key("one.key");
    assert_eq!(Signer::Rsa(key).sign(CONTENT, now()), Err(SignError::NotRsa));
}

#[test]
fn chains_are_followed() {
    let bench = Bench::new();
    bench.issue_root();
    bench.issue("middle", "root", ISSUES);
    bench.issue("one", "middle", SIGNS);
    bench.issue("direct", "root", SIGNS);
    bench.write("chain", &[bench.read("one.pem"), bench.read("middle.pem")].concat());
    let chain = bench.certificates("chain");
    let signer = CmsSigner::new(bench.key("one.key"), chain, Purpose::EmailProtection).unwrap();
    let ours = Signer::Cms(Box::new(signer)).sign(CONTENT, now()).unwrap();
    bench.write("ours.sig", &ours);
    bench
        .must("cms -verify -in ours.sig -inform DER -content content -binary -out verified -CAfile root.pem");
    let theirs = bench.signed("one", " -certfile middle.pem");
    let direct = bench.signed("direct", "");
    for signature in [&ours, &theirs, &direct] {
        bench.verifier("root.pem").verify(CONTENT, signature, now()).unwrap();
    }
    let without = bench.signed("one", "");
    assert_eq!(bench.verifier("root.pem").verify(CONTENT, &without, now()), Err(VerifyError::Untrusted));
    bench.verifier("middle.pem").verify(CONTENT, &without, now()).unwrap();
    bench.verifier("one.pem").verify(CONTENT, &without, now()).unwrap();
    assert_eq!(bench.verifier("direct.pem").verify(CONTENT, &without, now()), Err(VerifyError::Untrusted));
    let nobody = Verifier::Cms { trusted: Vec::new(), purpose: Purpose::EmailProtection };
    assert_eq!(nobody.verify(CONTENT, &without, now()), Err(VerifyError::Untrusted));
    let nameless = bench.signed("one", " -nocerts");
    assert_eq!(bench.verifier("root.pem").verify(CONTENT, &nameless, now()), Err(VerifyError::NoCertificate));
    // One that may not issue has issued.
    bench.issue("wrong", "direct", SIGNS);
    let wrong = bench.signed("wrong", " -certfile direct.pem");
    assert_eq!(bench.verifier("root.pem").verify(CONTENT, &wrong, now()), Err(VerifyError::Untrusted));
    let (early, late) = (UnixSeconds(now().0 - 86_400), UnixSeconds(now().0 + 11 * 86_400));
    let verifier = bench.verifier("root.pem");
    assert_eq!(verifier.verify(CONTENT, &direct, early), Err(VerifyError::NotYetValid));
    assert_eq!(verifier.verify(CONTENT, &direct, late), Err(VerifyError::Expired));
}

#[test]
fn certificates_are_for_a_purpose() {
    let bench = Bench::new();
    bench.issue_root();
    for (name, extensions) in [
        ("code", "keyUsage=digitalSignature extendedKeyUsage=codeSigning"),
        ("server", "extendedKeyUsage=serverAuth"),
        ("encrypts", "keyUsage=keyEncipherment extendedKeyUsage=emailProtection"),
        ("any", "keyUsage=nonRepudiation"),
    ] {
        bench.issue(name, "root", extensions);
    }
    let verify = |name: &str, purpose| {
        let verifier = Verifier::Cms { trusted: bench.certificates("root.pem"), purpose };
        verifier.verify(CONTENT, &bench.signed(name, ""), now())
    };
    let (email, code) = (Purpose::EmailProtection, Purpose::CodeSigning);
    let for_email = Err(VerifyError::Purpose { wanted: "emailProtection" });
    let for_signatures = Err(VerifyError::Purpose { wanted: "signatures (keyUsage digitalSignature)" });
    assert_eq!(verify("code", email), for_email);
    assert_eq!(verify("code", code), Ok(()));
    assert_eq!(verify("server", email), for_email);
    assert_eq!(verify("encrypts", email), for_signatures);
    assert_eq!(verify("any", email), Ok(()));
    assert_eq!(verify("any", code), Ok(()));
    // The same is said before anything is signed.
    let refused = CmsSigner::new(bench.key("code.key"), bench.certificates("code.pem"), email).unwrap_err();
    assert_eq!(Err(refused), for_email.map_err(SignError::Certificate));
    let other = CmsSigner::new(bench.key("any.key"), bench.certificates("code.pem"), code).unwrap_err();
    assert_eq!(other, SignError::OtherKey);
    let none = CmsSigner::new(bench.key("any.key"), Vec::new(), code).unwrap_err();
    assert_eq!(none, SignError::NoCertificate);
}

#[test]
fn messages_of_other_kinds_are_refused() {
    let bench = Bench::new();
    bench.issue_root();
    bench.issue("one", "root", SIGNS);
    let verify = |signature: &[u8]| bench.verifier("one.pem").verify(CONTENT, signature, now());
    for (more, error) in [
        (" -nodetach", VerifyError::Message),
        (" -noattr", VerifyError::Message),
        (" -md sha512", VerifyError::Algorithm { oid: "2.16.840.1.101.3.4.2.3".into() }),
        (" -keyopt rsa_padding_mode:pss", VerifyError::Algorithm { oid: "1.2.840.113549.1.1.10".into() }),
    ] {
        assert_eq!(verify(&bench.signed("one", more)), Err(error), "{more}");
    }
    assert_eq!(verify(b""), Err(VerifyError::Message));
    assert_eq!(verify(&bench.read("one.pem")), Err(VerifyError::Message));
    assert_eq!(verify(&vec![0x30; (64 << 10) + 1]), Err(VerifyError::TooLong));
}

#[test]
fn raw_signatures_of_both_kinds() {
    for bits in [2048, 3072, 4096] {
        let bench = Bench::new();
        bench.must(&format!("genrsa -out key.pem {bits}"));
        bench.must("pkey -in key.pem -pubout -out public.pem");
        let public = PublicKey::from_pem(&bench.read("public.pem")).unwrap();
        let key = || bench.key("key.pem");
        let pss = " -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:";
        let verifiers = [Verifier::Rsa(public.clone()), Verifier::Pss(public)];
        for (index, (signer, verifier)) in
            [Signer::Rsa(key()), Signer::Pss(key())].iter().zip(&verifiers).enumerate()
        {
            let other = &verifiers[1 - index];
            let options: Vec<String> = if index == 0 {
                vec![String::new()]
            } else {
                ["-2", "-1"].map(|len| format!("{pss}{len}")).into()
            };
            let ours = signer.sign(CONTENT, now()).unwrap();
            bench.write("ours.sig", &ours);
            verifier.verify(CONTENT, &ours, now()).unwrap();
            for options in options {
                let verify = format!("dgst -sha256 -verify public.pem -signature ours.sig{options}");
                bench.must(&format!("{verify} content"));
                bench.must(&format!("dgst -sha256 -sign key.pem -out theirs.sig{options} content"));
                let mut theirs = bench.read("theirs.sig");
                verifier.verify(CONTENT, &theirs, now()).unwrap();
                assert_eq!(other.verify(CONTENT, &theirs, now()), Err(VerifyError::Signature));
                assert_eq!(verifier.verify(b"x", &theirs, now()), Err(VerifyError::Signature));
                theirs[100] ^= 1;
                assert_eq!(verifier.verify(CONTENT, &theirs, now()), Err(VerifyError::Signature));
                assert_eq!(verifier.verify(CONTENT, &theirs[1..], now()), Err(VerifyError::Signature));
                bench.write("ours.sig", &theirs);
                assert!(!bench.openssl(&format!("{verify} content")));
                bench.write("ours.sig", &ours);
            }
        }
    }
}

#[test]
fn keys_that_are_not_taken_say_why() {
    let bench = Bench::new();
    let key = |name: &str| PrivateKey::from_pem(&bench.read(name)).unwrap_err();
    bench.must("genrsa -out short.pem 1024");
    bench.must("genrsa -out long.pem 4104");
    bench.must("genpkey -algorithm ed25519 -out other.pem");
    bench.must("genpkey -algorithm ed25519 -aes128 -pass pass:secret -out encrypted.pem");
    bench.must("rsa -in short.pem -traditional -aes128 -passout pass:secret -out older.pem");
    // The library says no more about those that it finds too short.
    assert_eq!(key("short.pem"), KeyError::Unknown);
    assert_eq!(key("long.pem"), KeyError::RsaBits { bits: 4104 });
    assert_eq!(key("other.pem"), KeyError::Unknown);
    assert_eq!(key("encrypted.pem"), KeyError::Encrypted);
    assert_eq!(key("older.pem"), KeyError::Encrypted);
    assert_eq!(key("content"), KeyError::NotPem { wanted: "private key" });
    bench.must("pkey -in short.pem -pubout -out short.public");
    let public = |name: &str| PublicKey::from_pem(&bench.read(name)).unwrap_err();
    assert_eq!(public("short.public"), KeyError::RsaBits { bits: 1024 });
    assert_eq!(public("long.pem"), KeyError::NotPem { wanted: "public key" });
    let certificate = |bytes: &[u8]| Certificate::from_pem(bytes).unwrap_err();
    assert_eq!(certificate(&bench.read("long.pem")), KeyError::NotPem { wanted: "certificate" });
    assert_eq!(certificate(&vec![b' '; (256 << 10) + 1]), KeyError::TooLong);
    let damaged = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(certificate(damaged), KeyError::Certificate);
    bench.issue_root();
    let many = bench.read("root.pem").repeat(17);
    assert_eq!(certificate(&many), KeyError::TooMany);
}
