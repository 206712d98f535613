//! Reading an archive.

use std::collections::HashSet;
use std::io::{self, Read};

use super::header::Header;
use super::{Checksum, CpioError, HEADER_BYTES, STEP_BYTES, TRAILER, check_name, padding};
use crate::limits::{FILES_MAX, NAME_BYTES_MAX, PADDING_BYTES_MAX};

/// Reads an archive, file by file, from a stream. Memory: the names, 64 KiB for files that are passed over.
#[derive(Debug)]
pub struct CpioReader<R> {
    input: R,
    offset: u64,
    names: HashSet<String>,
    /// What is still to be read of the file at hand.
    member: Option<Progress>,
    ended: bool,
}

/// How far the file at hand was read.
#[derive(Debug)]
struct Progress {
    name: String,
    header: Header,
    left: u32,
    sum: Checksum,
}

/// A file of an archive, as a reader of its bytes. At its end its checksum is checked; faults are reported as
/// [`io::Error`]s that have a [`CpioError`] inside ([`CpioError::from_reader`]).
#[derive(Debug)]
pub struct Member<'a, R> {
    reader: &'a mut CpioReader<R>,
    name: String,
    size_bytes: u32,
}

impl<R: Read> CpioReader<R> {
    /// Begins with the first file. Short reads are made, so `input` should be buffered.
    pub fn new(input: R) -> Self {
        Self { input, offset: 0, names: HashSet::new(), member: None, ended: false }
    }

    /// The next file; nothing behind the last. What was left of the one before is read and checked.
    ///
    /// # Errors
    /// Every way that an archive is refused.
    pub fn next_member(&mut self) -> Result<Option<Member<'_, R>>, CpioError> {
        self.pass_over()?;
        if self.ended {
            return Ok(None);
        }
        let header_offset = self.offset;
        let mut bytes = [0; HEADER_BYTES];
        self.fill(&mut bytes)?;
        let header = Header::read(&bytes, header_offset)?;
        let name = self.name(&header, header_offset)?;
        if name == TRAILER {
            self.end()?;
            return Ok(None);
        }
        check_name(&name)?;
        if !header.is_regular() {
            return Err(CpioError::Kind { name });
        }
        if self.names.len() == FILES_MAX {
            return Err(CpioError::TooMany);
        }
        if !self.names.insert(name.clone()) {
            return Err(CpioError::Duplicate { name });
        }
        let sum = Checksum::default();
        self.member = Some(Progress { name: name.clone(), header, left: header.len, sum });
        Ok(Some(Member { reader: self, name, size_bytes: header.len }))
    }

    /// The file at hand, as far as it was not read. One that has come to its end is none any more.
    pub(crate) fn current_member(&mut self) -> Option<Member<'_, R>> {
        let member = self.member.as_ref()?;
        let (name, size_bytes) = (member.name.clone(), member.header.len);
        Some(Member { reader: self, name, size_bytes })
    }

    fn name(&mut self, header: &Header, offset: u64) -> Result<String, CpioError> {
        let len = header.name_len;
        if len == 0 || len as usize > NAME_BYTES_MAX + 1 {
            return Err(CpioError::NameLength { len });
        }
        let mut bytes = vec![0; len as usize];
        self.fill(&mut bytes)?;
        self.fill(&mut [0; 3][..padding((HEADER_BYTES + bytes.len()) as u64)])?;
        if bytes.pop() != Some(0) {
            return Err(CpioError::Header { offset });
        }
        String::from_utf8(bytes).map_err(|error| CpioError::Name {
            name: error.as_bytes().escape_ascii().take(64).map(char::from).collect(),
        })
    }

    /// Reads what is left of the file at hand.
    fn pass_over(&mut self) -> Result<(), CpioError> {
        if self.member.is_none() {
            return Ok(());
        }
        let mut buffer = vec![0; STEP_BYTES];
        while self.read_member(&mut buffer).map_err(CpioError::from_reader)? > 0 {}
        Ok(())
    }

    fn read_member(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(member) = &mut self.member else { return Ok(0) };
        if member.left > 0 {
            let len = buf.len().min(member.left as usize);
            let count = self.input.read(&mut buf[..len])?;
            if count == 0 && len > 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, CpioError::Ends));
            }
            member.sum.update(&buf[..count]);
            member.left -= count as u32;
            self.offset += count as u64;
            return Ok(count);
        }
        let wrong = member.header.checksum.is_some_and(|sum| sum != member.sum.0);
        let (name, len) = (std::mem::take(&mut member.name), u64::from(member.header.len));
        self.member = None;
        if wrong {
            self.ended = true;
            return Err(io::Error::other(CpioError::Checksum { name }));
        }
        self.fill(&mut [0; 3][..padding(len)]).map_err(io::Error::other)?;
        Ok(0)
    }

    /// Checks that only zeros follow, which fill up a block.
    fn end(&mut self) -> Result<(), CpioError> {
        self.ended = true;
        let mut rest = Vec::new();
        self.input.by_ref().take(PADDING_BYTES_MAX as u64 + 1).read_to_end(&mut rest)?;
        let is_padding = rest.len() <= PADDING_BYTES_MAX && rest.iter().all(|&byte| byte == 0);
        if is_padding { Ok(()) } else { Err(CpioError::Trailing) }
    }

    fn fill(&mut self, buf: &mut [u8]) -> Result<(), CpioError> {
        self.input.read_exact(buf).map_err(CpioError::from_reader)?;
        self.offset += buf.len() as u64;
        Ok(())
    }
}

impl<R> Member<'_, R> {
    /// Its name: one component of a path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its length in bytes, as its header says.
    pub fn size_bytes(&self) -> u32 {
        self.size_bytes
    }
}

impl<R: Read> Read for Member<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() { Ok(0) } else { self.reader.read_member(buf) }
    }
}
