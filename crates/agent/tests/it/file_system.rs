//! Images with a file system, and slots that were written to after they were indexed.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::device::Device;
use crate::release::{Operator, Release, image, numbers};

/// Blocks of the active slot that are changed.
const CHANGED_BLOCKS: u64 = 100;
const BLOCK_BYTES: u64 = 4096;
/// What one changed block may cost at most: the chunks that touch it, packed, and their share of pages. A chunk
/// has 4 KiB at most, so those at both ends reach into its neighbours.
const BLOCK_COST_BYTES_MAX: u64 = 3 * BLOCK_BYTES;

/// An ext4 image of files with these seeds.
fn ext4(folder: &Path, seeds: impl Iterator<Item = u64>) -> Vec<u8> {
    let tree = folder.join("tree");
    fs::create_dir(&tree).unwrap();
    for (number, seed) in seeds.enumerate() {
        fs::write(tree.join(format!("file-{number}")), image(seed, 50_000)).unwrap();
    }
    let path = folder.join("image");
    fs::File::create(&path).unwrap().set_len(8 << 20).unwrap();
    let mut command = Command::new("mkfs.ext4");
    let uuid = "8d4a5c5e-1b9b-4ba5-8f2b-9d7f0c1d2e3f";
    command.args(["-q", "-F", "-b", "4096", "-O", "^has_journal", "-U", uuid, "-E"]);
    command.arg(format!("hash_seed={uuid}")).arg("-d").arg(&tree).arg(&path);
    assert!(command.status().unwrap().success());
    fs::remove_dir_all(tree).unwrap();
    fs::read(path).unwrap()
}

/// Two releases of which every tenth file is another.
fn pair() -> (Vec<u8>, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let old = ext4(folder.path(), 0..100);
    let new =
        ext4(folder.path(), (0..100).map(|number| if number % 10 == 0 { 1000 + number } else { number }));
    (old, new)
}

fn fetched(output: &serde_json::Value) -> u64 {
    output["fetched_bytes"].as_u64().unwrap()
}

#[test]
fn a_changed_slot_costs_what_was_changed_and_is_indexed_anew() {
    let operator = Operator::new();
    let (old, new) = pair();
    let bundle = operator.publish("1.fluvial", Release::full(1, &new));
    let index = "state/slots/system-a/files_blake3.index";

    let plain = Device::new(&old, &[], &operator);
    plain.done(&["slots", "create-index", "system-a"]);
    let before = plain.installed(&bundle, &["--route", "dynamic"], &new);

    let device = Device::new(&old, &[], &operator);
    device.done(&["slots", "create-index", "system-a"]);
    let stale = device.read(index);
    let mut slot = old.clone();
    let blocks = old.len() as u64 / BLOCK_BYTES;
    // Where files stand, and not at the start, by which a slot is known.
    let places: Vec<u64> =
        numbers(5).map(|number| 64 + number % (blocks - 64)).take(CHANGED_BLOCKS as usize).collect();
    for &place in &places {
        let at = (place * BLOCK_BYTES) as usize;
        slot[at..at + BLOCK_BYTES as usize].copy_from_slice(&image(9000 + place, BLOCK_BYTES as usize));
    }
    device.write("a.img", &slot);
    let after = device.installed(&bundle, &["--route", "dynamic"], &new);
    assert_eq!(device.read("a.img"), slot);
    let more = fetched(&after) - fetched(&before);
    assert!(more > 0 && more <= CHANGED_BLOCKS * BLOCK_COST_BYTES_MAX, "{more} bytes more");

    // The next installation from this slot makes the index anew; it is that of what stands there.
    let other = operator.publish("2.fluvial", Release::full(2, &old));
    device.installed(&other, &["--route", "dynamic"], &old);
    let made = device.read(index);
    assert!(made != stale, "the index was not made anew");
    device.done(&["slots", "create-index", "system-a"]);
    assert!(made == device.read(index), "the index is of something else");
}

#[test]
fn both_slots_are_sources() {
    let operator = Operator::new();
    let (old, new) = pair();
    let bundle = operator.publish("1.fluvial", Release::full(1, &new));
    let first = Device::new(&old, &[], &operator);
    let alone = first.installed(&bundle, &["--route", "dynamic"], &new);
    // The slot that is written holds the other half of what the one that runs has not.
    let mut half = vec![0; new.len()];
    half[..new.len() / 2].copy_from_slice(&new[..new.len() / 2]);
    let second = Device::new(&old, &half, &operator);
    let both = second.installed(&bundle, &["--route", "dynamic"], &new);
    assert!(fetched(&both) < fetched(&alone), "{} with both, {} with one", fetched(&both), fetched(&alone));
    assert!(both["slots"][0]["in_place_bytes"].as_u64().unwrap() > 0);
}
