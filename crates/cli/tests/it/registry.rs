//! `fluvial image` against a real registry: Debian's `docker-registry`.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fluvial_registry::{Repository, Settings};
use fluvial_testing::DockerRegistry;
use oci_spec::image::MediaType;
use serde_json::{Value, json};

use crate::image::{Packing, config_digest, layers, pack};
use crate::images::{config, docker_archive, hex};
use crate::support::Workplace;

/// A registry, and a folder with the old image as an archive.
struct Scene {
    registry: DockerRegistry,
    work: Workplace,
    old_image: String,
    new_image: String,
    /// The new image's digest.
    expected: String,
}

impl Scene {
    fn set() -> Option<Self> {
        let registry = DockerRegistry::start().unwrap()?;
        let [old, new] = layers();
        let work = Workplace::new();
        work.write("old.tar", &docker_archive("app:1", &old));
        let image = |tag: &str| format!("docker://{}/app:{tag}", registry.host);
        let (old_image, new_image) = (image("old"), image("new"));
        let scene = Self { registry, work, old_image, new_image, expected: hex(&config(&new)) };
        scene.push("old", &old);
        scene.push("new", &new);
        Some(scene)
    }

    /// Pushes an image with packed layers.
    fn push(&self, tag: &str, layers: &[Vec<u8>]) {
        let reference = format!("{}/app:{tag}", self.registry.host).parse().unwrap();
        let repository = Repository::open(&reference, Settings::default()).unwrap();
        let push = |bytes: &[u8], kind: MediaType| repository.push_bytes(bytes, kind, &|_| true).unwrap();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::ImageManifest,
            "config": push(&config(layers), MediaType::ImageConfig),
            "layers": layers.iter().map(|layer| push(&pack(layer, Packing::Gzip), MediaType::ImageLayerGzip))
                .collect::<Vec<_>>(),
        });
        let bytes = manifest.to_string().into_bytes();
        repository.push_manifest(bytes, MediaType::ImageManifest, Some(tag), &|_| true).unwrap();
    }

    /// Removes the content of a blob behind the registry's back.
    fn lose(&self, digest: &str) {
        fs::remove_file(self.registry.blob_path(digest)).unwrap();
    }
}

/// The options of a pull that gives up soon.
const HASTY: [&str; 4] = ["--retry-count", "1", "--retry-interval-ms", "8"];

fn pull(work: &Workplace, image: &str, more: &[&str]) -> Value {
    work.json(&[&["image", "pull", image], more, &HASTY].concat())
}

fn bytes(value: &Value) -> u64 {
    value["fetched_bytes"].as_u64().unwrap()
}

#[test]
fn the_cheapest_route_that_works_is_taken() {
    let Some(scene) = Scene::set() else { return };
    let Scene { work, old_image, new_image, expected, .. } = &scene;
    let base = ["--base", "docker-archive:old.tar"];

    let full = pull(work, new_image, &["--to", "oci-archive:full"]);
    assert_eq!(
        (&full["route"], &full["reason"], &full["layers_new"]),
        (&json!("full"), &json!(null), &json!(3))
    );
    let missing = pull(work, new_image, &[&["--to", "docker-archive:missing"], &base[..]].concat());
    assert_eq!((&missing["route"], &missing["layers_new"]), (&json!("layers"), &json!(2)));
    assert!(missing["reason"].as_str().unwrap().contains("no patch from sha256:"), "{missing}");

    let pushed = work.json(&["image", "push-delta", old_image, new_image]);
    let patch = pull(work, new_image, &[&["--to", "oci:patched:2"], &base[..]].concat());
    assert_eq!((&patch["route"], &patch["reason"]), (&json!("patch"), &json!(null)));
    let patch_bytes = pushed["patch_bytes"].as_u64().unwrap();
    assert!(bytes(&patch) > patch_bytes && bytes(&patch) < patch_bytes + 5000, "{patch} {pushed}");
    assert!(bytes(&patch) < bytes(&missing) && bytes(&missing) < bytes(&full), "{patch} {missing} {full}");
    for (made, image) in
        [(full, "oci-archive:full"), (missing, "docker-archive:missing"), (patch, "oci:patched:2")]
    {
        assert_eq!(made["image_digest"], format!("sha256:{expected}"));
        assert_eq!(config_digest(work, image), *expected, "{image}");
    }
    let kept = pull(work, new_image, &["--to", "oci:again", "--base", "oci-archive:full"]);
    assert_eq!(
        (&kept["route"], &kept["layers_new"], &kept["reason"]),
        (&json!("layers"), &json!(0), &json!(null))
    );
    assert_eq!(work.names(), ["again", "full", "missing", "old.tar", "patched"], "nothing is left beside");
}

