//! Bundles that somebody has made or changed to do harm. All of them stand on a stick, which anybody may hand over.

use std::io::Read as _;

use fluvial_bundle::{HashKind, PartKind, RunDigest};
use fluvial_delta::wire::WireWriter;
use sha2::{Digest as _, Sha256};

use crate::device::{Device, Ran};
use crate::release::{Operator, Release, changed, image, numbers, patch};

const LEN: usize = 512 << 10;
/// The address space that the agent may take, whatever a bundle says, in KiB: what its libraries and threads
/// reserve, and less than what any bomb unpacks to.
const MEMORY_KIB_MAX: u32 = 768 << 10;

struct Scene {
    operator: Operator,
    old: Vec<u8>,
    new: Vec<u8>,
    release: Release,
    device: Device,
}

fn scene() -> Scene {
    let operator = Operator::new();
    let old = image(1, LEN);
    let new = changed(&old, 100, 8);
    let device = Device::new(&old, &image(3, LEN), &operator);
    let release = Release::full(2, &new);
    Scene { operator, old, new, release, device }
}

/// Replaces bytes by as many others, wherever they stand.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let places: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(from)).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}

#[test]
fn what_nobody_vouches_for_is_refused_unless_allowed() {
    let Scene { operator, new, release, device, .. } = scene();
    let unsigned = operator.publish_as_is("unsigned.fluvial", &release.to_bytes());
    device.refused(&["install", &unsigned], "untrusted", 24);
    let ran = device.run(&["install", &unsigned, "--allow-unsigned"]);
    assert_eq!(ran.exit_code, Some(0), "{ran:?}");
    assert!(ran.warnings.contains("nobody vouches"), "{ran:?}");
    assert_eq!(device.read("b.img"), new);
}

#[test]
fn other_keys_are_refused_even_where_unsigned_is_allowed() {
    let Scene { release, device, .. } = scene();
    let other = Operator::new();
    let bundle = other.publish("2.fluvial", release);
    device.refused(&["install", &bundle], "untrusted", 24);
    device.refused(&["install", &bundle, "--allow-unsigned"], "untrusted", 24);
}

#[test]
fn a_device_without_a_root_trusts_nobody() {
    let Scene { operator, release, device, .. } = scene();
    let bundle = operator.publish("2.fluvial", release);
    std::fs::remove_file(device.path("root.json")).unwrap();
    let ran = device.refused(&["install", &bundle], "io", 3);
    assert!(ran.contains("root.json"), "{ran}");
    device.write("root.json", "{}");
    device.refused(&["install", &bundle, "--allow-unsigned"], "untrusted", 24);
}

#[test]
fn what_has_expired_is_refused_unless_allowed() {
    // What is signed lives for 90 days.
    let operator = Operator::days_ago(100);
    let (old, new) = (image(1, LEN), image(2, LEN));
    let device = Device::new(&old, &image(3, LEN), &operator);
    let bundle = operator.publish("2.fluvial", Release::full(2, &new));
    let message = device.refused(&["install", &bundle], "untrusted", 24);
    assert!(message.contains("expired"), "{message}");
    let ran = device.run(&["install", &bundle, "--allow-expired"]);
    assert_eq!(ran.exit_code, Some(0), "{ran:?}");
    assert!(ran.warnings.contains("have expired"), "{ran:?}");
    assert_eq!(device.read("b.img"), new);
}

#[test]
fn older_releases_and_those_for_others_are_refused() {
    let Scene { operator, old, new, release, device } = scene();
    let bundle = operator.publish("2.fluvial", release.clone());
    device.installed(&bundle, &[], &new);
    let older = operator.publish("1.fluvial", Release::full(1, &old));
    device.refused(&["install", &older], "untrusted", 24);
    device.restart();
    device.done(&["system", "commit"]);
    // Nobody vouches for it, and still it may not be older.
    let older = operator.publish_as_is("1.fluvial", &Release::full(1, &old).to_bytes());
    device.refused(&["install", &older, "--allow-unsigned"], "refused", 25);

    let mut other = Release::full(3, &old);
    other.manifest.hardware = vec!["bicycle".into()];
    let message = device.refused(&["install", &operator.publish("3.fluvial", other)], "refused", 25);
    assert!(message.contains("bicycle"), "{message}");
    let mut later = Release::full(9, &old);
    later.manifest.floor = 8;
    device.refused(&["install", &operator.publish("9.fluvial", later)], "refused", 25);
}

