//! `fluvial swu delta` and `full`: what they make is installed by the real `swupdate`.

use std::fs;
use std::process::Command;

use crate::support::{noise, text};
use crate::swu_versions::{IMAGE, LEN, SIGN, Versions};

#[test]
fn a_delta_is_made_once_kept_in_the_store_and_installed() {
    let versions = Versions::new();
    let Versions { work, new, .. } = &versions;
    let slot = versions.slot();
    let ours = ["--from", "0.1.0", "--to", "0.2.0", "--slot", &slot];
    let delta = [&["swu", "delta"][..], &IMAGE, &SIGN, &ours].concat();
    let said = work.json(&delta);
    let folder = "store/demo/prod/0.2.0/updates/from_0.1.0";
    let mut names: Vec<String> = fs::read_dir(work.path(folder))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["build-info.txt", "delta-info.json", "delta-update-0.1.0-to-0.2.0.swu"]);
    let update = &said["delta_info"]["partitions"][0];
    assert_eq!((&update["kind"], &update["why"]), (&"delta".into(), &"delta_smaller".into()));
    assert!(update["delta"]["compressed_size_bytes"].as_u64().unwrap() < 4096);

    versions.assert_installed(said["swu"].as_str().unwrap(), new);

    // It is there now; another one is made where that is asked for, with all that belongs to it.
    assert_eq!(work.fault(&delta), ("artifact_exists".into(), 28));
    let all = [&delta[..], &["--replace", "--collect", "*"]].concat();
    work.json(&all);
    for name in ["rootfs.delta", "rootfs.delta.gz", "rootfs.signature"] {
        assert!(work.path(folder).join(name).exists(), "{name}");
    }
    let rdiff = |arguments: &[&str]| {
        let output = Command::new("rdiff").args(arguments).current_dir(work.path(".")).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    rdiff(&["patch", "old.img", &format!("{folder}/rootfs.delta"), "made.img"]);
    assert!(work.read("made.img") == *new);
}

#[test]
fn the_environment_of_a_build_serves() {
    let Versions { work, .. } = Versions::new();
    let mut command = work.fluvial(&[&["swu", "delta"][..], &IMAGE, &SIGN, &["--json"]].concat());
    command.envs([
        ("VERSION_FROM", "0.1.0"),
        ("BUILD_VERSION", "0.2.0"),
        ("ARTIFACTS_PATTERNS", "*.swu *.signature"),
    ]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(work.path("store/demo/prod/0.2.0/updates/from_0.1.0/rootfs.signature").exists());
    assert!(!work.path("store/demo/prod/0.2.0/updates/from_0.1.0/rootfs.delta").exists());
}

#[test]
fn a_delta_that_is_not_smaller_is_not_made() {
    let versions = Versions::new();
    let work = &versions.work;
    let other = noise(7, LEN);
    work.write("other.img", &other);
    work.json(&[&["artifacts", "add"][..], &IMAGE, &["--version", "0.3.0", "rootfs=other.img"]].concat());
    let slot = versions.slot();
    let ours = ["--from", "0.1.0", "--to", "0.3.0", "--slot", &slot, "--compression", "none"];
    let said = work.json(&[&["swu", "delta"][..], &IMAGE, &SIGN, &ours].concat());
    let update = &said["delta_info"]["partitions"][0];
    assert_eq!((&update["kind"], &update["why"]), (&"full".into(), &"delta_not_smaller".into()));
    versions.assert_installed(said["swu"].as_str().unwrap(), &other);
}

#[test]
fn whole_images_are_installed() {
    let versions = Versions::new();
    let Versions { work, new, .. } = &versions;
    let slot = versions.slot();
    for (compression, name) in [("zlib", "one.swu"), ("none", "two.swu")] {
        work.write("b.img", &vec![0; LEN]);
        let ours = ["--version", "0.2.0", "--slot", &slot, "--compression", compression, "-o", name];
        work.json(&[&["swu", "full"][..], &IMAGE, &SIGN, &ours].concat());
        versions.assert_installed(name, new);
    }
}

#[test]
fn what_cannot_be_made_is_told_before_any_work() {
    let Versions { work, .. } = Versions::new();
    let make = |more: &[&str]| work.fault(&[&["swu", "delta"][..], &IMAGE, more].concat());
    let versions = ["--from", "0.1.0", "--to", "0.2.0"];
    let usage = ("usage".to_owned(), 2);
    assert_eq!(
        make(&[&SIGN[..], &["--from", "0.0.1", "--to", "0.2.0"]].concat()),
        ("no_artifact".into(), 29)
    );
    assert_eq!(make(&[&SIGN[..], &["--from", "0.2.0", "--to", "0.1.0"]].concat()), ("unfit_pair".into(), 31));
    assert_eq!(make(&[&SIGN[..], &["--from", "0.1.0"]].concat()), usage);
    assert_eq!(make(&[&versions[..], &["--sign-key", "sign.key"]].concat()), usage, "no certificate");
    assert_eq!(
        make(&[&versions[..], &["--sign-key", "sign.pem", "--sign-cert", "sign.pem"]].concat()),
        usage
    );
    let boot = ["--slot", "boot=/dev/b,base=/dev/a"];
    assert_eq!(make(&[&versions[..], &SIGN, &boot].concat()), usage, "there is no such partition");
    let image = work.path("store/demo/prod/0.1.0/rootfs.img");
    fs::set_permissions(&image, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut bytes = fs::read(&image).unwrap();
    bytes[5] ^= 1;
    fs::write(&image, bytes).unwrap();
    assert_eq!(make(&[&versions[..], &SIGN].concat()), ("damaged_artifact".into(), 30));
    assert!(!work.path("store/demo/prod/0.2.0/updates/from_0.1.0").exists());
}
