//! `fluvial swu inspect` and `verify`.

use fluvial_swu::description::Compression;
use fluvial_swu::sign::Signer;

use crate::packages::{Recipe, archive, describe_again, files, make_keys, prepared, private_key};
use crate::support::Workplace;

const LEN: usize = 300_000;
const PACKINGS: [Option<Compression>; 3] = [None, Some(Compression::Zlib), Some(Compression::Zstd)];
const VERIFY: [&str; 5] = ["swu", "verify", "X.swu", "--cert", "sign.pem"];

fn damaged() -> (String, i32) {
    ("damaged_package".into(), 32)
}

fn untrusted() -> (String, i32) {
    ("untrusted".into(), 24)
}

#[test]
fn a_package_is_shown_and_verified() {
    for (mut recipe, kind) in [(Recipe::delta(LEN), "delta"), (Recipe::image(LEN), "full")] {
        for compression in PACKINGS {
            recipe.compression = compression;
            let work = prepared(&recipe);
            let shown = work.json(&["swu", "inspect", "X.swu"]);
            assert_eq!(shown["version"], "0.2.0");
            assert_eq!(shown["signature"], "cms");
            assert_eq!(shown["signer"], "CN=signer,O=Fleet");
            let choice = &shown["choices"][0];
            assert_eq!((&choice["set"], &choice["mode"]), (&"stable".into(), &"copy2".into()));
            assert_eq!(choice["hardware"], serde_json::json!(["1.0", "1.1"]));
            assert_eq!(choice["is_guarded"], true);
            let partition = &choice["partitions"][0];
            assert_eq!(partition["kind"], kind);
            assert_eq!(partition["target_bytes"], recipe.new.len());
            let base_bytes = recipe.is_delta.then_some(recipe.old.len());
            assert_eq!(partition["base_bytes"], serde_json::json!(base_bytes));
            assert_eq!(partition["compression"], compression.map_or("none", Compression::name));
            assert_eq!(partition["packed_bytes"], shown["files"][1]["packed_bytes"]);

            let verified = work.json(&VERIFY);
            assert_eq!(verified["deltas"], usize::from(recipe.is_delta));
            assert_eq!(verified["images"], usize::from(!recipe.is_delta));
            assert_eq!(verified["files"], 2);
        }
    }
}

#[test]
fn raw_signatures_are_verified_with_a_public_key() {
    let recipe = Recipe::image(LEN);
    let work = prepared(&recipe);
    let key = || private_key(&work, "sign");
    make_keys(&work, "other");
    for (signer, kind, other) in [(Signer::Rsa(key()), "rsa", "pss"), (Signer::Pss(key()), "pss", "rsa")] {
        work.write("X.swu", &recipe.package(&work, Some(&signer)));
        let verify = |key, kind| ["swu", "verify", "X.swu", "--public-key", key, "--signature", kind];
        assert_eq!(work.json(&verify("sign.pub", kind))["signature"], kind);
        assert_eq!(work.fault(&verify("other.pub", kind)), untrusted());
        assert_eq!(work.fault(&verify("sign.pub", other)), untrusted());
        assert_eq!(work.fault(&VERIFY), untrusted());
        assert_eq!(work.json(&["swu", "inspect", "X.swu"])["signature"], "raw");
    }
}

#[test]
fn nobody_is_trusted_without_being_named() {
    let work = prepared(&Recipe::image(LEN));
    assert_eq!(work.fault(&["swu", "verify", "X.swu"]).0, "usage");
    assert_eq!(work.fault(&["swu", "verify", "X.swu", "--cert", "sign.key"]).0, "usage");
    make_keys(&work, "other");
    assert_eq!(work.fault(&["swu", "verify", "X.swu", "--cert", "other.pem"]), untrusted());
    let both = ["swu", "verify", "X.swu", "--cert", "other.pem", "--cert", "sign.pem"];
    assert_eq!(work.json(&both)["signer"], "CN=signer,O=Fleet");
}

#[test]
fn certificates_hold_for_their_time_and_purpose() {
    let work = prepared(&Recipe::image(LEN));
    for at in ["2001-01-01T00:00:00Z", "2200-01-01T00:00:00Z"] {
        assert_eq!(work.fault(&[&VERIFY[..], &["--at", at]].concat()), untrusted());
    }
    assert_eq!(work.fault(&[&VERIFY[..], &["--cert-purpose", "codeSigning"]].concat()), untrusted());
}

