//! `fluvial image publish` and `fluvial image fetch`.

use std::sync::atomic::Ordering;

use fluvial_testing::{RangeFault as Fault, RangeServer};
use serde_json::Value;

use crate::image::{Packing, config_digest, layers, put_layout};
use crate::images::{Files, config, docker_archive, hex, layer};
use crate::support::{Workplace, noise};

/// Old and new image, the new one published: the place and its digest.
fn published() -> (Workplace, String) {
    let [old, new] = layers();
    let work = Workplace::new();
    work.write("old.tar", &docker_archive("app:1", &old));
    work.write("new.tar", &docker_archive("app:2", &new));
    let made = work.json(&["image", "publish", "docker-archive:new.tar", "--to", "site"]);
    let digest = hex(&config(&new));
    assert_eq!(made["image_digest"], format!("sha256:{digest}"));
    assert_eq!(made["layers_made"], 3);
    (work, digest)
}

fn fetch(work: &Workplace, old: &str, url: &str, to: &str) -> Value {
    work.json(&["image", "fetch", old, url, "--to", to])
}

#[test]
fn only_what_is_missing_is_fetched() {
    let (work, digest) = published();
    for to in ["docker-archive:made.tar:app:2", "oci-archive:made.oci:2", "oci:made:2"] {
        let server = RangeServer::start(&work.path("site"), Fault::None).unwrap();
        let url = format!("{}/{digest}", server.base);
        let made = fetch(&work, "docker-archive:old.tar", &url, to);
        assert!(server.counts.open_max.load(Ordering::SeqCst) <= 9, "8, and one that is just closing");
        assert_eq!(config_digest(&work, to), digest, "{to}");
        assert_eq!(made["layers_made"], 2);
        let bytes = server.body_bytes();
        assert_eq!(made["fetched_bytes"], bytes);
        // Twelve of sixty files of 9000 bytes have one byte changed.
        assert!(bytes < 60_000, "{made}");
    }
    let from_path = format!("site/sha256:{digest}");
    fetch(&work, "docker-archive:old.tar", &from_path, "oci:local");
    assert_eq!(config_digest(&work, "oci:local"), digest);
    assert_eq!(work.names(), ["local", "made", "made.oci", "made.tar", "new.tar", "old.tar", "site"]);
}

#[test]
fn without_an_old_image_everything_is_fetched() {
    let (work, digest) = published();
    let server = RangeServer::start(&work.path("site"), Fault::None).unwrap();
    let made = fetch(&work, "none", &format!("{}/{digest}", server.base), "oci:made");
    assert_eq!(made["found_bytes"], 0);
    assert_eq!(config_digest(&work, "oci:made"), digest);
}

#[test]
fn publishing_again_changes_nothing_and_layers_are_shared() {
    let (work, digest) = published();
    let list = || {
        let mut list = Vec::new();
        for folder in std::fs::read_dir(work.path("site")).unwrap() {
            for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
                let file = file.unwrap();
                list.push((file.path(), file.metadata().unwrap().modified().unwrap()));
            }
        }
        list.sort();
        list
    };
    let before = list();
    let made = work.json(&["image", "publish", "docker-archive:new.tar", "--to", "site"]);
    assert_eq!(made["layers_made"], 0);
    assert_eq!(list(), before);
    let made = work.json(&["image", "publish", "docker-archive:old.tar", "--to", "site"]);
    assert_eq!(made["layers_made"], 1, "the base is there already");
    assert!(list().len() > before.len());
    fetch(&work, "docker-archive:old.tar", &format!("site/{digest}"), "oci:made");
}

#[test]
fn a_server_that_answers_few_ranges_gets_more_requests() {
    let (work, digest) = published();
    let mut requests = Vec::new();
    for fault in [Fault::None, Fault::RangesMax(10), Fault::RangesMax(1), Fault::FirstRange] {
        let server = RangeServer::start(&work.path("site"), fault).unwrap();
        let url = format!("{}/{digest}", server.base);
        let made = fetch(&work, "docker-archive:old.tar", &url, "docker-archive:made.tar");
        assert_eq!(config_digest(&work, "docker-archive:made.tar"), digest);
        assert_eq!(made["retries"], 0);
        requests.push(made["requests"].as_u64().unwrap());
    }
    assert!(requests[0] < requests[1] && requests[1] < requests[2], "{requests:?}");
}

#[test]
fn a_server_that_knows_no_ranges_sends_its_files_whole() {
    let (work, digest) = published();
    let server = RangeServer::start(&work.path("site"), Fault::WholeFile).unwrap();
    let url = format!("{}/{digest}", server.base);
    let made = fetch(&work, "docker-archive:old.tar", &url, "docker-archive:made.tar");
    assert_eq!(config_digest(&work, "docker-archive:made.tar"), digest);
    assert_eq!(made["retries"], 0);
}

