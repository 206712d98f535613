//! What was fetched, on disk: nothing is fetched twice, not even after a kill.
//!
//! `HEX`, the payload's SHA-256, holds bytes of its chunks where they stand there, the rest of it being holes;
//! `HEX.ranges` lists which ones. Nothing is synced: all that is read is checked.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fluvial_bundle::{Index, Shelf};

use crate::error::FetchError;
use crate::ranges::Ranges;

/// Bytes of an entry of the list: two numbers.
const ENTRY_BYTES: usize = 16;
/// The list is read up to here, in bytes.
const LIST_BYTES_MAX: u64 = 64 << 20;

/// Bytes of the chunks of payloads.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    payloads: Vec<Payload>,
}

#[derive(Debug)]
struct Payload {
    file: File,
    /// What is there, and its list on disk.
    have: Mutex<(Ranges, File)>,
}

impl Store {
    /// Opens what an earlier run has left in `folder`, or begins anew. Payloads are known by their place among
    /// `indexes`, in which each stands once.
    ///
    /// # Errors
    /// What the system reports.
    pub fn open<'a>(folder: &Path, indexes: impl IntoIterator<Item = &'a Index>) -> Result<Self, FetchError> {
        fs::create_dir_all(folder).map_err(|error| FetchError::write(folder, error))?;
        let open = |index: &Index| {
            // Not by its name, which may come from anywhere.
            let name = index.sha256.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
            let path = folder.join(name);
            Payload::open(&path, index.chunk_file_len()).map_err(|error| FetchError::write(&path, error))
        };
        let payloads = indexes.into_iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { folder: folder.into(), payloads })
    }

    /// The parts of a range that were not fetched.
    pub fn missing(&self, payload: usize, range: Range<u64>) -> Vec<Range<u64>> {
        self.payloads[payload].have.lock().unwrap_or_else(PoisonError::into_inner).0.missing(range)
    }

    /// Takes a range for missing: what has come of it is wrong.
    pub fn forget(&self, payload: usize, range: Range<u64>) {
        self.payloads[payload].have.lock().unwrap_or_else(PoisonError::into_inner).0.remove(range);
    }

    /// Keeps bytes.
    ///
    /// # Errors
    /// What the system reports.
    pub fn put(&self, payload: usize, offset: u64, bytes: &[u8]) -> Result<(), FetchError> {
        let payload = &self.payloads[payload];
        let put = || {
            payload.file.write_all_at(bytes, offset)?;
            let end = offset + bytes.len() as u64;
            let mut have = payload.have.lock().unwrap_or_else(PoisonError::into_inner);
            have.0.insert(offset..end);
            have.1.write_all(&[offset.to_le_bytes(), end.to_le_bytes()].concat())
        };
        put().map_err(|error| FetchError::write(&self.folder, error))
    }

    /// Removes it all.
    ///
    /// # Errors
    /// What the system reports.
    pub fn remove(&self) -> Result<(), FetchError> {
        fs::remove_dir_all(&self.folder).map_err(|error| FetchError::write(&self.folder, error))
    }
}

impl Payload {
    fn open(path: &Path, len: u64) -> io::Result<Self> {
        let open =
            |path: &Path| OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = open(path)?;
        file.set_len(len)?;
        let list_path = path.with_added_extension("ranges");
        let mut list = open(&list_path)?;
        let mut ranges = Ranges::default();
        if list.metadata()?.len() <= LIST_BYTES_MAX {
            for entry in fs::read(&list_path)?.chunks_exact(ENTRY_BYTES) {
                let number =
                    |bytes: &[u8]| bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
                let (start, end) = entry.split_at(ENTRY_BYTES / 2);
                let (start, end) = (number(start), number(end));
                if start < end && end <= len {
                    ranges.insert(start..end);
                }
            }
        }
        // An entry that was cut by a kill ends the list.
        let whole = list.metadata()?.len() / ENTRY_BYTES as u64 * ENTRY_BYTES as u64;
        list.set_len(whole)?;
        io::Seek::seek(&mut list, io::SeekFrom::End(0))?;
        Ok(Self { file, have: Mutex::new((ranges, list)) })
    }
}

impl Shelf for Store {
    fn read(&self, payload: usize, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.payloads[payload].file.read_exact_at(buf, offset)
    }
}
