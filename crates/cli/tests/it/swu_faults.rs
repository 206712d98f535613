//! Every fault, with packages that `fluvial swu delta` made: the real `swupdate` fails and never counts the slot as
//! good; `fluvial swu apply` and `verify` fail, and say why. Where the real one takes something that ours refuse, the
//! slot holds the right image.

use std::fs;
use std::io::Read as _;

use fluvial_swu::description::Compression;
use fluvial_testing::SwupdateDevice;

use crate::media::Loop;
use crate::packages::{Files, archive, describe_again, files, make_keys, pack_again, packed};
use crate::support::{noise, text};
use crate::swu_versions::{IMAGE, LEN, SIGN, Versions};

/// The package that is tampered with.
const PACKAGE: &str = "X.swu";
/// What the real one says to a package without a signature.
const INVALID: &str = "Image invalid or corrupted";
/// What the script says of a delta that is not the one that was packed, whatever the description tells.
const NOT_PACKED: &str = "fluvial: rootfs: rootfs.delta.gz ";
const ZLIB: Option<Compression> = Some(Compression::Zlib);

/// What one of ours says: a part of its message, and its exit code.
type Said<'a> = (&'a str, i32);
/// What somebody does to a package.
type Change<'a> = &'a dyn Fn(&mut Files);

const NO_FAULT: Said<'_> = ("", 0);

fn untrusted(words: &str) -> Said<'_> {
    (words, 24)
}

fn refused(words: &str) -> Said<'_> {
    (words, 25)
}

fn damaged(words: &str) -> Said<'_> {
    (words, 32)
}

/// A device in version 0.1.0, and the delta to 0.2.0 in [`PACKAGE`].
struct Scene {
    versions: Versions,
    package: Vec<u8>,
}

impl Scene {
    fn new() -> Self {
        let versions = Versions::new();
        let slot = versions.slot();
        Self::with_slot(versions, &slot)
    }

    fn with_slot(versions: Versions, slot: &str) -> Self {
        let mut scene = Self { versions, package: Vec::new() };
        scene.make(&[&SIGN[..], &["--slot", slot]].concat());
        scene
    }

    /// `fluvial swu delta`, with these arguments too.
    fn make(&mut self, more: &[&str]) {
        let work = &self.versions.work;
        let versions_file = work.path("sw-versions");
        let ours = [
            &["swu", "delta"][..],
            &IMAGE,
            &["--from", "0.1.0", "--to", "0.2.0", "--replace", "--hardware", "demo-board:1.0"],
            &["--bootenv", SwupdateDevice::GOOD, "--versions-file", versions_file.to_str().unwrap()],
        ];
        let said = work.json(&[&ours.concat()[..], more].concat());
        assert_eq!(said["delta_info"]["partitions"][0]["kind"], "delta");
        self.package = work.read(said["swu"].as_str().unwrap());
        work.write(PACKAGE, &self.package);
    }

    /// The package with other files, their checksums right.
    fn change(&self, change: impl FnOnce(&mut Files)) {
        let mut files = files(&self.package);
        change(&mut files);
        self.versions.work.write(PACKAGE, &archive(&files));
    }

    /// The delta, unpacked.
    fn delta(&self) -> Vec<u8> {
        let mut delta = Vec::new();
        let files = files(&self.package);
        flate2::read::GzDecoder::new(&files.last().unwrap().1[..]).read_to_end(&mut delta).unwrap();
        delta
    }

    /// The package with something else in place of the delta, signed.
    fn sign_with(&self, content: &[u8]) {
        self.versions.work.write(PACKAGE, &self.package);
        pack_again(&self.versions.work, content, ZLIB);
    }

    /// The same, packed as the delta was.
    fn sign_with_delta(&self, delta: &[u8]) {
        self.sign_with(&packed(delta, ZLIB));
    }

