//! Indexes of slots: what stands where, so that an update reads only what it wants.
//!
//! They are made when they are needed, and kept in `STATE/slots/SLOT/CUTTING_HASH.index`: a fingerprint of the slot
//! (32 bytes) and an index (docs/index-format.md) without a chunk file. An index is not believed: what it leads
//! to is hashed, and where that is something else it is fetched, and the index is made anew the next time. One that was
//! made for a release does not tell what packed files hold that the release has as they are: it serves other releases
//! that have all of these, too.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use fluvial_bundle::limits::INDEX_BYTES_MAX;
use fluvial_bundle::{Cutting, HashKind, Index, Notes, Offer, Payload, Survey, Unpacked, index_of};
use fluvial_console::{Fault, Kind, Progress, say};
use fluvial_delta::structure::{Files, ReadAt};
use fluvial_device::disk::{Contents, Medium, durable};
use fluvial_device::system::Slot;
use indicatif::HumanBytes;

use crate::arguments::CreateIndexArguments;
use crate::device::Device;
use crate::install::{Work, remove_folder};

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

/// The index of a slot, as it is kept, if it fits; whatever is wrong with it, it can be made again.
pub fn load(path: &Path, slot: &Medium, (cutting, hash): Scheme) -> Result<Option<Index>, Fault> {
    let limit = (INDEX_BYTES_MAX + FINGERPRINT_BYTES) as u64;
    let Ok(bytes) = read_kept(path, limit) else { return Ok(None) };
    let fingerprint = fingerprint(slot).map_err(|error| Fault::reading(path, error))?;
    let Some((kept, bytes)) = bytes.split_at_checked(FINGERPRINT_BYTES) else { return Ok(None) };
    let Ok(index) = Index::read(bytes) else { return Ok(None) };
    let is_fit = (index.len, index.cutting, index.hash) == (slot.len(), cutting, hash);
    Ok((kept == fingerprint && is_fit).then_some(index))
}

fn read_kept(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    if path.metadata()?.len() > limit {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    std::fs::read(path)
}

/// What is packed in a slot, unpacked to `folder`, but for files that a release has, and where the slot and what is unpacked
/// have files, which are cut by themselves.
pub fn look(
    slot: &Medium,
    (cutting, hash): Scheme,
    folder: &Path,
    release: Option<&Index>,
) -> Result<(Contents, Files), Fault> {
    let found = match cutting {
        Cutting::Files => Contents::find(slot, folder, None, hash, release),
        Cutting::Blocks(_) => Contents::room(&Unpacked::default(), folder).map(|none| (none, Files::new())),
    };
    found.map_err(|error| Fault::writing(folder, error))
}

/// Makes the index of a slot, of which the contents and files are known, and what is noted on the way; `offer` hears of every
/// run.
pub fn make(
    (slot, contents, files): (&Medium, &Contents, &Files),
    survey: &Survey<'_>,
    offer: &Offer<'_>,
    progress: &Progress,
) -> Result<(Index, Notes), Fault> {
    let (bytes, unpacked) = (contents.behind(slot), Some(&contents.unpacked));
    let payload = Payload { name: "slot", sha256: [0; 32], bytes: &bytes, files, unpacked };
    progress.phase("indexing", bytes.len());
    Ok(index_of(payload, survey, offer, &|bytes| progress.advance(bytes))?)
}

/// The index of a slot that is a source of an installation.
pub fn of_slot(work: &Work<'_>, slot: &Slot, scheme: Scheme) -> Result<Index, Fault> {
    let (medium, folder) = (work.device.source(slot)?, work.device.folder.path());
    let path = path_of(folder, &slot.name, scheme);
    if let Some(index) = load(&path, &medium, scheme)?.filter(is_complete) {
        return Ok(index);
    }
    let (contents, files) = look(&medium, scheme, folder, None)?;
    let survey = Survey::plain(scheme.0, scheme.1);
    let (index, _) = make((&medium, &contents, &files), &survey, &|_, _| {}, work.progress)?;
    if !work.arguments.dry_run {
        store(&path, &medium, &index)?;
    }
    Ok(index)
}

/// Whether an index tells what all packed files hold: one that was made for a release leaves out those that the
/// release has as they are.
fn is_complete(index: &Index) -> bool {
    !index.unpacked.lens.contains(&0)
}

/// The index of a slot that is written, if one is kept that fits what stands in it.
pub fn kept(work: &Work<'_>, slot: &Slot, scheme: Scheme) -> Option<Index> {
    let medium = fluvial_console::open(work.device.path(slot)).ok()?;
    let path = path_of(work.device.folder.path(), &slot.name, scheme);
    load(&path, &medium, scheme).ok()?
}

/// Removes what is kept of a slot.
pub fn forget(state: &Path, slot: &str) -> Result<(), Fault> {
    remove_folder(&state.join("slots").join(slot))
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
    let medium = device.source(slot)?;
    let (contents, files) = look(&medium, scheme, device.folder.path(), None)?;
    let survey = Survey::plain(scheme.0, scheme.1);
    let (index, _) = make((&medium, &contents, &files), &survey, &|_, _| {}, progress)?;
    store(&path, &medium, &index)?;
    let bytes = path.metadata().map_err(|error| Fault::reading(&path, error))?.len();
    Ok(Created { path, bytes, runs: index.runs.len(), duration_s: started.elapsed().as_secs_f64() })
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
