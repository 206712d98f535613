//! casync itself, and the chunks that it cuts.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use fluvial_bundle::Chunker;

/// The ends of the chunks that casync cuts a file into, from the index that it writes: a header of 48 bytes, a
/// table's header of 16, then for each chunk where it ends and its digest (casync, `src/caformat.h`).
fn ends_of_casync(file: &Path, folder: &Path, chunk_bytes: usize) -> Vec<u64> {
    const HEADERS_BYTES: usize = 48 + 16;
    const ITEM_BYTES: usize = 8 + 32;
    let index = folder.join("index.caibx");
    let output = Command::new("casync")
        .arg("make")
        .arg(format!("--store={}", folder.join("store.castr").display()))
        .arg(format!("--chunk-size={chunk_bytes}"))
        .args([&index, file])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bytes = fs::read(index).unwrap();
    let items = bytes[HEADERS_BYTES..].chunks_exact(ITEM_BYTES);
    let ends = items.map(|item| u64::from_le_bytes(item[..8].try_into().unwrap()));
    // The last item is the table's tail, and begins with a zero.
    ends.take_while(|&end| end != 0).collect()
}

fn ends_of_ours(file: &Path, chunker: Chunker) -> Vec<u64> {
    let mut chunks = chunker.chunks(File::open(file).unwrap());
    let mut ends = vec![0];
    while let Some(chunk) = chunks.next_chunk().unwrap() {
        ends.push(ends.last().unwrap() + chunk.len() as u64);
    }
    ends.split_off(1)
}

#[test]
fn a_file_is_cut_where_casync_cuts_it() {
    if Command::new("casync").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "casync is not installed");
        eprintln!("skipped: casync is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // This program: code, tables, text, and long rows of zeros between and behind them.
    let file = folder.path().join("file");
    let mut bytes = fs::read(std::env::current_exe().unwrap()).unwrap();
    bytes.truncate(24 << 20);
    bytes.splice(1_000_000..1_000_000, vec![0; 3_000_000]);
    bytes.resize(bytes.len() + 1_234_567, 0);
    fs::write(&file, &bytes).unwrap();
    for kib in [4, 16, 64, 256] {
        let chunker = Chunker::casync(kib).unwrap();
        let expected = ends_of_casync(&file, folder.path(), chunker.bytes_avg());
        assert_eq!(expected.last(), Some(&(bytes.len() as u64)));
        assert_eq!(ends_of_ours(&file, chunker), expected, "{chunker}");
    }
}
