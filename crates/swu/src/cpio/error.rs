//! Every way that an archive is refused.

use std::io;

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum CpioError {
    /// The medium reports a fault.
    #[error("the archive cannot be read or written")]
    Io(#[from] io::Error),
    /// It ends inside a member or before the trailer.
    #[error("the archive ends in the middle")]
    Ends,
    /// No member begins where one should.
    #[error("no member of a cpio archive (070702 or 070701) at byte {offset}")]
    Magic {
        /// Where it should begin, in bytes.
        offset: u64,
    },
    /// A header has something else than hexadecimal digits.
    #[error("the header at byte {offset} is damaged")]
    Header {
        /// Where the header begins, in bytes.
        offset: u64,
    },
    /// A name is too long.
    #[error("a name of {len} bytes in the archive")]
    NameLength {
        /// Its length in bytes.
        len: u32,
    },
    /// A name is empty, a path, or not readable.
    #[error("the name \"{name}\" in the archive is not that of a file")]
    Name {
        /// Its beginning, escaped.
        name: String,
    },
    /// Two files have one name.
    #[error("the archive has two files {name}")]
    Duplicate {
        /// Their name.
        name: String,
    },
    /// A member is a folder, a link or a device.
    #[error("{name} in the archive is not a regular file")]
    Kind {
        /// Its name.
        name: String,
    },
    /// There are too many files.
    #[error("more than {} files in the archive", crate::limits::FILES_MAX)]
    TooMany,
    /// A file is longer than a header can say.
    #[error("{name} has {len} bytes, more than an archive can hold in a file")]
    Length {
        /// Its name.
        name: String,
        /// Its length in bytes.
        len: u64,
    },
    /// The bytes do not have the sum that the header says.
    #[error("{name} in the archive is damaged: its checksum differs")]
    Checksum {
        /// Its name.
        name: String,
    },
    /// Something stands behind the end.
    #[error("there are bytes behind the end of the archive")]
    Trailing,
}

impl CpioError {
    /// Takes it out of what [`Member`](super::Member) reports as a reader.
    pub fn from_reader(error: io::Error) -> Self {
        error.downcast::<Self>().unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Ends,
            _ => Self::Io(error),
        })
    }
}
