//! `fluvial image`, on images in files.

use std::path::Path;

use fluvial_delta::scratch::MemoryScratch;
use fluvial_image::oci::{Image, ImageReference};
use serde_json::json;

use crate::images::{Files, config, docker_archive, hex, layer};
use crate::support::{Workplace, noise};

/// How a layer is kept.
#[derive(Clone, Copy)]
pub enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// A layer as it is kept.
pub fn pack(bytes: &[u8], packing: Packing) -> Vec<u8> {
    match packing {
        Packing::Plain => bytes.to_vec(),
        Packing::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut encoder, bytes).unwrap();
            encoder.finish().unwrap()
        }
        Packing::Zstd => zstd::encode_all(bytes, 3).unwrap(),
    }
}

/// Writes an OCI image layout.
pub fn put_layout(folder: &Path, tag: &str, layers: &[Vec<u8>], packing: Packing) {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |media_type: &str, bytes: &[u8]| {
        std::fs::write(blobs.join(hex(bytes)), bytes).unwrap();
        json!({ "mediaType": media_type, "digest": format!("sha256:{}", hex(bytes)), "size": bytes.len() })
    };
    let suffix = match packing {
        Packing::Plain => "",
        Packing::Gzip => "+gzip",
        Packing::Zstd => "+zstd",
    };
    let layer_type = format!("application/vnd.oci.image.layer.v1.tar{suffix}");
    let descriptors: Vec<_> = layers.iter().map(|layer| put(&layer_type, &pack(layer, packing))).collect();
    let config = put("application/vnd.oci.image.config.v1+json", &config(layers));
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": descriptors }).to_string();
    let mut manifest = put("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes());
    manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] }).to_string();
    std::fs::write(folder.join("index.json"), index).unwrap();
    std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

/// An old and a new image: a base that both have, an application that changes, a file that goes.
pub fn layers() -> [Vec<Vec<u8>>; 2] {
    let base: Files = (0..40).map(|i| (format!("usr/lib/base{i}"), noise(i, 3000))).collect();
    let app = |version: u64| -> Files {
        let mut files: Files = (0..60).map(|i| (format!("srv/app/part{i}"), noise(1000 + i, 9000))).collect();
        for (index, (_, content)) in files.iter_mut().enumerate().filter(|(index, _)| index % 5 == 0) {
            content[index * 30] ^= version as u8;
        }
        files.push(("srv/app/version".into(), version.to_string().into_bytes()));
        files
    };
    let old = vec![layer(&base), layer(&app(1))];
    let gone: Files = vec![("usr/lib/.wh.base7".into(), Vec::new())];
    let new = vec![layer(&base), layer(&app(2)), layer(&gone)];
    [old, new]
}

fn open(reference: &str) -> Image {
    let Ok(ImageReference::File(file)) = reference.parse() else { panic!("{reference} is not in files") };
    Image::open(&file, None).unwrap()
}

/// Opens an image and all its layers, which compares them with their diff ids.
pub fn config_digest(work: &Workplace, reference: &str) -> String {
    let (transport, rest) = reference.split_once(':').unwrap();
    let absolute = format!("{transport}:{}", work.path(rest).display());
    let image = open(&absolute);
    for layer in &image.layers {
        layer.open(&MemoryScratch, &|_| true).unwrap();
    }
    hex(&image.config)
}

#[test]
fn an_image_comes_back_wherever_it_is_kept() {
    let [old, new] = layers();
    let expected = hex(&config(&new));
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        let work = Workplace::new();
        work.write("old.tar", &docker_archive("app:1", &old));
        put_layout(&work.path("new"), "2", &new, packing);
        let made = work.json(&["image", "diff", "docker-archive:old.tar:app:1", "oci:new:2", "-o", "patch"]);
        assert_eq!((&made["layers"], &made["layers_made"]), (&json!(3), &json!(2)));
        assert_eq!(made["image_digest"], format!("sha256:{expected}"));
        assert!(made["patch_bytes"].as_u64().unwrap() < 10_000, "{made}");
        for to in ["docker-archive:made.tar:app:2", "oci-archive:made.oci:2", "oci:made:2"] {
            let applied = work.json(&["image", "apply", "docker-archive:old.tar", "patch", "--to", to]);
            assert_eq!(applied["image_digest"], made["image_digest"]);
            assert_eq!(config_digest(&work, to), expected, "{to}");
        }
        assert_eq!(work.names(), ["made", "made.oci", "made.tar", "new", "old.tar", "patch"]);
    }
}

