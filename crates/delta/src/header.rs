//! The header of a patch: what it needs, what it makes, and where its frames stand.
//!
//! Layout in docs/format.md. The header is read alone, before anything else is fetched: it tells
//! whether this device has the sources and the memory.

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::limits::{
    FRAME_PACKED_BYTES_MAX, FRAMES_MAX, HEADER_BYTES_MAX, MAP_BYTES_MAX, MAP_PACKED_BYTES_MAX,
    NAME_BYTES_MAX, SOURCES_MAX, STREAM_SIZE_MAX, TARGETS_MAX,
};
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

/// A byte stream by name, size and content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its name: a path in the old root file system, or what the maker of the patch called it.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// The SHA-256 of all of it.
    pub sha256: Sha256Digest,
    /// The BLAKE3 of all of it, by which a large source is checked faster. Targets have none.
    pub blake3: Option<Blake3Digest>,
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
    /// The byte streams that the device must have.
    pub sources: Vec<StreamInfo>,
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
        write_streams(&mut body, &self.sources);
        for source in &self.sources {
            body.number(u64::from(source.blake3.is_some()));
            source.blake3.iter().for_each(|blake3| body.raw(blake3));
        }
        write_streams(&mut body, &self.targets);
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
        let mut sources = parse_streams(&mut reader, "the number of sources", SOURCES_MAX)?;
        for source in &mut sources {
            if reader.limited("whether there is a BLAKE3", 1)? == 1 {
                source.blake3 = Some(digest(&mut reader)?);
            }
        }
        let targets = parse_streams(&mut reader, "the number of targets", TARGETS_MAX)?;
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
            sources,
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

fn write_streams(body: &mut WireWriter, streams: &[StreamInfo]) {
    body.number(streams.len() as u64);
    for stream in streams {
        body.string(stream.name.as_bytes());
        body.number(stream.size);
        body.raw(&stream.sha256);
    }
}

fn digest(reader: &mut WireReader<'_>) -> Result<Sha256Digest, WireError> {
    reader.raw(32)?.try_into().map_err(|_| WireError::Truncated)
}

fn parse_streams(
    reader: &mut WireReader<'_>,
    what: &'static str,
    limit: usize,
) -> Result<Vec<StreamInfo>, WireError> {
    let count = reader.count(what, limit)?;
    let mut streams = Vec::with_capacity(count);
    for _ in 0..count {
        streams.push(StreamInfo {
            name: reader.name(NAME_BYTES_MAX)?,
            size: reader.limited("a stream's size", STREAM_SIZE_MAX)?,
            sha256: digest(reader)?,
            blake3: None,
        });
    }
    Ok(streams)
}
