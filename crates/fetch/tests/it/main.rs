//! Payloads are fetched from a server that misbehaves, and from a folder.
#![expect(clippy::unwrap_used, reason = "what the tests share is test code too")]

use std::fs;
use std::sync::atomic::Ordering;

use fluvial_bundle::{Cutting, HashKind, Index, Part, Payload, Tally, WriteOptions, write};
use fluvial_delta::memory::MemoryTarget;
use fluvial_delta::scratch::MemoryScratch;
use fluvial_delta::structure::{Files, ReadAt};
use fluvial_fetch::{ChunkFile, FetchError, FetchObserver, FetchPhase, Site, Store, assemble};
use fluvial_testing::{RangeFault, RangeServer};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

mod reads;
mod whole_files;

/// What stands before the chunks of a file, and between those of its payloads.
const BETWEEN_BYTES: usize = 60;

/// Goes on, or stops at the first byte that is fetched.
struct Observer {
    goes_on: bool,
}

impl FetchObserver for Observer {
    fn begin(&self, _phase: FetchPhase, _bytes: u64) {}

    fn advance(&self, bytes: u64) -> bool {
        self.goes_on || bytes == 0
    }
}

const GO_ON: Observer = Observer { goes_on: true };

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as u8
    };
    (0..len).map(&mut next).collect()
}

/// Payloads that were published, and a place to keep what comes.
struct Published {
    folder: TempDir,
    payloads: Vec<Vec<u8>>,
    indexes: Vec<Index>,
    files: Vec<ChunkFile>,
}

impl Published {
    /// Publishes payloads: each in a file of its own, or all of them in one.
    fn new(payloads: Vec<Vec<u8>>, in_one_file: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = folder.path().join("site");
        fs::create_dir(&site).unwrap();
        let (mut indexes, mut files, mut file) = (Vec::new(), Vec::new(), Vec::new());
        for (number, bytes) in payloads.iter().enumerate() {
            let sha256 = Sha256::digest(bytes).into();
            let payload = Payload { name: "../out", sha256, bytes, files: &Files::new(), unpacked: None };
            let mut chunks = Vec::new();
            let options = WriteOptions { level: 1, cutting: Cutting::Files, hash: HashKind::default() };
            let index = write(payload, options, &mut chunks, &|_| true).unwrap();
            if !in_one_file {
                file.clear();
            }
            file.extend_from_slice(&[b'-'; BETWEEN_BYTES]);
            let name = if in_one_file { "all".into() } else { format!("chunks{number}") };
            let (offset, len) = (file.len() as u64, index.chunk_file_len());
            file.extend_from_slice(&chunks);
            fs::write(site.join(&name), &file).unwrap();
            files.push(ChunkFile { name, offset, len });
            indexes.push(index);
        }
        Self { folder, payloads, indexes, files }
    }

    fn serve(&self, fault: RangeFault) -> (RangeServer, Site) {
        let server = RangeServer::start(&self.folder.path().join("site"), fault).unwrap();
        let site = Site::open(&server.base, 4).unwrap();
        (server, site)
    }

    fn store(&self) -> Store {
        Store::open(&self.folder.path().join("store"), &self.indexes).unwrap()
    }

    /// Makes all payloads of what `old` holds and what the site has; compares them.
    fn fetch(
        &self,
        site: &Site,
        store: &Store,
        old: &[Vec<u8>],
        observer: &Observer,
    ) -> Result<Tally, FetchError> {
        let target = |payload: &Vec<u8>| MemoryTarget::new(payload.len());
        let targets: Vec<MemoryTarget> = self.payloads.iter().map(target).collect();
        let parts: Vec<Part<'_>> =
            self.indexes.iter().zip(&targets).map(|(index, target)| Part { index, target }).collect();
        let streams = old.iter().map(|bytes| bytes as &dyn ReadAt).collect();
        let tally = assemble(&parts, streams, &MemoryScratch, site, &self.files, store, observer)?;
        for (target, payload) in targets.into_iter().zip(&self.payloads) {
            assert!(target.into_bytes() == *payload);
        }
        Ok(tally)
    }
}

fn five_payloads() -> Vec<Vec<u8>> {
    (0..5).map(|seed| noise(seed, 150_000)).collect()
}

/// The same with a few bytes changed.
fn changed(payloads: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut old = payloads.to_vec();
    for payload in &mut old {
        payload[70_000] ^= 1;
    }
    old
}

#[test]
fn payloads_of_one_file_share_requests() {
    let mut requests = Vec::new();
    for in_one_file in [true, false] {
        let published = Published::new(five_payloads(), in_one_file);
        let (server, site) = published.serve(RangeFault::None);
        let old = changed(&published.payloads);
        let tally = published.fetch(&site, &published.store(), &old, &GO_ON).unwrap();
        assert!(tally.found_bytes > 650_000, "{tally:?}");
        assert!(!server.has_repeated());
        assert_eq!(site.counters().bytes, server.body_bytes() as u64);
        requests.push(site.counters().requests);
    }
    assert!(requests[0] * 2 < requests[1], "{requests:?}");
}

#[test]
fn a_folder_is_a_site_too() {
    let published = Published::new(five_payloads(), true);
    let site = Site::open(published.folder.path().join("site").to_str().unwrap(), 1).unwrap();
    published.fetch(&site, &published.store(), &[], &GO_ON).unwrap();
    assert_eq!(site.counters().requests, 0);
    assert!(!published.folder.path().join("out").exists(), "an index names no path");
}

#[test]
fn what_has_come_is_not_fetched_again() {
    let payloads: Vec<Vec<u8>> = (0..3).map(|seed| noise(seed, 2_000_000)).collect();
    let published = Published::new(payloads, true);
    let (broken, site) = published.serve(RangeFault::Gone(6));
    let error = published.fetch(&site, &published.store(), &[], &GO_ON).unwrap_err();
    assert!(matches!(error, FetchError::Cut { .. }) && error.may_retry(), "{error}");
    let (server, site) = published.serve(RangeFault::None);
    published.fetch(&site, &published.store(), &[], &GO_ON).unwrap();
    let chunks: u64 = published.files.iter().map(|file| file.len).sum();
    let sum = (broken.body_bytes() + server.body_bytes()) as u64;
    // Some 150 ranges have about 110 bytes each before them.
    assert!(broken.body_bytes() > 1_000_000 && sum < chunks + 16_000, "{sum} of {chunks}");
}

#[test]
fn a_caller_stops_it_and_a_server_that_refuses_is_told() {
    let published = Published::new(five_payloads(), true);
    let (server, site) = published.serve(RangeFault::None);
    let stopped = published.fetch(&site, &published.store(), &[], &Observer { goes_on: false });
    assert!(matches!(stopped, Err(FetchError::Cancelled)));
    assert_eq!(server.counts.range_requests.load(Ordering::SeqCst), 1);
    let (_server, site) = published.serve(RangeFault::Status(403, usize::MAX));
    let refused = published.fetch(&site, &published.store(), &[], &GO_ON).unwrap_err();
    assert!(matches!(refused, FetchError::Refused { .. }) && !refused.may_retry(), "{refused}");
    let (_server, site) = published.serve(RangeFault::OtherRange);
    let others = published.fetch(&site, &published.store(), &[], &GO_ON).unwrap_err();
    assert!(matches!(others, FetchError::OtherRanges { .. }), "{others}");
}
