use fluvial_codec::Format;
use fluvial_delta::structure::{Content, Structure};

use crate::proof::{content, dissect, matches_tree};
use crate::tools::{have, run};
use crate::tree::Tree;

fn image(tree: &Tree, args: &[&str]) -> Vec<u8> {
    let base = ["root", "image", "-noappend", "-no-progress", "-quiet", "-all-root"];
    run(tree.scratch.path(), "mksquashfs", &[&base, args].concat());
    std::fs::read(tree.scratch.path().join("image")).unwrap()
}

fn formats(structure: &Structure) -> Vec<Format> {
    let mut formats: Vec<_> = structure
        .parts
        .iter()
        .flat_map(|part| match &part.content {
            Content::Plain(_) => vec![Format::Stored],
            Content::Blocks(blocks) => blocks.iter().map(|block| block.format).collect(),
        })
        .collect();
    formats.sort();
    formats.dedup();
    formats
}

/// Every file is what its own part holds, and behind it what it is as a member of a fragment block.
fn matches_tree_with_tails(image: &[u8], structure: &Structure, tree: &Tree, block_bytes: usize) {
    let mut members = std::collections::HashMap::new();
    for part in structure.parts.iter().filter(|part| !part.members.is_empty()) {
        let fragment = content(image, &part.content);
        for member in &part.members {
            let range = member.extent.offset as usize..member.extent.end() as usize;
            members.insert(member.path.as_str(), fragment[range].to_vec());
        }
    }
    assert!(!members.is_empty());
    for (path, bytes) in &tree.files {
        let part = structure.parts.iter().find(|part| part.path == *path && part.members.is_empty());
        let mut found = part.map(|part| content(image, &part.content)).unwrap_or_default();
        let (whole, tail) = bytes.split_at(bytes.len() / block_bytes * block_bytes);
        // Tails that are equal are stored once, under one of the names.
        let member = members.get(path.as_str()).or_else(|| members.values().find(|member| *member == tail));
        found.extend(member.into_iter().flatten());
        // Blocks of zeros are holes.
        let is_stored = |block: &&[u8]| block.iter().any(|byte| *byte != 0);
        let mut stored: Vec<u8> = whole.chunks(block_bytes).filter(is_stored).flatten().copied().collect();
        if member.is_some() || is_stored(&tail) {
            stored.extend_from_slice(tail);
        }
        assert!(found == stored, "{path}");
    }
}

#[test]
fn every_compressor_and_block_size_gives_the_files_back() {
    if !have("mksquashfs") {
        return;
    }
    let tree = Tree::new();
    let compressors: [(&str, Format, &[&str]); 4] = [
        ("gzip", Format::Zlib, &["128K"]),
        ("xz", Format::Xz, &["128K"]),
        ("lz4", Format::Lz4Block, &["4K", "128K"]),
        ("zstd", Format::Zstd, &["4K", "128K", "1M"]),
    ];
    for (compressor, format, blocks) in compressors {
        for block in blocks {
            let image = image(&tree, &["-comp", compressor, "-b", block, "-no-fragments", "-no-duplicates"]);
            let structure = dissect(&image, "squashfs");
            matches_tree(&image, &structure, &tree);
            assert_eq!(formats(&structure), [Format::Stored, format], "{compressor} {block}");
        }
    }
}

#[test]
fn tails_stand_in_fragments() {
    if !have("mksquashfs") {
        return;
    }
    let tree = Tree::new();
    for (block, bytes) in [("4K", 4096), ("128K", 1 << 17)] {
        let image = image(&tree, &["-comp", "zstd", "-b", block, "-always-use-fragments", "-no-duplicates"]);
        matches_tree_with_tails(&image, &dissect(&image, "squashfs"), &tree, bytes);
    }
}

#[test]
fn tables_are_parts() {
    if !have("mksquashfs") {
        return;
    }
    let tree = Tree::new();
    let image = image(&tree, &["-comp", "zstd"]);
    let structure = dissect(&image, "squashfs");
    let table = |name: &str| {
        let part = structure.parts.iter().find(|part| part.path == name);
        content(&image, &part.unwrap_or_else(|| panic!("no {name}")).content)
    };
    assert_eq!(
        table("<export table>").len(),
        u32::from_le_bytes(image[4..8].try_into().unwrap()) as usize * 8
    );
    assert_eq!(table("<id table>"), [0; 4]);
    assert_eq!(table("<fragment table>").len() % 16, 0);
    assert!(table("<directory table>").windows(9).any(|window| window == b"not-utf8-"));
    assert!(table("<inode table>").len() > 400 * 32);
    // What no part names: the superblock, block headers and table indexes.
    let named: u64 = structure
        .parts
        .iter()
        .flat_map(|part| crate::proof::extents(&part.content))
        .map(|extent| extent.len)
        .sum();
    assert!(image.len() as u64 - named < 4096 + 200, "{} bytes unnamed", image.len() as u64 - named);
}

#[test]
fn stored_images_are_plain() {
    if !have("mksquashfs") {
        return;
    }
    let tree = Tree::new();
    let image = image(&tree, &["-noI", "-noD", "-noF", "-noX", "-no-fragments"]);
    let structure = dissect(&image, "squashfs");
    matches_tree(&image, &structure, &tree);
    assert_eq!(formats(&structure), [Format::Stored]);
}
