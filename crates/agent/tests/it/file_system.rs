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
fn ext4_of(folder: &Path, files: impl Iterator<Item = Vec<u8>>, more: &[&str]) -> Vec<u8> {
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

/// Two releases of an ext4 image with a packed file, whose content changes a little; and how long that is.
fn packed_pair(pack: impl Fn(&[u8]) -> Vec<u8>) -> (Vec<u8>, Vec<u8>, u64) {
    let folder = tempfile::tempdir().unwrap();
    // Hexadecimal digits pack to a half.
    let content = image(1, 400_000);
    let mut changed = content.clone();
    changed[100_000] ^= 1;
    changed.splice(200_000..200_000, *b"inserted");
    let (old, new) = (pack(&content), pack(&changed));
    let image_of = |file: &[u8]| ext4_of(folder.path(), [image(2, 50_000), file.to_vec()].into_iter(), &[]);
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
