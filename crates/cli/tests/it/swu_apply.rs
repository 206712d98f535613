//! `fluvial swu apply`: what it refuses, what it makes, and how it goes on.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use fluvial_swu::description::Compression;

use crate::media::Loop;
use crate::packages::{Recipe, archive, describe_again, files, make_keys, pack_again, prepared};
use crate::support::{Workplace, can, noise, text, tool};

const LEN: usize = 300_000;
/// So much that progress is noted more than once (see src/disk/notary.rs of fluvial-device).
const LONG: usize = 24 << 20;
/// What a run may take, with its program. docs/cli.md says so.
const MEMORY_KIB_MAX: u64 = 32 << 10;
const PACKINGS: [Option<Compression>; 3] = [None, Some(Compression::Zlib), Some(Compression::Zstd)];
const TRUST: [&str; 5] = ["swu", "apply", "X.swu", "--cert", "sign.pem"];
const APPLY: [&str; 9] =
    ["swu", "apply", "X.swu", "--cert", "sign.pem", "--hardware-revision", "1.0", "--select", "stable,copy2"];
/// What is there before and after a run that fails.
const BEFORE: [&str; 5] = ["X.swu", "a", "sign.key", "sign.pem", "sign.pub"];
const AFTER: [&str; 6] = ["X.swu", "a", "b", "sign.key", "sign.pem", "sign.pub"];

fn kind(work: &Workplace, arguments: &[&str]) -> String {
    work.fault(arguments).0
}

#[test]
fn deltas_and_images_are_installed_to_files() {
    for mut recipe in [Recipe::delta(LEN), Recipe::image(LEN)] {
        for compression in PACKINGS {
            recipe.compression = compression;
            let work = prepared(&recipe);
            let made = work.json(&APPLY);
            assert!(work.read("b") == recipe.new, "{compression:?}");
            assert!(work.read("a") == recipe.old);
            assert_eq!(made["is_whole"], true);
            assert_eq!(made["partitions"][0]["kept_bytes"], 0);
            assert_eq!(made["partitions"][0]["target_bytes"], recipe.new.len());
            assert_eq!(made["bootenv"], serde_json::json!([{ "name": "chosen", "value": "b" }]));
            assert_eq!(work.names(), AFTER);
        }
    }
}

#[test]
fn slots_that_are_block_devices_may_be_longer() {
    for recipe in [Recipe::delta(LEN), Recipe::image(LEN)] {
        let work = prepared(&recipe);
        let behind = noise(9, 200_000);
        let slot = |image: &[u8]| {
            let mut slot = [image, &behind].concat();
            slot.resize(slot.len().next_multiple_of(4096), 0);
            slot
        };
        let Some(base) = Loop::new(&work, "slot-a", &slot(&recipe.old)) else { return };
        let before = slot(&vec![0; recipe.new.len()]);
        let Some(target) = Loop::new(&work, "slot-b", &before) else { return };
        let (base, place) = (format!("rootfs={}", base.path()), format!("rootfs={}", target.path()));
        let mut arguments = [&APPLY[..], &["--target", &place]].concat();
        if recipe.is_delta {
            arguments.extend(["--base", &base]);
        }
        work.json(&arguments);
        let written = fs::read(target.path()).unwrap();
        assert!(written[..recipe.new.len()] == recipe.new, "the image differs");
        assert!(written[recipe.new.len()..] == before[recipe.new.len()..], "what lies behind is kept");
        assert!(!work.names().iter().any(|name| name.contains("journal")), "{:?}", work.names());
        // A device that is too small.
        let Some(small) = Loop::new(&work, "small", &vec![7; 8192]) else { return };
        let place = format!("rootfs={}", small.path());
        assert_eq!(kind(&work, &[&APPLY[..], &["--target", &place]].concat()), "no_space");
        assert!(fs::read(small.path()).unwrap() == vec![7; 8192]);
    }
}

