//! zip, and what is zip inside: jar, whl, apk, docx.
//!
//! Source: PKWARE's APPNOTE.TXT 6.3.10, "4.3 General Format of a .ZIP file" and 4.5.3 (zip64).

use fluvial_codec::Format;
use fluvial_delta::structure::{Block, Extent, ReadAt, Structure};

use crate::anatomist::Specimen;
use crate::catalogue::{Catalogue, Full, part_path};
use crate::field::{array_at, read_array, read_vec, u16_at, u32_at, u64_at};

/// The end record without its comment.
const END_BYTES: u64 = 22;
/// Bytes of the comment behind the end record at most: its length has two bytes.
const COMMENT_BYTES_MAX: u64 = 0xffff;
/// The zip64 locator, which stands before the end record.
const LOCATOR_BYTES: u64 = 20;
/// An entry of the directory without name, extra fields and comment.
const ENTRY_BYTES: usize = 46;
/// A local header without name and extra fields.
const LOCAL_BYTES: u64 = 30;
/// Bytes of the directory at most: millions of entries.
const DIRECTORY_BYTES_MAX: u64 = 256 << 20;
/// General purpose flags for encryption (plain, and strong).
const ENCRYPTED: u16 = 0x41;
/// Mode of a symbolic link, in the upper half of the attributes that Unix systems write.
const MODE_LINK: u32 = 0o120_000 << 16;
/// The file type's bits of that mode.
const MODE_MASK: u32 = 0o170_000 << 16;
/// Extra field with the eight-byte sizes.
const ZIP64_FIELD: u16 = 1;

/// Takes a zip apart: a part per file, unpacked where the method is known. Names with a slash at
/// the end are folders.
pub(crate) fn dissect(specimen: Specimen<'_>) -> Option<Structure> {
    let stream = specimen.stream;
    let marked = specimen.head.starts_with(b"PK\x03\x04") || specimen.head.starts_with(b"PK\x05\x06");
    let end = End::find(stream, marked)?;
    let directory = read_vec(stream, end.directory.offset, end.directory.len)?;
    let mut catalogue = Catalogue::new(stream.len());
    let mut rest = &directory[..];
    while let Some((entry, behind)) = Entry::parse(rest) {
        rest = behind;
        if list(stream, &end, &entry, &mut catalogue).is_err() {
            break;
        }
    }
    catalogue.finish("zip")
}

/// Lists one entry, unless it is a folder, a link, encrypted or damaged.
fn list(stream: &dyn ReadAt, end: &End, entry: &Entry<'_>, catalogue: &mut Catalogue) -> Result<(), Full> {
    let is_link = entry.attributes & MODE_MASK == MODE_LINK;
    if entry.name.ends_with(b"/") || is_link || entry.flags & ENCRYPTED != 0 {
        return Ok(());
    }
    let Some(offset) = content_offset(stream, end, entry) else { return Ok(()) };
    let format = match entry.method {
        0 => Format::Stored,
        8 => Format::Deflate,
        93 => Format::Zstd,
        95 => Format::Xz,
        // As it is: names still pair, though what changes is packed.
        _ => return catalogue.run(part_path(entry.name), offset, entry.packed_len),
    };
    let extent = Extent { offset, len: entry.packed_len };
    catalogue.blocks(part_path(entry.name), [Block { extent, plain_len: Some(entry.plain_len), format }])
}

/// Where the content starts: only the local header knows how long its own extra fields are.
fn content_offset(stream: &dyn ReadAt, end: &End, entry: &Entry<'_>) -> Option<u64> {
    let at = entry.local_offset.checked_add(end.shift)?;
    let local: [u8; LOCAL_BYTES as usize] = read_array(stream, at)?;
    if &local[..4] != b"PK\x03\x04" {
        return None;
    }
    let names = u64::from(u16_at(&local, 26)?) + u64::from(u16_at(&local, 28)?);
    Some(at + LOCAL_BYTES + names)
}

/// What the end record says.
struct End {
    directory: Extent,
    /// What stands before the archive (a program that unpacks itself), if offsets do not count it.
    shift: u64,
}

