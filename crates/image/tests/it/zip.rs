use fluvial_codec::Format;
use fluvial_delta::structure::{Content, Dissector as _};
use fluvial_image::Anatomist;

use crate::proof::{content, dissect, matches_tree};
use crate::tools::{feed, have, run};
use crate::tree::{Tree, text};

#[test]
fn zip_gives_the_files_back() {
    if !have("zip") {
        return;
    }
    let tree = Tree::new();
    // Names that are not UTF-8 come back as something else: zip has no such names.
    for args in [&["-q", "-r", "-9"][..], &["-q", "-r", "-0"], &["-q", "-r", "-fz"]] {
        let args = [args, &["-y", "../image.zip", ".", "-x", "./not-utf8*"]].concat();
        run(&tree.root(), "zip", &args);
        let image = std::fs::read(tree.scratch.path().join("image.zip")).unwrap();
        std::fs::remove_file(tree.scratch.path().join("image.zip")).unwrap();
        let structure = dissect(&image, "zip");
        let mut tree_without = Tree {
            scratch: tempfile::tempdir().unwrap(),
            files: tree.files.clone(),
            twins: tree.twins.clone(),
        };
        tree_without.files.retain(|path, _| !path.starts_with("not-utf8"));
        matches_tree(&image, &structure, &tree_without);
    }
}

#[test]
fn a_streamed_zip_and_one_behind_a_program() {
    if !have("zip") {
        return;
    }
    let tree = Tree::new();
    // From standard input to standard output: sizes stand behind the content, in zip64.
    let mut image = feed(tree.scratch.path(), "zip", &["-q", "-", "-"], text(100_000).as_bytes());
    let structure = dissect(&image, "zip");
    assert_eq!(structure.parts[0].path, "-");
    assert!(content(&image, &structure.parts[0].content) == text(100_000).as_bytes());

    run(&tree.root(), "zip", &["-q", "../image.zip", "usr/share/prose", "usr/share/page"]);
    let zip = std::fs::read(tree.scratch.path().join("image.zip")).unwrap();
    image = [b"#!/usr/bin/env python3\n".as_slice(), &zip].concat();
    let structure = dissect(&image, "zip");
    assert_eq!(structure.parts.len(), 2);
    for part in &structure.parts {
        assert!(content(&image, &part.content) == tree.files[&part.path]);
    }
    image.truncate(image.len() - 30);
    assert_eq!(Anatomist.dissect(&image, "app.pyz"), None);
}

#[test]
fn members_of_a_debian_package_are_opened() {
    if !have("dpkg-deb") {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let control = scratch.path().join("root/DEBIAN");
    std::fs::create_dir_all(&control).unwrap();
    std::fs::write(scratch.path().join("root/prose"), text(100_000)).unwrap();
    let fields = "Package: test\nVersion: 1\nArchitecture: all\nMaintainer: nobody <n@example.org>\nDescription: test\n";
    std::fs::write(control.join("control"), fields).unwrap();
    for (compressor, format) in [("xz", Some(Format::Xz)), ("gzip", Some(Format::Gzip)), ("none", None)] {
        run(scratch.path(), "dpkg-deb", &["-Z", compressor, "--build", "root", "test.deb"]);
        let image = std::fs::read(scratch.path().join("test.deb")).unwrap();
        let structure = dissect(&image, "ar");
        assert_eq!(structure.parts[0].path, "debian-binary");
        assert_eq!(content(&image, &structure.parts[0].content), b"2.0\n");
        let data = structure.parts.last().unwrap();
        assert!(data.path.starts_with("data.tar"));
        match (&data.content, format) {
            (Content::Blocks(blocks), Some(format)) => assert_eq!(blocks[0].format, format),
            (Content::Plain(_), None) => {}
            (other, _) => panic!("{compressor}: {other:?}"),
        }
        let tar = content(&image, &data.content);
        assert!(dissect(&tar, "tar").parts.iter().any(|part| part.path == "prose"));
    }
}

#[test]
fn long_names_in_a_static_library() {
    if !have("ar") {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let long = "a-name-that-is-longer-than-the-sixteen-bytes-of-its-field.o";
    std::fs::write(scratch.path().join(long), b"odd").unwrap();
    std::fs::write(scratch.path().join("short.o"), b"even").unwrap();
    run(scratch.path(), "ar", &["rcS", "lib.a", long, "short.o"]);
    let image = std::fs::read(scratch.path().join("lib.a")).unwrap();
    let structure = dissect(&image, "ar");
    let found: Vec<_> =
        structure.parts.iter().map(|part| (part.path.as_str(), content(&image, &part.content))).collect();
    assert_eq!(found, [(long, b"odd".to_vec()), ("short.o", b"even".to_vec())]);
}