#[test]
fn a_mounted_slot_is_refused() {
    if !can("mke2fs", true) {
        return;
    }
    let work = prepared(&Recipe::image(LEN));
    let Some(target) = Loop::new(&work, "slot", &vec![0; 4 << 20]) else { return };
    tool(Command::new("mke2fs").args(["-q", target.path()]));
    let folder = work.path("mounted-here");
    fs::create_dir(&folder).unwrap();
    if !Command::new("mount").arg(target.path()).arg(&folder).status().unwrap().success() {
        println!("skipped: no mount here");
        return;
    }
    let place = format!("rootfs={}", target.path());
    let fault = work.fault(&[&APPLY[..], &["--target", &place]].concat());
    tool(Command::new("umount").arg(&folder));
    assert_eq!(fault, ("busy".into(), 18));
}

#[test]
fn another_base_is_refused_before_anything_is_written() {
    let recipe = Recipe::delta(LEN);
    let work = prepared(&recipe);
    let mut flipped = recipe.old.clone();
    flipped[LEN - 1] ^= 1;
    let longer = [&recipe.old[..], b"x"].concat();
    let shorter = recipe.old[..LEN - 1].to_vec();
    for base in [flipped, longer, shorter, noise(4, LEN), Vec::new()] {
        work.write("a", &base);
        assert_eq!(work.fault(&APPLY), ("wrong_source".into(), 13));
        assert_eq!(work.names(), BEFORE);
    }
    fs::remove_file(work.path("a")).unwrap();
    assert_eq!(kind(&work, &APPLY), "wrong_source");
    // The right one, elsewhere.
    work.write("a", b"another");
    work.write("elsewhere", &recipe.old);
    work.json(&[&APPLY[..], &["--base", "rootfs=elsewhere"]].concat());
    assert!(work.read("b") == recipe.new);
}

#[test]
fn what_a_device_may_not_install_is_refused() {
    let work = prepared(&Recipe::delta(LEN));
    make_keys(&work, "other");
    let here = ["--hardware-revision", "1.0", "--select", "stable,copy2"];
    let cases: &[(&[&str], &str)] = &[
        (&["swu", "apply", "X.swu", "--hardware-revision", "1.0", "--select", "stable,copy2"], "usage"),
        (&["swu", "apply", "X.swu", "--cert", "other.pem", here[0], here[1], here[2], here[3]], "untrusted"),
        (
            &[TRUST.as_slice(), &["--hardware-revision", "2.0", "--select", "stable,copy2"]].concat(),
            "refused",
        ),
        (
            &[TRUST.as_slice(), &["--device-hardware", "demo:2.0", "--select", "stable,copy2"]].concat(),
            "refused",
        ),
        (
            &[TRUST.as_slice(), &["--hardware-revision", "1.0", "--select", "stable,copy3"]].concat(),
            "refused",
        ),
        (&[TRUST.as_slice(), &["--hardware-revision", "1.0"]].concat(), "refused"),
        (&[&APPLY[..], &["--installed-version", "0.2.1"]].concat(), "refused"),
        (&[&APPLY[..], &["--installed-version", "latest"]].concat(), "refused"),
        (&[&APPLY[..], &["--target", "kernel=b"]].concat(), "usage"),
        (&[&APPLY[..], &["--target", "rootfs=a"]].concat(), "usage"),
        (&[&APPLY[..], &["--target", "rootfs=X.swu"]].concat(), "usage"),
        (&[&APPLY[..], &["--target", "rootfs=/dev/fluvial-no-such-slot"]].concat(), "usage"),
        (&[&APPLY[..], &["--allow-unsigned"]].concat(), "usage"),
    ];
    let whole = (work.read("X.swu"), work.read("a"));
    for (arguments, expected) in cases {
        assert_eq!(kind(&work, arguments), *expected, "{arguments:?}");
        assert!(!work.path("b").exists() && !work.path("b.part").exists(), "{arguments:?}");
    }
    assert!((work.read("X.swu"), work.read("a")) == whole);
    // The same version again, and an older one where that is allowed.
    work.json(&[&APPLY[..], &["--installed-version", "0.2.0"]].concat());
    work.json(&[&APPLY[..], &["--installed-version", "0.3", "--allow-downgrade"]].concat());
    work.json(&[&TRUST[..], &["--device-hardware", "demo:1.1", "--select", "stable,copy2"]].concat());
}

