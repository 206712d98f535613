//! The header of a patch: what it needs, what it makes, and where its frames stand.
//!
//! Layout in docs/format.md. The header is read alone, before anything else is fetched: it tells
//! whether this device has the sources and the memory.

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::limits::{
    CONTEXT_BYTES_MAX, FRAME_PACKED_BYTES_MAX, FRAMES_MAX, HEADER_BYTES_MAX, MAP_BYTES_MAX,
    MAP_PACKED_BYTES_MAX, NAME_BYTES_MAX, SOURCES_MAX, STREAM_SIZE_MAX, TARGETS_MAX,
};
use crate::stream::{Effort, read_stream, write_stream};
use crate::structure::ReadAt;
use crate::wire::{WireError, WireReader, WireWriter};

/// The first bytes of every patch.
pub const MAGIC: [u8; 8] = *b"FLUVIALp";
/// The version of the format that this crate writes and reads.
pub const FORMAT_VERSION: u8 = 1;
/// Bytes of the fixed prefix: magic, version, length of the header's body, its SHA-256.
pub const PREFIX_BYTES: usize = 8 + 1 + 4 + 32;

/// A SHA-256 digest.
pub type Sha256Digest = [u8; 32];
/// A BLAKE3 digest.
pub type Blake3Digest = [u8; 32];

/// Up to so many sources are each named by their SHA-256. Of more, which are the files of a root file
/// system, each has the first bytes of its BLAKE3, enough to tell which one differs, and all have one
/// digest together: thousands of digests would be larger than many a patch.
pub const WHOLE_SOURCES_MAX: usize = 16;
/// So many bytes of a large source are its start: what most changes of an image change.
pub const START_BYTES: usize = 64 << 10;
/// Bytes of the BLAKE3 of a start.
pub const START_DIGEST_BYTES: usize = 4;
/// Bytes of its BLAKE3 that one of many sources has.
pub const BRIEF_BYTES: usize = 2;

/// A byte stream that the patch makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInfo {
    /// What the maker of the patch called it.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// The SHA-256 of all of it.
    pub sha256: Sha256Digest,
}

/// A byte stream that the device must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceInfo {
    /// Its name: a path in the old root file system, or what the maker of the patch called it.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// By what it is recognised.
    pub check: SourceCheck,
}

/// By what a source is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceCheck {
    /// It alone.
    Whole {
        /// The SHA-256 of all of it.
        sha256: Sha256Digest,
        /// By what a large source is checked faster.
        large: Option<LargeCheck>,
    },
    /// One of many: the first bytes of its BLAKE3. [`Header::sources_blake3`] tells the rest.
    Brief([u8; BRIEF_BYTES]),
}

/// By what a large source is recognised, or refused, faster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LargeCheck {
    /// The first bytes of the BLAKE3 of its first [`START_BYTES`] bytes, or of all of it if it is shorter. File systems
    /// and disks begin with what nearly every change changes: another version is refused without being read.
    pub start: [u8; START_DIGEST_BYTES],
    /// The BLAKE3 of all of it.
    pub blake3: Blake3Digest,
}

/// One frame: a run of operations that is fetched, checked, decoded and repaired on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameInfo {
    /// Its length in the patch, in bytes.
    pub packed_len: u32,
    /// How many bytes of flattened target it makes.
    pub flat_len: u64,
    /// The SHA-256 of its packed bytes.
    pub sha256: Sha256Digest,
}

/// What stands before the frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// What whoever opens the sources has to know, where they are made of what the device has: for the one
    /// who made the patch to define. Trusted no more than the rest: a wrong source has another digest.
    pub context: Vec<u8>,
    /// The byte streams that the device must have.
    pub sources: Vec<SourceInfo>,
    /// The BLAKE3 of the BLAKE3 digests of all sources, in order, where they are many.
    pub sources_blake3: Option<Blake3Digest>,
    /// The byte streams that the patch makes.
    pub targets: Vec<StreamInfo>,
    /// The most memory that applying takes, in bytes, everything included.
    pub apply_memory_bytes: u64,
    /// The most temporary storage that applying takes beside the targets, in bytes.
    pub scratch_bytes: u64,
    /// Length of the map section, packed, in bytes. It follows the header.
    pub map_packed_len: u32,
    /// Length of the map section, unpacked, in bytes.
    pub map_len: u32,
    /// The SHA-256 of the packed map section.
    pub map_sha256: Sha256Digest,
    /// The frames, in the order in which they follow the map.
    pub frames: Vec<FrameInfo>,
}

