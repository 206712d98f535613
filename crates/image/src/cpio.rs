//! cpio archives in the "new ASCII" formats, and the initrd that is made of them.
//!
//! Sources: cpio(5) ("newc" and "crc"), and the Linux kernel's "initramfs buffer format"
//! (`Documentation/driver-api/early-userspace/buffer-format.rst`): any number of archives in a row,
//! with zeros between them, each of them plain or compressed.
//!
//! The `cpio` crate reads entries one after the other, with names of up to 4 GiB, and does not say
//! where contents stand.

use fluvial_delta::structure::{Block, Extent, ReadAt, Structure};

use crate::anatomist::Specimen;
use crate::catalogue::{Catalogue, PATH_BYTES_MAX, part_path};
use crate::field::{read_array, read_vec};
use crate::magic::{MAGIC_BYTES, sniff_expected};

/// The header's length; all numbers are eight hexadecimal digits.
const HEADER_BYTES: u64 = 110;
/// Contents, and headers with their name, are aligned to this.
const ALIGNMENT: u64 = 4;
/// Entries of all archives in a stream together at most.
const ENTRIES_MAX: usize = 1 << 22;
/// Zeros between two archives at most.
const PADDING_BYTES_MAX: u64 = 16 << 20;
/// The name that ends an archive.
const TRAILER: &[u8] = b"TRAILER!!!";
/// The path of the part that is compressed as a whole.
const PACKED_PATH: &str = "<packed archive>";

/// Takes a cpio archive or an initrd apart. The first compressed archive takes the rest of the
/// stream: only unpacking would show where it ends.
pub(crate) fn dissect(specimen: Specimen<'_>) -> Option<Structure> {
    if !is_header(specimen.head) {
        return None;
    }
    let stream = specimen.stream;
    let mut catalogue = Catalogue::new(stream.len());
    let mut archives = Archives { stream, entries: 0 };
    let mut offset = 0;
    let mut kind = "cpio";
    while let Some(end) = archives.walk(offset, &mut catalogue) {
        let Some(next) = skip_zeros(stream, end) else { break };
        let head_len = (stream.len() - next).min(MAGIC_BYTES as u64);
        let Some(head) = read_vec(stream, next, head_len) else { break };
        if is_header(&head) {
            kind = "initrd";
            offset = next;
            continue;
        }
        if let Some(format) = sniff_expected(&head) {
            kind = "initrd";
            let extent = Extent { offset: next, len: stream.len() - next };
            // A full catalogue leaves the rest to the metadata.
            let _ = catalogue.blocks(PACKED_PATH.into(), [Block { extent, plain_len: None, format }]);
        }
        break;
    }
    catalogue.finish(kind)
}

/// newc, or the same with checksums ("crc").
fn is_header(bytes: &[u8]) -> bool {
    bytes.starts_with(b"070701") || bytes.starts_with(b"070702")
}

struct Archives<'a> {
    stream: &'a dyn ReadAt,
    entries: usize,
}

impl Archives<'_> {
    /// Notes the files of the archive at `offset`; the offset behind its trailer, or `None` where
    /// it is damaged or a limit is reached.
    fn walk(&mut self, mut offset: u64, catalogue: &mut Catalogue) -> Option<u64> {
        loop {
            self.entries += 1;
            if self.entries > ENTRIES_MAX {
                return None;
            }
            let entry = self.entry(offset)?;
            if entry.name == TRAILER {
                return Some(entry.content + entry.len);
            }
            if entry.regular {
                catalogue.run(part_path(&entry.name), entry.content, entry.len).ok()?;
            }
            offset = (entry.content + entry.len).checked_next_multiple_of(ALIGNMENT)?;
        }
    }

    fn entry(&self, offset: u64) -> Option<Entry> {
        let header: [u8; HEADER_BYTES as usize] = read_array(self.stream, offset)?;
        if !is_header(&header) {
            return None;
        }
        let mode = hex_at(&header, 14)?;
        let len = u64::from(hex_at(&header, 54)?);
        let name_len = u64::from(hex_at(&header, 94)?);
        if name_len > PATH_BYTES_MAX as u64 {
            return None;
        }
        let mut name = read_vec(self.stream, offset + HEADER_BYTES, name_len)?;
        if name.last() == Some(&0) {
            name.pop();
        }
        let content = (offset + HEADER_BYTES + name_len).checked_next_multiple_of(ALIGNMENT)?;
        // Stays below 2^33 behind a stream's end, so sums of offsets cannot overflow.
        (content + len <= self.stream.len()).then_some(())?;
        Some(Entry { name, regular: mode & 0o170_000 == 0o100_000, content, len })
    }
}

struct Entry {
    name: Vec<u8>,
    regular: bool,
    content: u64,
    len: u64,
}

/// The number of eight hexadecimal digits at `at`.
fn hex_at(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 8)?;
    // `from_str_radix` would take a sign.
    digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The offset of the first byte from `offset` on that is not zero.
fn skip_zeros(stream: &dyn ReadAt, offset: u64) -> Option<u64> {
    let limit = stream.len().min(offset.saturating_add(PADDING_BYTES_MAX));
    let mut at = offset;
    while at < limit {
        let bytes = read_vec(stream, at, (limit - at).min(4096))?;
        if let Some(zeros) = bytes.iter().position(|byte| *byte != 0) {
            return Some(at + zeros as u64);
        }
        at += bytes.len() as u64;
    }
    None
}
