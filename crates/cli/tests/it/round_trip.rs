//! `apply(diff(old, new), old) = new`, through the command line.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::support::{Workplace, can, edited, noise, text, tool};

fn round_trip(work: &Workplace, preset: &str) {
    let made = work.json(&["diff", "old", "new", "-o", "patch", "--preset", preset]);
    assert_eq!(made["patch_bytes"], work.read("patch").len());
    assert_eq!(made["new_bytes"], work.read("new").len());
    assert_eq!(made["verified"], preset != "fast");
    let applied = work.json(&["apply", "old", "patch", "-o", "result"]);
    assert!(work.read("result") == work.read("new"), "the result differs");
    assert_eq!(applied["new_sha256"], made["new_sha256"]);
    assert_eq!(applied["first_frame"], 0);
}

#[test]
fn every_preset_brings_the_new_file_back_and_leaves_nothing_else() {
    let work = Workplace::new();
    let (old, new) = edited(300_000);
    work.write("old", &old);
    work.write("new", &new);
    for preset in ["fast", "default", "max"] {
        round_trip(&work, preset);
        assert_eq!(work.names(), ["new", "old", "patch", "result"]);
    }
}

#[test]
fn a_patch_is_verified_as_asked() {
    let work = Workplace::new();
    let (old, new) = edited(50_000);
    work.write("old", &old);
    work.write("new", &new);
    for (preset, when, verified) in
        [("fast", "always", true), ("default", "never", false), ("default", "always", true)]
    {
        let made = work.json(&["diff", "old", "new", "-o", "patch", "--preset", preset, "--verify", when]);
        assert_eq!(made["verified"], verified, "{preset}, {when}");
    }
}

#[test]
fn a_file_that_takes_several_frames_is_counted_once() {
    let work = Workplace::new();
    let new = noise(5, 12_000_000);
    work.write("old", b"nothing of it");
    work.write("new", &new);
    work.json(&["diff", "old", "new", "-o", "patch", "--preset", "fast"]);
    let inspected = work.json(&["inspect", "patch"]);
    assert!(inspected["frames"]["count"].as_u64() > Some(1), "{}", inspected["frames"]);
    assert_eq!(inspected["costs"][0]["content_bytes"], new.len(), "{}", inspected["costs"]);
}

#[test]
fn empty_files_are_files_too() {
    let work = Workplace::new();
    for (old, new) in [("", ""), ("", "something"), ("something", "")] {
        work.write("old", old.as_bytes());
        work.write("new", new.as_bytes());
        round_trip(&work, "default");
    }
}

#[test]
fn an_existing_result_and_an_existing_patch_are_replaced() {
    let work = Workplace::new();
    let (old, new) = edited(50_000);
    work.write("old", &old);
    work.write("new", &new);
    work.write("patch", b"an earlier patch");
    work.write("result", b"an earlier result");
    round_trip(&work, "fast");
    // Nothing speaks against going from one version to the next under one name.
    work.json(&["apply", "old", "patch", "-o", "old"]);
    assert_eq!(work.read("old"), new);
}

#[test]
fn one_thread_makes_the_same_patch_as_four() {
    let work = Workplace::new();
    let (old, new) = edited(400_000);
    work.write("old", &old);
    work.write("new", &new);
    work.json(&["diff", "old", "new", "-o", "one", "--jobs", "1"]);
    work.json(&["diff", "old", "new", "-o", "four", "--jobs", "4"]);
    assert_eq!(work.read("one"), work.read("four"));
}

/// A tree of real text: this crate's own sources, with one of them changed.
fn trees(work: &Workplace) {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for tree in ["tree-old", "tree-new"] {
        tool(Command::new("cp").arg("-r").arg(&sources).arg(work.path(tree)));
    }
    let mut changed = work.read("tree-new/main.rs");
    changed.splice(100..100, *b"// A line that is new.\n");
    work.write("tree-new/main.rs", &changed);
}

/// Packs both trees with a tool, and goes from one image to the other.
fn images(name: &str, pack: impl Fn(&Path, &Path) -> Command) {
    if !can(name, false) {
        return;
    }
    let work = Workplace::new();
    trees(&work);
    for side in ["old", "new"] {
        tool(&mut pack(&work.path(&format!("tree-{side}")), &work.path(side)));
    }
    round_trip(&work, "default");
    let (patch, new) = (work.read("patch").len(), work.read("new").len());
    assert!(patch < new / 4, "{patch} of {new} bytes");
}

#[test]
fn tar_archives() {
    images("tar", |tree, image| {
        let mut tar = Command::new("tar");
        tar.args(["--sort=name", "-cf"]).arg(image).arg("-C").arg(tree).arg(".");
        tar
    });
}

/// Letters of four bits each, in any order.
fn letters(seed: u64, len: usize) -> String {
    noise(seed, len).iter().map(|byte| char::from(b'a' + byte % 16)).collect()
}

