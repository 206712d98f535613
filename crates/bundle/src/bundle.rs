//! Bundles: a release in one file, which is read by ranges from any server, or from a stick.
//!
//! What a device needs to decide stands first: the manifest, what proves it, and where everything else is.
//! docs/bundle-format.md has the byte layout and the threat model.

use std::ops::Range;

use fluvial_delta::wire::{WireError, WireReader, WireWriter};
use thiserror::Error;

use crate::error::IndexError;
use crate::hash::HashKind;
use crate::index::Index;
use crate::limits::{
    BUNDLE_HEADER_BYTES_MAX, COMPONENTS_MAX, MANIFEST_BYTES_MAX, METADATA_FILE_BYTES_MAX, METADATA_FILES_MAX,
    NAME_BYTES_MAX, PART_BYTES_MAX, PARTS_MAX,
};
use crate::manifest::{Component, Manifest, ManifestError, PartInfo};
use crate::sketch::Sketch;
use crate::whole::Whole;

/// How a bundle begins.
const MAGIC: &[u8; 8] = b"FLUVIALb";
const VERSION: u8 = 2;
/// Bytes that tell how long the header is: the magic number, the version, a length.
pub const BUNDLE_PREFIX_BYTES: usize = 13;

/// What a part of a bundle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartKind {
    /// A component's block index.
    Index,
    /// Its pages and packed chunks.
    Chunks,
    /// A patch that makes it.
    Patch,
    /// All of it, packed as a whole: a table of frames, and the frames.
    Full,
    /// A sample of its runs.
    Sketch,
}

impl PartKind {
    const ALL: [Self; 5] = [Self::Index, Self::Chunks, Self::Patch, Self::Full, Self::Sketch];

    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Chunks => "chunks",
            Self::Patch => "patch",
            Self::Full => "full",
            Self::Sketch => "sketch",
        }
    }
}

/// A part of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundlePart {
    /// Which component of the manifest it is of.
    pub component: usize,
    /// What it is.
    pub kind: PartKind,
    /// Where it stands in the file.
    pub range: Range<u64>,
}

/// The start of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleHeader {
    /// The manifest, byte for byte: that is what was signed.
    pub manifest: Vec<u8>,
    /// Trust metadata: names and bytes.
    pub metadata: Vec<(String, Vec<u8>)>,
    /// The file that has the index and the chunks of components that this one has a patch for only: its name
    /// in the same folder. Empty where there is none.
    pub full_name: String,
    /// What stands behind the header, without gaps.
    pub parts: Vec<BundlePart>,
}

