//! The ways that an image comes by, from a stick and from a server.

use std::fs;

use fluvial_bundle::{PartInfo, PartKind};
use fluvial_testing::{RangeFault, RangeServer};
use serde_json::Value;

use crate::device::Device;
use crate::release::{Operator, Release, changed, image};

const LEN: usize = 2 << 20;

fn fetched(output: &Value) -> u64 {
    output["fetched_bytes"].as_u64().unwrap()
}

/// An operator, an old image, a new one, and a device with the old one that was never updated.
fn pair() -> (Operator, Vec<u8>, Vec<u8>, Device) {
    let operator = Operator::new();
    let old = image(1, LEN);
    let new = changed(&old, 100, 8);
    let device = Device::new(&old, &[], &operator);
    (operator, old, new, device)
}

#[test]
fn the_first_installation_fetches_missing_chunks_without_preparation() {
    let (operator, old, new, device) = pair();
    let release = Release::full(1, &new);
    let full_len = release.to_bytes().len() as u64;
    let bundle = operator.publish("1.fluvial", release);
    let output = device.installed(&bundle, &[], &new);
    assert_eq!(output["slots"][0]["route"], "dynamic");
    assert!(fetched(&output) < full_len / 8, "{} of {full_len}", fetched(&output));
    assert_eq!(device.read("a.img"), old);
    assert!(!device.path("state/staging").exists(), "nothing is left behind");
}

#[test]
fn what_is_printed_has_the_documented_fields() {
    let (operator, _, new, device) = pair();
    let bundle = operator.publish("1.fluvial", Release::full(1, &new));
    let output = device.installed(&bundle, &[], &new);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(
        keys(&output),
        "dry_run duration_s fetched_bytes group name requests retries sequence slots version"
    );
    assert_eq!(
        keys(&output["slots"][0]),
        "fetched_bytes from in_place_bytes memory_bytes reasons role route size_bytes slot"
    );
    let told = [&output["name"], &output["version"], &output["group"], &output["slots"][0]["slot"]];
    assert_eq!(told, ["demo", "1.0", "b", "system-b"]);
    assert_eq!((&output["sequence"], &output["dry_run"]), (&1.into(), &false.into()));
    assert_eq!(output["slots"][0]["size_bytes"], LEN);
}

#[test]
fn a_patch_is_taken_on_the_first_installation_too() {
    let (operator, old, new, device) = pair();
    let full = Release::full(1, &new);
    operator.publish("full.fluvial", full.clone());
    let patch = Release::patch(&full, "full.fluvial", &old, &new);
    let (patch_len, bundle_len) = (patch.parts[0].1.len() as u64, patch.to_bytes().len() as u64);
    let bundle = operator.publish("patch.fluvial", patch);
    let output = device.installed(&bundle, &[], &new);
    assert_eq!(output["slots"][0]["route"], "static");
    assert!(output["slots"][0]["memory_bytes"].as_u64().unwrap() > 0);
    // A part of it has come with the header.
    assert!(output["slots"][0]["fetched_bytes"].as_u64().unwrap() <= patch_len, "{output}");
    assert!(fetched(&output) >= patch_len && fetched(&output) < bundle_len + (32 << 10), "{output}");
    let left: Vec<_> =
        fs::read_dir(device.path("state")).unwrap().map(|one| one.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("journal")), "{left:?}");
}

#[test]
fn the_whole_comes_where_asked_for_and_where_it_is_less() {
    let (operator, _, new, device) = pair();
    let bundle = operator.publish("1.fluvial", Release::full(1, &new));
    let output = device.installed(&bundle, &["--route", "full"], &new);
    assert_eq!(output["slots"][0]["route"], "full");

    // Nothing of it is there.
    let other = Device::new(&image(7, LEN), &[], &operator);
    let output = other.installed(&bundle, &[], &new);
    assert_eq!(output["slots"][0]["route"], "full");
    assert!(output["slots"][0]["reasons"][0].as_str().unwrap().contains("sketch"), "{output}");
    // Neither the index nor any chunk comes.
    let whole = Release::full(1, &new).part(PartKind::Full).len() as u64;
    assert!(fetched(&output) <= whole + (8 << 10), "{} of {whole}", fetched(&output));
}

#[test]
fn what_an_earlier_release_has_left_in_the_slot_counts_too() {
    let (operator, _, new, _) = pair();
    let device = Device::new(&image(7, LEN), &[], &operator);
    let first = operator.publish("1.fluvial", Release::full(1, &changed(&new, 300, 4)));
    device.installed(&first, &["--route", "dynamic"], &changed(&new, 300, 4));
    let bundle = operator.publish("2.fluvial", Release::full(2, &new));
    let output = device.installed(&bundle, &[], &new);
    assert_eq!(output["slots"][0]["route"], "dynamic", "{output}");
    assert!(output["slots"][0]["in_place_bytes"].as_u64().unwrap() > LEN as u64 / 2, "{output}");
}

