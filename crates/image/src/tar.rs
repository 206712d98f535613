//! tar: v7, ustar, GNU and pax (POSIX.1-2017 pax, GNU tar manual "Basic Tar Format").
//!
//! The `tar` crate reads the fields. The walk from header to header is ours: the crate's iterator
//! keeps extension records of any length in memory, and skips what the input tells it to.

use fluvial_delta::structure::{ReadAt, Structure};
use tar::{EntryType, Header, PaxExtensions};

use crate::anatomist::Specimen;
use crate::catalogue::{Catalogue, PATH_BYTES_MAX, part_path};
use crate::field::{read_array, read_vec};

/// Headers and contents are aligned to this.
pub(crate) const RECORD_BYTES: u64 = 512;
/// Entries of one archive at most, of any type.
const ENTRIES_MAX: usize = 1 << 22;
/// Bytes of one pax header at most. Extended attributes may be 64 KiB each.
const PAX_BYTES_MAX: u64 = 1 << 20;
/// Continuation headers of one sparse file at most (each maps 21 runs).
const SPARSE_HEADERS_MAX: usize = 1 << 16;
/// Where a sparse header says that another follows: in the file's header, and in a continuation.
const SPARSE_MORE: [usize; 2] = [482, 504];

/// Takes a tar apart. Sparse files are left as they are stored: their runs, one behind the other.
pub(crate) fn dissect(specimen: Specimen<'_>) -> Option<Structure> {
    let stream = specimen.stream;
    checked_header(specimen.head.get(..RECORD_BYTES as usize)?.try_into().ok()?)?;
    let mut catalogue = Catalogue::new(stream.len());
    for entry in Walk::new(stream).take(ENTRIES_MAX) {
        if entry.kind == Kind::File && catalogue.run(part_path(&entry.path), entry.offset, entry.len).is_err()
        {
            break;
        }
    }
    catalogue.finish("tar")
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file that stands in one piece.
    File,
    /// A folder.
    Folder,
    /// Another name of an entry before; the path as it stands there.
    HardLink(Vec<u8>),
    /// A symbolic link to this path.
    SymbolicLink(Vec<u8>),
    /// A device, a pipe, an extension of another entry.
    Other,
}

/// What stands behind a header.
#[derive(Debug)]
pub(crate) struct Entry {
    /// As it stands in the archive.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    /// Where its content starts in the archive, and how long it is, in bytes.
    pub(crate) offset: u64,
    pub(crate) len: u64,
    /// A sparse file stands without its zeros: what stands is not its content.
    pub(crate) is_sparse: bool,
    pub(crate) metadata: Metadata,
    /// Its header, without what extensions say.
    pub(crate) header: [u8; RECORD_BYTES as usize],
}

impl Entry {
    /// Whether it says something of the entry behind it, and is none of its own.
    pub(crate) fn is_extension(&self) -> bool {
        self.kind == Kind::Other && self.len > 0
    }
}

/// What a file system knows of a file besides its name and content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Metadata {
    /// Permissions, and the bits above them up to `0o7777`.
    pub mode: u32,
    /// Whom it belongs to.
    pub uid: u64,
    /// Which group it belongs to.
    pub gid: u64,
    /// When its content was changed, in seconds since 1970; 0 for anything before.
    pub modified_s: u64,
}

/// What an extension header says about the entry behind it.
#[derive(Default)]
struct Overrides {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    len: Option<u64>,
    is_sparse: bool,
    uid: Option<u64>,
    gid: Option<u64>,
    modified_s: Option<u64>,
}

/// Goes from header to header.
pub(crate) struct Walk<'a> {
    stream: &'a dyn ReadAt,
    offset: u64,
    overrides: Overrides,
}

impl Iterator for Walk<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        self.next_entry()
    }
}

impl<'a> Walk<'a> {
    /// Begins at the start of an archive.
    pub(crate) fn new(stream: &'a dyn ReadAt) -> Self {
        Self { stream, offset: 0, overrides: Overrides::default() }
    }

    /// Whether everything up to the end of the archive could be read.
    pub(crate) fn is_at_end(&self) -> bool {
        let rest = self.stream.len() - self.offset.min(self.stream.len());
        rest == 0 || read_array::<{ RECORD_BYTES as usize }>(self.stream, self.offset) == Some([0; 512])
    }