    /// The real one fails with these words somewhere, and the boot loader's slot is the one from before.
    fn assert_swupdate_refuses(&self, what: &str, arguments: &[&str], words: &str) {
        let installed = self.versions.install(PACKAGE, arguments);
        let output = &installed.output;
        let reason = output.lines().find(|line| line.contains("ERROR")).unwrap_or_default();
        println!("{what}: swupdate: {reason}");
        assert!(!installed.is_success && !installed.is_good, "{what}: {output}");
        assert!(output.contains(words), "{what}: no \"{words}\" in {output}");
        let environment = self.versions.device.environment().unwrap();
        assert!(environment.lines().any(|line| line == "chosen=a"), "{what}: {environment}");
    }

    /// The real one installs the package, which is made of the right image and something that makes no difference.
    fn assert_swupdate_takes(&self, what: &str, arguments: &[&str]) {
        let installed = self.versions.install(PACKAGE, arguments);
        assert!(installed.is_success && installed.is_good, "{what}: {}", installed.output);
    }

    fn assert_ours_say(&self, what: &str, arguments: &[&str], said: Said<'_>) {
        let work = &self.versions.work;
        let output = work.run(arguments);
        let stderr = text(&output.stderr);
        println!("{what}: {}: {stderr}", arguments[1]);
        let (words, code) = said;
        assert_eq!(output.status.code(), Some(code), "{what}: {stderr}");
        assert!(stderr.contains(words), "{what}: no \"{words}\" in {stderr}");
    }

    fn assert_verify_says(&self, what: &str, said: Said<'_>) {
        self.assert_ours_say(what, &["swu", "verify", PACKAGE, "--cert", "sign.pem"], said);
    }

    /// What `fluvial swu apply` says; where it finds a fault, the slot is what it was.
    fn assert_apply_says(&self, what: &str, arguments: &[&str], said: Said<'_>) {
        let work = &self.versions.work;
        let before = work.read("b.img");
        let apply = ["swu", "apply", PACKAGE, "--cert", "sign.pem", "--state", "state"];
        self.assert_ours_say(what, &[&apply[..], arguments].concat(), said);
        let expected = if said == NO_FAULT { &self.versions.new } else { &before };
        assert!(work.read("b.img") == *expected, "{what}: the slot");
    }

    /// Nothing was written.
    fn assert_slot_untouched(&self) {
        assert!(self.versions.work.read("b.img") == vec![0; LEN], "the slot was written to");
    }
}

/// What ours are told of the device.
const HERE: [&str; 2] = ["--device-hardware", "demo-board:1.0"];

#[test]
fn nothing_is_refused_without_a_fault() {
    let scene = Scene::new();
    let again = archive(&files(&scene.package));
    assert!(again == scene.package, "taken apart and put together it is the same");
    scene.assert_verify_says("whole", NO_FAULT);
    scene.assert_swupdate_takes("whole", &[]);
    assert!(scene.versions.work.read("b.img") == scene.versions.new);
    scene.versions.work.write("b.img", &vec![0; LEN]);
    scene.assert_apply_says("whole", &HERE, NO_FAULT);
    // Signed again as the tests do it: it is the fault that makes the difference.
    scene.sign_with(&files(&scene.package).pop().unwrap().1);
    scene.assert_swupdate_takes("signed again", &[]);
    scene.assert_apply_says("signed again", &HERE, NO_FAULT);
}

#[test]
fn another_base() {
    let scene = Scene::new();
    let Versions { work, old, new, .. } = &scene.versions;
    let flipped = |at: usize| {
        let mut base = old.clone();
        base[at] ^= 1;
        base
    };
    let another = ["has the SHA-256", "is not what the delta was made from"];
    let cases = [
        ("the target", new.clone(), another),
        ("noise", noise(7, LEN), another),
        ("the first byte", flipped(0), another),
        ("the last byte", flipped(LEN - 1), another),
        ("shorter", old[..LEN - 1].to_vec(), ["has 1048575 bytes, not 1048576", another[1]]),
        (
            "longer",
            [&old[..], b"x"].concat(),
            ["has 1048577 bytes, not 1048576", "has 1048577 bytes, the base has 1048576"],
        ),
    ];
    for (what, base, [words, ours]) in cases {
        work.write("a.img", &base);
        scene.assert_swupdate_refuses(what, &[], words);
        scene.assert_apply_says(what, &HERE, (ours, 13));
        // It does not ask for a base.
        scene.assert_verify_says(what, NO_FAULT);
    }
    fs::remove_file(work.path("a.img")).unwrap();
    scene.assert_swupdate_refuses("none", &[], "is not there");
    scene.assert_apply_says("none", &HERE, ("a.img", 13));
    scene.assert_slot_untouched();
}