#[test]
fn a_sketch_that_is_wrong_costs_bytes_and_nothing_else() {
    let (operator, old, new, device) = pair();
    let with_sketch_of = |other: &[u8]| {
        let mut release = Release::full(1, &new);
        let sketch = Release::full(1, other).part(PartKind::Sketch).clone();
        release.payload().sketch = Some(PartInfo::of(&sketch));
        *release.part(PartKind::Sketch) = sketch;
        release
    };
    let pessimist = operator.publish("1.fluvial", with_sketch_of(&image(7, LEN)));
    let output = device.installed(&pessimist, &[], &new);
    assert_eq!(output["slots"][0]["route"], "full");
    // It tells that all is there: the index knows better.
    let other = Device::new(&image(7, LEN), &[], &operator);
    let optimist = operator.publish("2.fluvial", with_sketch_of(&image(7, LEN)));
    let output = other.installed(&optimist, &[], &new);
    assert_eq!(output["slots"][0]["route"], "full");
    assert!(!output["slots"][0]["reasons"][0].as_str().unwrap().contains("sketch"), "{output}");

    let mut damaged = with_sketch_of(&old);
    damaged.part(PartKind::Sketch)[100] ^= 1;
    let damaged = operator.publish("3.fluvial", damaged);
    Device::new(&old, &[], &operator).failed(&["install", &damaged], "damaged_bundle", 23);
}

#[test]
fn the_whole_is_gone_on_with_where_it_was_cut() {
    let (operator, _, new, device) = pair();
    let mut release = Release::full(1, &new);
    let whole = release.part(PartKind::Full).len() as u64;
    operator.publish("1.fluvial", release);
    // The header, the table, and some pieces: more than one frame, and a part of the next.
    let server = RangeServer::start(&operator.site(), RangeFault::Gone(11)).unwrap();
    let full = ["install", &format!("{}/1.fluvial", server.base), "--route", "full"];
    device.failed(&full, "io", 3);
    assert_eq!(device.choice(), "a", "half an image is not tried");
    let came = server.body_bytes() as u64;
    let server = RangeServer::start(&operator.site(), RangeFault::None).unwrap();
    let output = device.installed(&format!("{}/1.fluvial", server.base), &[], &new);
    let slot = &output["slots"][0];
    assert_eq!(slot["route"], "full");
    assert!(slot["reasons"][0].as_str().unwrap().contains("earlier run"), "{slot}");
    assert!(slot["in_place_bytes"].as_u64().unwrap() >= 512 << 10, "{slot}");
    // But for the header, the table, and what was on its way.
    let again = fetched(&output) + came - whole;
    assert!(fetched(&output) < whole * 3 / 4 && again < (16 << 10) + 3 * (64 << 10), "{again}: {output}");
    assert!(!device.path("state/staging").exists(), "nothing is left behind");
}

#[test]
fn pieces_that_have_rotted_on_the_disk_are_fetched_again() {
    let (operator, _, new, device) = pair();
    operator.publish("1.fluvial", Release::full(1, &new));
    let server = RangeServer::start(&operator.site(), RangeFault::Gone(5)).unwrap();
    device.failed(&["install", &format!("{}/1.fluvial", server.base), "--route", "full"], "io", 3);
    let staging = device.path("state/staging");
    let folder = fs::read_dir(staging).unwrap().next().unwrap().unwrap().path();
    let mut rotten = 0;
    for frame in fs::read_dir(folder).unwrap() {
        let path = frame.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        bytes.reverse();
        rotten += bytes.len();
        fs::write(path, bytes).unwrap();
    }
    assert!(rotten > 0);
    let server = RangeServer::start(&operator.site(), RangeFault::None).unwrap();
    device.installed(&format!("{}/1.fluvial", server.base), &["--route", "full"], &new);
}

#[test]
fn the_same_release_again_fetches_nothing_but_header_and_index() {
    let (operator, old, new, device) = pair();
    let mut full = Release::full(1, &new);
    let index_len = full.part(PartKind::Index).len() as u64;
    let patch = Release::patch(&full, "full.fluvial", &old, &new);
    let full = operator.publish("full.fluvial", full);
    let patch = operator.publish("patch.fluvial", patch);
    device.installed(&full, &[], &new);
    for bundle in [&full, &patch] {
        let output = device.installed(bundle, &[], &new);
        assert_eq!(output["slots"][0]["route"], "none", "{bundle}");
        assert_eq!(output["slots"][0]["in_place_bytes"], LEN, "{bundle}");
        assert!(fetched(&output) <= (16 << 10) + index_len, "{bundle}: {}", fetched(&output));
    }
}

