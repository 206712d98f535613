//! What comes over a bad link, or from a bad server.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use fluvial_registry::{RegistryError, Repository};
use oci_spec::image::{Descriptor, DescriptorBuilder, MediaType};
use serde_json::json;
use tempfile::TempDir;

use crate::server::{Fault, FaultServer, digest, hex, noise};

const LEN: usize = 300_000;
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

fn descriptor(bytes: &[u8]) -> Descriptor {
    DescriptorBuilder::default()
        .media_type(MediaType::ImageLayer)
        .digest(digest(bytes).parse::<oci_spec::image::Digest>().unwrap())
        .size(bytes.len() as u64)
        .build()
        .unwrap()
}

/// A server with one blob, and a folder.
struct Scene {
    server: FaultServer,
    blob: Vec<u8>,
    folder: TempDir,
}

impl Scene {
    fn new(faults: &[Fault]) -> Self {
        let server = FaultServer::start();
        let blob = noise(LEN);
        server.put_blob(&blob);
        server.misbehave(faults);
        Self { server, blob, folder: tempfile::tempdir().unwrap() }
    }

    fn fetch(&self, repository: &Repository) -> Result<Vec<u8>, RegistryError> {
        let path = repository.blob(&descriptor(&self.blob), self.folder.path(), &|_| true)?;
        assert_eq!(path, self.folder.path().join(hex(&self.blob)));
        assert_eq!(self.names(), [hex(&self.blob)], "nothing is left beside it");
        Ok(fs::read(path).unwrap())
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn part(&self) -> std::path::PathBuf {
        self.folder.path().join(format!("{}.part", hex(&self.blob)))
    }

    /// What was asked for since the last call; `all` where it was no range.
    fn ranges(&self) -> Vec<String> {
        let seen = self.server.seen().into_iter();
        seen.map(|seen| seen.range.unwrap_or_else(|| "all".into())).collect()
    }
}

/// A request for the rest, as [`Scene::ranges`] tells of it.
fn from(offset: usize) -> String {
    format!("bytes={offset}-")
}

#[test]
fn a_cut_connection_costs_nothing_but_itself() {
    let cuts = [Fault::CutAfter(100_000), Fault::CutAfter(0), Fault::Status(500), Fault::CutAfter(50_000)];
    let scene = Scene::new(&cuts);
    // One for the first cut, two more with nothing in between; then the count starts anew.
    let repository = scene.server.repository(3);
    assert_eq!(scene.fetch(&repository).unwrap(), scene.blob);
    let expected = ["all".into(), from(100_000), from(100_000), from(100_000), from(150_000)];
    assert_eq!(scene.ranges(), expected);
    assert_eq!(repository.fetched_bytes(), LEN as u64, "no byte has come twice");
    scene.fetch(&repository).unwrap();
    assert_eq!(scene.ranges(), [""; 0], "it is here already");
}

#[test]
fn a_later_process_goes_on() {
    let scene = Scene::new(&[Fault::CutAfter(120_000), Fault::Status(503)]);
    let error = scene.fetch(&scene.server.repository(1)).unwrap_err();
    assert!(matches!(error, RegistryError::Status { status: 503, .. }), "{error}");
    assert_eq!(fs::read(scene.part()).unwrap(), scene.blob[..120_000]);
    scene.server.seen();
    let later = scene.server.repository(0);
    assert_eq!(scene.fetch(&later).unwrap(), scene.blob);
    assert_eq!(scene.ranges(), [from(120_000)]);
    assert_eq!(later.fetched_bytes(), LEN as u64 - 120_000);
}

#[test]
fn a_whole_answer_to_a_range_starts_anew() {
    let scene = Scene::new(&[Fault::CutAfter(70_000), Fault::IgnoreRange]);
    assert_eq!(scene.fetch(&scene.server.repository(1)).unwrap(), scene.blob);
    assert_eq!(scene.ranges(), ["all".into(), from(70_000)]);
}

#[test]
fn a_range_that_is_refused_is_not_insisted_on() {
    for fault in [Fault::Status(416), Fault::OtherRange] {
        let scene = Scene::new(&[Fault::CutAfter(70_000), fault]);
        assert_eq!(scene.fetch(&scene.server.repository(1)).unwrap(), scene.blob);
        assert_eq!(scene.ranges(), ["all".into(), from(70_000), "all".into()], "{fault:?}");
    }
    // Without a range, the same answer means something else.
    let scene = Scene::new(&[Fault::Status(416), Fault::Status(416)]);
    let error = scene.fetch(&scene.server.repository(1)).unwrap_err();
    assert!(matches!(error, RegistryError::Range { offset: 0, .. }), "{error}");
}

#[test]
fn wrong_bytes_get_no_name() {
    let scene = Scene::new(&[Fault::ByteFlipped(7)]);
    let error = scene.fetch(&scene.server.repository(3)).unwrap_err();
    assert!(matches!(error, RegistryError::Digest { .. }), "{error}");
    assert_eq!(scene.ranges().len(), 1, "another try is the caller's");
    assert_eq!(fs::read(scene.part()).unwrap(), b"", "nothing of it is gone on from");
    assert_eq!(scene.fetch(&scene.server.repository(0)).unwrap(), scene.blob);
}

#[test]
fn a_part_of_something_else_is_thrown_away() {
    let scene = Scene::new(&[]);
    fs::write(scene.part(), vec![1; 5000]).unwrap();
    assert_eq!(scene.fetch(&scene.server.repository(0)).unwrap(), scene.blob);
    assert_eq!(scene.ranges(), [from(5000), "all".into()]);
    let scene = Scene::new(&[]);
    fs::write(scene.part(), vec![1; LEN + 1]).unwrap();
    assert_eq!(scene.fetch(&scene.server.repository(0)).unwrap(), scene.blob);
    assert_eq!(scene.ranges(), ["all"]);
    let scene = Scene::new(&[]);
    fs::write(scene.part(), &scene.blob).unwrap();
    assert_eq!(scene.fetch(&scene.server.repository(0)).unwrap(), scene.blob);
    assert_eq!(scene.ranges(), [""; 0], "all of it had come");
}

#[test]
fn more_than_was_announced_is_refused() {
    for fault in [Fault::LongerBy(1), Fault::LongerUntold(1), Fault::LongerUntold(1 << 20)] {
        let scene = Scene::new(&[fault]);
        let error = scene.fetch(&scene.server.repository(3)).unwrap_err();
        assert!(matches!(error, RegistryError::TooLong { limit, .. } if limit == LEN as u64), "{error}");
        assert_eq!(fs::metadata(scene.part()).unwrap().len(), 0);
        assert_eq!(scene.fetch(&scene.server.repository(0)).unwrap(), scene.blob);
    }
}

#[test]
fn patience_has_an_end() {
    let scene = Scene::new(&[Fault::Status(500); 4]);
    let error = scene.fetch(&scene.server.repository(3)).unwrap_err();
    assert!(matches!(error, RegistryError::Status { status: 500, .. }), "{error}");
    assert_eq!(scene.ranges().len(), 4);
    // What will not pass is not tried again.
    scene.server.misbehave(&[Fault::Status(403)]);
    let error = scene.fetch(&scene.server.repository(3)).unwrap_err();
    assert!(matches!(error, RegistryError::Denied { status: 403, .. }), "{error}");
    assert_eq!(scene.ranges().len(), 1);
}

#[test]
fn the_start_of_a_blob_is_fetched_once() {
    let scene = Scene::new(&[]);
    let repository = scene.server.repository(0);
    let descriptor = descriptor(&scene.blob);
    let start = |len| repository.blob_start(&descriptor, len, scene.folder.path(), &|_| true).unwrap();
    assert_eq!(start(1000), scene.blob[..1000]);
    assert_eq!(start(500), scene.blob[..500]);
    assert_eq!(start(64_000), scene.blob[..64_000]);
    assert_eq!(scene.fetch(&repository).unwrap(), scene.blob);
    let expected = ["bytes=0-999".to_owned(), "bytes=1000-63999".to_owned(), from(64_000)];
    assert_eq!(scene.ranges(), expected);
    assert_eq!(repository.fetched_bytes(), LEN as u64);
    assert_eq!(start(1 << 40), scene.blob, "a file that is complete serves as well");
}

#[test]
fn who_cancels_keeps_what_has_come() {
    let scene = Scene::new(&[]);
    let repository = scene.server.repository(0);
    let come = AtomicU64::new(0);
    let watch = |bytes| come.fetch_add(bytes, Ordering::Relaxed) + bytes < 1000;
    let error = repository.blob(&descriptor(&scene.blob), scene.folder.path(), &watch).unwrap_err();
    assert!(matches!(error, RegistryError::Cancelled), "{error}");
    let kept = fs::read(scene.part()).unwrap();
    assert_eq!(kept, scene.blob[..kept.len()]);
    assert!(kept.len() as u64 == come.into_inner() && kept.len() >= 1000, "{}", kept.len());
    scene.server.seen();
    scene.fetch(&repository).unwrap();
    assert_eq!(scene.ranges(), [from(kept.len())]);
}

#[test]
fn two_at_a_time_do_not_mix() {
    let scene = Scene::new(&[]);
    let file = fs::File::create(scene.part()).unwrap();
    file.lock().unwrap();
    let error = scene.fetch(&scene.server.repository(0)).unwrap_err();
    assert!(matches!(error, RegistryError::Busy { .. }), "{error}");
}

#[test]
fn a_server_that_is_gone_is_told_from_one_that_refuses() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let reference = format!("{nobody}/app:1").parse().unwrap();
    let repository = Repository::open(&reference, crate::server::hasty(1)).unwrap();
    let error = repository.image(None, &|_| true).unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error}");
    let server = FaultServer::start();
    let error = server.repository(1).image(None, &|_| true).unwrap_err();
    assert!(matches!(error, RegistryError::Missing { .. }), "{error}");
}

