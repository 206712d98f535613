//! Debian's `docker-registry`, which lacks the referrers API.

use std::fs;

use fluvial_registry::{RegistryError, Repository};
use fluvial_testing::DockerRegistry;
use oci_spec::image::MediaType;
use serde_json::json;

use crate::server::{digest, hasty, hex, noise};

fn open(registry: &DockerRegistry, image: &str) -> Repository {
    let reference = format!("{}/{image}", registry.host).parse().unwrap();
    Repository::open(&reference, hasty(0)).unwrap()
}

#[test]
fn what_is_pushed_is_fetched() {
    let Some(registry) = DockerRegistry::start().unwrap() else { return };
    let repository = open(&registry, "team/app:1");
    let folder = tempfile::tempdir().unwrap();
    // More than one request carries.
    let blob = noise(5 << 20);
    let path = folder.path().join("blob");
    fs::write(&path, &blob).unwrap();
    let layer = repository.push_blob(&path, MediaType::ImageLayer, &|_| true).unwrap();
    assert_eq!((layer.digest().to_string(), layer.size()), (digest(&blob), blob.len() as u64));
    let config = repository.push_bytes(b"{}", MediaType::ImageConfig, &|_| true).unwrap();
    let sent = std::cell::Cell::new(0);
    let again = repository.push_blob(&path, MediaType::ImageLayer, &|bytes| {
        sent.set(sent.get() + bytes);
        true
    });
    assert_eq!((again.unwrap(), sent.get()), (layer.clone(), 0), "the registry has it");

    let manifest = json!({
        "schemaVersion": 2, "mediaType": MediaType::ImageManifest, "config": config, "layers": [layer],
    });
    let bytes = manifest.to_string().into_bytes();
    let pushed =
        repository.push_manifest(bytes.clone(), MediaType::ImageManifest, Some("1"), &|_| true).unwrap();
    let image = repository.image(None, &|_| true).unwrap();
    assert_eq!((image.manifest.bytes, image.manifest.sha256), (bytes, pushed.sha256));
    assert_eq!(image.parsed.layers()[..], *std::slice::from_ref(&layer));

    let fresh = open(&registry, &format!("team/app@{}", pushed.digest()));
    let start = fresh.blob_start(&layer, 70_000, folder.path(), &|_| true).unwrap();
    assert_eq!(start, blob[..70_000]);
    let path = fresh.blob(&layer, folder.path(), &|_| true).unwrap();
    assert_eq!(path, folder.path().join(hex(&blob)));
    assert_eq!(fs::read(path).unwrap(), blob);
    assert_eq!(fresh.fetched_bytes(), blob.len() as u64, "it was fetched in two parts, and once");
    let missing = open(&registry, "team/other:1").image(None, &|_| true).unwrap_err();
    assert!(matches!(missing, RegistryError::Missing { .. }), "{missing}");
}

#[test]
fn the_fallback_tag_lists_referrers() {
    let Some(registry) = DockerRegistry::start().unwrap() else { return };
    let repository = open(&registry, "app:1");
    let config = repository.push_bytes(b"{}", MediaType::ImageConfig, &|_| true).unwrap();
    let push = |annotation: &str| {
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MediaType::ImageManifest, "config": config, "layers": [],
            "annotations": { "a": annotation },
        });
        let bytes = manifest.to_string().into_bytes();
        repository.push_manifest(bytes, MediaType::ImageManifest, None, &|_| true).unwrap()
    };
    let subject = push("image").digest();
    assert_eq!(repository.referrers(&subject, "patch", &|_| true).unwrap(), []);
    let add = |name: &str, kind: &str| {
        let manifest = push(name);
        let mut entry = json!(manifest.descriptor().unwrap());
        entry["artifactType"] = json!(kind);
        entry["annotations"] = json!({ "name": name });
        repository.add_referrer(&subject, kind, &entry, &|_| true).unwrap();
        manifest.digest()
    };
    let (first, _, second) = (add("first", "patch"), add("other", "signature"), add("second", "patch"));
    add("second", "patch");
    let found = repository.referrers(&subject, "patch", &|_| true).unwrap();
    let digests: Vec<String> = found.iter().map(|one| one.digest().to_string()).collect();
    assert_eq!(digests, [first, second], "each once, and only what was asked for");
    assert_eq!(found[0].annotations().as_ref().unwrap()["name"], "first");
    assert_eq!(repository.referrers(&subject, "signature", &|_| true).unwrap().len(), 1);
}