/// Two archives with a long packed log each, in which the new one has an entry more, and the files that
/// `beside` puts to it: it is called with the workplace, the archive's folder, and the entry.
fn packed_logs(entry: &str, beside: impl Fn(&Workplace, &str, &str)) -> Option<Workplace> {
    if !can("tar", false) || !can("gzip", false) {
        return None;
    }
    let work = Workplace::new();
    let log = letters(1, 2 << 20);
    for (side, entry) in [("old", ""), ("new", entry)] {
        let tree = format!("tree-{side}");
        work.write(&format!("{tree}/b-log"), [&log[..500_000], entry, &log[500_000..]].concat().as_bytes());
        tool(Command::new("gzip").args(["-9n"]).arg(work.path(&format!("{tree}/b-log"))));
        beside(&work, &tree, entry);
        let mut tar = Command::new("tar");
        tar.args(["--sort=name", "-cf"]).arg(work.path(side)).arg("-C").arg(work.path(&tree)).arg(".");
        tool(&mut tar);
    }
    Some(work)
}

/// A long packed file is packed first, and nothing can copy from it.
#[test]
fn a_file_that_stands_in_a_long_packed_one_too_comes_back() {
    let entry = letters(2, 200_000);
    let work = packed_logs(&entry, |work, tree, entry| {
        work.write(&format!("{tree}/a-entry"), entry.as_bytes());
        work.write(&format!("{tree}/c-entry"), format!("again: {entry}").as_bytes());
    });
    let Some(work) = work else { return };
    round_trip(&work, "default");
    let patch = work.read("patch").len();
    assert!(patch < 2 * entry.len(), "{patch} bytes: the log is unpacked, and the second entry copied");
}

/// Nothing can copy from a long packed file: one that stands in two places is made once for both.
#[test]
fn a_long_packed_file_that_stands_there_twice_is_made_once() {
    let entry = letters(2, 200_000);
    let work = packed_logs(&entry, |work, tree, _| {
        work.write(&format!("{tree}/c-log.gz"), &work.read(&format!("{tree}/b-log.gz")));
    });
    let Some(work) = work else { return };
    round_trip(&work, "default");
    let inspected = work.json(&["inspect", "patch"]);
    assert_eq!(inspected["layout"]["packed_nodes"], 1, "{}", inspected["layout"]);
    let patch = work.read("patch").len();
    assert!(patch < entry.len() * 6 / 10, "{patch} bytes: four bits for each letter");
}

#[test]
fn squashfs_images() {
    images("mksquashfs", |tree, image| {
        let mut mksquashfs = Command::new("mksquashfs");
        mksquashfs.arg(tree).arg(image).args(["-quiet", "-no-progress", "-b", "16384"]);
        mksquashfs
    });
}

/// The end of a packed file stands in a block that it shares with others, which are packed together.
#[test]
fn a_gzip_stream_in_a_squashfs_is_opened_though_it_ends_in_a_fragment() {
    if !can("mksquashfs", false) || !can("gzip", false) {
        return;
    }
    let work = Workplace::new();
    for (side, line) in [("old", "one line\n"), ("new", "another line that is new\n")] {
        let mut log = String::new();
        for number in 0..40_000 {
            writeln!(log, "{} entry {number}", number * 7919).expect("text grows");
        }
        log.insert_str(300_000, line);
        let tree = format!("tree-{side}");
        work.write(&format!("{tree}/log"), log.as_bytes());
        tool(Command::new("gzip").args(["-9n"]).arg(work.path(&format!("{tree}/log"))));
        // Short files, some of them alike, which are copied from one another within one block.
        for number in 0..40 {
            let text = format!("{}{line}", log[number % 5 * 1000..][..3000].repeat(2));
            work.write(&format!("{tree}/short-{number}"), text.as_bytes());
        }
        let mut mksquashfs = Command::new("mksquashfs");
        mksquashfs.arg(work.path(&tree)).arg(work.path(side)).arg("-always-use-fragments");
        tool(mksquashfs.args(["-quiet", "-no-progress", "-no-duplicates", "-comp", "zstd", "-b", "65536"]));
    }
    round_trip(&work, "default");
    let (patch, new) = (work.read("patch").len(), work.read("new").len());
    assert!(patch < new / 8, "{patch} of {new} bytes");
}

#[test]
fn ext4_images() {
    images("mke2fs", |tree, image| {
        let mut mke2fs = Command::new("mke2fs");
        mke2fs.args(["-q", "-t", "ext4", "-U", "00000000-0000-0000-0000-000000000001", "-d"]);
        mke2fs.arg(tree).arg(image).arg("4M");
        mke2fs
    });
}