#[test]
fn who_asks_for_a_token_gets_one() {
    let scene = Scene::new(&[]);
    scene.server.require("first");
    let repository = scene.server.repository(0);
    repository.blob_start(&descriptor(&scene.blob), 10, scene.folder.path(), &|_| true).unwrap();
    // The token ends while we work.
    scene.server.require("second");
    assert_eq!(scene.fetch(&repository).unwrap(), scene.blob);
    let tokens: Vec<_> = scene.server.seen().into_iter().filter_map(|seen| seen.authorization).collect();
    assert_eq!(tokens, ["Bearer first", "Bearer first", "Bearer second"]);
}

#[test]
fn manifests_are_checked_and_short() {
    let server = FaultServer::start();
    let repository = server.repository(0);
    let manifest = json!({ "schemaVersion": 2, "config": descriptor(b"c"), "layers": [] }).to_string();
    let good = digest(manifest.as_bytes());
    server.put(&format!("manifests/{good}"), MANIFEST_TYPE, &[], manifest.as_bytes());
    assert_eq!(repository.manifest(&good, &|_| true).unwrap().bytes, manifest.as_bytes());
    let bad = digest(b"other");
    server.put(&format!("manifests/{bad}"), MANIFEST_TYPE, &[], manifest.as_bytes());
    let error = repository.manifest(&bad, &|_| true).unwrap_err();
    assert!(matches!(error, RegistryError::Digest { .. }), "{error}");
    server.put("manifests/1", MANIFEST_TYPE, &[], &vec![b' '; (4 << 20) + 1]);
    let error = repository.image(None, &|_| true).unwrap_err();
    assert!(matches!(error, RegistryError::TooLong { .. }), "{error}");
    let platform = json!({ "os": "linux", "architecture": "arm64" });
    let nested = json!({ "schemaVersion": 2, "manifests": [] }).to_string();
    server.put("manifests/1", INDEX_TYPE, &[], nested.as_bytes());
    let wanted = "linux/arm64".parse().unwrap();
    let error = repository.image(Some(&wanted), &|_| true).unwrap_err();
    assert!(matches!(error, RegistryError::Platform { .. }), "{error}");
    let entry =
        json!({ "mediaType": MANIFEST_TYPE, "digest": good, "size": manifest.len(), "platform": platform });
    let index = json!({ "schemaVersion": 2, "manifests": [entry] }).to_string();
    server.put("manifests/1", INDEX_TYPE, &[], index.as_bytes());
    assert_eq!(repository.image(Some(&wanted), &|_| true).unwrap().manifest.digest(), good);
}