/// A bundle cannot be read.
#[derive(Debug, Error)]
pub enum BundleError {
    /// The bytes do not begin as a bundle does.
    #[error("it is no bundle")]
    NotABundle,
    /// It is of a version that is not known here.
    #[error("it is of format version {0}, which is not known here")]
    Version(u8),
    /// Its header is longer than allowed.
    #[error("its header has {have} bytes, {limit} are allowed")]
    TooLong {
        /// Its length in bytes.
        have: usize,
        /// How many may be.
        limit: usize,
    },
    /// A value is cut, or above its limit.
    #[error("its header is damaged")]
    Wire(#[from] WireError),
    /// Parts do not fit together.
    #[error("its header is damaged: {0}")]
    Invalid(&'static str),
    /// Its manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A part is not the one that the manifest tells.
    #[error("the {part} of {component:?} {what}")]
    WrongPart {
        /// The component's name.
        component: String,
        /// Which part.
        part: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A part that the manifest tells cannot be read.
    #[error("the {part} of {component:?} cannot be read")]
    Part {
        /// The component's name.
        component: String,
        /// Which part.
        part: &'static str,
        /// Why not.
        source: IndexError,
    },
}

impl BundleHeader {
    /// How long the header is that begins with these [`BUNDLE_PREFIX_BYTES`] bytes, in bytes.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn len_of(prefix: &[u8]) -> Result<usize, BundleError> {
        let rest = prefix.strip_prefix(MAGIC).ok_or(BundleError::NotABundle)?;
        let (&version, rest) = rest.split_first().ok_or(BundleError::NotABundle)?;
        if version != VERSION {
            return Err(BundleError::Version(version));
        }
        let &len = rest.first_chunk().ok_or(BundleError::NotABundle)?;
        let len = BUNDLE_PREFIX_BYTES.saturating_add(u32::from_le_bytes(len) as usize);
        if len <= BUNDLE_HEADER_BYTES_MAX {
            Ok(len)
        } else {
            Err(BundleError::TooLong { have: len, limit: BUNDLE_HEADER_BYTES_MAX })
        }
    }

    /// Reads a header of the length that [`BundleHeader::len_of`] tells. Memory is taken for what is there
    /// only.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn read(bytes: &[u8]) -> Result<Self, BundleError> {
        let len = Self::len_of(bytes)?;
        let body = bytes.get(BUNDLE_PREFIX_BYTES..len);
        let mut reader = WireReader::new(body.ok_or(BundleError::Invalid("it is cut"))?);
        let manifest = reader.string("a manifest", MANIFEST_BYTES_MAX)?.to_vec();
        let count = reader.count("files of metadata", METADATA_FILES_MAX)?;
        let mut metadata = Vec::with_capacity(count);
        for _ in 0..count {
            let name = reader.name(NAME_BYTES_MAX)?;
            metadata.push((name, reader.string("metadata", METADATA_FILE_BYTES_MAX)?.to_vec()));
        }
        let full_name = reader.name(NAME_BYTES_MAX)?;
        if !is_file_name(&full_name) && !full_name.is_empty() {
            return Err(BundleError::Invalid("the name of the full bundle is not that of a file"));
        }
        let mut parts: Vec<BundlePart> = Vec::new();
        let mut at = len as u64;
        for _ in 0..reader.count("parts", PARTS_MAX)? {
            let component = reader.limited("a component's number", COMPONENTS_MAX as u64 - 1)? as usize;
            let kind = PartKind::ALL.get(usize::from(reader.raw(1)?[0]));
            let kind = *kind.ok_or(BundleError::Invalid("there is a part of an unknown kind"))?;
            let end = at + reader.limited("a part's length", PART_BYTES_MAX)?;
            if parts.iter().any(|part| (part.component, part.kind) == (component, kind)) {
                return Err(BundleError::Invalid("a part is there twice"));
            }
            parts.push(BundlePart { component, kind, range: at..end });
            at = end;
        }
        reader.finish()?;
        Ok(Self { manifest, metadata, full_name, parts })
    }

    /// Begins a header without parts.
    pub fn new(manifest: Vec<u8>) -> Self {
        Self { manifest, metadata: Vec::new(), full_name: String::new(), parts: Vec::new() }
    }

    /// Adds a part of so many bytes. Where it stands is told by what is read of the written header.
    pub fn push(&mut self, component: usize, kind: PartKind, len: u64) {
        let at = self.parts.last().map_or(0, |part| part.range.end);
        self.parts.push(BundlePart { component, kind, range: at..at + len });
    }

    /// Writes it; the parts' bytes follow in order.
    ///
    /// # Errors
    /// [`BundleError`] where it could not be read again.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BundleError> {
        let mut writer = WireWriter::default();
        writer.string(&self.manifest);
        writer.number(self.metadata.len() as u64);
        for (name, bytes) in &self.metadata {
            writer.string(name.as_bytes());
            writer.string(bytes);
        }
        writer.string(self.full_name.as_bytes());
        writer.number(self.parts.len() as u64);
        for part in &self.parts {
            writer.number(part.component as u64);
            writer.raw(&[part.kind as u8]);
            writer.number(part.range.end - part.range.start);
        }
        let len = u32::try_from(writer.bytes.len()).unwrap_or(u32::MAX);
        let bytes = [&MAGIC[..], &[VERSION], &len.to_le_bytes(), &writer.bytes].concat();
        Self::read(&bytes)?;
        Ok(bytes)
    }

    /// Reads its manifest. Nobody has vouched for it yet.
    ///
    /// # Errors
    /// [`BundleError::Manifest`]; [`BundleError::Invalid`] where a part is of a component that is not in it.
    pub fn read_manifest(&self) -> Result<Manifest, BundleError> {
        let manifest = Manifest::read(&self.manifest)?;
        if self.parts.iter().any(|part| part.component >= manifest.components.len()) {
            return Err(BundleError::Invalid("a part is of no component"));
        }
        Ok(manifest)
    }

    /// Reads the index of a component, whose number it has in the manifest: `bytes` are those of its part. They
    /// are compared with what the manifest tells before they are unpacked.
    ///
    /// # Errors
    /// [`BundleError::WrongPart`], [`BundleError::Part`].
    pub fn read_index(
        &self,
        number: usize,
        component: &Component,
        bytes: &[u8],
    ) -> Result<Index, BundleError> {
        let payload = component.payload();
        let named = Named { component, part: "index" };
        named.check(Some(&payload.index), bytes)?;
        let index = Index::read(bytes).map_err(|source| named.unreadable(source))?;
        if (index.len, index.sha256) != (payload.size_bytes, payload.sha256) {
            return Err(named.wrong("is that of another payload"));
        }
        if self.part_len(number, PartKind::Chunks) != index.chunk_file_len() {
            return Err(named.wrong("does not fit the chunks"));
        }
        Ok(index)
    }

    /// Reads the sketch of a component: `bytes` are those of its part. They are compared with what the manifest tells.
    ///
    /// # Errors
    /// [`BundleError::WrongPart`], [`BundleError::Part`].
    pub fn read_sketch(&self, component: &Component, bytes: &[u8]) -> Result<Sketch, BundleError> {
        let named = Named { component, part: "sketch" };
        named.check(component.payload().sketch.as_ref(), bytes)?;
        Sketch::read(bytes).map_err(|source| named.unreadable(source))
    }