#[test]
fn parts_of_different_releases_are_refused() {
    let Scene { operator, old, new, release, device } = scene();
    let (mut one, mut two) = (Release::full(1, &old), release);
    operator.sign(&mut one);
    operator.sign(&mut two);
    let mixed = Release { metadata: one.metadata.clone(), ..two.clone() };
    let mixed = operator.publish_as_is("mixed.fluvial", &mixed.to_bytes());
    device.refused(&["install", &mixed], "untrusted", 24);
    // One file of the metadata is that of another release.
    for index in 0..two.metadata.len() {
        if one.metadata[index] == two.metadata[index] {
            continue;
        }
        let mut mixed = two.clone();
        mixed.metadata[index] = one.metadata[index].clone();
        let mixed = operator.publish_as_is("mixed.fluvial", &mixed.to_bytes());
        device.refused(&["install", &mixed], "untrusted", 24);
    }
    // The manifest is right, all parts are those of the other one.
    let parts = operator.publish_as_is("parts.fluvial", &two.with_parts(one.parts.clone()).to_bytes());
    device.refused(&["install", &parts], "damaged_bundle", 23);
    // The full bundle beside a patch is that of another release.
    operator.publish_as_is("full.fluvial", &one.to_bytes());
    let beside = Release::patch(&two, "full.fluvial", &image(9, LEN), &new);
    let beside = operator.publish_as_is("patch.fluvial", &beside.to_bytes());
    device.refused(&["install", &beside], "damaged_bundle", 23);
}

#[test]
fn names_lead_nowhere() {
    let Scene { operator, mut release, device, .. } = scene();
    release.full_name = "aaaaaaaaaaaa".into();
    operator.sign(&mut release);
    let full_name = replaced(&release.to_bytes(), b"aaaaaaaaaaaa", b"../../../etc");
    let bundle = operator.publish_as_is("x.fluvial", &full_name);
    device.refused(&["install", &bundle], "damaged_bundle", 23);
    let slot = replaced(&release.to_bytes(), b"\"name\":\"system\"", b"\"name\":\"../../\"");
    let bundle = operator.publish_as_is("x.fluvial", &slot);
    device.refused(&["install", &bundle, "--allow-unsigned"], "damaged_bundle", 23);
    for name in ["../../../state/slots.json", "/etc/passwd", "..", "", "a/b", &"n".repeat(3000)] {
        let mut named = release.clone();
        named.metadata.push((name.into(), b"{}".to_vec()));
        let bundle = operator.publish_as_is("x.fluvial", &named.to_bytes());
        device.refused(&["install", &bundle], "untrusted", 24);
    }
}

#[test]
fn what_is_no_bundle_or_a_piece_of_one_is_refused() {
    let Scene { operator, mut release, device, .. } = scene();
    operator.sign(&mut release);
    let (whole, header) = (release.to_bytes(), release.header());
    let mut long = header[..13].to_vec();
    long[9..13].fill(0xff);
    let mut unknown = whole.clone();
    unknown[8] = 99;
    for bytes in [&b""[..], b"FLUVIALb", b"FLUVIALb\x02\x00\x00", &[0; 100], &long] {
        let bundle = operator.publish_as_is("x.fluvial", bytes);
        device.refused(&["install", &bundle], "damaged_bundle", 23);
    }
    let bundle = operator.publish_as_is("x.fluvial", &unknown);
    device.refused(&["install", &bundle], "unsupported_patch", 11);
    for len in (13..header.len()).step_by(header.len() / 20) {
        let bundle = operator.publish_as_is("x.fluvial", &whole[..len]);
        device.refused(&["install", &bundle], "damaged_bundle", 23);
    }
    let index_end = header.len() + release.part(PartKind::Index).len();
    let bundle = operator.publish_as_is("x.fluvial", &whole[..index_end - 1]);
    device.refused(&["install", &bundle], "damaged_bundle", 23);
}

