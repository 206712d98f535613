//! Opening a package.

use std::collections::HashMap;
use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use super::{DESCRIPTION_NAME, OpenError, SIGNATURE_NAME};
use crate::cpio::{CpioReader, Member};
use crate::description::Description;
use crate::limits::{DESCRIPTION_BYTES_MAX, SIGNATURE_BYTES_MAX};
use crate::sign::{UnixSeconds, Verifier};

/// Reads a package from a stream. Memory: the description, 64 KiB for files that are passed over.
#[derive(Debug)]
pub struct PackageReader<R> {
    archive: CpioReader<R>,
    pub(super) description: Description,
    text: Vec<u8>,
    signature: Option<Vec<u8>>,
    /// Files that are still to come.
    wanted: HashMap<String, [u8; 32]>,
    /// The file that was begun to see whether it is the signature.
    begun: bool,
    current: Option<Current>,
}

/// The file at hand.
#[derive(Debug)]
struct Current {
    name: String,
    sha256: [u8; 32],
    hash: Sha256,
}

/// A file of a package, as a reader of its bytes. At its end its SHA-256 is checked; faults are reported as
/// [`io::Error`]s that have an [`OpenError`] inside ([`OpenError::from_reader`]). Until then nothing that was read
/// may be believed.
#[derive(Debug)]
pub struct PackedFile<'a, R> {
    reader: &'a mut PackageReader<R>,
    name: String,
    size_bytes: u32,
}

impl<R: Read> PackageReader<R> {
    /// Reads the description and its signature, and verifies it before it is looked into. Without a verifier a
    /// signature is passed over. Short reads are made, so `input` should be buffered.
    ///
    /// # Errors
    /// Every way that it is refused.
    pub fn open(input: R, verifier: Option<&Verifier>, time: UnixSeconds) -> Result<Self, OpenError> {
        let mut archive = CpioReader::new(input);
        let text = match archive.next_member()? {
            Some(mut first) if first.name() == DESCRIPTION_NAME => {
                whole(&mut first, DESCRIPTION_NAME, DESCRIPTION_BYTES_MAX)?
            }
            _ => return Err(OpenError::NoDescription),
        };
        let mut begun = false;
        let signature = match archive.next_member()? {
            Some(mut second) if second.name() == SIGNATURE_NAME => {
                Some(whole(&mut second, SIGNATURE_NAME, SIGNATURE_BYTES_MAX)?)
            }
            second => {
                begun = second.is_some();
                None
            }
        };
        if let Some(verifier) = verifier {
            verifier.verify(&text, signature.as_deref().ok_or(OpenError::Unsigned)?, time)?;
        }
        let description = Description::read(&text)?;
        let wanted = wanted(&description)?;
        Ok(Self { archive, description, text, signature, wanted, begun, current: None })
    }

    /// The description as it stands in the package.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Whether it has a signature, verified or not.
    pub fn is_signed(&self) -> bool {
        self.signature.is_some()
    }

    /// Its signature, verified or not.
    pub fn signature(&self) -> Option<&[u8]> {
        self.signature.as_deref()
    }

    /// The next file; nothing behind the last. What was left of the one before is read and checked.
    ///
    /// # Errors
    /// Every way that it is refused; [`OpenError::Missing`] behind the last.
    pub fn next_file(&mut self) -> Result<Option<PackedFile<'_, R>>, OpenError> {
        if self.current.is_some() {
            io::copy(&mut CurrentReader(self), &mut io::sink()).map_err(OpenError::from_reader)?;
        }
        let member = if std::mem::take(&mut self.begun) {
            self.archive.current_member()
        } else {
            self.archive.next_member()?
        };
        let Some(member) = member else {
            return match self.wanted.keys().min() {
                Some(name) => Err(OpenError::Missing { name: name.clone() }),
                None => Ok(None),
            };
        };
        let (name, size_bytes) = (member.name().to_owned(), member.size_bytes());
        let Some(sha256) = self.wanted.remove(&name) else { return Err(OpenError::Unknown { name }) };
        self.current = Some(Current { name: name.clone(), sha256, hash: Sha256::new() });
        Ok(Some(PackedFile { reader: self, name, size_bytes }))
    }

    fn read_current(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(current) = &mut self.current else { return Ok(0) };
        let count = self.archive.current_member().map_or(Ok(0), |mut member| member.read(buf))?;
        if count > 0 {
            current.hash.update(&buf[..count]);
            return Ok(count);
        }
        let Some(Current { name, sha256, hash }) = self.current.take() else { return Ok(0) };
        if hash.finalize()[..] == sha256 { Ok(0) } else { Err(io::Error::other(OpenError::Hash { name })) }
    }
}

/// Reads what is left of the file at hand.
struct CurrentReader<'a, R>(&'a mut PackageReader<R>);

impl<R: Read> Read for CurrentReader<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_current(buf)
    }
}

impl<R> PackedFile<'_, R> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its length in bytes.
    pub fn size_bytes(&self) -> u32 {
        self.size_bytes
    }
}

impl<R: Read> Read for PackedFile<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() { Ok(0) } else { self.reader.read_current(buf) }
    }
}

fn whole<R: Read>(
    member: &mut Member<'_, R>,
    name: &'static str,
    bytes_max: usize,
) -> Result<Vec<u8>, OpenError> {
    if member.size_bytes() as usize > bytes_max {
        return Err(OpenError::TooLong { name });
    }
    let mut bytes = Vec::new();
    member.read_to_end(&mut bytes).map_err(OpenError::from_reader)?;
    Ok(bytes)
}

/// Every file that is named, with the one SHA-256 that it has.
fn wanted(description: &Description) -> Result<HashMap<String, [u8; 32]>, OpenError> {
    let mut wanted = HashMap::new();
    for (name, sha256) in description.files() {
        let no_hash = || OpenError::NoHash { name: name.to_owned() };
        let sha256 = sha256.ok_or_else(no_hash)?;
        if wanted.insert(name.to_owned(), sha256).is_some_and(|other| other != sha256) {
            return Err(no_hash());
        }
    }
    Ok(wanted)
}
