//! The journal of an apply: how far a result is known to be on the disk.
//!
//! ```text
//! offset  bytes
//!      0      8  "FLUVIALj"
//!      8      1  version, 1
//!      9     32  SHA-256 of the patch's header, which names sources and targets by their SHA-256
//!     41      8  inode of NEW.part, little-endian; 0 for a block device
//!     49      8  the first frame that is still to be applied, little-endian
//!     57     32  SHA-256 of all of the above
//! ```
//!
//! It is written after the result's bytes are on the disk, by [`super::durable`], so that it never
//! claims more than there is. Sources are hashed again at each start, whatever it says.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use fluvial_delta::header::Sha256Digest;
use sha2::{Digest as _, Sha256};

use super::durable::{self, Draft};

const MAGIC: [u8; 8] = *b"FLUVIALj";
const VERSION: u8 = 1;
const BODY_BYTES: usize = 57;
const JOURNAL_BYTES: usize = BODY_BYTES + 32;

/// Where the journal of one apply stands, and what it is the journal of.
#[derive(Debug, Clone)]
pub struct Journal {
    path: PathBuf,
    header_sha256: Sha256Digest,
    inode: u64,
}

/// What a journal says.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry {
    /// There is none.
    None,
    /// So many frames are done.
    Frames(usize),
    /// It cannot be used, for a reason in words.
    Unusable(&'static str),
}

/// Why what an earlier run has left is thrown away; [`fmt::Display`] says it to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restart {
    /// The journal does not fit what is there.
    Journal {
        /// Where it stands.
        path: PathBuf,
        /// What is wrong with it, in words.
        why: &'static str,
    },
    /// The result came out wrong.
    Damaged,
}

impl fmt::Display for Restart {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal { path, why } => {
                write!(out, "{} cannot be used, {why}: starting over", path.display())
            }
            Self::Damaged => write!(out, "what an earlier run has left is damaged: starting over"),
        }
    }
}

impl Journal {
    /// The journal at `path` of applying the patch with this header to the file with this inode.
    pub fn new(path: PathBuf, header_sha256: Sha256Digest, inode: u64) -> Self {
        Self { path, header_sha256, inode }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says.
    ///
    /// # Errors
    /// What the system reports; that there is no journal is no error.
    pub fn read(&self) -> io::Result<Entry> {
        let mut bytes = Vec::with_capacity(JOURNAL_BYTES + 1);
        match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Entry::None),
            file => file?.take(JOURNAL_BYTES as u64 + 1).read_to_end(&mut bytes)?,
        };
        Ok(self.parse(&bytes))
    }

    /// The frame to begin at, and why an earlier run's work cannot be used where there is some. `is_whole`
    /// tells whether that has the length that it should have; the patch has so many `frames`.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn starting_point(&self, is_whole: bool, frames: usize) -> io::Result<(usize, Option<Restart>)> {
        let unusable = |why| Ok((0, Some(Restart::Journal { path: self.path.clone(), why })));
        match self.read()? {
            Entry::None => Ok((0, None)),
            Entry::Unusable(why) => unusable(why),
            Entry::Frames(frame) if frame > frames => unusable("it names a frame that is not there"),
            Entry::Frames(_) if !is_whole => unusable("what it belongs to has another length"),
            Entry::Frames(frame) => Ok((frame, None)),
        }
    }

    fn parse(&self, bytes: &[u8]) -> Entry {
        if bytes.get(..8) == Some(&MAGIC) && bytes.get(8).is_some_and(|&version| version != VERSION) {
            return Entry::Unusable("it was written by another version of fluvial");
        }
        let damaged = Entry::Unusable("it is damaged");
        if bytes.len() != JOURNAL_BYTES || bytes[..8] != MAGIC {
            return damaged;
        }
        let (body, checksum) = bytes.split_at(BODY_BYTES);
        if Sha256::digest(body)[..] != *checksum {
            return damaged;
        }
        if body[9..41] != self.header_sha256 {
            return Entry::Unusable("it belongs to another patch");
        }
        if body[41..49] != self.inode.to_le_bytes() {
            return Entry::Unusable("it belongs to a file that is gone");
        }
        let mut frame = [0; 8];
        frame.copy_from_slice(&body[49..57]);
        usize::try_from(u64::from_le_bytes(frame)).map_or(damaged, Entry::Frames)
    }

    /// Notes that everything before `frame` is on the disk.
    ///
    /// # Errors
    /// What the system reports; what was noted before still stands.
    pub fn note(&self, frame: usize) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(JOURNAL_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.header_sha256);
        bytes.extend_from_slice(&self.inode.to_le_bytes());
        bytes.extend_from_slice(&(frame as u64).to_le_bytes());
        let checksum = Sha256::digest(&bytes);
        bytes.extend_from_slice(&checksum);
        let mut draft = Draft::create(&self.path)?;
        draft.write_all(&bytes)?;
        draft.publish()
    }

    /// Removes it, if it is there.
    ///
    /// # Errors
    /// What the system reports.
    pub fn remove(&self) -> io::Result<()> {
        durable::remove(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn journal(folder: &tempfile::TempDir) -> Journal {
        Journal::new(folder.path().join("new.part.journal"), [7; 32], 42)
    }

    #[test]
    fn what_was_noted_last_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(&folder);
        assert_eq!(journal.read().unwrap(), Entry::None);
        for frame in [1, 9, 300] {
            journal.note(frame).unwrap();
            assert_eq!(journal.read().unwrap(), Entry::Frames(frame));
        }
        journal.remove().unwrap();
        assert_eq!(journal.read().unwrap(), Entry::None);
    }

    #[test]
    fn a_journal_of_something_else_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(&folder);
        journal.note(3).unwrap();
        let other = |patch, inode| Journal::new(journal.path.clone(), [patch; 32], inode).read().unwrap();
        assert_eq!(other(8, 42), Entry::Unusable("it belongs to another patch"));
        assert_eq!(other(7, 43), Entry::Unusable("it belongs to a file that is gone"));
    }

    #[test]
    fn no_damaged_journal_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(&folder);
        journal.note(3).unwrap();
        let whole = fs::read(&journal.path).unwrap();
        assert_eq!(whole.len(), JOURNAL_BYTES);
        for len in 0..whole.len() {
            assert!(matches!(journal.parse(&whole[..len]), Entry::Unusable(_)), "cut at {len}");
        }
        for bit in 0..8 * whole.len() {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(journal.parse(&bytes), Entry::Unusable(_)), "bit {bit}");
        }
        let longer = [whole.as_slice(), b"x"].concat();
        assert_eq!(journal.parse(&longer), Entry::Unusable("it is damaged"));
    }
}