#[test]
fn a_delta_that_is_cut_and_signed_again() {
    let scene = Scene::new();
    let (delta, packed) = (scene.delta(), files(&scene.package).pop().unwrap().1);
    let cut = damaged("the delta is cut short after");
    for len in [4, delta.len() / 2, delta.len() - 2, delta.len() - 1] {
        let what = format!("the delta's first {len} bytes");
        scene.sign_with_delta(&delta[..len]);
        scene.assert_swupdate_refuses(&what, &[], NOT_PACKED);
        scene.assert_apply_says(&what, &HERE, cut);
        scene.assert_verify_says(&what, cut);
    }
    for len in [5, packed.len() / 2, packed.len() - 20] {
        let what = format!("the packed delta's first {len} bytes");
        scene.sign_with(&packed[..len]);
        scene.assert_swupdate_refuses(&what, &[], NOT_PACKED);
        scene.assert_apply_says(&what, &HERE, cut);
        scene.assert_verify_says(&what, cut);
    }
    // gzip's own checksum, which makes no difference to the image.
    scene.sign_with(&packed[..packed.len() - 8]);
    scene.assert_apply_says("no checksum", &HERE, damaged("rootfs in the package"));
    scene.assert_verify_says("no checksum", damaged("rootfs.delta.gz in the package"));
    scene.assert_swupdate_refuses("no checksum", &[], NOT_PACKED);
    scene.assert_slot_untouched();
}

#[test]
fn a_delta_that_makes_more_or_something_else_and_is_signed_again() {
    let scene = Scene::new();
    let delta = scene.delta();
    let (end, commands) = delta.split_last().unwrap();
    assert_eq!(*end, 0, "the end of a delta of librsync");
    let at = delta.windows(13).position(|bytes| bytes == b"something new").unwrap();
    let mut flipped = delta.clone();
    flipped[at] ^= 1;
    let longer = [commands, &[4], b"more", &[0]].concat();
    let cases = [
        ("more", longer, damaged("makes more than the 1048576 bytes")),
        ("something else", flipped, ("rootfs came out wrong", 17)),
    ];
    for (what, delta, said) in cases {
        scene.sign_with_delta(&delta);
        scene.assert_swupdate_refuses(what, &[], NOT_PACKED);
        scene.assert_apply_says(what, &HERE, said);
    }
}

#[test]
fn bytes_behind_the_end() {
    let scene = Scene::new();
    let Versions { work, new, .. } = &scene.versions;
    let (delta, packed) = (scene.delta(), files(&scene.package).pop().unwrap().1);
    let refused = |what: &str, words: &str| {
        scene.assert_apply_says(what, &HERE, damaged(words));
        scene.assert_verify_says(what, damaged(words));
        scene.assert_swupdate_refuses(what, &[], NOT_PACKED);
        scene.assert_slot_untouched();
    };
    scene.sign_with_delta(&[&delta[..], &[4], b"more", &[0]].concat());
    refused("behind the delta's end", "the delta goes on behind its end");
    scene.sign_with(&[&packed[..], b"more"].concat());
    refused("behind the packed delta's end", "something stands behind what is packed");

    let taken = |what: &str, words: &str| {
        scene.assert_apply_says(what, &HERE, damaged(words));
        scene.assert_verify_says(what, damaged(words));
        scene.assert_swupdate_takes(what, &[]);
        assert!(work.read("b.img") == *new, "{what}");
        work.write("b.img", &vec![0; LEN]);
    };
    work.write(PACKAGE, &[&scene.package[..], &[1; 600]].concat());
    taken("behind the archive's end", "bytes behind the end of the archive");
    scene.change(|files| files.push(("more".into(), b"x".to_vec())));
    taken("a file that nobody described", "has a file more");

    scene.change(|files| files.last_mut().unwrap().1.push(0));
    scene.assert_swupdate_refuses("not signed again", &[], "HASH mismatch");
    scene.assert_apply_says("not signed again", &HERE, damaged(""));
    scene.assert_verify_says("not signed again", damaged(""));
    scene.assert_slot_untouched();
}

