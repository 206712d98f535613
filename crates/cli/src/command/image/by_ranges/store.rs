//! What was fetched, on disk: nothing is fetched twice, not even after a kill.
//!
//! `HEX` holds bytes of a layer's chunk file where they stand there, the rest of it being holes;
//! `HEX.ranges` lists which ones. Nothing is synced: all that is read is checked.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fluvial_bundle::{Index, Shelf};

use fluvial_device::disk::durable::beside;

use super::ranges::Ranges;
use crate::fault::Fault;

/// Bytes of an entry of the list: two numbers.
const ENTRY_BYTES: usize = 16;
/// The list is read up to here, in bytes.
const LIST_BYTES_MAX: u64 = 64 << 20;

/// Bytes of chunk files.
pub struct Store {
    folder: PathBuf,
    layers: Vec<Layer>,
}

struct Layer {
    /// The name that its chunk file is published by.
    name: String,
    file: File,
    /// What is there, and its list on disk.
    have: Mutex<(Ranges, File)>,
}

impl Store {
    /// Opens what an earlier run has left in `folder`, or begins anew.
    ///
    /// # Errors
    /// What the system reports.
    pub fn open(folder: &Path, indexes: &[Index]) -> Result<Self, Fault> {
        fs::create_dir_all(folder).map_err(|error| Fault::writing(folder, error))?;
        let open = |index: &Index| {
            let path = folder.join(&index.name);
            Layer::open(&path, index).map_err(|error| Fault::writing(&path, error))
        };
        let layers = indexes.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { folder: folder.into(), layers })
    }

    /// The name that a layer's chunk file is published by.
    pub fn name(&self, layer: usize) -> &str {
        &self.layers[layer].name
    }

    /// The parts of a range that were not fetched.
    pub fn missing(&self, layer: usize, range: Range<u64>) -> Vec<Range<u64>> {
        self.layers[layer].have.lock().unwrap_or_else(PoisonError::into_inner).0.missing(range)
    }

    /// Takes a range for missing: what has come of it is wrong.
    pub fn forget(&self, layer: usize, range: Range<u64>) {
        self.layers[layer].have.lock().unwrap_or_else(PoisonError::into_inner).0.remove(range);
    }

    /// Keeps bytes.
    ///
    /// # Errors
    /// What the system reports.
    pub fn put(&self, layer: usize, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        let layer = &self.layers[layer];
        let put = || {
            layer.file.write_all_at(bytes, offset)?;
            let end = offset + bytes.len() as u64;
            let mut have = layer.have.lock().unwrap_or_else(PoisonError::into_inner);
            have.0.insert(offset..end);
            have.1.write_all(&[offset.to_le_bytes(), end.to_le_bytes()].concat())
        };
        put().map_err(|error| Fault::writing(&self.folder, error))
    }

    /// Removes it all.
    ///
    /// # Errors
    /// What the system reports.
    pub fn remove(&self) -> Result<(), Fault> {
        fs::remove_dir_all(&self.folder).map_err(|error| Fault::writing(&self.folder, error))
    }
}

impl Layer {
    fn open(path: &Path, index: &Index) -> io::Result<Self> {
        let open =
            |path: &Path| OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = open(path)?;
        file.set_len(index.chunk_file_len())?;
        let list_path = beside(path, ".ranges");
        let mut list = open(&list_path)?;
        let mut ranges = Ranges::default();
        if list.metadata()?.len() <= LIST_BYTES_MAX {
            for entry in fs::read(&list_path)?.chunks_exact(ENTRY_BYTES) {
                let number =
                    |bytes: &[u8]| bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
                let (start, end) = entry.split_at(ENTRY_BYTES / 2);
                let (start, end) = (number(start), number(end));
                if start < end && end <= index.chunk_file_len() {
                    ranges.insert(start..end);
                }
            }
        }
        // An entry that was cut by a kill ends the list.
        let whole = list.metadata()?.len() / ENTRY_BYTES as u64 * ENTRY_BYTES as u64;
        list.set_len(whole)?;
        io::Seek::seek(&mut list, io::SeekFrom::End(0))?;
        Ok(Self { name: index.name.clone(), file, have: Mutex::new((ranges, list)) })
    }
}

impl Shelf for Store {
    fn read(&self, payload: usize, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.layers[payload].file.read_exact_at(buf, offset)
    }
}
