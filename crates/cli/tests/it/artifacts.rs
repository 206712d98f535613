//! `fluvial artifacts`.

use std::fs::{self, File};
use std::io::Read as _;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Mount, Workplace, text};

const ADD: [&str; 8] =
    ["artifacts", "add", "--artifacts", "store", "--machine", "qemux86-64", "--image", "image-prod"];
const ONE: [&str; 6] = ["--artifacts", "store", "--machine", "qemux86-64", "--image", "image-prod"];

/// Adds a version with these images.
fn add(work: &Workplace, version: &str, more: &[&str]) -> Value {
    work.json(&[&ADD[..], &["--version", version], more].concat())
}

fn prepared() -> Workplace {
    let work = Workplace::new();
    work.write("rootfs.ext4", &[1; 8192]);
    work.write("boot.vfat", &[2; 1536]);
    work
}

/// What a command prints, and its exit code.
fn shown(work: &Workplace, arguments: &[&str]) -> String {
    let output = work.run(arguments);
    let exit_code = output.status.code().unwrap();
    let streams = text(&output.stdout) + &text(&output.stderr);
    format!("$ fluvial {}\n{streams}[exit code {exit_code}]\n", arguments.join(" "))
}

#[test]
fn what_people_read() {
    let work = prepared();
    let mut all = Vec::new();
    let images = ["rootfs=rootfs.ext4", "boot=boot.vfat"];
    let info =
        ["--distribution", "poky", "--build-info", "INIT_MANAGER=systemd", "--build-note", "COMMIT=abc"];
    let first = [&ADD[..], &["--version", "0.9.0"], &images, &info].concat();
    all.push(shown(&work, &first));
    all.push(shown(&work, &first));
    all.push(shown(&work, &[&ADD[..], &["--version", "0.10.0"], &images].concat()));
    all.push(shown(&work, &[&ADD[..], &["--version", "../up"], &images].concat()));
    all.push(shown(&work, &[&ADD[..], &["--version", "1", "rootfs"]].concat()));
    all.push(shown(&work, &[&ADD[..], &["--version", "1", "rootfs=missing"]].concat()));
    all.push(shown(
        &work,
        &[&ADD[..], &["--version", "1", "rootfs=rootfs.ext4", "--block-len", "boot=1"]].concat(),
    ));
    all.push(shown(
        &work,
        &[&ADD[..], &["--version", "1", "rootfs=rootfs.ext4", "--build-info", "A B=1"]].concat(),
    ));
    fs::create_dir_all(work.path("store/qemux86-64/image-prod/1.0.0")).unwrap();
    fs::write(work.path("store/README"), "").unwrap();
    all.push(shown(&work, &["artifacts", "list", "--artifacts", "store"]));
    all.push(shown(&work, &[&["artifacts", "show"][..], &ONE, &["--version", "0.9.0"]].concat()));
    all.push(shown(&work, &[&["artifacts", "show"][..], &ONE, &["--version", "0.1.0"]].concat()));
    all.push(shown(&work, &["artifacts", "prune", "--artifacts", "store", "--keep", "1", "--dry-run"]));
    fs::remove_dir(work.path("store/qemux86-64/image-prod/1.0.0")).unwrap();
    all.push(shown(&work, &["artifacts", "verify", "--artifacts", "store"]));
    let image = work.path("store/qemux86-64/image-prod/0.10.0/boot.img");
    fs::remove_file(&image).unwrap();
    fs::write(&image, [3; 1536]).unwrap();
    all.push(shown(&work, &["artifacts", "verify", "--artifacts", "store"]));
    all.push(shown(&work, &["artifacts", "prune", "--artifacts", "store", "--keep", "1"]));
    all.push(shown(&work, &["artifacts", "list", "--artifacts", "nowhere"]));
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn what_machines_read() {
    let work = prepared();
    let more = ["rootfs=rootfs.ext4", "--partition-size", "rootfs=1MiB", "--block-len", "rootfs=4096"];
    let added = add(&work, "0.1.0", &more);
    let partition = &added["manifest"]["partitions"][0];
    assert_eq!(
        (&partition["partition_bytes"], &partition["block_len_bytes"]),
        (&(1 << 20).into(), &4096.into())
    );
    assert_eq!(added["manifest"]["time_unix_s"], Value::Null);
    assert_eq!(
        work.fault(&[&ADD[..], &["--version", "0.1.0"], &more].concat()),
        ("artifact_exists".into(), 28)
    );
    let one = |command| [&["artifacts", command][..], &ONE, &["--version", "0.1.0"]].concat();
    assert_eq!(work.json(&one("show"))["manifest"], added["manifest"]);
    assert_eq!(work.json(&one("list"))["versions"][0]["size_bytes"], 8192);
    assert_eq!(work.json(&one("verify"))["versions"][0]["whole"], true);
    let other = |command| [&["artifacts", command][..], &ONE, &["--version", "0.2.0"]].concat();
    assert_eq!(work.fault(&other("show")), ("no_artifact".into(), 29));
    assert_eq!(work.fault(&other("verify")), ("no_artifact".into(), 29));
    let pruned = work.json(&["artifacts", "prune", "--artifacts", "store", "--keep", "3"]);
    assert_eq!(pruned["images"][0]["versions"][0]["reasons"][0], "one of the newest");
    fs::write(work.path("store/qemux86-64/image-prod/0.1.0/.x"), "").unwrap();
    fs::remove_file(work.path("store/qemux86-64/image-prod/0.1.0/build-info.json")).unwrap();
    assert_eq!(work.fault(&one("show")), ("damaged_artifact".into(), 30));
    let output = work.run(&[&one("verify")[..], &["--json"]].concat());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["versions"][0]["damages"][0], "there is no build-info.json");
    assert_eq!(output.status.code(), Some(30));
}