#[test]
fn a_flipped_bit_in_front_of_the_chunks_is_found() {
    let Scene { operator, old, new, mut release, mut device } = scene();
    operator.sign(&mut release);
    let whole = release.to_bytes();
    let parts = [PartKind::Sketch, PartKind::Index].map(|kind| release.part(kind).len());
    let end = release.header().len() + parts.iter().sum::<usize>();
    let mut refused = 0;
    for number in numbers(11).take(60) {
        let (at, bit) = (number as usize % end, 1 << (number >> 60 & 7));
        let mut bytes = whole.clone();
        bytes[at] ^= bit;
        let bundle = operator.publish_as_is("x.fluvial", &bytes);
        let before = device.slots_and_choice();
        let ran = device.run(&["install", &bundle]);
        if ran.exit_code == Some(0) {
            // Nobody vouches for what a part is called, and a version of the root that the device has is not
            // looked at. Then it comes by another route, or by the same.
            assert!(device.read("b.img") == new, "byte {at}, bit {bit}");
            // A device that has the image already would not look at the rest.
            device = Device::new(&old, &image(3, LEN), &operator);
            continue;
        }
        refused += 1;
        let known = [Some(11), Some(23), Some(24)].contains(&ran.exit_code);
        assert!(known, "byte {at}, bit {bit}: {ran:?}");
        assert!(device.slots_and_choice() == before, "byte {at}, bit {bit}");
    }
    assert!(refused > 20, "{refused} of 60");
    let bundle = operator.publish_as_is("x.fluvial", &whole);
    device.installed(&bundle, &[], &new);
}

#[test]
fn an_index_that_is_not_the_manifests_is_refused() {
    let Scene { operator, old, mut release, device, .. } = scene();
    operator.sign(&mut release);
    let other = Release::full(2, &old);
    let mut exchanged = release.clone();
    *exchanged.part(PartKind::Index) = other.parts[0].1.clone();
    let bundle = operator.publish_as_is("x.fluvial", &exchanged.to_bytes());
    device.refused(&["install", &bundle], "damaged_bundle", 23);
    // Signed, and still that of another payload.
    release.set_index(other.parts[0].1.clone());
    let bundle = operator.publish("x.fluvial", release);
    device.refused(&["install", &bundle], "damaged_bundle", 23);
}

/// Runs the agent with little memory.
fn confined(device: &Device, arguments: &[&str]) -> Ran {
    let script = format!("ulimit -v {MEMORY_KIB_MAX}; exec \"$@\"");
    Ran::of(&device.agent_under(&["sh", "-c", &script, "sh"], arguments).output().unwrap())
}

#[test]
fn an_index_that_unpacks_to_gigabytes_is_refused() {
    let Scene { operator, release, device, .. } = scene();
    let zeros = vec![0; 64 << 20];
    let packed = zstd::bulk::compress(&zeros, 1).unwrap();
    let frames = packed.repeat(64);
    for (claimed, body) in [(u32::MAX, &frames), (1 << 20, &frames), (128 << 20, &frames), (1 << 20, &packed)]
    {
        let mut bomb = release.clone();
        bomb.set_index([b"FLUVIALi\x07", &claimed.to_le_bytes()[..], body].concat());
        // Whoever signs may be wrong, too.
        let bundle = operator.publish("bomb.fluvial", bomb);
        let before = device.slots_and_choice();
        let ran = confined(&device, &["install", &bundle]);
        assert_eq!((ran.exit_code, &ran.error["kind"]), (Some(23), &"damaged_bundle".into()), "{ran:?}");
        assert!(device.slots_and_choice() == before);
    }
}