/// An EROFS image holds the bytes of a block that does not pack in another order than the file.
#[test]
fn erofs_images() {
    if !can("mkfs.erofs", false) {
        return;
    }
    for compression in ["lz4hc", "lz4"] {
        let work = Workplace::new();
        trees(&work);
        // Hard to pack in places, and the same on both sides.
        let text = work.read("tree-old/main.rs");
        let mut mixed = text.clone();
        for (seed, part) in text.chunks(1500).enumerate() {
            mixed.extend(noise(seed as u64 + 1, 9000 + 77 * seed));
            mixed.extend(part);
        }
        for side in ["old", "new"] {
            work.write(&format!("tree-{side}/mixed"), &mixed);
            let mut erofs = Command::new("mkfs.erofs");
            erofs.args(["--quiet", &format!("-z{compression}"), "-T0"]);
            erofs.args(["-U", "00000000-0000-0000-0000-000000000001"]);
            tool(erofs.arg(work.path(side)).arg(work.path(&format!("tree-{side}"))));
        }
        for preset in ["fast", "default"] {
            round_trip(&work, preset);
            let (patch, new) = (work.read("patch").len(), work.read("new").len());
            assert!(patch < new / 4, "{patch} of {new} bytes");
        }
    }
}

/// The references of a program count its holes, which have no bytes in an image.
#[test]
fn a_program_with_holes_is_copied_in_one_piece() {
    if !can("mke2fs", false) {
        return;
    }
    let work = Workplace::new();
    let program = std::fs::read("/bin/sh").unwrap();
    assert!(program.starts_with(b"\x7fELF"));
    let (head, rest) = program.split_at(program.len() / 2);
    for (side, edit) in [("old", 0_u8), ("new", 0x55)] {
        let mut whole = [head, &vec![0; 100_000], rest].concat();
        whole.iter_mut().skip(5000).step_by(3000).for_each(|byte| *byte ^= edit);
        let hole = &mut whole[head.len()..][..100_000];
        hole.fill(0);
        work.write(&format!("tree-{side}/program"), &whole);
        let mut mke2fs = Command::new("mke2fs");
        mke2fs.args(["-q", "-t", "ext4", "-U", "00000000-0000-0000-0000-000000000001", "-d"]);
        tool(mke2fs.arg(work.path(&format!("tree-{side}"))).arg(work.path(side)).arg("4M"));
    }
    round_trip(&work, "default");
    let layout = &work.json(&["inspect", "patch"])["layout"];
    assert!(layout["extents"].as_u64() > layout["roots"].as_u64(), "{layout}");
}

#[test]
fn an_interrupted_diff_leaves_no_patch() {
    let work = Workplace::new();
    let (old, new) = edited(8 << 20);
    work.write("old", &old);
    work.write("new", &new);
    let child = work.start(&["diff", "old", "new", "-o", "patch", "--json"]);
    // As soon as the draft is there, the signals are listened to.
    while !work.names().iter().any(|name| name.starts_with(".patch.")) {
        std::thread::yield_now();
    }
    tool(Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("\"kind\":\"cancelled\""), "{}", text(&output.stderr));
    assert_eq!(work.names(), ["new", "old"]);
}

#[test]
fn dictionaries_of_sources_are_declared() {
    let work = Workplace::new();
    let (old, new) = edited(3 << 20);
    work.write("old", &old);
    work.write("new", &new);
    // A dictionary of 64 MiB, however little is packed.
    let pack = ["-k", "--lzma2=preset=0,dict=64MiB", "old"];
    let packed = std::process::Command::new("xz").args(pack).current_dir(work.path("")).status();
    if !packed.is_ok_and(|status| status.success()) {
        println!("skipped: xz is not installed");
        return;
    }
    let made = work.json(&["diff", "old.xz", "new", "-o", "patch", "--preset", "fast"]);
    assert_eq!(made["scratch_bytes"], 0, "64 MiB are allowed, so it stays packed");
    let ample = ["--preset", "fast", "--apply-memory", "128MiB"];
    let made = work.json(&[&["diff", "old.xz", "new", "-o", "patch"], &ample[..]].concat());
    assert_eq!(made["scratch_bytes"], old.len());
    assert!(made["apply_memory_bytes"].as_u64().unwrap() > 64 << 20, "{made}");
    work.json(&["apply", "old.xz", "patch", "-o", "result"]);
    assert!(work.read("result") == new, "the result differs");
}

#[test]
fn a_reader_may_stop_reading() {
    let work = Workplace::new();
    let (old, new) = edited(20_000);
    work.write("old", &old);
    work.write("new", &new);
    work.json(&["diff", "old", "new", "-o", "patch", "--preset", "fast"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = work.fluvial(&["inspect", "patch"]).stdout(writer).output().unwrap();
    assert!(output.status.success(), "{}", crate::support::text(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", crate::support::text(&output.stderr));
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = work.fluvial(&["inspect", "patch"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(15), "{}", crate::support::text(&output.stderr));
}
