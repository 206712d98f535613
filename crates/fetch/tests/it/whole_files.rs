//! Servers that know no ranges.

use super::*;

#[test]
fn a_server_without_ranges_sends_each_file_once() {
    for in_one_file in [true, false] {
        let published = Published::new(five_payloads(), in_one_file);
        let (_server, site) = published.serve(RangeFault::WholeFile);
        let store = published.store();
        let old = changed(&published.payloads);
        published.fetch(&site, &store, &old, &GO_ON).unwrap();
        let files = if in_one_file { 1 } else { 5 };
        let counters = site.counters();
        assert_eq!(counters.whole_files, files);
        for (payload, file) in published.files.iter().enumerate() {
            assert!(store.missing(payload, 0..file.len).is_empty(), "all of it is kept");
        }
        let chunks: u64 = published.files.iter().map(|file| file.len).sum();
        assert!(counters.bytes <= chunks + 5 * BETWEEN_BYTES as u64, "{counters:?} of {chunks}");
        // A later run asks for nothing.
        let (server, site) = published.serve(RangeFault::WholeFile);
        published.fetch(&site, &published.store(), &[], &GO_ON).unwrap();
        assert_eq!((site.counters().requests, server.body_bytes()), (0, 0));
    }
}

#[test]
fn a_whole_file_that_is_cut_is_an_error() {
    let published = Published::new(five_payloads(), true);
    let path = published.folder.path().join("site/all");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let (_server, site) = published.serve(RangeFault::WholeFile);
    let error = published.fetch(&site, &published.store(), &[], &GO_ON).unwrap_err();
    assert!(matches!(error, FetchError::OtherRanges { .. }), "{error}");
    // What was there is kept.
    let half = bytes.len() as u64 / 2 - published.files[0].offset;
    assert!(published.store().missing(0, 0..half.min(published.files[0].len)).is_empty());
}

#[test]
fn a_whole_file_that_breaks_off_is_asked_for_again() {
    let published = Published::new(five_payloads(), true);
    let (_server, site) = published.serve(RangeFault::WholeFileCut(4));
    published.fetch(&site, &published.store(), &[], &GO_ON).unwrap();
    // Two answers to several ranges are not read.
    assert_eq!(site.counters().retries, 2);
}

#[test]
fn bytes_that_come_wrong_are_found_in_a_whole_file_too() {
    let published = Published::new(five_payloads(), true);
    let path = published.folder.path().join("site/all");
    let mut bytes = fs::read(&path).unwrap();
    bytes[published.files[3].offset as usize + 100] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (_server, site) = published.serve(RangeFault::WholeFile);
    let error = published.fetch(&site, &published.store(), &[], &GO_ON).unwrap_err();
    assert!(matches!(error, FetchError::Assemble(_)), "{error}");
}
