//! Patches of any two byte streams, with everything that the command uses: containers, streams,
//! programs. What was made from NEW gives NEW.
//!
//! Input: the preset and whether NEW is edited OLD, one byte; length of OLD, two bytes; OLD; then NEW,
//! or edits of OLD: offset, bytes to leave out (two bytes each), bytes to put in (one byte for their
//! count).

use fluvial_delta::apply::{Checkpoint, Patch, Target, check_sources, check_target};
use fluvial_delta::diff::{DiffOptions, Named, Preset, Unobserved, diff};
use fluvial_delta::header::Header;
use fluvial_image::Anatomist;

use crate::medium::{SmallScratch, TARGET_BYTES_MAX, target};

/// Diff, then apply: NEW.
///
/// # Panics
/// Where that does not hold.
pub fn run(bytes: &[u8]) {
    let [choice, low, high, rest @ ..] = bytes else { return };
    let old_len = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
    let (old, rest) = rest.split_at(old_len);
    let new = if choice & 4 == 0 { rest.to_vec() } else { edited(old, rest) };
    if new.len() as u64 > TARGET_BYTES_MAX {
        return;
    }
    let preset = [Preset::Fast, Preset::Default, Preset::Max][usize::from(choice & 3).min(2)];
    let options = DiffOptions { preset, ..DiffOptions::default() };
    let mut patch = Vec::new();
    let report = diff(
        &[Named::new("old", &old)],
        &[Named::new("new", &new)],
        &Anatomist,
        &SmallScratch,
        &options,
        &Unobserved,
        &mut patch,
    )
    .expect("a patch can be made of any bytes");
    assert_eq!(report.patch_bytes, patch.len() as u64);
    let (header, _) = Header::read(&patch).expect("the header is read");
    assert_eq!(header, report.header);
    assert!(header.apply_memory_bytes <= options.apply_memory_bytes);

    let opened = Patch::open(&patch).expect("the patch is read");
    check_sources(&[&old], &header, &mut |_| true).expect("it is the source");
    let target = target(header.targets[0].size);
    let targets: [&dyn Target; 1] = [&target];
    opened
        .apply(&[&old], &targets, &SmallScratch, Checkpoint::default(), &mut Unobserved)
        .expect("the patch is applied");
    check_target(&target, &header.targets[0], &mut |_| true).expect("the result is right");
    assert!(target.into_bytes() == new);
}

/// OLD with bytes left out and put in.
pub(crate) fn edited(old: &[u8], mut edits: &[u8]) -> Vec<u8> {
    let mut new = old.to_vec();
    while let [a, b, c, d, put, rest @ ..] = edits {
        let at = usize::from(u16::from_le_bytes([*a, *b])).min(new.len());
        let end = (at + usize::from(u16::from_le_bytes([*c, *d]))).min(new.len());
        let (put, rest) = rest.split_at(usize::from(*put).min(rest.len()));
        new.splice(at..end, put.iter().copied());
        edits = rest;
    }
    new
}
