//! The power is cut: an installation is recorded, and devices are made of what a disk may have kept of it.

use std::fs;

use crate::cut::{Scene, has};
use crate::recording::{Call, Disk, read};
use crate::release::numbers;

/// How many cuts are tried of each route, if nothing else was asked for.
const CUTS: usize = 60;
const CUTS_VARIABLE: &str = "FLUVIAL_TEST_POWER_CUTS";

/// All that is done to files, in order.
const CALLS: &str =
    "trace=openat,write,pwrite64,ftruncate,fsync,fdatasync,?rename,?renameat,renameat2,?unlink,unlinkat";

fn record(scene: &Scene) -> Vec<Call> {
    let device = scene.device();
    let log = tempfile::NamedTempFile::new().unwrap();
    let options = ["-y", "-xx", "-s", "100000000", "-o", log.path().to_str().unwrap(), "-e", CALLS];
    scene.is_killed(&device, &options);
    let calls = read(&fs::read_to_string(log.path()).unwrap(), &device.path(""));
    // The record is whole: what it makes is what there is.
    let mut disk = Disk::new(scene.before());
    calls.iter().enumerate().for_each(|(number, call)| disk.carry_out(number, call));
    for (path, bytes) in disk.whole() {
        let there = fs::read(device.path(path.to_str().unwrap())).unwrap();
        assert!(there == bytes, "{} was recorded in another way than it is", path.display());
    }
    calls
}

fn check_all(route: &'static str) {
    if !has("strace") {
        return;
    }
    let scene = Scene::new(route);
    let calls = record(&scene);
    let cuts = std::env::var(CUTS_VARIABLE).map_or(CUTS, |count| count.parse().unwrap());
    let mut numbers = numbers(77);
    let (mut lost, mut tried) = (0, 0);
    for cut in 0..cuts {
        let count = (cut * calls.len()).div_ceil(cuts.max(2) - 1).min(calls.len());
        let mut disk = Disk::new(scene.before());
        calls[..count].iter().enumerate().for_each(|(number, call)| disk.carry_out(number, call));
        let files = disk.cut(&mut numbers);
        lost += usize::from(files != disk.whole());
        let device = scene.device_of(&files);
        tried += usize::from(device.choice() == "a, then once b" && device.read("b.img") == scene.new);
        let when = format!(
            "{route}, cut {cut} before call {count} of {}: {:?}",
            calls.len(),
            kind_of(calls.get(count))
        );
        scene.complete(&device, &when);
    }
    println!("{route}: {cuts} cuts in {} calls, {lost} with losses, {tried} behind the end", calls.len());
    assert!(lost * 3 > cuts && tried > 0, "{lost} with losses, {tried} behind the end");
}

/// A call without its bytes.
fn kind_of(call: Option<&Call>) -> String {
    call.map_or("the end".into(), |call| format!("{call:?}").chars().take(120).collect())
}

#[test]
fn a_dynamic_installation_outlasts_a_power_cut() {
    check_all("dynamic");
}

#[test]
fn a_static_installation_outlasts_a_power_cut() {
    check_all("static");
}

#[test]
fn an_installation_as_a_whole_outlasts_a_power_cut() {
    check_all("full");
}
