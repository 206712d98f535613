//! Runs every committed input: seeds of real tools, and whatever once crashed.

use std::path::{Path, PathBuf};

/// Runs all inputs of a folder, and tells of the one that fails.
fn run_all(folder: &Path, run: fn(&[u8])) -> usize {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.is_file() && path.extension().is_none_or(|extension| extension != "sh"));
    paths.sort();
    for path in &paths {
        let bytes = std::fs::read(path).expect("a committed file");
        println!("{}", path.display());
        run(&bytes);
    }
    paths.len()
}

fn corpus(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    assert!(run_all(&folder, run) > 0, "{target} has no corpus");
}

#[test]
fn artifacts() {
    corpus("artifacts", crate::artifacts::run);
}

#[test]
fn patch() {
    corpus("patch", crate::patch::run);
}

#[test]
fn bundle() {
    corpus("bundle", crate::bundle::run);
}

#[test]
fn dissect() {
    corpus("dissect", crate::dissect::run);
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/image/tests/seeds");
    assert!(run_all(&images, crate::dissect::run) > 0);
}

#[test]
fn decode() {
    corpus("decode", crate::decode::run);
}

#[test]
fn recipe() {
    corpus("recipe", crate::recipe::run);
}

#[test]
fn prove() {
    corpus("prove", crate::prove::run);
}

#[test]
fn predict() {
    corpus("predict", crate::predict::run);
}

#[test]
fn diff_apply() {
    corpus("diff_apply", crate::diff_apply::run);
}

#[test]
fn rdiff_delta() {
    corpus("rdiff_delta", crate::rdiff_delta::run);
}

#[test]
fn rdiff_signature() {
    corpus("rdiff_signature", crate::rdiff_signature::run);
}

#[test]
fn rdiff_pair() {
    corpus("rdiff_pair", crate::rdiff_pair::run);
}

#[test]
fn swu() {
    corpus("swu", crate::swu::run);
}

#[test]
fn sw_description() {
    corpus("sw_description", crate::sw_description::run);
}