#[test]
fn a_frame_that_is_a_bomb_or_other_bytes_is_refused() {
    let Scene { operator, release, device, .. } = scene();
    // Whoever signs may be wrong, too.
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(20).unwrap();
    std::io::copy(&mut std::io::repeat(0).take(1 << 30), &mut encoder).unwrap();
    let packed = encoder.finish().unwrap();
    for (window_log, packed) in [(20, &packed), (19, &packed), (20, &b"no frame at all".to_vec())] {
        let mut bomb = release.clone();
        let table = table(bomb.payload().size_bytes, window_log, packed);
        bomb.set_whole(&table, packed);
        let bundle = operator.publish("bomb.fluvial", bomb);
        let before = device.slots_and_choice();
        let ran = confined(&device, &["install", &bundle, "--route", "full"]);
        assert_eq!((ran.exit_code, &ran.error["kind"]), (Some(12), &"damaged_patch".into()), "{ran:?}");
        assert_eq!((&before.0, &before.2), (&device.read("a.img"), &device.choice()));
    }

    let mut other = release.clone();
    let frames_at = other.table_len();
    other.part(PartKind::Full)[frames_at + 1000] ^= 1;
    let target = device.read("b.img");
    let bundle = operator.publish("other.fluvial", other);
    not_installed(&device, &["install", &bundle, "--route", "full"], ("damaged_patch", 12), &[&target]);
}

/// A table of one frame of one piece, which has these packed bytes.
fn table(len: u64, window_log: u8, packed: &[u8]) -> Vec<u8> {
    let mut writer = WireWriter::default();
    writer.number(len);
    writer.raw(&[0, window_log]);
    writer.number(64 << 20);
    writer.number(1 << 20);
    writer.number(packed.len() as u64);
    writer.raw(&RunDigest::of(HashKind::Blake3, b"never looked at").0);
    writer.raw(&RunDigest::of(HashKind::Blake3, packed).0);
    writer.number(0);
    sealed(b"FLUVIALw\x01", &writer.bytes)
}

/// A body, packed as tables and indexes are.
fn sealed(start: &[u8], body: &[u8]) -> Vec<u8> {
    let packed = zstd::bulk::compress(body, 1).unwrap();
    [start, &(body.len() as u32).to_le_bytes(), &packed].concat()
}

#[test]
fn a_table_of_frames_that_is_damaged_or_endless_is_refused() {
    let Scene { operator, release, device, .. } = scene();
    let len = release.clone().payload().size_bytes;
    let refused = |name: &str, bomb: Release| {
        let bundle = operator.publish(name, bomb);
        let ran = confined(&device, &["install", &bundle, "--route", "full"]);
        assert_eq!((ran.exit_code, &ran.error["kind"]), (Some(23), &"damaged_bundle".into()), "{ran:?}");
    };
    let mut other = release.clone();
    other.part(PartKind::Full)[40] ^= 1;
    refused("other.fluvial", other);
    let zeros = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
    let endless = [b"FLUVIALw\x01", &u32::MAX.to_le_bytes()[..], &zeros].concat();
    for table in
        [endless, table(len, 31, b"x"), table(len + 1, 20, b"x"), sealed(b"FLUVIALw\x01", &[0xff; 99])]
    {
        let mut bomb = release.clone();
        bomb.set_whole(&table, b"x");
        refused("bomb.fluvial", bomb);
    }
    let mut short = release.clone();
    short.part(PartKind::Full).pop();
    refused("short.fluvial", short);
}

/// Runs what must fail in the middle. The target may hold what it held, what the running slot holds at the same
/// place, or what it should hold; or zeros, in pages of which a part was written. Of what came wrong there is nothing.
fn not_installed(device: &Device, arguments: &[&str], (kind, code): (&str, i32), known: &[&[u8]]) -> String {
    let (active, choice) = (device.read("a.img"), device.choice());
    let messages = device.failed(arguments, kind, code);
    assert_eq!((&active, choice), (&device.read("a.img"), device.choice()));
    let is_known = |(at, byte): (usize, &u8)| {
        *byte == 0 || *byte == active[at] || known.iter().any(|bytes| bytes[at] == *byte)
    };
    let blocks = device.read("b.img");
    let wrong = blocks.iter().enumerate().step_by(509).find(|one| !is_known(*one));
    assert!(wrong.is_none(), "something else stands in the target: {wrong:?}");
    assert_eq!(device.done(&["system", "info"])["slots"][1]["content"]["is_whole"], false);
    messages
}