/// On devices the length is that of the device: the hash has to tell.
#[test]
fn slots_that_are_block_devices() {
    let versions = Versions::new();
    let slot = |image: &[u8]| [image, &vec![9; 1 << 20]].concat();
    let mut flipped = slot(&versions.old);
    flipped[LEN - 1] ^= 1;
    let work = &versions.work;
    let Some(base) = Loop::new(work, "slot-a", &slot(&versions.old)) else { return };
    let Some(another) = Loop::new(work, "slot-c", &flipped) else { return };
    let Some(target) = Loop::new(work, "slot-b", &vec![9; 2 << 20]) else { return };
    let place = |base: &Loop| format!("rootfs={},base={}", target.path(), base.path());
    let mut scene = Scene::with_slot(versions, &place(&another));
    let wrong = "is not what the delta was made from";
    scene.assert_swupdate_refuses("a flipped byte", &[], "has the SHA-256");
    scene.assert_apply_says("a flipped byte", &HERE, (wrong, 13));
    assert!(fs::read(target.path()).unwrap() == vec![9; 2 << 20]);

    scene.make(&[&SIGN[..], &["--slot", &place(&base)]].concat());
    let delta = scene.delta();
    for len in [4, delta.len() / 2, delta.len() - 2] {
        let what = format!("the delta's first {len} bytes");
        scene.sign_with_delta(&delta[..len]);
        scene.assert_swupdate_refuses(&what, &[], NOT_PACKED);
        scene.assert_verify_says(&what, damaged("the delta is cut short after"));
    }
    // The image would be right, but not what stands behind it.
    let commands = &delta[..delta.len() - 1];
    scene.sign_with_delta(&[commands, &[4], b"more", &[0]].concat());
    scene.assert_verify_says("more", damaged("makes more than the 1048576 bytes"));
    scene.assert_swupdate_refuses("more", &[], NOT_PACKED);
    assert!(fs::read(target.path()).unwrap() == vec![9; 2 << 20], "nothing was written");
}

#[test]
fn other_hardware() {
    let scene = Scene::new();
    let cases = [
        ("demo-board:2.0", "not compatible", "is for hardware 1.0, this is 2.0"),
        ("other-board:1.0", "HW compatibility not found", "is for other boards"),
    ];
    for (hardware, words, ours) in cases {
        scene.assert_swupdate_refuses(hardware, &["-H", hardware], words);
        scene.assert_apply_says(hardware, &["--device-hardware", hardware], refused(ours));
    }
    scene.assert_slot_untouched();
}

#[test]
fn a_downgrade() {
    let scene = Scene::new();
    for (installed, words) in
        [("0.10.0", "is older than 0.10.0"), ("unknown", "cannot be compared with unknown")]
    {
        scene.versions.work.write("sw-versions", format!("other 0.1\nprod {installed}\n").as_bytes());
        scene.assert_swupdate_refuses(installed, &[], words);
        for told in [["--installed-version", installed], ["--versions-file", "sw-versions"]] {
            scene.assert_apply_says(installed, &[&HERE[..], &told].concat(), refused(installed));
        }
    }
    fs::remove_file(scene.versions.work.path("sw-versions")).unwrap();
    // What it is told itself.
    scene.assert_swupdate_refuses("-N", &["-N", "0.10.0"], "No downgrading allowed");
    scene.assert_slot_untouched();
}