#[test]
fn a_layout_keeps_the_images_that_it_has() {
    let [old, new] = layers();
    let work = Workplace::new();
    put_layout(&work.path("images"), "1", &old, Packing::Gzip);
    work.write("new.tar", &docker_archive("app:2", &new));
    work.json(&["image", "diff", "oci:images:1", "docker-archive:new.tar", "-o", "patch"]);
    for _ in 0..2 {
        work.json(&["image", "apply", "oci:images:1", "patch", "--to", "oci:images:2"]);
    }
    assert_eq!(config_digest(&work, "oci:images:1"), hex(&config(&old)));
    assert_eq!(config_digest(&work, "oci:images:2"), hex(&config(&new)));
    assert_eq!(work.fault(&["image", "diff", "oci:images", "oci:images:2", "-o", "p"]).0, "usage");
    assert_eq!(work.fault(&["image", "diff", "oci:images:3", "oci:images:2", "-o", "p"]).0, "usage");
}

#[test]
fn another_old_image_is_refused_and_nothing_is_left() {
    let [old, new] = layers();
    let work = Workplace::new();
    work.write("old.tar", &docker_archive("app:1", &old));
    work.write("new.tar", &docker_archive("app:2", &new));
    work.json(&["image", "diff", "docker-archive:old.tar", "docker-archive:new.tar", "-o", "patch"]);
    let mut changed: Files = (0..60).map(|i| (format!("srv/app/part{i}"), noise(1000 + i, 9000))).collect();
    changed[11].1[5] ^= 1;
    let missing: Files = changed[..50].to_vec();
    for files in [changed, missing] {
        let other = [old[0].clone(), layer(&files)];
        work.write("other.tar", &docker_archive("app:1", &other));
        let apply = ["image", "apply", "docker-archive:other.tar", "patch", "--to", "oci-archive:made"];
        assert_eq!(work.fault(&apply).0, "wrong_source");
    }
    assert_eq!(work.names(), ["new.tar", "old.tar", "other.tar", "patch"]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let [old, new] = layers();
    let work = Workplace::new();
    let archive = docker_archive("app:1", &old);
    work.write("old.tar", &archive);
    work.write("new.tar", &docker_archive("app:2", &new));
    work.write("cut.tar", &archive[..archive.len() / 2]);
    work.write("noise", &noise(1, 5000));
    work.json(&["image", "diff", "docker-archive:old.tar", "docker-archive:new.tar", "-o", "patch"]);
    let fault = |arguments: &[&str]| work.fault(arguments).0;
    let apply = |old: &str, to: &str| fault(&["image", "apply", old, "patch", "--to", to]);
    assert_eq!(apply("docker-archive:old.tar", "docker-archive:old.tar"), "usage", "over OLD");
    std::os::unix::fs::symlink("old.tar", work.path("link")).unwrap();
    assert_eq!(apply("docker-archive:old.tar", "docker-archive:link"), "usage", "over OLD by another name");
    assert_eq!(apply("docker-archive:old.tar", "docker-archive:patch"), "usage", "over PATCH");
    for patch in ["old.tar", "new.tar", "link"] {
        let diff = ["image", "diff", "docker-archive:old.tar", "docker-archive:new.tar", "-o", patch];
        assert_eq!(fault(&diff), "usage", "a patch over {patch}");
    }
    assert_eq!(work.read("old.tar"), archive);
    assert_eq!(apply("docker-archive:cut.tar", "oci:made"), "not_an_image");
    assert_eq!(apply("docker-archive:noise", "oci:made"), "not_an_image");
    assert_eq!(apply("oci-archive:old.tar", "oci:made"), "not_an_image");
    assert_eq!(apply("docker-archive:missing", "oci:made"), "io");
    assert_eq!(apply("old.tar", "oci:made"), "usage", "where it is kept is not said");
    work.json(&["diff", "old.tar", "new.tar", "-o", "patch"]);
    assert_eq!(apply("docker-archive:old.tar", "oci:made"), "wrong_source", "a patch of files");
}

#[test]
fn an_image_that_is_here_already_takes_next_to_nothing() {
    let [old, _] = layers();
    let work = Workplace::new();
    work.write("old.tar", &docker_archive("app:1", &old));
    put_layout(&work.path("same"), "1", &old, Packing::Zstd);
    let made = work.json(&["image", "diff", "docker-archive:old.tar", "oci:same", "-o", "patch"]);
    assert_eq!(made["layers_made"], 0);
    assert!(made["patch_bytes"].as_u64().unwrap() < 600, "{made}");
    work.json(&["image", "apply", "docker-archive:old.tar", "patch", "--to", "docker-archive:made.tar"]);
    assert_eq!(config_digest(&work, "docker-archive:made.tar"), hex(&config(&old)));
}
