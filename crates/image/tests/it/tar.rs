use fluvial_delta::structure::Content;

use crate::proof::{dissect, matches_tree};
use crate::tools::{have, run};
use crate::tree::Tree;

#[test]
fn every_dialect_gives_the_files_back() {
    if !have("tar") {
        return;
    }
    let tree = Tree::new();
    for dialect in ["gnu", "oldgnu", "pax", "ustar"] {
        let mut args = vec!["-cf", "-", "--format", dialect, "--sort=name"];
        if dialect == "ustar" {
            // A component of more than 100 bytes has no place there.
            args.push("--exclude=long-name-*");
        }
        args.extend(["-C", "root", "."]);
        let image = run(tree.scratch.path(), "tar", &args);
        let structure = dissect(&image, "tar");
        if dialect == "ustar" {
            assert!(structure.parts.iter().any(|part| part.path == "usr/share/prose"));
        } else {
            matches_tree(&image, &structure, &tree);
        }
    }
}

#[test]
fn sparse_files_keep_their_name_and_stored_bytes() {
    if !have("tar") {
        return;
    }
    let tree = Tree::new();
    for dialect in ["--format=gnu", "--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0"] {
        let pax = if dialect.starts_with("--sparse") { "--format=pax" } else { "--format=gnu" };
        let args = ["-cSf", "-", pax, dialect, "-C", "root", "one", "sparse", "usr/share/prose"];
        let image = run(tree.scratch.path(), "tar", &args);
        let structure = dissect(&image, "tar");
        let paths: Vec<_> = structure.parts.iter().map(|part| part.path.as_str()).collect();
        assert_eq!(paths, ["one", "sparse", "usr/share/prose"], "{dialect}");
        let stored = crate::proof::content(&image, &structure.parts[1].content);
        assert!(stored.len() < 80_000, "{dialect}: holes are not stored");
        let tail = &tree.files["sparse"][1 << 20..][..40_000];
        assert!(stored.windows(tail.len()).any(|window| window == tail), "{dialect}");
        assert!(crate::proof::content(&image, &structure.parts[2].content) == tree.files["usr/share/prose"]);
    }
}

#[test]
fn a_tar_that_is_cut_keeps_what_is_whole() {
    if !have("tar") {
        return;
    }
    let tree = Tree::new();
    let args = ["-cf", "-", "-C", "root", "one", "usr/share/prose", "text"];
    let mut image = run(tree.scratch.path(), "tar", &args);
    image.truncate(300_000);
    let structure = dissect(&image, "tar");
    assert_eq!(structure.parts.len(), 1);
    assert_eq!(structure.parts[0].path, "one");
    assert!(matches!(&structure.parts[0].content, Content::Plain(extents) if extents[0].len == 1));
}