#[test]
fn what_was_tampered_with() {
    let scene = Scene::new();
    let index_of =
        |end: &str| files(&scene.package).iter().position(|(name, _)| name.ends_with(end)).unwrap();
    let (script, signature) = (index_of(".sh"), index_of(".sig"));
    let cases: [(&str, Change<'_>, &str, Said<'_>); 6] = [
        (
            "the script",
            &|files| files[script].1 = b"#!/bin/sh\nexit 0\n".to_vec(),
            "HASH mismatch",
            damaged("fluvial-check-1.sh"),
        ),
        (
            "no script",
            &|files| drop(files.remove(script)),
            "not found in image",
            damaged("lacks fluvial-check-1.sh"),
        ),
        ("a byte of the delta", &|files| files.last_mut().unwrap().1[40] ^= 1, "HASH mismatch", damaged("")),
        ("no delta", &|files| drop(files.pop()), "missing", damaged("lacks rootfs.delta.gz")),
        (
            "the description",
            &|files| {
                let description = String::from_utf8(files[0].1.clone()).unwrap();
                files[0].1 = description.replace("0.2.0", "9.2.0").into_bytes();
            },
            "Signature verification failed",
            untrusted("the content is not what was signed"),
        ),
        (
            "the signature",
            &|files| *files[signature].1.last_mut().unwrap() ^= 1,
            "Signature verification failed",
            untrusted("the signature is not made by this key"),
        ),
    ];
    for (what, change, words, said) in cases {
        scene.change(change);
        scene.assert_swupdate_refuses(what, &[], words);
        scene.assert_apply_says(what, &HERE, said);
        scene.assert_verify_says(what, said);
    }
    // On its way.
    let whole = &scene.package;
    let mut damaged_on_its_way = whole.clone();
    damaged_on_its_way[whole.len() / 2] ^= 1;
    let cases = [
        ("cut", whole[..whole.len() - 1000].to_vec(), "ends in the middle"),
        ("a byte", damaged_on_its_way, "its checksum differs"),
    ];
    for (what, package, words) in cases {
        scene.versions.work.write(PACKAGE, &package);
        scene.assert_swupdate_refuses(what, &[], "HASH mismatch");
        scene.assert_apply_says(what, &HERE, damaged(words));
        scene.assert_verify_says(what, damaged(words));
    }
    scene.assert_slot_untouched();
}

/// Whoever has the key can make packages that stock `swupdate` installs without a check; ours refuse them.
#[test]
fn a_script_that_is_left_out_and_signed() {
    let scene = Scene::new();
    describe_again(&scene.versions.work, |description| {
        for section in &mut description.sections {
            section.scripts.retain(|script| script.filename.is_none());
        }
    });
    scene.assert_apply_says("no script", &HERE, refused("is not guarded"));
    scene.assert_verify_says("no script", refused("is not guarded"));
}

#[test]
fn signatures_of_nobody_or_of_others() {
    let mut scene = Scene::new();
    make_keys(&scene.versions.work, "other");
    let slot = scene.versions.slot();
    scene.change(|files| drop(files.remove(1)));
    scene.assert_swupdate_refuses("signature taken out", &[], INVALID);
    scene.assert_apply_says("signature taken out", &HERE, untrusted("not signed"));
    scene.assert_verify_says("signature taken out", untrusted("not signed"));
    let unsigned: &[&str] = &["--allow-unsigned"];
    let other: &[&str] = &["--sign-key", "other.key", "--sign-cert", "other.pem"];
    let cases = [
        ("never signed", unsigned, INVALID, untrusted("not signed")),
        ("another key", other, "Authentication of all signatures failed", untrusted("is not trusted")),
    ];
    for (what, sign, words, said) in cases {
        scene.make(&[sign, &["--slot", &slot]].concat());
        scene.assert_swupdate_refuses(what, &[], words);
        scene.assert_apply_says(what, &HERE, said);
        scene.assert_verify_says(what, said);
    }
    scene.assert_slot_untouched();
}
