//! Indexes of slots: what stands where, so that an update reads only what it wants.
//!
//! They are made when they are needed, and kept in `STATE/slots/SLOT/CUTTING_HASH.index`: a fingerprint of the slot
//! (32 bytes) and an index (docs/index-format.md) without a chunk file. An index is not believed: what it leads
//! to is hashed, and where that is something else it is fetched, and the index is made anew the next time.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use fluvial_bundle::limits::INDEX_BYTES_MAX;
use fluvial_bundle::{Cutting, HashKind, Index, Payload, index_of};
use fluvial_console::{Fault, Kind, Progress, say};
use fluvial_delta::structure::ReadAt;
use fluvial_device::disk::{Contents, Medium, durable};
use fluvial_device::system::Slot;
use indicatif::HumanBytes;

use crate::arguments::CreateIndexArguments;
use crate::device::Device;
use crate::install::Work;

const FINGERPRINT_BYTES: usize = 32;
/// A level of Zstandard that takes a MiB of memory.
const PACK_LEVEL: i32 = 1;
/// The start of a slot has its file system's superblock, which changes whenever it is mounted to be written.
const HEAD_BYTES: u64 = 64 << 10;

/// How a slot is cut, and the hash of its chunks.
pub type Scheme = (Cutting, HashKind);

/// Where the index of a slot is kept.
pub fn path_of(state: &Path, slot: &str, (cutting, hash): Scheme) -> PathBuf {
    state.join("slots").join(slot).join(format!("{cutting}_{hash}.index"))
}

/// The index of a slot, as it is kept, and what is packed in the slot, unpacked to `folder`. It is made where there
/// is none that fits, and then kept if it `is_to_stay`.
pub fn load_or_make(
    path: &Path,
    slot: &Medium,
    scheme: Scheme,
    folder: &Path,
    is_to_stay: bool,
    progress: &Progress,
) -> Result<(Index, Contents), Fault> {
    let fingerprint = fingerprint(slot).map_err(|error| Fault::reading(path, error))?;
    let kept = load(path, &fingerprint, slot.len(), scheme);
    progress.phase("indexing", slot.len());
    if let Some(index) = kept {
        // Where it is another slot by now, everything is done anew.
        if let Ok(contents) = Contents::of_index(slot, folder, &index) {
            return Ok((index, contents));
        }
    }
    let (cutting, hash) = scheme;
    let advance = |bytes| progress.advance(bytes);
    let (index, contents) = match cutting {
        Cutting::Files => {
            let found = Contents::find(slot, folder, None);
            let (contents, files) = found.map_err(|error| Fault::writing(folder, error))?;
            let bytes = contents.behind(slot);
            let unpacked = Some(&contents.unpacked);
            let payload = Payload { name: "slot", sha256: [0; 32], bytes: &bytes, files: &files, unpacked };
            (index_of(payload, cutting, hash, &advance)?, contents)
        }
        Cutting::Blocks(_) => {
            let payload = Payload { name: "slot", sha256: [0; 32], bytes: slot, files: &[], unpacked: None };
            let index = index_of(payload, cutting, hash, &advance)?;
            let contents = Contents::room(&index, folder);
            (index, contents.map_err(|error| Fault::writing(folder, error))?)
        }
    };
    if is_to_stay {
        store(path, slot, &index)?;
    }
    Ok((index, contents))
}

/// The index of a slot that is a source of an installation.
pub fn of_slot(work: &Work<'_>, slot: &Slot, scheme: Scheme) -> Result<Index, Fault> {
    let path = path_of(work.device.folder.path(), &slot.name, scheme);
    let (medium, folder) = (work.device.source(slot)?, work.device.folder.path());
    let made = load_or_make(&path, &medium, scheme, folder, !work.arguments.dry_run, work.progress);
    made.map(|(index, _)| index)
}

