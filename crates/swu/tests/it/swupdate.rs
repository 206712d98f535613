//! What the real `swupdate` installs.

use std::fs;

use fluvial_swu::description::Compression;
use fluvial_swu::package::{Choice, Downgrade, FileSpec, ImageDigest, Partition, Place};

use crate::support::*;

const PACKINGS: [Option<Compression>; 3] = [None, Some(Compression::Zlib), Some(Compression::Zstd)];

#[test]
fn a_delta_is_installed_from_one_file_to_another() {
    let device = Device::new();
    let (base, target) = images();
    let delta = rdiff(device.folder.path(), &base, &target);
    for compression in PACKINGS {
        let file = packed(&delta, compression);
        let mut spec = delta_spec(&device, &file);
        spec.partitions[0].file.compression = compression;
        let installed = device.install(&package(&spec, &device.keys), &[]);
        assert!(installed.is_success && installed.is_good, "{compression:?}: {}", installed.output);
        assert!(fs::read(&device.slot_b).unwrap() == target);
        assert!(fs::read(&device.slot_a).unwrap() == base);
        fs::write(&device.slot_b, b"").unwrap();
    }
}

#[test]
fn an_image_is_installed_to_a_file() {
    let device = Device::new();
    let (_, target) = images();
    for compression in PACKINGS {
        let file = packed(&target, compression);
        let place = Place { base: None, ..device.place() };
        let installed =
            device.install(&package(&spec(&file, compression, &target, place), &device.keys), &[]);
        assert!(installed.is_success && installed.is_good, "{compression:?}: {}", installed.output);
        assert!(fs::read(&device.slot_b).unwrap() == target);
        fs::write(&device.slot_b, b"").unwrap();
    }
}

#[test]
fn both_are_installed_to_block_devices_that_are_longer() {
    let device = Device::new();
    let (base, target) = images();
    let length = 2 << 20;
    let with_rest = |image: &[u8]| {
        let mut slot = image.to_vec();
        slot.resize(length, 0x55);
        slot
    };
    fs::write(&device.slot_a, with_rest(&base)).unwrap();
    fs::write(&device.slot_b, with_rest(&[])).unwrap();
    let (from, to) = (Loop::attach(&device.slot_a, &["--read-only"]), Loop::attach(&device.slot_b, &[]));
    let delta = rdiff(device.folder.path(), &base, &target);
    let place = Place { target: to.device.clone(), base: Some(from.device.clone()) };
    let mut spec_of_delta = delta_spec(&device, &delta);
    spec_of_delta.choices[0].places = vec![place.clone()];
    let installed = device.install(&package(&spec_of_delta, &device.keys), &[]);
    assert!(installed.is_success && installed.is_good, "{}", installed.output);
    let slot = OnDisk::open(&device.slot_b);
    ImageDigest::of(&target).unwrap().check_start_of(&slot).unwrap();

    let file = packed(&base, Some(Compression::Zstd));
    let spec = spec(&file, Some(Compression::Zstd), &base, Place { base: None, ..place });
    let installed = device.install(&package(&spec, &device.keys), &[]);
    assert!(installed.is_success, "{}", installed.output);
    ImageDigest::of(&base).unwrap().check_start_of(&OnDisk::open(&device.slot_b)).unwrap();
}

#[test]
fn slots_are_chosen_and_several_partitions_go_together() {
    let device = Device::new();
    let (base, target) = images();
    let delta = rdiff(device.folder.path(), &base, &target);
    let boot = noise(100_000, 9);
    let mut spec = delta_spec(&device, &delta);
    let content = &&boot[..];
    spec.partitions.push(Partition {
        name: "boot".into(),
        file: FileSpec { name: "boot.img".into(), content, compression: None },
        target: ImageDigest::of(content).unwrap(),
        base: None,
    });
    let text = |name: &str| device.path(name).to_str().unwrap().to_owned();
    let choice = |mode: &str, place: Place| Choice {
        set_and_mode: Some(("stable".into(), mode.into())),
        places: vec![place, Place { target: text(&format!("boot.{mode}")), base: None }],
        bootenv: spec.choices[0].bootenv.clone(),
    };
    let there = device.place();
    let back = Place { target: there.base.clone().unwrap(), base: Some(there.target.clone()) };
    spec.choices = vec![choice("copy1", back), choice("copy2", there)];
    spec.hardware.board = Some("demo-board".into());
    spec.downgrade = Downgrade::Refused { versions_file: text("none"), component: "demo".into() };
    for mode in ["copy1", "copy2"] {
        fs::write(device.path(&format!("boot.{mode}")), b"").unwrap();
    }
    let package = package(&spec, &device.keys);
    let installed = device.install(&package, &["-e", "stable,copy1"]);
    assert!(!installed.is_success && !installed.is_good, "slot b is no base yet: {}", installed.output);
    assert!(fs::read(&device.slot_a).unwrap() == base);
    let installed = device.install(&package, &["-e", "stable,copy2"]);
    assert!(installed.is_success && installed.is_good, "{}", installed.output);
    assert!(fs::read(&device.slot_b).unwrap() == target);
    assert!(fs::read(device.path("boot.copy2")).unwrap() == boot);
    assert!(fs::read(device.path("boot.copy1")).unwrap().is_empty());
}

/// Thirty runs, as a fleet would: not part of every run of the tests.
#[test]
#[ignore = "takes a minute; run by hand"]
fn thirty_of_thirty() {
    let device = Device::new();
    let (base, target) = images();
    let delta = packed(&rdiff(device.folder.path(), &base, &target), Some(Compression::Zlib));
    let mut spec = delta_spec(&device, &delta);
    spec.partitions[0].file.compression = Some(Compression::Zlib);
    let package = package(&spec, &device.keys);
    let mut count = 0;
    for _ in 0..30 {
        fs::write(&device.slot_b, b"").unwrap();
        let installed = device.install(&package, &[]);
        count += usize::from(installed.is_success && fs::read(&device.slot_b).unwrap() == target);
    }
    assert_eq!(count, 30);
}
