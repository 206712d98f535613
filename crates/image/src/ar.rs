//! ar archives: Debian packages and static libraries.
//!
//! Source: ar(5) and deb(5). Long names: GNU (a table named `//`) and BSD (`#1/LENGTH`).

use fluvial_delta::structure::{Block, Extent, ReadAt, Structure};

use crate::anatomist::Specimen;
use crate::catalogue::{Catalogue, PATH_BYTES_MAX, part_path};
use crate::field::{read_array, read_vec};
use crate::magic::{MAGIC_BYTES, sniff};

/// What an archive starts with.
const MAGIC: &[u8] = b"!<arch>\n";
/// Bytes of a member's header.
const HEADER_BYTES: u64 = 60;
/// Members of one archive at most.
const MEMBERS_MAX: usize = 1 << 20;
/// Bytes of the table of long names at most.
const NAMES_BYTES_MAX: u64 = 16 << 20;

/// Takes an archive apart. Members that are compressed as a whole, like `data.tar.xz` in a Debian
/// package, are packed parts.
pub(crate) fn dissect(specimen: Specimen<'_>) -> Option<Structure> {
    if !specimen.head.starts_with(MAGIC) {
        return None;
    }
    let stream = specimen.stream;
    let mut catalogue = Catalogue::new(stream.len());
    let mut members = Members { stream, offset: MAGIC.len() as u64, long_names: Vec::new() };
    for _ in 0..MEMBERS_MAX {
        let Some(member) = members.next_member() else { break };
        let Some(path) = member.path else { continue };
        let extent = member.extent;
        let head_len = extent.len.min(MAGIC_BYTES as u64);
        let format = read_vec(stream, extent.offset, head_len).and_then(|head| sniff(&head));
        let added = match format {
            Some(format) => catalogue.blocks(path, [Block { extent, plain_len: None, format }]),
            None => catalogue.plain(path, [extent]),
        };
        if added.is_err() {
            break;
        }
    }
    catalogue.finish("ar")
}

struct Members<'a> {
    stream: &'a dyn ReadAt,
    offset: u64,
    long_names: Vec<u8>,
}

struct Member {
    /// Absent for the tables of names and of symbols.
    path: Option<String>,
    extent: Extent,
}

impl Members<'_> {
    fn next_member(&mut self) -> Option<Member> {
        let header: [u8; HEADER_BYTES as usize] = read_array(self.stream, self.offset)?;
        if &header[58..] != b"`\n" {
            return None;
        }
        let extent = Extent { offset: self.offset + HEADER_BYTES, len: decimal(&header[48..58])? };
        let end = extent.offset.checked_add(extent.len).filter(|end| *end <= self.stream.len())?;
        self.offset = end.checked_next_multiple_of(2)?;
        let name = header[..16].trim_ascii_end();
        self.member(name, extent)
    }

    fn member(&mut self, name: &[u8], mut extent: Extent) -> Option<Member> {
        let path = match name {
            b"/" | b"/SYM64/" | b"__.SYMDEF" | b"__.SYMDEF SORTED" => None,
            b"//" => {
                if extent.len <= NAMES_BYTES_MAX {
                    self.long_names = read_vec(self.stream, extent.offset, extent.len)?;
                }
                None
            }
            [b'#', b'1', b'/', digits @ ..] => {
                let len = decimal(digits).filter(|len| *len <= extent.len.min(PATH_BYTES_MAX as u64))?;
                let name = read_vec(self.stream, extent.offset, len)?;
                extent = Extent { offset: extent.offset + len, len: extent.len - len };
                Some(part_path(name.split(|byte| *byte == 0).next()?))
            }
            [b'/', digits @ ..] => {
                let names = self.long_names.get(usize::try_from(decimal(digits)?).ok()?..)?;
                let name = names[..names.len().min(PATH_BYTES_MAX)].split(|byte| *byte == b'\n').next()?;
                let name = name.strip_suffix(b"/").unwrap_or(name);
                Some(part_path(name))
            }
            name => Some(part_path(name.strip_suffix(b"/").unwrap_or(name))),
        };
        Some(Member { path, extent })
    }
}

/// The number of a field that is filled up with spaces.
fn decimal(field: &[u8]) -> Option<u64> {
    let digits = field.trim_ascii_end();
    digits.iter().all(u8::is_ascii_digit).then_some(())?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