impl End {
    /// Finds the end record. A stream that is not `marked` as a zip at its start must end with it,
    /// without a comment: every file of a system is asked, and 64 KiB are too much to read each time.
    fn find(stream: &dyn ReadAt, marked: bool) -> Option<Self> {
        let comment_max = if marked { COMMENT_BYTES_MAX } else { 0 };
        let tail_len = stream.len().min(END_BYTES + comment_max);
        let tail_offset = stream.len() - tail_len;
        let tail = read_vec(stream, tail_offset, tail_len)?;
        let at = (0..=tail.len().checked_sub(END_BYTES as usize)?).rev().find(|at| {
            let record = &tail[*at..];
            let comment_len = u16_at(record, 20).map(usize::from);
            record.starts_with(b"PK\x05\x06") && comment_len == Some(record.len() - END_BYTES as usize)
        })?;
        let record = &tail[at..];
        let record_offset = tail_offset + at as u64;
        let len = u64::from(u32_at(record, 12)?);
        let offset = u64::from(u32_at(record, 16)?);
        let (directory, directory_end) = if len == 0xffff_ffff || offset == 0xffff_ffff {
            Self::zip64(stream, record_offset)?
        } else {
            (Extent { offset, len }, record_offset)
        };
        // The directory ends where the end record starts, wherever offsets are counted from.
        let start = directory_end.checked_sub(directory.len)?;
        let shift = start.checked_sub(directory.offset)?;
        (directory.len <= DIRECTORY_BYTES_MAX)
            .then_some(Self { directory: Extent { offset: start, len: directory.len }, shift })
    }

    /// The directory as the zip64 record states it, and where that record starts.
    fn zip64(stream: &dyn ReadAt, end_offset: u64) -> Option<(Extent, u64)> {
        let locator: [u8; LOCATOR_BYTES as usize] =
            read_array(stream, end_offset.checked_sub(LOCATOR_BYTES)?)?;
        let record_offset = u64_at(&locator, 8)?;
        let record: [u8; 56] = read_array(stream, record_offset)?;
        if &locator[..4] != b"PK\x06\x07" || &record[..4] != b"PK\x06\x06" {
            return None;
        }
        Some((Extent { offset: u64_at(&record, 48)?, len: u64_at(&record, 40)? }, record_offset))
    }
}

/// An entry of the directory.
struct Entry<'a> {
    flags: u16,
    method: u16,
    attributes: u32,
    name: &'a [u8],
    packed_len: u64,
    plain_len: u64,
    local_offset: u64,
}

impl<'a> Entry<'a> {
    /// The first entry, and what stands behind it.
    fn parse(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let fixed: [u8; ENTRY_BYTES] = array_at(bytes, 0)?;
        if &fixed[..4] != b"PK\x01\x02" {
            return None;
        }
        let [name_len, extra_len, comment_len] =
            [u16_at(&fixed, 28)?, u16_at(&fixed, 30)?, u16_at(&fixed, 32)?].map(usize::from);
        let extra_start = ENTRY_BYTES + name_len;
        let extra = bytes.get(extra_start..extra_start + extra_len)?;
        let wide = zip64_field(extra);
        let mut at = 0;
        // The field has only those numbers that do not fit, in this order.
        let mut number = |short: u32| {
            if short != u32::MAX {
                return Some(u64::from(short));
            }
            at += 8;
            u64_at(wide?, at - 8)
        };
        let plain_len = number(u32_at(&fixed, 24)?)?;
        let packed_len = number(u32_at(&fixed, 20)?)?;
        let local_offset = number(u32_at(&fixed, 42)?)?;
        let entry = Self {
            flags: u16_at(&fixed, 8)?,
            method: u16_at(&fixed, 10)?,
            attributes: u32_at(&fixed, 38)?,
            name: bytes.get(ENTRY_BYTES..extra_start)?,
            packed_len,
            plain_len,
            local_offset,
        };
        Some((entry, bytes.get(extra_start + extra_len + comment_len..)?))
    }
}

/// The zip64 field among the extra fields.
fn zip64_field(mut extra: &[u8]) -> Option<&[u8]> {
    loop {
        let (id, len) = (u16_at(extra, 0)?, usize::from(u16_at(extra, 2)?));
        let value = extra.get(4..4 + len)?;
        if id == ZIP64_FIELD {
            return Some(value);
        }
        extra = &extra[4 + len..];
    }
}
