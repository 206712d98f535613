use fluvial_codec::Format;
use fluvial_delta::structure::Content;

use crate::proof::{content, dissect, matches_tree};
use crate::tools::{feed, have, run};
use crate::tree::Tree;

fn archive(tree: &Tree, format: &str, paths: &[u8]) -> Vec<u8> {
    feed(&tree.root(), "cpio", &["-o", "-H", format, "--quiet", "-0"], paths)
}

#[test]
fn newc_and_crc_give_the_files_back() {
    if !have("cpio") {
        return;
    }
    let tree = Tree::new();
    let paths = run(&tree.root(), "find", &[".", "-print0"]);
    for format in ["newc", "crc"] {
        let image = archive(&tree, format, &paths);
        matches_tree(&image, &dissect(&image, "cpio"), &tree);
    }
}

#[test]
fn an_initrd_is_plain_archives_and_a_packed_rest() {
    if !have("cpio") {
        return;
    }
    let tree = Tree::new();
    let microcode = archive(&tree, "newc", b"usr/share/page\0one\0");
    let main = archive(&tree, "newc", b"usr/share/prose\0usr/share/noise\0");
    let packers: [(&str, &[&str], Format); 5] = [
        ("gzip", &["-c"], Format::Gzip),
        ("xz", &["-c", "--check=crc32"], Format::Xz),
        ("zstd", &["-c", "-9"], Format::Zstd),
        ("lz4", &["-c", "-l"], Format::Lz4Legacy),
        ("lzma", &["-c"], Format::Lzma),
    ];
    for (program, args, format) in packers {
        if !have(program) {
            continue;
        }
        let packed = feed(&tree.root(), program, args, &main);
        let mut image = microcode.clone();
        image.resize(image.len() + 1536, 0);
        image.extend_from_slice(&microcode);
        let start = image.len();
        image.extend_from_slice(&packed);
        let structure = dissect(&image, "initrd");
        let paths: Vec<_> = structure.parts.iter().map(|part| part.path.as_str()).collect();
        assert_eq!(
            paths,
            ["usr/share/page", "one", "usr/share/page", "one", "<packed archive>"],
            "{program}"
        );
        assert!(content(&image, &structure.parts[0].content) == tree.files["usr/share/page"]);
        let Content::Blocks(blocks) = &structure.parts[4].content else { panic!("{program}: not packed") };
        assert_eq!(blocks.len(), 1);
        assert_eq!(blocks[0].format, format);
        assert_eq!(blocks[0].extent.offset, start as u64);
        assert_eq!(blocks[0].extent.end(), image.len() as u64);
    }
}

#[test]
fn a_size_past_the_end_ends_the_walk() {
    if !have("cpio") {
        return;
    }
    let tree = Tree::new();
    let mut image = archive(&tree, "newc", b"usr/share/page\0one\0");
    let second = 110 + 18 + 4096;
    assert_eq!(&image[second..second + 6], b"070701");
    image[second + 54..second + 62].copy_from_slice(b"FFFFFFFF");
    assert_eq!(dissect(&image, "cpio").parts.len(), 1);
}
