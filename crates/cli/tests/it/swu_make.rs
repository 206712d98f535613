//! `fluvial swu delta` and `full`: what they make is installed by the real `swupdate`.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{Workplace, noise, text};

const IMAGE: [&str; 6] = ["--artifacts", "store", "--machine", "demo", "--image", "prod"];
const SIGN: [&str; 4] = ["--sign-key", "key.pem", "--sign-cert", "cert.pem"];
const LEN: usize = 1 << 20;
/// Runs of `swupdate` until one comes to a verdict.
const RUNS_MAX: usize = 10;

/// Two versions in a store, the second a bit longer inside, keys, and slots: the first holds the first version.
fn prepared() -> (Workplace, Vec<u8>, Vec<u8>) {
    let work = Workplace::new();
    let old = noise(1, LEN);
    let mut new = [&old[..300_000], b"something new", &old[300_000..]].concat();
    new.truncate(LEN);
    work.write("old.img", &old);
    work.write("new.img", &new);
    for (version, file) in [("0.1.0", "rootfs=old.img"), ("0.2.0", "rootfs=new.img")] {
        work.json(&[&["artifacts", "add"][..], &IMAGE, &["--version", version, file]].concat());
    }
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=signer"]);
    openssl.args(["-keyout", "key.pem", "-out", "cert.pem", "-addext", "extendedKeyUsage=emailProtection"]);
    let made =
        openssl.args(["-addext", "keyUsage=digitalSignature"]).current_dir(work.path(".")).output().unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    work.write("a.img", &old);
    work.write("b.img", &vec![0; LEN]);
    (work, old, new)
}

fn slot(work: &Workplace) -> String {
    format!("rootfs={},base={}", work.path("b.img").display(), work.path("a.img").display())
}

/// What `swupdate` says to a package, on a device of this hardware.
fn swupdate(work: &Workplace, package: &Path) -> String {
    let temporary = work.path("temporary");
    fs::create_dir_all(&temporary).unwrap();
    // The part of `swupdate -i` that waits for the end sometimes takes the time before the start for a good one, and
    // stops the other, whose failure means nothing then.
    let success = ["SWUPDATE successful", "SWUpdate was successful"];
    let failure = ["SWUPDATE failed [1]", "SWUpdate *failed*"];
    for _ in 0..RUNS_MAX {
        let mut command = Command::new("swupdate");
        command
            .args(["-l", "3", "-k"])
            .arg(work.path("cert.pem"))
            .args(["-H", "demo:1.0", "-i"])
            .arg(package);
        let output = command.env("TMPDIR", &temporary).output().unwrap();
        let words = text(&output.stdout) + &text(&output.stderr);
        if [success, failure].iter().any(|verdict| verdict.iter().all(|part| words.contains(part))) {
            return words;
        }
    }
    panic!("none of {RUNS_MAX} runs came to an end");
}

fn package(said: &Value) -> &Path {
    Path::new(said["swu"].as_str().unwrap())
}

#[test]
fn a_delta_is_made_once_kept_in_the_store_and_installed() {
    let (work, _, new) = prepared();
    let slot = slot(&work);
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

    let package = work.path(package(&said).to_str().unwrap());
    let (words, hash) = (swupdate(&work, &package), work.read("b.img") == new);
    assert!(words.contains("SWUPDATE successful") && hash, "{words}");

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
    assert!(work.read("made.img") == new);
}

#[test]
fn the_environment_of_a_build_serves() {
    let (work, ..) = prepared();
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
    let (work, ..) = prepared();
    let other = noise(7, LEN);
    work.write("other.img", &other);
    work.json(&[&["artifacts", "add"][..], &IMAGE, &["--version", "0.3.0", "rootfs=other.img"]].concat());
    let slot = slot(&work);
    let ours = ["--from", "0.1.0", "--to", "0.3.0", "--slot", &slot, "--compression", "none"];
    let said = work.json(&[&["swu", "delta"][..], &IMAGE, &SIGN, &ours].concat());
    let update = &said["delta_info"]["partitions"][0];
    assert_eq!((&update["kind"], &update["why"]), (&"full".into(), &"delta_not_smaller".into()));
    let words = swupdate(&work, &work.path(package(&said).to_str().unwrap()));
    assert!(words.contains("SWUPDATE successful") && work.read("b.img") == other, "{words}");
}

#[test]
fn whole_images_are_installed() {
    let (work, _, new) = prepared();
    let slot = slot(&work);
    for (compression, name) in [("zlib", "one.swu"), ("none", "two.swu")] {
        work.write("b.img", &vec![0; LEN]);
        let ours = ["--version", "0.2.0", "--slot", &slot, "--compression", compression, "-o", name];
        work.json(&[&["swu", "full"][..], &IMAGE, &SIGN, &ours].concat());
        let words = swupdate(&work, &work.path(name));
        assert!(words.contains("SWUPDATE successful") && work.read("b.img") == new, "{words}");
    }
}

#[test]
fn what_cannot_be_made_is_told_before_any_work() {
    let (work, ..) = prepared();
    let make = |more: &[&str]| work.fault(&[&["swu", "delta"][..], &IMAGE, more].concat());
    let versions = ["--from", "0.1.0", "--to", "0.2.0"];
    let usage = ("usage".to_owned(), 2);
    assert_eq!(
        make(&[&SIGN[..], &["--from", "0.0.1", "--to", "0.2.0"]].concat()),
        ("no_artifact".into(), 29)
    );
    assert_eq!(make(&[&SIGN[..], &["--from", "0.2.0", "--to", "0.1.0"]].concat()), ("unfit_pair".into(), 31));
    assert_eq!(make(&[&SIGN[..], &["--from", "0.1.0"]].concat()), usage);
    assert_eq!(make(&[&versions[..], &["--sign-key", "key.pem"]].concat()), usage, "no certificate");
    assert_eq!(
        make(&[&versions[..], &["--sign-key", "cert.pem", "--sign-cert", "cert.pem"]].concat()),
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