#[test]
fn packages_that_are_not_signed_or_changed_afterwards_are_refused() {
    let recipe = Recipe::delta(LEN);
    let work = prepared(&recipe);
    let whole = work.read("X.swu");
    work.write("X.swu", &recipe.package(&work, None));
    assert_eq!(work.fault(&VERIFY), untrusted());
    assert_eq!(work.json(&["swu", "inspect", "X.swu"])["signature"], serde_json::Value::Null);

    // What is changed has the right checksums in the archive.
    for (index, expected) in [untrusted(), untrusted(), damaged(), damaged()].into_iter().enumerate() {
        let mut changed = files(&whole);
        let last = changed[index].1.len() - 1;
        changed[index].1[last] ^= 1;
        work.write("X.swu", &archive(&changed));
        assert_eq!(work.fault(&VERIFY), expected, "{}", changed[index].0);
    }
    for len in [0, 100, whole.len() / 2, whole.len() - 1] {
        work.write("X.swu", &whole[..len]);
        assert_eq!(work.fault(&VERIFY), damaged(), "cut at {len}");
        assert_eq!(work.fault(&["swu", "inspect", "X.swu"]), damaged(), "cut at {len}");
    }
    let mut lacking = files(&whole);
    lacking.pop();
    work.write("X.swu", &archive(&lacking));
    assert_eq!(work.fault(&VERIFY), damaged());
}

/// Verifies a package with this delta, signed as if it were right.
fn verified_with(content: Vec<u8>, compression: Option<Compression>) -> (String, i32) {
    let recipe = Recipe { content, compression, ..Recipe::delta(LEN) };
    prepared(&recipe).fault(&VERIFY)
}

#[test]
fn deltas_that_are_signed_and_wrong_are_found() {
    let recipe = Recipe::delta(LEN);
    let delta = &recipe.content;
    let with_end = |commands: &[u8]| [&delta[..4], commands, &[0]].concat();
    let cases = [
        delta[..delta.len() - 1].to_vec(),
        delta[..delta.len() / 2].to_vec(),
        [&delta[..], b"\0"].concat(),
        with_end(&[]),
        with_end(&[0x55]),
        // A copy of the last byte of the base, and one behind it.
        with_end(&[&[0x4d][..], &(LEN as u32).to_be_bytes(), &[1]].concat()),
        Vec::new(),
        b"no delta".to_vec(),
    ];
    for compression in PACKINGS {
        for (index, content) in cases.iter().enumerate() {
            assert_eq!(verified_with(content.clone(), compression), damaged(), "{index} {compression:?}");
        }
    }
}

#[test]
fn images_that_are_signed_and_wrong_are_found() {
    let Recipe { new, .. } = Recipe::image(LEN);
    let mut flipped = new.clone();
    flipped[LEN / 2] ^= 1;
    for content in [flipped, new[..new.len() - 1].to_vec(), [&new[..], b"x"].concat()] {
        for compression in PACKINGS {
            let recipe = Recipe { content: content.clone(), compression, ..Recipe::image(LEN) };
            assert_eq!(prepared(&recipe).fault(&VERIFY), damaged());
        }
    }
}

#[test]
fn a_package_that_does_not_guard_itself_is_refused_and_shown() {
    let refused: (String, i32) = ("refused".into(), 25);
    let unguarded = |work: &Workplace| {
        assert_eq!(work.fault(&VERIFY), refused);
        let shown = work.json(&["swu", "inspect", "X.swu"]);
        let choice = &shown["choices"][0];
        assert_eq!(choice["is_guarded"], false);
        assert_eq!(choice["partitions"][0]["kind"], "rdiff_image");
        choice["unguarded_because"].as_str().unwrap().to_owned()
    };
    let work = prepared(&Recipe::delta(LEN));
    let whole = work.read("X.swu");
    describe_again(&work, |description| {
        for image in description.sections.iter_mut().flat_map(|section| &mut section.images) {
            image.properties.retain(|property| property.name != "base-sha256");
        }
    });
    assert!(unguarded(&work).contains("the base"));

    work.write("X.swu", &whole);
    describe_again(&work, |description| {
        for section in &mut description.sections {
            section.scripts.retain(|script| script.filename.is_some());
        }
    });
    assert!(unguarded(&work).contains("what was written"));

    work.write("X.swu", &whole);
    describe_again(&work, |description| {
        for section in &mut description.sections {
            section.hardware.clear();
        }
    });
    assert_eq!(work.fault(&VERIFY), refused);
}

#[test]
fn a_package_is_read_from_the_standard_input() {
    let work = prepared(&Recipe::delta(LEN));
    let package = std::fs::File::open(work.path("X.swu")).unwrap();
    let output = work.fluvial(&["swu", "verify", "-", "--cert", "sign.pem"]).stdin(package).output().unwrap();
    assert!(output.status.success(), "{}", crate::support::text(&output.stderr));
}
