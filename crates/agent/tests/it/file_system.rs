//! Images with a file system, and slots that were written to after they were indexed.

use std::fs;
use std::path::Path;
use std::process::Command;

use fluvial_delta::structure::Extent;
use fluvial_image::image_files;

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
    ext4_of(folder, seeds.map(|seed| image(seed, 50_000)), &[])
}

/// An ext4 image of files with this content, made with `more` arguments.
pub fn ext4_of(folder: &Path, files: impl Iterator<Item = Vec<u8>>, more: &[&str]) -> Vec<u8> {
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
    command.arg(format!("hash_seed={uuid}")).args(more).arg("-d").arg(&tree).arg(&path);
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

/// How many bytes an installation has fetched.
pub fn fetched(output: &serde_json::Value) -> u64 {
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

/// A program with zeros in it, which mkfs.ext4 leaves out, and data behind them.
fn program() -> Vec<u8> {
    let mut program = fs::read("/bin/bash").unwrap();
    program.resize(program.len().next_multiple_of(BLOCK_BYTES as usize) + (80 << 10), 0);
    program.extend(image(3, 200_000));
    program
}

/// Images with the same program, and another file that is not the same. The program stands in pieces, in the first image
/// in others than in those of which the blocks come in groups of 1 MiB, which begin with tables of their own.
fn scattered_images(folder: &Path) -> [Vec<u8>; 3] {
    let files = |seed| [program(), image(seed, 300_000)].into_iter();
    let groups = ["-g", "256", "-O", "^has_journal,^flex_bg,^resize_inode"];
    let images = [
        ext4_of(folder, files(1), &[]),
        ext4_of(folder, files(2), &groups),
        ext4_of(folder, files(4), &groups),
    ];
    let pieces = images.each_ref().map(|image| {
        let files = image_files(image);
        let is_program = |file: &&[Extent]| file.iter().any(|extent| extent.is_hole());
        let program = files.iter().find(is_program).expect("the program has a hole");
        let mut pieces: Vec<Extent> = Vec::new();
        for extent in program.iter().filter(|extent| !extent.is_hole()) {
            match pieces.last_mut() {
                Some(last) if last.end() == extent.offset => last.len += extent.len,
                _ => pieces.push(*extent),
            }
        }
        pieces.iter().map(|piece| piece.len).collect::<Vec<_>>()
    });
    assert!(pieces[1].len() > 1 && pieces[0] != pieces[1], "{pieces:?}");
    images
}

#[test]
fn a_program_is_the_same_whatever_pieces_it_stands_in() {
    let operator = Operator::new();
    let folder = tempfile::tempdir().unwrap();
    let [old, scattered, next] = scattered_images(folder.path());
    let device = Device::new(&old, &[], &operator);
    let bundle = operator.publish("1.fluvial", Release::full(1, &scattered));
    let first = device.installed(&bundle, &["--route", "dynamic"], &scattered);
    // The other file packs to a half, tables to little.
    assert!(fetched(&first) < 220_000, "{} bytes fetched", fetched(&first));

    // Now a scattered one is in place, which its index tells, and most of it stays there.
    let bundle = operator.publish("2.fluvial", Release::full(2, &next));
    let second = device.installed(&bundle, &["--route", "dynamic"], &next);
    let in_place = second["slots"][0]["in_place_bytes"].as_u64().unwrap();
    assert!(in_place > next.len() as u64 * 3 / 4, "{in_place} bytes in place");
    assert!(fetched(&second) < 220_000, "{} bytes fetched", fetched(&second));

    // And is the source of one in other pieces.
    let device = Device::new(&scattered, &[], &operator);
    device.done(&["slots", "create-index", "system-a"]);
    let bundle = operator.publish("3.fluvial", Release::full(1, &old));
    let back = device.installed(&bundle, &["--route", "dynamic"], &old);
    assert!(fetched(&back) < 220_000, "{} bytes fetched", fetched(&back));
}