#[test]
fn what_does_not_work_is_said_and_gone_around() {
    let Some(scene) = Scene::set() else { return };
    let Scene { work, old_image, new_image, expected, .. } = &scene;
    work.json(&["image", "diff", old_image, new_image, "-o", "patch"]);
    assert_eq!(work.names(), ["old.tar", "patch"]);
    work.json(&["image", "apply", old_image, "patch", "--to", "oci-archive:made"]);
    assert_eq!(config_digest(work, "oci-archive:made"), *expected);
    let wrong = ["image", "push-delta", "docker-archive:old.tar", old_image, "--patch", "patch"];
    assert_eq!(work.fault(&wrong).0, "usage", "it makes another image");
    let push = ["image", "push-delta", "docker-archive:old.tar", new_image, "--patch", "patch"];
    let pushed = work.json(&push);
    assert_eq!(work.json(&push)["artifact_digest"], pushed["artifact_digest"], "it is there already");

    let to = |to: &'static str| ["--to", to, "--base", "docker-archive:old.tar"];
    let over = pull(work, new_image, &[&to("oci:over")[..], &["--memory-limit", "1000"]].concat());
    assert_eq!(over["route"], "layers");
    assert!(over["reason"].as_str().unwrap().contains("of memory"), "{over}");
    assert_eq!(config_digest(work, "oci:over"), *expected);

    // A base that is not what its config says: a file of the application is another one.
    let mut archive = docker_archive("app:1", &layers()[0]);
    let at = archive.windows(8).position(|bytes| bytes == b"srv/app/").unwrap();
    archive[at + 512 + 100] ^= 1;
    work.write("damaged.tar", &archive);
    let damaged = pull(work, new_image, &["--to", "oci:damaged", "--base", "docker-archive:damaged.tar"]);
    assert_eq!(damaged["route"], "layers");
    assert!(damaged["reason"].as_str().unwrap().contains("diff id"), "{damaged}");
    assert_eq!(config_digest(work, "oci:damaged"), *expected);
    // The layer that both have is damaged as well.
    let at = archive.windows(8).position(|bytes| bytes == b"usr/lib/").unwrap();
    archive[at + 512 + 100] ^= 1;
    work.write("damaged.tar", &archive);
    let damaged = pull(work, new_image, &["--to", "oci:rescued", "--base", "docker-archive:damaged.tar"]);
    assert_eq!(damaged["route"], "full");
    assert_eq!(config_digest(work, "oci:rescued"), *expected);

    scene.lose(&format!("sha256:{}", hex(&work.read("patch"))));
    let lost = pull(work, new_image, &to("oci:lost"));
    assert_eq!(lost["route"], "layers");
    assert!(lost["reason"].as_str().unwrap().contains("the patch sha256:"), "{lost}");
    assert_eq!(config_digest(work, "oci:lost"), *expected);

    let gone = ["image", "pull", &format!("{new_image}er"), "--to", "oci:none"];
    assert_eq!(work.fault(&gone).0, "registry");
    let over_old =
        ["image", "pull", new_image, "--to", "docker-archive:old.tar", "--base", "docker-archive:old.tar"];
    assert_eq!(work.fault(&over_old).0, "usage");
    assert_eq!(work.fault(&["image", "pull", "oci:over", "--to", "oci:x"]).0, "usage");
    let nobody =
        format!("docker://{}/app:1", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let nobody = [&["image", "pull", &nobody, "--to", "oci:x"][..], &HASTY].concat();
    assert_eq!(work.fault(&nobody).0, "unreachable");
}

/// A link to a registry that lets so many bytes through altogether, and then none.
struct CutLink {
    host: String,
    left: Arc<AtomicUsize>,
}

impl CutLink {
    fn to(registry: &DockerRegistry, bytes: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (host, left) = (listener.local_addr().unwrap().to_string(), Arc::new(AtomicUsize::new(bytes)));
        let (target, counter) = (registry.host.clone(), Arc::clone(&left));
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let (far, counter) = (TcpStream::connect(&target).unwrap(), Arc::clone(&counter));
                let (mut near_in, mut far_out) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut near_in, &mut far_out));
                std::thread::spawn(move || carry(far, near, &counter));
            }
        });
        Self { host, left }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, left: &AtomicUsize) -> Option<()> {
    use std::io::{Read as _, Write as _};
    let mut buf = [0; 4096];
    loop {
        let read = from.read(&mut buf).ok().filter(|read| *read > 0)?;
        let may =
            left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.saturating_sub(read)));
        to.write_all(&buf[..read.min(may.unwrap())]).ok()?;
        if may.unwrap() < read {
            to.shutdown(std::net::Shutdown::Both).ok()?;
            from.shutdown(std::net::Shutdown::Both).ok()?;
            return None;
        }
    }
}

#[test]
fn a_pull_that_was_cut_goes_on() {
    let Some(scene) = Scene::set() else { return };
    let work = &scene.work;
    let whole = bytes(&pull(work, &scene.new_image, &["--to", "oci:whole"]));
    let link = CutLink::to(&scene.registry, 250_000);
    let image = format!("docker://{}/app:new", link.host);
    let command = [&["image", "pull", &image, "--to", "oci-archive:made"][..], &HASTY].concat();
    let (kind, _) = work.fault(&command);
    assert!(["registry", "unreachable"].contains(&kind.as_str()), "{kind}");
    assert_eq!(work.names(), ["made.fetch", "old.tar", "whole"], "the image is not there, what has come is");
    let blobs = fs::read_dir(work.path("made.fetch/blobs/sha256")).unwrap();
    let come: u64 = blobs.map(|blob| blob.unwrap().metadata().unwrap().len()).sum();
    assert!(come > 200_000, "{come}");
    link.left.store(usize::MAX, Ordering::SeqCst);
    let made = pull(work, &image, &["--to", "oci-archive:made"]);
    assert_eq!(config_digest(work, "oci-archive:made"), scene.expected);
    // The config was there, and so was the start of the layers: only the manifest came twice.
    assert!(bytes(&made) <= whole - come, "{made}: {whole} in all, {come} were there");
    assert_eq!(work.names(), ["made", "old.tar", "whole"]);
}