#[test]
fn packages_that_are_not_signed_or_tampered_with_leave_nothing() {
    let recipe = Recipe::delta(LEN);
    let work = prepared(&recipe);
    let whole = work.read("X.swu");
    let expected = ["untrusted", "untrusted", "damaged_package", "damaged_package"];
    for (index, expected) in expected.into_iter().enumerate() {
        let mut changed = files(&whole);
        let last = changed[index].1.len() - 1;
        changed[index].1[last] ^= 1;
        work.write("X.swu", &archive(&changed));
        assert_eq!(kind(&work, &APPLY), expected, "{}", changed[index].0);
        assert_eq!(work.names(), BEFORE);
    }
    for len in [0, 100, whole.len() / 2, whole.len() - 1] {
        work.write("X.swu", &whole[..len]);
        assert_eq!(kind(&work, &APPLY), "damaged_package", "cut at {len}");
        assert!(!work.path("b").exists());
    }
    work.write("X.swu", &recipe.package(&work, None));
    assert_eq!(kind(&work, &APPLY), "untrusted");
    let here = ["--allow-unsigned", "--hardware-revision", "1.0", "--select", "stable,copy2"];
    work.json(&[&["swu", "apply", "X.swu"][..], &here].concat());
    assert!(work.read("b") == recipe.new);
}

#[test]
fn deltas_that_are_signed_and_wrong_make_nothing() {
    let right = Recipe::delta(LEN);
    let delta = &right.content;
    let mut flipped = delta.clone();
    // Of a literal: what it makes has the right length.
    let at = delta.windows(100).position(|bytes| noise(2, 5000).starts_with(bytes)).unwrap();
    flipped[at + 50] ^= 1;
    let cases = [
        (delta[..delta.len() - 1].to_vec(), "damaged_package"),
        ([&delta[..], b"\0"].concat(), "damaged_package"),
        (delta[..delta.len() / 2].to_vec(), "damaged_package"),
        (flipped, "wrong_target"),
    ];
    for compression in PACKINGS {
        for (content, expected) in &cases {
            let work = prepared(&Recipe { content: content.clone(), compression, ..Recipe::delta(LEN) });
            work.write("b", b"what was there");
            assert_eq!(kind(&work, &APPLY), *expected);
            assert_eq!(work.names(), AFTER);
            assert_eq!(work.read("b"), b"what was there");
        }
    }
}

#[test]
fn what_only_swupdate_installs_is_refused() {
    let work = prepared(&Recipe::delta(LEN));
    let whole = work.read("X.swu");
    describe_again(&work, |description| {
        for section in &mut description.sections {
            section.scripts.retain(|script| script.filename.is_some());
        }
    });
    assert_eq!(kind(&work, &APPLY), "refused");
    work.write("X.swu", &whole);
    describe_again(&work, |description| {
        for section in description.sections.iter_mut().filter(|section| !section.images.is_empty()) {
            section.files = section.images.clone();
        }
    });
    assert_eq!(kind(&work, &APPLY), "refused");
    assert_eq!(work.names(), BEFORE);
}

#[test]
fn no_partition_gets_its_name_before_all_are_whole() {
    let recipe = Recipe { has_boot: true, ..Recipe::delta(LEN) };
    let work = prepared(&recipe);
    let whole = work.read("X.swu");
    let mut changed = files(&whole);
    let last = changed.last_mut().unwrap();
    assert_eq!(last.0, "boot.img");
    last.1[1000] ^= 1;
    work.write("X.swu", &archive(&changed));
    assert_eq!(kind(&work, &APPLY), "damaged_package");
    assert!(!work.path("b").exists() && !work.path("boot").exists());
    work.write("X.swu", &whole);
    work.json(&[&APPLY[..], &["--target", "boot=elsewhere"]].concat());
    assert!(work.read("b") == recipe.new);
    assert!(work.read("elsewhere") == Recipe::boot());
    assert_eq!(work.names(), ["X.swu", "a", "b", "elsewhere", "sign.key", "sign.pem", "sign.pub"]);
}