#[test]
fn a_slot_that_was_changed_behind_our_back_is_mended() {
    let (operator, old, new, device) = pair();
    let full = Release::full(1, &new);
    operator.publish("full.fluvial", full.clone());
    let patch = operator.publish("patch.fluvial", Release::patch(&full, "full.fluvial", &old, &new));
    device.installed(&patch, &[], &new);
    let mut slot = device.read("b.img");
    slot[LEN / 2] ^= 1;
    device.write("b.img", slot);
    let output = device.installed(&patch, &[], &new);
    assert_ne!(output["slots"][0]["route"], "none");
}

#[test]
fn a_patch_that_does_not_fit_gives_way_to_the_full_bundle_beside_it() {
    let (operator, old, new, device) = pair();
    let full = Release::full(1, &new);
    operator.publish("full.fluvial", full.clone());
    let other = changed(&old, 900, 3);
    let patch = operator.publish("patch.fluvial", Release::patch(&full, "full.fluvial", &other, &new));
    let output = device.installed(&patch, &[], &new);
    let slot = &output["slots"][0];
    assert_eq!((&slot["route"], &slot["from"]), (&"dynamic".into(), &"full.fluvial".into()));
    assert!(slot["reasons"][0].as_str().unwrap().starts_with("no patch: "), "{slot}");

    let other = Device::new(&old, &[], &operator);
    let message = other.refused(&["install", &patch, "--route", "static"], "wrong_source", 13);
    assert!(message.contains("other"), "{message}");
    // A patch that fits, of the same release: nothing of the one before is in its way.
    let fits = operator.publish("fits.fluvial", Release::patch(&full, "full.fluvial", &old, &new));
    let output = other.installed(&fits, &["--route", "static"], &new);
    assert_eq!(output["slots"][0]["route"], "static");
}

#[test]
fn a_patch_that_takes_too_much_memory_gives_way() {
    let (operator, old, new, device) = pair();
    let full = Release::full(1, &new);
    operator.publish("full.fluvial", full.clone());
    let patch = operator.publish("patch.fluvial", Release::patch(&full, "full.fluvial", &old, &new));
    let arguments = ["install", &patch, "--memory-limit", "1KiB", "--route", "static"];
    device.refused(&arguments, "over_memory", 14);
    let output = device.installed(&patch, &["--memory-limit", "1KiB"], &new);
    assert_eq!(output["slots"][0]["route"], "dynamic");
}

#[test]
fn a_server_is_asked_for_what_is_missing() {
    let (operator, _, new, device) = pair();
    let release = Release::full(1, &new);
    let full_len = release.to_bytes().len() as u64;
    operator.publish("1.fluvial", release);
    let server = RangeServer::start(&operator.site(), RangeFault::None).unwrap();
    let output = device.installed(&format!("{}/1.fluvial", server.base), &[], &new);
    assert_eq!(output["slots"][0]["route"], "dynamic");
    assert!(fetched(&output) < full_len / 8);
    // The server counts bodies, the agent what it has read of them.
    assert!(server.body_bytes() as u64 >= fetched(&output) / 2);
    assert!(server.counts.open_max.load(std::sync::atomic::Ordering::SeqCst) <= 4);
    assert!(!server.has_repeated());
}

#[test]
fn a_server_without_ranges_still_works() {
    let (operator, old, new, _) = pair();
    let full = Release::full(1, &new);
    operator.publish("full.fluvial", full.clone());
    operator.publish("patch.fluvial", Release::patch(&full, "full.fluvial", &old, &new));
    let server = RangeServer::start(&operator.site(), RangeFault::WholeFile).unwrap();
    for (name, route) in [("full.fluvial", "dynamic"), ("patch.fluvial", "static")] {
        let device = Device::new(&old, &[], &operator);
        let output = device.installed(&format!("{}/{name}", server.base), &[], &new);
        assert_eq!(output["slots"][0]["route"], route, "{output}");
    }
}

#[test]
fn a_server_that_is_cut_again_and_again_gives_what_it_has() {
    let (operator, old, new, _) = pair();
    let full = Release::full(1, &new);
    operator.publish("full.fluvial", full.clone());
    operator.publish("patch.fluvial", Release::patch(&full, "full.fluvial", &old, &new));
    for name in ["full.fluvial", "patch.fluvial"] {
        let server = RangeServer::start(&operator.site(), RangeFault::Cut(3)).unwrap();
        let device = Device::new(&old, &[], &operator);
        let output = device.installed(&format!("{}/{name}", server.base), &[], &new);
        assert!(output["retries"].as_u64().unwrap() > 0, "{output}");
    }
}

