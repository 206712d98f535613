//! Bundles whose images are cut as other tools do.

use serde_json::Value;

use crate::support::{Workplace, noise};

/// A release with an image of 2.5 MB: noise, a hole, text.
fn release() -> Workplace {
    let work = Workplace::new();
    let text: Vec<u8> =
        (0..20_000_u32).flat_map(|line| format!("line {line} of many\n").into_bytes()).collect();
    work.write("image", &[noise(1, 1 << 20), vec![0; 1_000_000], text].concat());
    let toml =
        "name = \"demo\"\nversion = \"1.0\"\nsequence = 1\n[[slot]]\nname = \"system\"\nimage = \"image\"\n";
    work.write("release.toml", toml.as_bytes());
    work
}

#[test]
fn images_that_are_cut_to_blocks_are_verified() {
    let work = release();
    let mut indexes = Vec::new();
    for (cutting, hash) in [("casync-16", "sha512-256"), ("fixed-4", "sha256"), ("casync-256", "blake3")] {
        let bundle = format!("{cutting}.fluvial");
        let made = work.json(&[
            "bundle",
            "create",
            "release.toml",
            "-o",
            &bundle,
            "--cutting",
            cutting,
            "--hash",
            hash,
            "--full-level",
            "3",
        ]);
        assert_eq!((&made["cutting"], &made["hash"]), (&Value::from(cutting), &Value::from(hash)));
        indexes.push(made["components"][0]["index_bytes"].as_u64().unwrap());
        assert_eq!(work.json(&["bundle", "verify", &bundle])["made"], 1);
    }
    // The longer chunks are, the fewer there are to be told.
    assert!(indexes[0] > indexes[2], "{indexes:?}");
    // A chunk that is damaged is not what the manifest tells.
    let mut bytes = work.read("casync-16.fluvial");
    let at = 300_000;
    bytes[at] ^= 1;
    work.write("casync-16.fluvial", &bytes);
    let (kind, _) = work.fault(&["bundle", "verify", "casync-16.fluvial"]);
    assert_eq!(kind, "damaged_patch");
}

#[test]
fn ways_of_cutting_that_are_not_there_are_refused() {
    let work = release();
    for (cutting, told) in [("casync-2", "from 4 to 256"), ("rolling-4", "give files, casync-N or fixed-N")] {
        let output = work.run(&["bundle", "create", "release.toml", "-o", "x.fluvial", "--cutting", cutting]);
        assert_eq!(output.status.code(), Some(2));
        let shown = crate::support::text(&output.stderr);
        assert!(shown.contains(told), "{shown}");
    }
    assert_eq!(work.names(), ["image", "release.toml"]);
}