#[test]
fn a_run_that_is_stopped_goes_on_where_it_was() {
    for recipe in [Recipe::delta(LONG), Recipe::image(LONG)] {
        let work = prepared(&recipe);
        let package = work.read("X.swu");
        let mut child = work
            .fluvial(&[&["swu", "apply", "-"][..], &APPLY[3..], &["--state", "state", "--json"]].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let cut = package.len() * 3 / 4;
        input.write_all(&package[..cut]).unwrap();
        while !work.path("b.part.journal").exists() {
            std::thread::yield_now();
        }
        tool(Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]));
        drop(input);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains("goes on from there"), "{}", text(&output.stderr));
        assert!(!work.path("b").exists());
        let made = work.json(&APPLY);
        assert!(made["partitions"][0]["kept_bytes"].as_u64().unwrap() > 1 << 20, "{made}");
        assert!(work.read("b") == recipe.new);
        assert!(!work.names().iter().any(|name| name.starts_with("b.part")), "{:?}", work.names());
    }
}

#[test]
fn killed_at_any_system_call_that_writes_it_still_arrives() {
    let recipe = Recipe::delta(LONG);
    let work = prepared(&recipe);
    work.kill_at_writes(&APPLY, "b", &recipe.new);
}

#[test]
fn what_was_kept_and_changed_meanwhile_is_found() {
    let recipe = Recipe::image(LONG);
    let work = prepared(&recipe);
    let Some(target) = Loop::new(&work, "slot", &vec![0; LONG + (1 << 20)]) else { return };
    let place = format!("rootfs={}", target.path());
    let arguments = [&APPLY[..], &["--target", &place, "--state", "state"]].concat();
    // All but the last 2 MiB come.
    let whole = work.read("X.swu");
    work.write("X.swu", &whole[..whole.len() - (2 << 20)]);
    assert_eq!(kind(&work, &arguments), "damaged_package");
    assert_eq!(fs::read_dir(work.path("state")).unwrap().count(), 1);
    let mut device = fs::OpenOptions::new().write(true).open(target.path()).unwrap();
    device.write_all(b"somebody else").unwrap();
    device.sync_all().unwrap();
    work.write("X.swu", &whole);
    assert_eq!(kind(&work, &arguments), "wrong_target");
    assert_eq!(fs::read_dir(work.path("state")).unwrap().count(), 0);
    let made = work.json(&arguments);
    assert_eq!(made["partitions"][0]["kept_bytes"], 0);
    assert!(fs::read(target.path()).unwrap()[..recipe.new.len()] == recipe.new);
}

#[test]
fn memory_does_not_grow_with_the_image() {
    // The largest window that is taken, all of it used.
    let image = noise(11, 80 << 20);
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(24).unwrap();
    encoder.write_all(&image).unwrap();
    let content = encoder.finish().unwrap();
    let recipe = Recipe { new: image, ..Recipe::image(LEN) };
    let work = prepared(&recipe);
    pack_again(&work, &content, Some(Compression::Zstd));
    let arguments = [&["swu", "apply", "-"][..], &APPLY[3..], &["--state", "state"]].concat();
    let mut child = work.fluvial(&arguments).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let package = work.read("X.swu");
    let (last, all_but_it) = package.split_last().unwrap();
    input.write_all(all_but_it).unwrap();
    // It waits for the last byte; what it has not read yet stands in a pipe.
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    input.write_all(&[*last]).unwrap();
    drop(input);
    assert!(child.wait().unwrap().success());
    assert!(work.read("b") == recipe.new);
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")).unwrap();
    println!("{peak} KiB");
    assert!(peak.parse::<u64>().unwrap() <= MEMORY_KIB_MAX, "{peak} KiB");
}
