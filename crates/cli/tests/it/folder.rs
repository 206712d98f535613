//! OLD as a folder.

use std::fs;
use std::os::unix::fs::symlink;

use fluvial_delta::header::Header;

use crate::support::{Workplace, noise};

/// A folder of files, and a new file that holds all of them.
fn prepared() -> Workplace {
    let work = Workplace::new();
    let mut new = Vec::new();
    for index in 0..200 {
        let bytes = noise(index, 3000 + 100 * index as usize);
        work.write(&format!("root/usr/lib/{}/file{index}", index % 7), &bytes);
        new.extend_from_slice(&bytes);
        new.extend_from_slice(b"between");
    }
    work.write("root/empty", b"");
    work.write("root/usr/share/unlike", &noise(1000, 9000));
    symlink("usr/lib/1/file1", work.path("root/link")).unwrap();
    symlink("/", work.path("root/slash")).unwrap();
    work.write("new", &new);
    work
}

#[test]
fn files_of_a_folder_are_sources_by_their_path() {
    let work = prepared();
    let made = work.json(&["diff", "root", "new", "-o", "patch"]);
    assert!(made["patch_bytes"].as_u64().unwrap() < 30_000, "{made}");
    let inspected = work.json(&["inspect", "patch"]);
    let names: Vec<_> = inspected["sources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|source| source["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"usr/lib/3/file150"));
    assert!(!names.iter().any(|name| name.contains("link") || name.contains("slash")));
    assert!(!names.contains(&"usr/share/unlike"), "a file that is never read is not named");
    assert!(!names.contains(&"empty"));
    work.json(&["apply", "root", "patch", "-o", "result"]);
    assert!(work.read("result") == work.read("new"));
}

#[test]
fn a_folder_that_differs_is_a_wrong_source() {
    let work = prepared();
    work.json(&["diff", "root", "new", "-o", "patch"]);
    let refused = |work: &Workplace, why: &str| {
        assert_eq!(work.fault(&["apply", "root", "patch", "-o", "result"]).0, "wrong_source", "{why}");
        assert_eq!(work.names(), ["new", "patch", "root"], "{why}");
    };
    let (path, moved) = (work.path("root/usr/lib/3/file150"), work.path("root/elsewhere"));
    let bytes = fs::read(&path).unwrap();

    fs::write(&path, &bytes[1..]).unwrap();
    refused(&work, "a shorter file");
    let mut changed = bytes.clone();
    changed[5] ^= 1;
    fs::write(&path, &changed).unwrap();
    refused(&work, "a changed file");
    fs::write(&path, &bytes).unwrap();
    fs::rename(&path, &moved).unwrap();
    refused(&work, "a missing file");
    symlink(&moved, &path).unwrap();
    refused(&work, "a link to the file");
    fs::remove_file(&path).unwrap();
    fs::rename(&moved, &path).unwrap();
    fs::rename(work.path("root/usr/lib/3"), work.path("root/usr/lib/three")).unwrap();
    symlink("three", work.path("root/usr/lib/3")).unwrap();
    refused(&work, "a link to the folder");
    assert_eq!(work.fault(&["apply", "new", "patch", "-o", "result"]).0, "wrong_source", "no folder");
}

#[test]
fn names_that_lead_out_of_the_folder_are_refused() {
    let work = Workplace::new();
    let secret = noise(9, 5000);
    work.write("root/file", &secret);
    work.write("new", &secret);
    work.write("secret", &secret);
    work.json(&["diff", "root", "new", "-o", "patch"]);
    let patch = work.read("patch");
    let (header, header_len) = Header::read(&patch).unwrap();
    for name in ["../secret", "/etc/hostname", "root/../../secret", "..", "", "."] {
        let mut hostile = header.clone();
        hostile.sources[0].name = name.to_owned();
        let bytes = [&hostile.to_bytes(), &patch[header_len as usize..]].concat();
        work.write("patch", &bytes);
        assert_eq!(work.fault(&["apply", "root", "patch", "-o", "result"]).0, "wrong_source", "{name:?}");
    }
    assert_eq!(work.names(), ["new", "patch", "root", "secret"]);
}
