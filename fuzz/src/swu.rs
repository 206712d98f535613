//! Packages for `SWUpdate`.
//!
//! Input: one byte says what follows.
//! - 0: a package, as it is.
//! - 1: a signature in CMS over [`CONTENT`], by the certificate `seeds/swu.pem`.

use std::io::{self, Read as _};

use fluvial_swu::cpio::{Checksum, CpioError, CpioReader, CpioWriter};
use fluvial_swu::limits::FILES_MAX;
use fluvial_swu::package::PackageReader;
use fluvial_swu::sign::{Certificate, Purpose, UnixSeconds, Verifier};

/// What is signed.
pub const CONTENT: &[u8] = b"software = { version = \"1\"; };\n";
const CERTIFICATE: &[u8] = include_bytes!("../seeds/swu.pem");
/// A moment at which the certificate is valid.
const TIME: UnixSeconds = UnixSeconds(1_900_000_000);

/// What was read is written, and read again as it was.
///
/// # Panics
/// Where that does not hold.
pub fn run(bytes: &[u8]) {
    match bytes.split_first() {
        Some((0, package)) => read(package),
        Some((1, signature)) => verify(signature),
        _ => (),
    }
}

fn verify(signature: &[u8]) {
    let trusted = Certificate::from_pem(CERTIFICATE).expect("a committed file");
    let verifier = Verifier::Cms { trusted, purpose: Purpose::EmailProtection };
    let _ = verifier.verify(CONTENT, signature, TIME);
    let other = verifier.verify(b"other", signature, TIME);
    assert!(other.is_err(), "nothing else was signed by this key");
}

fn read(package: &[u8]) {
    if let Ok(files) = files(package) {
        assert!(files.len() <= FILES_MAX, "no more than the limit");
        let mut writer = CpioWriter::new(Vec::new());
        for (name, content) in &files {
            let checksum = Checksum::of(content).expect("memory is read");
            writer.add(name, content, checksum).expect("what was read is written");
        }
        let again = writer.finish().expect("memory is written");
        assert_eq!(self::files(&again).ok(), Some(files), "what was written is read again");
    }
    let Ok(mut reader) = PackageReader::open(package, None, TIME) else { return };
    while let Ok(Some(mut file)) = reader.next_file() {
        if io::copy(&mut file, &mut io::sink()).is_err() {
            return;
        }
    }
}

fn files(package: &[u8]) -> Result<Vec<(String, Vec<u8>)>, CpioError> {
    let mut reader = CpioReader::new(package);
    let mut files = Vec::new();
    while let Some(mut member) = reader.next_member()? {
        let mut content = Vec::new();
        member.read_to_end(&mut content).map_err(CpioError::from_reader)?;
        files.push((member.name().to_owned(), content));
    }
    Ok(files)
}