/// A header could not be read.
#[derive(Debug, Error)]
pub enum HeaderError {
    /// The file does not start as a patch does.
    #[error("not a Fluvial patch")]
    NotAPatch,
    /// The patch was written by a later version.
    #[error("patch format version {0} is not known here")]
    Version(u8),
    /// The file ends inside the header.
    #[error("the patch ends inside its header")]
    Truncated,
    /// The header is longer than the limit.
    #[error("the header claims {0} bytes, above the limit of {HEADER_BYTES_MAX}")]
    TooLong(u64),
    /// The header's bytes are not those that were written.
    #[error("the header does not match its checksum")]
    Corrupt,
    /// A field has no meaning.
    #[error("a field of the header")]
    Field(#[from] WireError),
    /// The patch cannot be read.
    #[error("the patch cannot be read")]
    Read(#[source] std::io::Error),
}

impl Header {
    /// The header as it stands in a patch, prefix included.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = WireWriter::default();
        body.number(self.context.len() as u64);
        if !self.context.is_empty() {
            write_stream(&self.context, Effort::Smallest, &mut body);
        }
        write_sources(&mut body, &self.sources, self.sources_blake3.as_ref());
        body.number(self.targets.len() as u64);
        for target in &self.targets {
            body.string(target.name.as_bytes());
            body.number(target.size);
            body.raw(&target.sha256);
        }
        body.number(self.apply_memory_bytes);
        body.number(self.scratch_bytes);
        body.number(u64::from(self.map_packed_len));
        body.number(u64::from(self.map_len));
        body.raw(&self.map_sha256);
        body.number(self.frames.len() as u64);
        for frame in &self.frames {
            body.number(u64::from(frame.packed_len));
            body.number(frame.flat_len);
            body.raw(&frame.sha256);
        }
        let mut bytes = Vec::with_capacity(PREFIX_BYTES + body.bytes.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.push(FORMAT_VERSION);
        bytes.extend_from_slice(&(body.bytes.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&Sha256::digest(&body.bytes));
        bytes.extend_from_slice(&body.bytes);
        bytes
    }

    /// Reads the header at the start of `patch`, and nothing behind it. Takes as much memory as the
    /// header is long.
    ///
    /// # Errors
    /// [`HeaderError`]; every kind of damage has its own.
    pub fn read(patch: &dyn ReadAt) -> Result<(Self, u64), HeaderError> {
        let mut prefix = [0; PREFIX_BYTES];
        let have = patch.len().min(PREFIX_BYTES as u64) as usize;
        patch.read_at(0, &mut prefix[..have]).map_err(HeaderError::Read)?;
        if prefix[..8.min(have)] != MAGIC[..8.min(have)] || have == 0 {
            return Err(HeaderError::NotAPatch);
        }
        if have < PREFIX_BYTES {
            return Err(HeaderError::Truncated);
        }
        if prefix[8] != FORMAT_VERSION {
            return Err(HeaderError::Version(prefix[8]));
        }
        let len = u32::from_le_bytes([prefix[9], prefix[10], prefix[11], prefix[12]]) as usize;
        if len > HEADER_BYTES_MAX {
            return Err(HeaderError::TooLong(len as u64));
        }
        let end = (PREFIX_BYTES + len) as u64;
        if end > patch.len() {
            return Err(HeaderError::Truncated);
        }
        let mut body = vec![0; len];
        patch.read_at(PREFIX_BYTES as u64, &mut body).map_err(HeaderError::Read)?;
        if Sha256::digest(&body)[..] != prefix[13..] {
            return Err(HeaderError::Corrupt);
        }
        Ok((Self::parse(&body)?, end))
    }

    fn parse(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = WireReader::new(body);
        let context = parse_context(&mut reader)?;
        let (sources, sources_blake3) = parse_sources(&mut reader)?;
        let count = reader.count("the number of targets", TARGETS_MAX)?;
        let mut targets = Vec::with_capacity(count);
        for _ in 0..count {
            targets.push(StreamInfo {
                name: reader.name(NAME_BYTES_MAX)?,
                size: reader.limited("a target's size", STREAM_SIZE_MAX)?,
                sha256: digest(&mut reader)?,
            });
        }
        let apply_memory_bytes = reader.number()?;
        let scratch_bytes = reader.limited("the temporary storage", STREAM_SIZE_MAX)?;
        let map_packed_len = reader.limited("the map's packed length", MAP_PACKED_BYTES_MAX as u64)? as u32;
        let map_len = reader.limited("the map's length", MAP_BYTES_MAX as u64)? as u32;
        let map_sha256 = digest(&mut reader)?;
        let count = reader.count("the number of frames", FRAMES_MAX)?;
        let mut frames = Vec::with_capacity(count);
        for _ in 0..count {
            frames.push(FrameInfo {
                packed_len: reader.limited("a frame's length", FRAME_PACKED_BYTES_MAX as u64)? as u32,
                flat_len: reader.limited("a frame's target length", STREAM_SIZE_MAX)?,
                sha256: digest(&mut reader)?,
            });
        }
        reader.finish()?;
        Ok(Self {
            context,
            sources,
            sources_blake3,
            targets,
            apply_memory_bytes,
            scratch_bytes,
            map_packed_len,
            map_len,
            map_sha256,
            frames,
        })
    }
}

fn parse_context(reader: &mut WireReader<'_>) -> Result<Vec<u8>, WireError> {
    let len = reader.count("the length of the context", CONTEXT_BYTES_MAX)?;
    if len == 0 {
        return Ok(Vec::new());
    }
    let damaged = WireError::Invalid("the context cannot be unpacked");
    match read_stream(reader)?.read_all(len) {
        Ok(context) if context.len() == len => Ok(context),
        _ => Err(damaged),
    }
}

/// Names, sizes, digests. Many names are told by what they do not share with the one before, and packed.
fn write_sources(body: &mut WireWriter, sources: &[SourceInfo], all: Option<&Blake3Digest>) {
    body.number(sources.len() as u64);
    body.number(u64::from(all.is_some()));
    let Some(all) = all else {
        for source in sources {
            body.string(source.name.as_bytes());
            body.number(source.size);
            if let SourceCheck::Whole { sha256, large } = &source.check {
                body.raw(sha256);
                body.number(u64::from(large.is_some()));
                if let Some(large) = large {
                    body.raw(&large.start);
                    body.raw(&large.blake3);
                }
            }
        }
        return;
    };
    let (mut names, mut sizes) = (WireWriter::default(), WireWriter::default());
    let mut before: &[u8] = &[];
    for source in sources {
        let name = source.name.as_bytes();
        let shared = before.iter().zip(name).take_while(|(a, b)| a == b).count();
        names.number(shared as u64);
        names.string(&name[shared..]);
        sizes.number(source.size);
        before = name;
    }
    write_stream(&names.bytes, Effort::Smallest, body);
    write_stream(&sizes.bytes, Effort::Smallest, body);
    for source in sources {
        if let SourceCheck::Brief(brief) = &source.check {
            body.raw(brief);
        }
    }
    body.raw(all);
}

fn parse_sources(reader: &mut WireReader<'_>) -> Result<(Vec<SourceInfo>, Option<Blake3Digest>), WireError> {
    let count = reader.count("the number of sources", SOURCES_MAX)?;
    let mut sources = Vec::with_capacity(count);
    if reader.limited("whether sources are many", 1)? == 0 {
        for _ in 0..count {
            let name = reader.name(NAME_BYTES_MAX)?;
            let size = reader.limited("a source's size", STREAM_SIZE_MAX)?;
            let sha256 = digest(reader)?;
            let is_large = reader.limited("whether a source is large", 1)? == 1;
            let large = if is_large { Some(large_check(reader)?) } else { None };
            sources.push(SourceInfo { name, size, check: SourceCheck::Whole { sha256, large } });
        }
        return Ok((sources, None));
    }
    let mut unpacked = || {
        let stream = read_stream(reader)?;
        stream
            .read_all(HEADER_BYTES_MAX)
            .map_err(|_| WireError::Invalid("a list of sources cannot be unpacked"))
    };
    let (names, sizes) = (unpacked()?, unpacked()?);
    let (mut names, mut sizes) = (WireReader::new(&names), WireReader::new(&sizes));
    let mut before: Vec<u8> = Vec::new();
    let mut names_bytes = 0;
    for _ in 0..count {
        let shared = names.limited("what a name shares with the one before", before.len() as u64)? as usize;
        before.truncate(shared);
        before
            .extend_from_slice(names.string("a name's length", NAME_BYTES_MAX - shared.min(NAME_BYTES_MAX))?);
        names_bytes += before.len();
        if names_bytes > HEADER_BYTES_MAX {
            let (value, limit) = (names_bytes as u64, HEADER_BYTES_MAX as u64);
            return Err(WireError::Limit { what: "the names of all sources", value, limit });
        }
        let name = String::from_utf8(before.clone()).map_err(|_| WireError::NotUtf8)?;
        let size = sizes.limited("a source's size", STREAM_SIZE_MAX)?;
        sources.push(SourceInfo { name, size, check: SourceCheck::Brief([0; BRIEF_BYTES]) });
    }
    names.finish()?;
    sizes.finish()?;
    for source in &mut sources {
        let brief = reader.raw(BRIEF_BYTES)?.try_into().map_err(|_| WireError::Truncated)?;
        source.check = SourceCheck::Brief(brief);
    }
    Ok((sources, Some(digest(reader)?)))
}

fn large_check(reader: &mut WireReader<'_>) -> Result<LargeCheck, WireError> {
    let start = reader.raw(START_DIGEST_BYTES)?.try_into().map_err(|_| WireError::Truncated)?;
    Ok(LargeCheck { start, blake3: digest(reader)? })
}

fn digest(reader: &mut WireReader<'_>) -> Result<Sha256Digest, WireError> {
    reader.raw(32)?.try_into().map_err(|_| WireError::Truncated)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(sources: Vec<SourceInfo>, sources_blake3: Option<Blake3Digest>) -> Header {
        Header {
            context: sources.iter().flat_map(|source| source.name.bytes()).collect(),
            sources,
            sources_blake3,
            targets: vec![StreamInfo { name: "new".into(), size: 7, sha256: [3; 32] }],
            apply_memory_bytes: 1 << 20,
            scratch_bytes: 5,
            map_packed_len: 1,
            map_len: 2,
            map_sha256: [4; 32],
            frames: vec![FrameInfo { packed_len: 9, flat_len: 10, sha256: [5; 32] }],
        }
    }

    proptest! {
        #[test]
        fn sources_come_back(
            list in prop::collection::vec(("[a-c/é]{0,12}", 0..STREAM_SIZE_MAX, any::<[u8; 32]>()), 0..60),
            are_many: bool,
        ) {
            let check = |digest: [u8; 32]| {
                if are_many {
                    SourceCheck::Brief([digest[0], digest[1]])
                } else {
                    let start = [digest[1], digest[2], digest[3], digest[4]];
                    let large = (digest[0] & 1 == 1).then_some(LargeCheck { start, blake3: digest });
                    SourceCheck::Whole { sha256: digest, large }
                }
            };
            let sources =
                list.into_iter().map(|(name, size, digest)| SourceInfo { name, size, check: check(digest) });
            let header = header(sources.collect(), are_many.then_some([6; 32]));
            let bytes = header.to_bytes();
            let (read, len) = Header::read(&bytes).unwrap();
            prop_assert_eq!(read, header);
            prop_assert_eq!(len, bytes.len() as u64);
        }
    }

    #[test]
    fn names_that_grow_without_end_are_refused() {
        // Each name shares all of the one before: a few bytes each make gigabytes.
        let name = "x".repeat(NAME_BYTES_MAX);
        let source = |name| SourceInfo { name, size: 1, check: SourceCheck::Brief([0; BRIEF_BYTES]) };
        let sources = vec![source(name); 2 * HEADER_BYTES_MAX / NAME_BYTES_MAX];
        let bytes = header(sources, Some([0; 32])).to_bytes();
        assert!(bytes.len() < 1 << 20);
        let error = Header::read(&bytes).unwrap_err();
        assert!(matches!(error, HeaderError::Field(WireError::Limit { .. })), "{error:?}");
    }
}
