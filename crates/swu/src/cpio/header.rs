//! One header: a magic and 13 fields of eight hexadecimal digits.

use super::{CpioError, HEADER_BYTES, padding};

const MAGIC_WITH_CHECKSUM: &[u8] = b"070702";
const MAGIC: &[u8] = b"070701";
/// The type of a file in its mode, and that of a regular file.
const KIND_MASK: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;

/// What is of use in a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// A number of its own.
    pub inode: u32,
    pub mode: u32,
    /// In bytes.
    pub len: u32,
    /// In bytes, with the zero that ends it.
    pub name_len: u32,
    /// Nothing where the archive has none.
    pub checksum: Option<u32>,
}

impl Header {
    /// A regular file that everyone may read.
    pub fn new(inode: u32, name: &str, len: u32, checksum: u32) -> Self {
        let mode = REGULAR | 0o644;
        Self { inode, mode, len, name_len: name.len() as u32 + 1, checksum: Some(checksum) }
    }

    pub fn is_regular(&self) -> bool {
        self.mode & KIND_MASK == REGULAR
    }

    /// The header, the name, and what fills them up. No owner and no time: an archive depends on its files only.
    pub fn to_bytes(self, name: &str) -> Vec<u8> {
        let mut bytes = MAGIC_WITH_CHECKSUM.to_vec();
        let checksum = self.checksum.unwrap_or(0);
        let links = 1;
        let fields = [self.inode, self.mode, 0, 0, links, 0, self.len, 0, 0, 0, 0, self.name_len, checksum];
        for field in fields {
            bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len() + padding(bytes.len() as u64), 0);
        bytes
    }

    /// Reads one that stands at `offset` of its archive.
    pub fn read(bytes: &[u8; HEADER_BYTES], offset: u64) -> Result<Self, CpioError> {
        let (magic, fields) = bytes.split_at(MAGIC.len());
        let has_checksum = magic == MAGIC_WITH_CHECKSUM;
        if !has_checksum && magic != MAGIC {
            return Err(CpioError::Magic { offset });
        }
        let field = |index: usize| -> Result<u32, CpioError> {
            let digits = &fields[index * 8..][..8];
            // from_str_radix would take a sign.
            let text = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_hexdigit));
            let number = text.and_then(|text| u32::from_str_radix(text, 16).ok());
            number.ok_or(CpioError::Header { offset })
        };
        let checksum = field(12)?;
        Ok(Self {
            inode: field(0)?,
            mode: field(1)?,
            len: field(6)?,
            name_len: field(11)?,
            checksum: has_checksum.then_some(checksum),
        })
    }
}