#[test]
fn a_server_that_goes_away_is_gone_on_with_later() {
    let (operator, _, new, device) = pair();
    let release = Release::full(1, &new);
    operator.publish("1.fluvial", release);
    let server = RangeServer::start(&operator.site(), RangeFault::Gone(2)).unwrap();
    device.failed(&["install", &format!("{}/1.fluvial", server.base)], "io", 3);
    assert_eq!(device.choice(), "a", "half an image is not tried");
    let system = device.done(&["system", "info"]);
    assert_eq!(system["slots"][1]["content"]["is_whole"], false);
    let server = RangeServer::start(&operator.site(), RangeFault::None).unwrap();
    device.installed(&format!("{}/1.fluvial", server.base), &[], &new);
}

#[test]
fn a_slot_that_is_longer_keeps_what_stands_behind_the_image() {
    let (operator, old, new, _) = pair();
    let device = Device::new(&old, &image(50, LEN + 8192), &operator);
    let bundle = operator.publish("1.fluvial", Release::full(1, &new));
    device.installed(&bundle, &[], &new);
    assert_eq!(device.read("b.img")[LEN..], image(50, LEN + 8192)[LEN..]);
    assert_eq!(device.restart(), "b");
    device.done(&["system", "commit"]);
    // What stands behind it is no part of what runs.
    let patch = Release::patch(&Release::full(2, &old), "", &new, &old);
    let patch = operator.publish("2.fluvial", patch);
    let output = device.done(&["install", &patch]);
    assert_eq!(output["slots"][0]["route"], "static", "{output}");
    assert_eq!(device.read("a.img"), old);
}

#[test]
fn what_is_kept_of_the_slot_that_is_written_saves_reading_it_and_is_not_trusted() {
    let (operator, _, new, device) = pair();
    let first = operator.publish("1.fluvial", Release::full(1, &new));
    let newer = changed(&new, 900, 5);
    let second = operator.publish("2.fluvial", Release::full(2, &newer));
    device.installed(&first, &[], &new);
    // What the database and the index of the slot say is no longer so.
    let mut slot = device.read("b.img");
    let at = (LEN / 8..LEN).find(|&at| new[at] == newer[at]).unwrap();
    slot[at] ^= 1;
    device.write("b.img", slot);
    let output = device.installed(&second, &[], &newer);
    assert!(output["slots"][0]["in_place_bytes"].as_u64().unwrap() > LEN as u64 / 2, "{output}");
}

#[test]
fn a_running_slot_that_is_not_what_the_database_says_makes_no_patch_fit() {
    let (operator, _, new, device) = pair();
    device.installed(&operator.publish("1.fluvial", Release::full(1, &new)), &[], &new);
    assert_eq!(device.restart(), "b");
    device.done(&["system", "commit"]);
    let newer = changed(&new, 900, 5);
    let mut slot = device.read("b.img");
    // The patch copies it.
    let at = (LEN / 2..LEN).find(|&at| new[at - 99..=at] == newer[at - 99..=at]).unwrap();
    slot[at] ^= 1;
    device.write("b.img", slot);
    let full = Release::full(2, &newer);
    operator.publish("full.fluvial", full.clone());
    let patch = operator.publish("patch.fluvial", Release::patch(&full, "full.fluvial", &new, &newer));
    device.failed(&["install", &patch, "--route", "static"], "wrong_source", 13);
    let output = device.done(&["install", &patch]);
    assert_eq!(output["slots"][0]["route"], "dynamic", "{output}");
    assert!(device.read("a.img") == newer);
}

/// The slot that is written lacks a block, and so does the running slot, whose index tells that it has it.
#[test]
fn what_only_the_index_of_the_running_slot_has_is_fetched() {
    let (operator, _, new, device) = pair();
    device.installed(&operator.publish("1.fluvial", Release::full(1, &new)), &[], &new);
    assert_eq!(device.restart(), "b");
    device.done(&["system", "commit"]);
    let second = operator.publish("2.fluvial", Release::full(2, &new));
    for name in ["a.img", "b.img"] {
        let mut slot = new.clone();
        slot[LEN / 2] ^= 1;
        device.write(name, slot);
    }
    let output = device.done(&["install", &second]);
    assert_eq!(output["slots"][0]["route"], "dynamic", "{output}");
    assert!(device.read("a.img") == new);
}