    /// Reads the header at the current offset and moves behind its content. `None` at the end of
    /// the archive (a record of zeros) and where it is damaged.
    fn next_entry(&mut self) -> Option<Entry> {
        let bytes = read_array(self.stream, self.offset)?;
        let header = checked_header(&bytes)?;
        let mut offset = self.offset + RECORD_BYTES;
        let kind = header.entry_type();
        if kind.is_gnu_sparse() {
            offset = self.skip_sparse_headers(&bytes, offset)?;
        }
        let extension = matches!(
            kind,
            EntryType::XHeader | EntryType::XGlobalHeader | EntryType::GNULongName | EntryType::GNULongLink
        );
        let overrides = if extension { Overrides::default() } else { std::mem::take(&mut self.overrides) };
        let len = match kind {
            // These never have content; some writers put another file's size into the field.
            EntryType::Link
            | EntryType::Symlink
            | EntryType::Char
            | EntryType::Block
            | EntryType::Directory
            | EntryType::Fifo => 0,
            _ => overrides.len.map_or_else(|| header.entry_size().ok(), Some)?,
        };
        let end = offset.checked_add(len)?;
        if end > self.stream.len() {
            return None;
        }
        if extension {
            self.note_extension(kind, offset, len);
        }
        self.offset = end.checked_next_multiple_of(RECORD_BYTES)?;
        let link = || {
            let link = overrides.link.clone();
            link.or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned)).unwrap_or_default()
        };
        let kind = match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
            EntryType::Directory => Kind::Folder,
            EntryType::Link => Kind::HardLink(link()),
            EntryType::Symlink => Kind::SymbolicLink(link()),
            _ => Kind::Other,
        };
        let is_sparse = overrides.is_sparse || header.entry_type().is_gnu_sparse();
        let metadata = Metadata {
            mode: header.mode().unwrap_or(0) & 0o7777,
            uid: overrides.uid.or_else(|| header.uid().ok()).unwrap_or(0),
            gid: overrides.gid.or_else(|| header.gid().ok()).unwrap_or(0),
            modified_s: overrides.modified_s.or_else(|| header.mtime().ok()).unwrap_or(0),
        };
        let path = overrides.path.unwrap_or_else(|| header.path_bytes().into_owned());
        Some(Entry { path, kind, offset, len, is_sparse, metadata, header: bytes })
    }

    /// Moves over the continuation headers of an old GNU sparse file.
    fn skip_sparse_headers(&self, first: &[u8; RECORD_BYTES as usize], mut offset: u64) -> Option<u64> {
        let mut more = first[SPARSE_MORE[0]] != 0;
        for _ in 0..SPARSE_HEADERS_MAX {
            if !more {
                return Some(offset);
            }
            let bytes: [u8; RECORD_BYTES as usize] = read_array(self.stream, offset)?;
            more = bytes[SPARSE_MORE[1]] != 0;
            offset += RECORD_BYTES;
        }
        None
    }

    /// Remembers a long name or pax records for the next entry. One that is too long or damaged is
    /// passed over: the entry then has the short name of its own header.
    fn note_extension(&mut self, kind: EntryType, offset: u64, len: u64) {
        match kind {
            EntryType::GNULongName | EntryType::GNULongLink if len <= PATH_BYTES_MAX as u64 => {
                if let Some(mut name) = read_vec(self.stream, offset, len) {
                    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
                    name.truncate(end);
                    if kind == EntryType::GNULongName {
                        self.overrides.path = Some(name);
                    } else {
                        self.overrides.link = Some(name);
                    }
                }
            }
            EntryType::XHeader if len <= PAX_BYTES_MAX => {
                if let Some(records) = read_vec(self.stream, offset, len) {
                    self.note_pax(&records);
                }
            }
            _ => {}
        }
    }

    fn note_pax(&mut self, records: &[u8]) {
        for record in PaxExtensions::new(records).map_while(Result::ok) {
            let value = record.value_bytes();
            match record.key_bytes() {
                b"linkpath" if value.len() <= PATH_BYTES_MAX => {
                    self.overrides.link = Some(value.to_vec());
                }
                // A sparse file's own name; `path` is then that of a stand-in.
                b"path" | b"GNU.sparse.name" if value.len() <= PATH_BYTES_MAX => {
                    self.overrides.path = Some(value.to_vec());
                }
                b"GNU.sparse.major" | b"GNU.sparse.map" => self.overrides.is_sparse = true,
                b"size" => self.overrides.len = number(value),
                b"uid" => self.overrides.uid = number(value),
                b"gid" => self.overrides.gid = number(value),
                // With a fraction of a second, often.
                b"mtime" => {
                    self.overrides.modified_s = value.split(|&byte| byte == b'.').next().and_then(number);
                }
                _ => {}
            }
        }
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The header, if its checksum is right and it is not the record of zeros at the end.
fn checked_header(bytes: &[u8; RECORD_BYTES as usize]) -> Option<&Header> {
    let header = Header::from_byte_slice(bytes);
    let stated = header.cksum().ok()?;
    // The checksum counts its own field as eight spaces.
    let sum: u32 = bytes[..148].iter().chain(&bytes[156..]).map(|byte| u32::from(*byte)).sum::<u32>()
        + 8 * u32::from(b' ');
    // A v7 header has no magic. A sum over a mostly empty record would be a weak proof alone.
    let named = bytes[0] != 0;
    (stated == sum && named).then_some(header)
}
