use std::fs;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};

use fluvial_delta::diff::{DiffOptions, Named, Preset, Unobserved, diff};
use fluvial_delta::scratch::MemoryScratch;
use fluvial_delta::structure::Opaque;
use tempfile::TempDir;

use super::*;
use crate::disk::durable::beside;

/// Some frames of what cannot be packed.
const NEW_BYTES: usize = 5 << 20;

/// Stops after so many bytes.
struct StopsAfter(AtomicU64);

impl StopsAfter {
    fn bytes(bytes: u64) -> Self {
        Self(AtomicU64::new(bytes))
    }
}

impl MakeObserver for StopsAfter {
    fn begin(&self, _phase: MakePhase, _bytes: u64) {}

    fn advance(&self, bytes: u64) -> bool {
        let left = self.0.load(Ordering::SeqCst).saturating_sub(bytes);
        self.0.store(left, Ordering::SeqCst);
        left > 0
    }
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Old bytes, new bytes, and the patch between.
fn patched() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let (old, new) = (b"nothing of use".to_vec(), noise(NEW_BYTES));
    let options = DiffOptions { preset: Preset::Fast, ..DiffOptions::default() };
    let mut patch = Vec::new();
    let (from, to) = ([Named::new("old", &old)], [Named::new("new", &new)]);
    diff(&from, &to, &Opaque, &MemoryScratch, &options, &Unobserved, &mut patch).unwrap();
    (old, new, patch)
}

/// One run; after an error, the frame that the next one begins at.
fn run(
    folder: &TempDir,
    old: &[u8],
    bytes: &[u8],
    observer: &StopsAfter,
) -> Result<(usize, Option<Restart>), Option<usize>> {
    let new = folder.path().join("new");
    let (_, map_start) = Header::read(&bytes).unwrap();
    let patch = Patch::open(&bytes).unwrap();
    let destination = Destination::open(&new).unwrap();
    let header_sha256 = header_sha256(&bytes, map_start).unwrap();
    let journal = Journal::new(beside(&new, ".journal"), header_sha256, destination.inode().unwrap());
    let sources: [&dyn ReadAt; 1] = [&old];
    let mut making = Making::begin(&patch, &sources, destination, journal, folder.path()).unwrap();
    if let Err(error) = making.run(observer) {
        assert!(matches!(error, MakeError::Apply(ApplyError::Cancelled)), "{error}");
        return Err(making.clean_up(&error));
    }
    let outcome = (making.first_frame(), making.restart().cloned());
    making.publish().unwrap();
    Ok(outcome)
}

#[test]
fn a_run_that_was_stopped_is_gone_on_from() {
    let (old, new, patch) = patched();
    let folder = tempfile::tempdir().unwrap();
    let kept = run(&folder, &old, &patch, &StopsAfter::bytes(4 << 20)).unwrap_err();
    let frame = kept.filter(|&frame| frame > 0).expect("something is kept");
    assert!(!folder.path().join("new").exists());
    let outcome = run(&folder, &old, &patch, &StopsAfter::bytes(u64::MAX)).unwrap();
    assert_eq!(outcome, (frame, None));
    assert!(fs::read(folder.path().join("new")).unwrap() == new);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn what_an_earlier_run_left_damaged_is_made_again() {
    let (old, new, patch) = patched();
    let folder = tempfile::tempdir().unwrap();
    run(&folder, &old, &patch, &StopsAfter::bytes(4 << 20)).unwrap_err().expect("something is kept");
    let part = fs::OpenOptions::new().write(true).open(folder.path().join("new.part")).unwrap();
    part.write_all_at(&[new[100] ^ 1], 100).unwrap();
    drop(part);
    let outcome = run(&folder, &old, &patch, &StopsAfter::bytes(u64::MAX)).unwrap();
    assert_eq!(outcome, (0, Some(Restart::Damaged)));
    assert!(fs::read(folder.path().join("new")).unwrap() == new);
}

#[test]
fn a_patch_that_is_cut_is_refused_before_anything_is_made() {
    let (_, _, patch) = patched();
    let (header, map_start) = Header::read(&patch.as_slice()).unwrap();
    let len = patch.len() as u64;
    assert_eq!(patch_bytes(&header, map_start, len).unwrap(), len);
    assert!(matches!(patch_bytes(&header, map_start, len - 1), Err(ApplyError::Truncated { .. })));
}
