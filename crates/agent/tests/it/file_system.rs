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
    ext4_of(folder, seeds.map(|seed| image(seed, 50_000)))
}

/// An ext4 image of files with this content.
fn ext4_of(folder: &Path, files: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let tree = folder.join("tree");
    fs::create_dir(&tree).unwrap();
    for (number, content) in files.enumerate() {
        fs::write(tree.join(format!("file-{number}")), content).unwrap();
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

/// Two releases of an ext4 image with a packed file, whose content changes a little; and how long that is.
fn packed_pair(pack: impl Fn(&[u8]) -> Vec<u8>) -> (Vec<u8>, Vec<u8>, u64) {
    let folder = tempfile::tempdir().unwrap();
    // Hexadecimal digits pack to a half.
    let content = image(1, 400_000);
    let mut changed = content.clone();
    changed[100_000] ^= 1;
    changed.splice(200_000..200_000, *b"inserted");
    let (old, new) = (pack(&content), pack(&changed));
    let image_of = |file: &[u8]| ext4_of(folder.path(), [image(2, 50_000), file.to_vec()].into_iter());
    (image_of(&old), image_of(&new), new.len() as u64)
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("content");
    fs::write(&path, content).unwrap();
    Command::new("gzip").args(["-6", "-n", "-c"]).arg(&path).output().unwrap().stdout
}

#[test]
fn a_packed_file_of_which_little_changed_costs_little() {
    let operator = Operator::new();
    for (number, pack) in
        [gzip, |content: &[u8]| zstd::bulk::compress(content, 3).unwrap()].iter().enumerate()
    {
        let (old, new, packed_len) = packed_pair(pack);
        assert!(packed_len > 150_000, "{packed_len}");
        let fetched_of = |name: String, release: Release| {
            let device = Device::new(&old, &[], &operator);
            let output = device.installed(&operator.publish(&name, release), &["--route", "dynamic"], &new);
            assert_eq!(output["slots"][0]["route"], "dynamic");
            fetched(&output)
        };
        let as_it_is = fetched_of(format!("{number}-packed.fluvial"), Release::full(1, &new));
        let unpacked = fetched_of(format!("{number}-unpacked.fluvial"), Release::unpacked(1, &new));
        assert!(unpacked < packed_len / 5, "{unpacked} bytes fetched of {packed_len}");
        assert!(unpacked < as_it_is / 2, "{unpacked} bytes fetched, {as_it_is} where it is cut packed");
    }
}

#[test]
fn packing_that_takes_more_memory_than_allowed_is_refused_and_the_whole_is_not() {
    let operator = Operator::new();
    let (old, new, _) = packed_pair(gzip);
    let bundle = operator.publish("1.fluvial", Release::unpacked(1, &new));
    let device = Device::new(&old, &[], &operator);
    let ran = device.run(&["install", &bundle, "--route", "dynamic", "--memory-limit", "1MiB"]);
    assert_eq!((ran.exit_code, &ran.error["kind"]), (Some(14), &"over_memory".into()), "{ran:?}");
    assert!(ran.error["hint"].as_str().unwrap().contains("--route full"), "{ran:?}");
    assert_eq!((device.read("a.img"), device.choice()), (old, "a".into()));
    // The hint is a good one.
    // Where the route is left open, the image is taken as a whole.
    let planned = device.run(&["install", &bundle, "--memory-limit", "1MiB", "--dry-run"]);
    assert_eq!(planned.exit_code, Some(0), "{planned:?}");
    let full = ["--route", "full", "--memory-limit", "1MiB"];
    assert_eq!(device.installed(&bundle, &full, &new)["slots"][0]["route"], "full");
}
