//! Images with packed files.

use std::fs;
use std::process::Command;

use fluvial_bundle::Index;

use crate::device::Device;
use crate::file_system::{ext4_of, fetched};
use crate::release::{Operator, Release, image};

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

/// A packed file of this content.
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

/// Releases with three packed files: in the second the last one has changed a little, in the third the first one, too.
struct Releases {
    images: [Vec<u8>; 3],
    /// How long a packed file is.
    packed_len: u64,
}

impl Releases {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let content = |seed, is_changed: bool| {
            let mut content = image(seed, 400_000);
            if is_changed {
                content[100_000] ^= 1;
                content.splice(200_000..200_000, *b"inserted");
            }
            gzip(&content)
        };
        let image_of = |changes: [bool; 2]| {
            let files = [image(2, 50_000), content(3, changes[0]), content(4, false), content(5, changes[1])];
            ext4_of(folder.path(), files.into_iter(), &[])
        };
        let images = [[false, false], [false, true], [true, true]].map(image_of);
        Self { images, packed_len: content(3, false).len() as u64 }
    }

    /// Publishes the second and the third.
    fn publish(&self, operator: &Operator) -> [String; 2] {
        [1, 2].map(|number| {
            let release = Release::unpacked(number as u64, &self.images[number]);
            operator.publish(&format!("{number}.fluvial"), release)
        })
    }
}

const DYNAMIC: [&str; 2] = ["--route", "dynamic"];
const INDEX: &str = "state/slots/system-a/files_blake3.index";

/// How many bytes an installation has fetched for the slot, or would at most.
fn fetched_for_slot(output: &serde_json::Value) -> u64 {
    output["slots"][0]["fetched_bytes"].as_u64().unwrap()
}

/// What packed files of the slot that runs unpack to, as the index tells that is kept of it.
fn lens_kept(device: &Device) -> Vec<u64> {
    Index::read(&device.read(INDEX)[32..]).unwrap().unpacked.lens
}

#[test]
fn packed_files_that_did_not_change_cost_nothing_whether_an_index_is_kept_or_not() {
    let operator = Operator::new();
    let releases = Releases::new();
    let [old, new, _] = &releases.images;
    let [bundle, _] = releases.publish(&operator);
    let first = Device::new(old, &[], &operator);
    let foreseen = fetched_for_slot(&first.done(&["install", &bundle, "--route", "dynamic", "--dry-run"]));
    let without = fetched_for_slot(&first.installed(&bundle, &DYNAMIC, new));
    assert!(without < releases.packed_len / 5, "{without} bytes fetched");
    assert!(without <= foreseen, "{without} bytes fetched, {foreseen} foreseen");
    assert_eq!(lens_kept(&first), [0, 0, 400_000], "the others were not unpacked");

    let again = Device::new(old, &[], &operator);
    fs::create_dir_all(again.path(INDEX).parent().unwrap()).unwrap();
    again.write(INDEX, first.read(INDEX));
    assert_eq!(fetched_for_slot(&again.installed(&bundle, &DYNAMIC, new)), without);

    let indexed = Device::new(old, &[], &operator);
    indexed.done(&["slots", "create-index", "system-a"]);
    assert_eq!(lens_kept(&indexed), [400_000; 3]);
    let kept = indexed.read(INDEX);
    assert_eq!(
        fetched_for_slot(&indexed.done(&["install", &bundle, "--route", "dynamic", "--dry-run"])),
        foreseen
    );
    assert_eq!(fetched_for_slot(&indexed.installed(&bundle, &DYNAMIC, new)), without);
    assert!(indexed.read(INDEX) == kept, "it is still right");
}

#[test]
fn an_index_that_was_made_for_a_release_does_not_serve_one_with_other_packed_files() {
    let operator = Operator::new();
    let releases = Releases::new();
    let [old, new, next] = &releases.images;
    let [bundle, other] = releases.publish(&operator);
    let fresh = Device::new(old, &[], &operator);
    let expected = fetched(&fresh.installed(&other, &DYNAMIC, next));
    let device = Device::new(old, &[], &operator);
    device.installed(&bundle, &DYNAMIC, new);
    let after = fetched(&device.installed(&other, &DYNAMIC, next));
    // The slot that is written holds some of it already.
    assert!(after <= expected && expected < 2 * releases.packed_len / 5, "{after} of {expected}");
    assert_eq!(lens_kept(&device), [400_000, 0, 400_000]);
}

#[test]
fn a_packed_file_that_was_changed_behind_an_index_is_made_of_what_it_holds() {
    let operator = Operator::new();
    let releases = Releases::new();
    let [old, new, _] = &releases.images;
    let [bundle, _] = releases.publish(&operator);
    let mut release = Release::unpacked(1, old);
    let unpacked = release.index().unpacked;
    for is_indexed in [true, false] {
        let device = Device::new(old, &[], &operator);
        if is_indexed {
            device.done(&["slots", "create-index", "system-a"]);
        }
        let mut slot = old.clone();
        // The second packed file.
        slot[unpacked.files[1][0].offset as usize + 50_000] ^= 1;
        device.write("a.img", &slot);
        let cost = fetched(&device.installed(&bundle, &DYNAMIC, new));
        // It does not unpack any more.
        assert!((releases.packed_len..2 * releases.packed_len).contains(&cost), "{cost} bytes fetched");
    }
}

#[test]
fn a_packed_file_that_is_not_the_one_that_an_index_promised_is_made_the_other_way() {
    let operator = Operator::new();
    let releases = Releases::new();
    let [old, new, _] = &releases.images;
    // The digest is that of the old one, which a device therefore copies.
    let digests = Release::unpacked(1, old).index().unpacked.digests;
    let mut release = Release::unpacked(1, new);
    let mut index = release.index();
    assert_ne!(index.unpacked.digests[2], digests[2]);
    index.unpacked.digests[2] = digests[2];
    release.set_index(index.to_bytes().unwrap());
    let bundle = operator.publish("1.fluvial", release);
    let device = Device::new(old, &[], &operator);
    device.installed(&bundle, &DYNAMIC, new);
}

#[test]
fn an_installation_that_was_cut_goes_on_though_packed_files_are_there() {
    let operator = Operator::new();
    let releases = Releases::new();
    let [old, new, _] = &releases.images;
    let [bundle, _] = releases.publish(&operator);
    let install = ["install", &bundle, "--route", "dynamic"];
    let mut cuts = 0;
    for when in [3, 10, 30, 60, 100] {
        let device = Device::new(old, &[], &operator);
        let inject = format!("inject=pwrite64:signal=KILL:when={when}");
        let strace = ["strace", "-f", "-qq", "-e", "trace=pwrite64", "-e", &inject];
        let output = device.agent_under(&strace, &install).output().unwrap();
        cuts += usize::from(!output.status.success());
        device.installed(&bundle, &DYNAMIC, new);
    }
    assert!(cuts >= 3, "{cuts} installations were cut");
}