#[test]
fn a_server_that_stumbles_is_asked_again() {
    let (work, digest) = published();
    for fault in [Fault::Status(500, 2), Fault::Status(503, 1), Fault::Cut(3)] {
        let server = RangeServer::start(&work.path("site"), fault).unwrap();
        let made = fetch(&work, "none", &format!("{}/{digest}", server.base), "docker-archive:made.tar");
        assert!(made["retries"].as_u64().unwrap() > 0, "{fault:?}");
        assert_eq!(config_digest(&work, "docker-archive:made.tar"), digest);
        assert!(!server.has_repeated(), "{fault:?}");
    }
}

#[test]
fn a_server_that_cannot_is_told_so_and_nothing_is_left_of_the_image() {
    let (work, digest) = published();
    for (fault, kind) in [
        (Fault::OtherRange, "io"),
        (Fault::Status(416, usize::MAX), "io"),
        (Fault::Status(403, usize::MAX), "io"),
        (Fault::LastByteFlipped, "damaged_patch"),
    ] {
        let server = RangeServer::start(&work.path("site"), fault).unwrap();
        let url = format!("{}/{digest}", server.base);
        let arguments = ["image", "fetch", "docker-archive:old.tar", &url, "--to", "docker-archive:made.tar"];
        assert_eq!(work.fault(&arguments).0, kind, "{fault:?}");
        assert!(!work.path("made.tar").exists());
    }
    let server = RangeServer::start(&work.path("site"), Fault::None).unwrap();
    let other = "ab".repeat(32);
    let url = format!("{}/{other}", server.base);
    assert_eq!(work.fault(&["image", "fetch", "none", &url, "--to", "oci:made"]).0, "io");
    assert_eq!(work.fault(&["image", "fetch", "none", &server.base, "--to", "oci:made"]).0, "usage");
    let over = ["image", "fetch", "docker-archive:old.tar", &url, "--to", "docker-archive:old.tar"];
    assert_eq!(work.fault(&over).0, "usage");
}

#[test]
fn what_has_come_is_not_fetched_again() {
    let work = Workplace::new();
    let files: Files = (0..40).map(|i| (format!("data{i}"), noise(i, 200_000))).collect();
    let new = [layer(&files)];
    work.write("new.tar", &docker_archive("app:2", &new));
    work.json(&["image", "publish", "docker-archive:new.tar", "--to", "site", "--level", "1"]);
    let digest = hex(&config(&new));
    // At most six requests are for less than 1 MiB, and which ones come first is chance: so eight are answered.
    let broken = RangeServer::start(&work.path("site"), Fault::Gone(8)).unwrap();
    let url = format!("{}/{digest}", broken.base);
    assert_eq!(work.fault(&["image", "fetch", "none", &url, "--to", "oci-archive:made"]).0, "io");
    let had = broken.body_bytes();
    assert!(had > 2_000_000, "{had}");
    let server = RangeServer::start(&work.path("site"), Fault::None).unwrap();
    fetch(&work, "none", &format!("{}/{digest}", server.base), "oci-archive:made");
    assert_eq!(config_digest(&work, "oci-archive:made"), digest);
    let chunks =
        std::fs::metadata(work.path(&format!("site/{}/chunks", hex(&new[0])))).unwrap().len() as usize;
    let again = server.body_bytes();
    assert!(again + had < chunks + 50_000, "{again} and {had} of {chunks}");
    assert_eq!(work.names(), ["made", "new.tar", "site"]);
}

#[test]
fn every_route_is_compared_beforehand() {
    let [old, new] = layers();
    let work = Workplace::new();
    work.write("old.tar", &docker_archive("app:1", &old));
    put_layout(&work.path("new"), "2", &new, Packing::Gzip);
    let images = ["docker-archive:old.tar", "oci:new:2"];
    let compared = work.json(&[&["image", "compare"], &images[..], &["--work-folder=.", "--top=3"]].concat());
    let bytes = |name: &str| compared[name].as_u64().unwrap();
    let made = work.json(&[&["image", "diff"], &images[..], &["-o", "patch"]].concat());
    assert_eq!(compared["image_digest"], made["image_digest"]);
    assert_eq!((bytes("patch_bytes"), bytes("layers_new")), (made["patch_bytes"].as_u64().unwrap(), 2));
    assert!(bytes("patch_bytes") < bytes("ranges_bytes"), "{compared}");
    assert!(bytes("ranges_bytes") < bytes("pull_bytes"), "{compared}");
    assert!(bytes("pull_bytes") < bytes("full_bytes"), "{compared}");
    assert!(compared["files"].as_array().unwrap().len() <= 3);
    assert_eq!(work.names(), ["new", "old.tar", "patch"], "nothing is left behind");
}
