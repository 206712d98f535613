//! Whole files and single ranges.

use super::*;

fn file(bytes: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), bytes).unwrap();
    folder
}

#[test]
fn ranges_are_read_from_servers_of_any_kind() {
    let bytes = noise(1, 300_000);
    let folder = file(&bytes);
    let read = |site: &Site| {
        assert!(site.read("file", 300_000).unwrap() == bytes);
        assert!(matches!(site.read("file", 299_999), Err(FetchError::TooLong { limit: 299_999, .. })));
        assert!(site.read_range("file", 1000..250_000, 1 << 20).unwrap() == bytes[1000..250_000]);
        assert!(site.read_range("file", 7..7, 0).unwrap().is_empty());
        assert!(matches!(site.read_range("file", 0..11, 10), Err(FetchError::TooLong { limit: 10, .. })));
    };
    for (fault, whole_files) in [(RangeFault::None, 0), (RangeFault::WholeFile, 1)] {
        let server = RangeServer::start(folder.path(), fault).unwrap();
        let site = Site::open(&server.base, 1).unwrap();
        read(&site);
        assert_eq!(site.counters().whole_files, whole_files);
    }
    let site = Site::open(folder.path().to_str().unwrap(), 1).unwrap();
    read(&site);
    assert_eq!(site.read_range("file", 299_990..300_050, 100).unwrap(), bytes[299_990..]);
    assert!(matches!(site.read("other", 10), Err(FetchError::Read { .. })));
}

#[test]
fn a_range_that_breaks_off_is_gone_on_with() {
    let bytes = noise(1, 300_000);
    let folder = file(&bytes);
    let server = RangeServer::start(folder.path(), RangeFault::Cut(2)).unwrap();
    let site = Site::open(&server.base, 1).unwrap();
    assert!(site.read_range("file", 0..200_000, 200_000).unwrap() == bytes[..200_000]);
    assert_eq!(site.counters().retries, 2);
    assert_eq!(site.counters().bytes, 200_000, "nothing came twice");
}