/// The index of a slot that is written, if one is kept that fits what stands in it.
pub fn kept(work: &Work<'_>, slot: &Slot, scheme: Scheme) -> Option<Index> {
    let medium = fluvial_console::open(work.device.path(slot)).ok()?;
    let path = path_of(work.device.folder.path(), &slot.name, scheme);
    load(&path, &fingerprint(&medium).ok()?, medium.len(), scheme)
}

/// Removes what is kept of a slot.
pub fn forget(state: &Path, slot: &str) -> Result<(), Fault> {
    let folder = state.join("slots").join(slot);
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Fault::writing(&folder, error)),
        _ => Ok(()),
    }
}

/// What is kept, if it fits; whatever is wrong with it, it can be made again.
fn load(path: &Path, fingerprint: &[u8; 32], len: u64, (cutting, hash): Scheme) -> Option<Index> {
    let limit = (INDEX_BYTES_MAX + FINGERPRINT_BYTES) as u64;
    if path.metadata().ok()?.len() > limit {
        return None;
    }
    let bytes = std::fs::read(path).ok()?;
    let (kept, bytes) = bytes.split_at_checked(FINGERPRINT_BYTES)?;
    let index = Index::read(bytes).ok()?;
    (kept == fingerprint && (index.len, index.cutting, index.hash) == (len, cutting, hash)).then_some(index)
}

/// Keeps the index of a slot's present content.
pub fn store(path: &Path, slot: &Medium, index: &Index) -> Result<(), Fault> {
    let fingerprint = fingerprint(slot).map_err(|error| Fault::reading(path, error))?;
    let bytes = index.to_bytes_at(PACK_LEVEL)?;
    let write = || -> io::Result<()> {
        std::fs::create_dir_all(durable::folder_of(path))?;
        let mut draft = durable::Draft::create(path)?;
        draft.write_all(&fingerprint)?;
        draft.write_all(&bytes)?;
        draft.publish()
    };
    write().map_err(|error| Fault::writing(path, error))
}

fn fingerprint(slot: &Medium) -> io::Result<[u8; 32]> {
    let mut head = vec![0; slot.len().min(HEAD_BYTES) as usize];
    slot.read_at(0, &mut head)?;
    head.extend_from_slice(&slot.len().to_le_bytes());
    Ok(HashKind::Blake3.digest(&head))
}

/// What was made.
pub struct Created {
    path: PathBuf,
    bytes: u64,
    runs: usize,
    duration_s: f64,
}

/// `fluvial-agent slots create-index`.
///
/// # Errors
/// Every way that it fails.
pub fn create(
    device: &Device,
    arguments: &CreateIndexArguments,
    progress: &Progress,
) -> Result<Created, Fault> {
    let started = Instant::now();
    let Some(slot) = device.system.slot(&arguments.slot) else {
        let message = format!("this device has no slot {:?}", arguments.slot);
        return Err(Fault::new(Kind::Usage, message).hint("`fluvial-agent slots list` lists slots"));
    };
    let scheme = (arguments.cutting, arguments.hash);
    let path = path_of(device.folder.path(), &slot.name, scheme);
    // It is asked for, so it is made whatever is kept.
    durable::remove(&path).or_else(not_there).map_err(|error| Fault::writing(&path, error))?;
    let medium = device.source(slot)?;
    let folder = device.folder.path();
    let (index, _) = load_or_make(&path, &medium, scheme, folder, true, progress)?;
    let bytes = path.metadata().map_err(|error| Fault::reading(&path, error))?.len();
    Ok(Created { path, bytes, runs: index.runs.len(), duration_s: started.elapsed().as_secs_f64() })
}

fn not_there(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Prints it.
pub fn show(arguments: &CreateIndexArguments, created: &Created, json: bool) -> Result<(), Fault> {
    if json {
        return say(serde_json::json!({
            "slot": arguments.slot,
            "index": created.path,
            "index_bytes": created.bytes,
            "runs": created.runs,
            "duration_s": created.duration_s,
        }));
    }
    say(format_args!(
        "{}: {} runs in {}, {}, in {:.1} s",
        arguments.slot,
        created.runs,
        created.path.display(),
        HumanBytes(created.bytes),
        created.duration_s
    ))
}