#[test]
fn chunks_with_other_bytes_are_refused_and_the_right_ones_then_taken() {
    let Scene { operator, old: _, new, release, device } = scene();
    let target = device.read("b.img");
    let mut other = release.clone();
    // Whatever is fetched of it is wrong.
    other.part(PartKind::Chunks).iter_mut().for_each(|byte| *byte ^= 0x55);
    let bundle = operator.publish("other.fluvial", other);
    let arguments = ["install", &bundle, "--route", "dynamic"];
    not_installed(&device, &arguments, ("damaged_patch", 12), &[&target, &new]);
    let bundle = operator.publish("right.fluvial", release);
    device.installed(&bundle, &["--route", "dynamic"], &new);
}

#[test]
fn a_payload_that_is_not_what_was_promised_is_never_tried() {
    let Scene { operator, new, mut release, device, .. } = scene();
    let mut promised = release.index();
    promised.sha256 = Sha256::digest(b"something else").into();
    release.payload().sha256 = promised.sha256;
    release.payload().blake3 = HashKind::Blake3.digest(b"something else");
    release.set_index(promised.to_bytes().unwrap());
    let bundle = operator.publish("x.fluvial", release);
    for route in ["dynamic", "full"] {
        let arguments = ["install", &bundle, "--route", route];
        let target = device.read("b.img");
        not_installed(&device, &arguments, ("wrong_target", 17), &[&target, &new]);
    }
}

#[test]
fn a_patch_that_makes_something_else_is_refused() {
    let Scene { operator, old, new, release, device } = scene();
    let full = operator.publish("full.fluvial", release.clone());
    let other = changed(&old, 700, 5);
    // It says so.
    let mut says = Release::patch(&release, "full.fluvial", &old, &other);
    let bundle = operator.publish("x.fluvial", says.clone());
    device.refused(&["install", &bundle, "--route", "static"], "damaged_patch", 12);
    // It does not say so.
    let lie = replaced(&patch(&old, &other), &Sha256::digest(&other), &Sha256::digest(&new));
    *says.part(PartKind::Patch) = lie;
    let bundle = operator.publish("x.fluvial", says);
    let (active, choice) = (device.read("a.img"), device.choice());
    let ran = device.run(&["install", &bundle, "--route", "static"]);
    assert!([Some(12), Some(17)].contains(&ran.exit_code), "{ran:?}");
    assert_eq!((active, choice), (device.read("a.img"), device.choice()));
    assert!(device.done(&["system", "info"])["pending"].is_null());
    // The full bundle makes up for it.
    let output = device.installed(&bundle, &[], &new);
    assert_eq!(output["slots"][0]["from"], "full.fluvial");
    assert!(output["slots"][0]["reasons"][0].as_str().unwrap().starts_with("no patch"));
    drop(full);
}

#[test]
fn a_damaged_patch_is_refused_and_fetched_again_the_next_time() {
    let Scene { operator, old, new, release, .. } = scene();
    operator.publish("full.fluvial", release.clone());
    let right = Release::patch(&release, "full.fluvial", &old, &new);
    for number in numbers(21).take(8) {
        let device = Device::new(&old, &[], &operator);
        let mut damaged = right.clone();
        let bytes = damaged.part(PartKind::Patch);
        let at = number as usize % bytes.len();
        bytes[at] ^= 1 << (number >> 61);
        let bundle = operator.publish("patch.fluvial", damaged);
        let ran = device.run(&["install", &bundle, "--route", "static"]);
        let known = [Some(10), Some(11), Some(12), Some(13), Some(14), Some(17)].contains(&ran.exit_code);
        assert!(known, "byte {at}: {ran:?}");
        assert!(!device.choice().contains("once b"), "byte {at}");
        let bundle = operator.publish("patch.fluvial", right.clone());
        let output = device.installed(&bundle, &["--route", "static"], &new);
        assert_eq!(output["slots"][0]["route"], "static", "byte {at}");
    }
}

#[test]
fn a_release_for_slots_that_are_not_there_is_refused() {
    let Scene { operator, mut release, device, .. } = scene();
    let fluvial_bundle::Component::Slot { name, .. } = &mut release.manifest.components[0];
    *name = "firmware".into();
    let bundle = operator.publish("x.fluvial", release);
    device.refused(&["install", &bundle], "refused", 25);
}