#[test]
fn referrers_of_the_api_come_page_by_page() {
    let server = FaultServer::start();
    let repository = server.repository(0);
    let subject = digest(b"image");
    let entry = |name: &str, kind: &str| {
        let mut entry = json!(descriptor(name.as_bytes()));
        entry["artifactType"] = json!(kind);
        entry
    };
    let page = |entries: &[serde_json::Value]| {
        json!({ "schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries }).to_string().into_bytes()
    };
    let first = page(&[entry("a", "patch"), entry("b", "signature")]);
    let link = "</v2/app/referrers/next?n=2>; rel=\"next\"";
    server.put(&format!("referrers/{subject}"), INDEX_TYPE, &[("Link", link)], &first);
    server.put("referrers/next", INDEX_TYPE, &[], &page(&[entry("c", "patch")]));
    let found = repository.referrers(&subject, "patch", &|_| true).unwrap();
    let digests: Vec<String> = found.iter().map(|one| one.digest().to_string()).collect();
    assert_eq!(digests, [digest(b"a"), digest(b"c")]);
    let seen = server.seen();
    assert_eq!(seen[0].path, format!("/v2/app/referrers/{subject}?artifactType=patch"));
    assert_eq!(seen.len(), 2, "the fallback tag is not asked for");
    // A registry with the API lists by itself.
    repository.add_referrer(&subject, "patch", &entry("d", "patch"), &|_| true).unwrap();
    assert!(server.seen().iter().all(|seen| !seen.path.contains("manifests")));
}