    /// Reads the table of frames of a component, whose number it has in the manifest: `bytes` are as many as the
    /// manifest tells of the start of the image as a whole. They are compared with what the manifest tells before they
    /// are unpacked.
    ///
    /// # Errors
    /// [`BundleError::WrongPart`], [`BundleError::Part`].
    pub fn read_whole(
        &self,
        number: usize,
        component: &Component,
        bytes: &[u8],
    ) -> Result<Whole, BundleError> {
        let payload = component.payload();
        let named = Named { component, part: "table of frames" };
        named.check(payload.whole.as_ref(), bytes)?;
        let whole = Whole::read(bytes).map_err(|source| named.unreadable(source))?;
        if whole.len != payload.size_bytes {
            return Err(named.wrong("is that of another payload"));
        }
        if self.part_len(number, PartKind::Full) != bytes.len() as u64 + whole.packed_len() {
            return Err(named.wrong("does not fit the image as a whole"));
        }
        Ok(whole)
    }

    fn part_len(&self, component: usize, kind: PartKind) -> u64 {
        self.part(component, kind).map_or(0, |part| part.range.end - part.range.start)
    }

    /// A part of a component, if it is there.
    pub fn part(&self, component: usize, kind: PartKind) -> Option<&BundlePart> {
        self.parts.iter().find(|part| (part.component, part.kind) == (component, kind))
    }

    /// How long the file is, in bytes, with a header of `header_len` bytes.
    pub fn file_len(&self, header_len: u64) -> u64 {
        self.parts.last().map_or(header_len, |part| part.range.end)
    }
}

/// A part, as people know it.
struct Named<'a> {
    component: &'a Component,
    part: &'static str,
}

impl Named<'_> {
    fn wrong(&self, what: &'static str) -> BundleError {
        BundleError::WrongPart { component: self.component.name().into(), part: self.part, what }
    }

    fn unreadable(&self, source: IndexError) -> BundleError {
        BundleError::Part { component: self.component.name().into(), part: self.part, source }
    }

    /// Compares bytes with what the manifest tells of them.
    fn check(&self, info: Option<&PartInfo>, bytes: &[u8]) -> Result<(), BundleError> {
        let Some(info) = info else { return Err(self.wrong("is not in the manifest")) };
        if bytes.len() as u64 != info.size_bytes {
            return Err(self.wrong("has another length than the manifest tells"));
        }
        if HashKind::Sha256.digest(bytes) != info.sha256 {
            return Err(self.wrong("is other bytes than the manifest tells"));
        }
        Ok(())
    }
}

/// Whether it names a file in the same folder, and nothing else.
fn is_file_name(name: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+~@".contains(&byte);
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(is_known)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> BundleHeader {
        let mut header = BundleHeader::new(b"{}".to_vec());
        header.metadata.push(("root.json".into(), b"[1]".to_vec()));
        header.full_name = "new-1.2.fluvial".into();
        header.push(0, PartKind::Index, 70);
        header.push(0, PartKind::Chunks, 7000);
        header.push(1, PartKind::Patch, 5);
        header
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = sample().to_bytes().unwrap();
        let read = BundleHeader::read(&bytes).unwrap();
        let start = bytes.len() as u64;
        let mut expected = sample();
        for part in &mut expected.parts {
            part.range = part.range.start + start..part.range.end + start;
        }
        assert_eq!(read, expected);
        assert_eq!(read.file_len(start), start + 7075);
        assert_eq!(read.part(0, PartKind::Chunks).unwrap().range.start, start + 70);
        assert!(read.part(1, PartKind::Chunks).is_none());
        assert_eq!(read.to_bytes().unwrap(), bytes);
    }

    #[test]
    fn tricks_are_refused() {
        let refused = |change: &dyn Fn(&mut BundleHeader)| {
            let mut header = sample();
            change(&mut header);
            header.to_bytes().unwrap_err().to_string()
        };
        for name in ["../x", "/etc/passwd", "a/b", "..", "x?y", "http:x"] {
            assert!(refused(&|header| header.full_name = name.into()).contains("name"), "{name}");
        }
        assert!(refused(&|header| header.push(0, PartKind::Index, 1)).contains("twice"));
        assert!(refused(&|header| header.push(2, PartKind::Index, PART_BYTES_MAX + 1)).contains("damaged"));
        assert!(refused(&|header| header.push(COMPONENTS_MAX, PartKind::Index, 1)).contains("damaged"));
        let endless = [&MAGIC[..], &[VERSION], &u32::MAX.to_le_bytes()].concat();
        assert!(matches!(BundleHeader::len_of(&endless), Err(BundleError::TooLong { .. })));
        assert!(matches!(BundleHeader::len_of(b"FLUVIALb\x01...."), Err(BundleError::Version(1))));
        assert!(matches!(BundleHeader::read(b"something else"), Err(BundleError::NotABundle)));
    }

    proptest! {
        #[test]
        fn damaged_headers_are_read_without_panic(at: usize, byte: u8, cut: usize) {
            let mut bytes = sample().to_bytes().unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = BundleHeader::read(&bytes);
            let _ = BundleHeader::read(&bytes[..cut % bytes.len()]);
        }
    }
}