#[test]
fn the_environment_tells_store_version_and_time() {
    let work = prepared();
    let arguments = ["artifacts", "add", "--machine", "m", "--image", "i", "rootfs=rootfs.ext4", "--json"];
    let mut command = work.fluvial(&arguments);
    command
        .env("FLUVIAL_ARTIFACTS", "elsewhere")
        .env("BUILD_VERSION", "3")
        .env("SOURCE_DATE_EPOCH", "1700000000");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let added: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(added["path"], "elsewhere/m/i/3");
    assert_eq!(added["manifest"]["time_unix_s"], 1_700_000_000);
}

#[test]
fn a_killed_add_leaves_no_version_and_the_next_one_cleans_up() {
    let work = prepared();
    add(&work, "0.1.0", &["rootfs=rootfs.ext4"]);
    // A hole of 64 GiB takes longer to read than this test takes to kill.
    File::create(work.path("large")).unwrap().set_len(64 << 30).unwrap();
    let mut command =
        work.fluvial(&[&ADD[..], &["--version", "0.2.0", "rootfs=rootfs.ext4", "data=large"]].concat());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let folder = work.path("store/qemux86-64/image-prod");
    let unfinished = || {
        let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap());
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(".adding-")).count()
    };
    while unfinished() == 0 {
        assert_eq!(child.try_wait().unwrap(), None, "it ended by itself");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((said.as_str(), unfinished()), ("", 1));
    let listed = work.json(&["artifacts", "list", "--artifacts", "store"]);
    assert_eq!(listed["versions"].as_array().unwrap().len(), 1);
    assert_eq!(listed["unfinished"].as_array().unwrap().len(), 1);
    add(&work, "0.2.0", &["rootfs=rootfs.ext4"]);
    assert_eq!(unfinished(), 0);
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    let Some(mount) = Mount::memory(1 << 20) else { return };
    let work = prepared();
    work.write("large", &vec![1; 2 << 20]);
    let store = mount.path().join("store");
    let store = store.to_str().unwrap();
    let arguments =
        ["artifacts", "add", "--artifacts", store, "--machine", "m", "--image", "i", "--version", "1"];
    assert_eq!(work.fault(&[&arguments[..], &["rootfs=large"]].concat()), ("no_space".into(), 15));
    assert_eq!(fs::read_dir(mount.path()).unwrap().count(), 0);
    work.json(&[&arguments[..], &["rootfs=rootfs.ext4"]].concat());
}
