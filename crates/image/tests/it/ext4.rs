use fluvial_delta::structure::{Content, Gathered, ReadAt as _};

use fluvial_image::leftover_bytes;

use crate::proof::{content, dissect, matches_tree};
use crate::tools::{have, run};
use crate::tree::Tree;

fn image(tree: &Tree, args: &[&str]) -> Vec<u8> {
    let path = tree.scratch.path().join("image");
    let _ = std::fs::remove_file(&path);
    let base = ["-q", "-F", "-d", "root", "-E", "no_copy_xattrs"];
    run(tree.scratch.path(), "mkfs.ext4", &[&base, args, &["image", "32M"]].concat());
    std::fs::read(path).unwrap()
}

/// Options of `mkfs.ext4`, and what comes of them.
const LAYOUTS: [(&[&str], &str); 8] = [
    (&["-b", "4096"], "ext4"),
    (&["-b", "1024"], "ext4"),
    (&["-b", "2048", "-O", "^64bit,^metadata_csum,^flex_bg"], "ext4"),
    (&["-b", "1024", "-O", "meta_bg,^resize_inode", "-g", "1024"], "ext4"),
    (&["-b", "1024", "-O", "meta_bg,^resize_inode,^sparse_super", "-g", "512"], "ext4"),
    (&["-b", "1024", "-O", "^extent,^64bit"], "ext3"),
    (&["-t", "ext2", "-b", "1024", "-I", "128", "-O", "^filetype"], "ext2"),
    (&["-b", "4096", "-O", "bigalloc", "-C", "16384"], "ext4"),
];

#[test]
fn every_layout_gives_the_files_back() {
    if !have("mkfs.ext4") {
        return;
    }
    let tree = Tree::new();
    for (args, kind) in LAYOUTS {
        let image = image(&tree, args);
        matches_tree(&image, &dissect(&image, kind), &tree);
    }
}

#[test]
fn what_deleted_files_have_left_is_counted() {
    const FILE_BYTES: u64 = 1_000_000;
    if !have("mkfs.ext4") || !have("debugfs") {
        return;
    }
    let tree = Tree::new();
    let folder = tree.scratch.path();
    std::fs::write(folder.join("deleted"), vec![0xaa; FILE_BYTES as usize]).unwrap();
    for (args, _) in LAYOUTS {
        assert_eq!(leftover_bytes(&image(&tree, args)), 0, "{args:?}");
        for request in ["write deleted deleted", "rm deleted"] {
            run(folder, "debugfs", &["-w", "-R", request, "image"]);
        }
        let mut image = std::fs::read(folder.join("image")).unwrap();
        let left = leftover_bytes(&image);
        if args.contains(&"bigalloc") {
            assert_eq!(left, 0, "not known");
            continue;
        }
        // Blocks of ext2 that tell where others stand are free then, too.
        assert!((FILE_BYTES..FILE_BYTES + (16 << 10)).contains(&left), "{args:?}: {left}");
        image.truncate(image.len() / 2);
        assert!(leftover_bytes(&image) <= left, "an image that is cut");
    }
    assert_eq!(leftover_bytes(&vec![1; 10_000]), 0);
}

#[test]
fn holes_are_left_out() {
    if !have("mkfs.ext4") {
        return;
    }
    let tree = Tree::new();
    let image = image(&tree, &["-b", "4096"]);
    let structure = dissect(&image, "ext4");
    let sparse = structure.parts.iter().find(|part| part.path == "sparse").unwrap();
    let whole = &tree.files["sparse"];
    let expected = [&whole[..12_288], &whole[1 << 20..(1 << 20) + 53_248]].concat();
    assert!(content(&image, &sparse.content) == expected);
    // With them it is the file, as far as its last byte that is written.
    let Content::Plain(extents) = &sparse.content else { panic!("a file of ext4 is plain") };
    let filled = sparse.with_holes(extents);
    let mut bytes = vec![1; (1 << 20) + 53_248];
    Gathered::new(&image, &filled).read_at(0, &mut bytes).unwrap();
    assert!(bytes == whole[..bytes.len()]);
}

/// The checksums that mke2fs writes are those that are taken out.
#[test]
fn checksums_of_inodes_are_told_by_the_rest() {
    if !have("mkfs.ext4") {
        return;
    }
    let tree = Tree::new();
    for args in [&["-O", "metadata_csum"][..], &["-O", "metadata_csum,metadata_csum_seed", "-g", "1024"]] {
        let image = image(&tree, &[args, &["-I", "256", "-b", "4096"]].concat());
        let structure = dissect(&image, "ext4");
        let part = structure.parts.iter().find(|part| part.path == "<inode tables>").unwrap();
        let Content::Blocks(blocks) = &part.content else { panic!("it has checksums") };
        let [block] = blocks[..] else { panic!("the tables stand in one run") };
        let table = &image[block.extent.offset as usize..block.extent.end() as usize];
        let mut plain = Vec::new();
        block.format.decode_block(table, table.len(), &mut plain).unwrap();
        // The inode of bad blocks has half a checksum, which stays.
        let told = |inode: &&[u8]| inode[124..126] == [0, 0] && inode[130..132] == [0, 0];
        let in_use = |inode: &&[u8]| inode[..124].iter().any(|&byte| byte != 0);
        let plain_inodes = || plain.chunks(256).skip(1).filter(in_use);
        assert!(plain_inodes().count() > 400, "every file has one");
        assert_eq!(plain_inodes().filter(told).count(), plain_inodes().count());
        assert!(table.chunks(256).filter(in_use).filter(told).count() < 10, "they had checksums");
    }
    let image = image(&tree, &["-O", "^metadata_csum"]);
    assert!(dissect(&image, "ext4").parts.iter().all(|part| part.path != "<inode tables>"));
}

#[test]
fn names_in_inline_folders_are_found() {
    if !have("mkfs.ext4") {
        return;
    }
    let tree = Tree::new();
    let image = image(&tree, &["-b", "4096", "-I", "512", "-O", "inline_data"]);
    let structure = dissect(&image, "ext4");
    for path in ["usr/share/prose", "usr/share/noise", "many/file-399"] {
        let part = structure.parts.iter().find(|part| part.path == path).unwrap_or_else(|| panic!("{path}"));
        assert!(content(&image, &part.content) == tree.files[path]);
    }
    assert!(structure.parts.iter().all(|part| part.path != "one"));
}

#[test]
fn large_files_have_trees_with_levels() {
    if !have("mkfs.ext4") {
        return;
    }
    // Every second block a hole: one extent each, far more than fit in an inode.
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let mut holey = Vec::new();
    for number in 0..3000_u32 {
        holey.extend_from_slice(&crate::tree::noise(u64::from(number) + 1, 1024));
        holey.resize(holey.len() + 1024, 0);
    }
    {
        use std::os::unix::fs::FileExt as _;
        let file = std::fs::File::create(root.join("holey")).unwrap();
        file.set_len(holey.len() as u64).unwrap();
        for (number, block) in holey.chunks(1024).enumerate().step_by(2) {
            file.write_all_at(block, number as u64 * 1024).unwrap();
        }
    }
    // The folder's own file system may have larger blocks: then the holes come as written zeros.
    for args in [&["-b", "1024"][..], &["-b", "1024", "-O", "^extent,^64bit"]] {
        let all = [&["-q", "-F", "-d", "root"], args, &["image", "16M"]].concat();
        let _ = std::fs::remove_file(scratch.path().join("image"));
        run(scratch.path(), "mkfs.ext4", &all);
        let image = std::fs::read(scratch.path().join("image")).unwrap();
        let kind = if args.len() == 2 { "ext4" } else { "ext3" };
        let structure = dissect(&image, kind);
        let part = structure.parts.iter().find(|part| part.path == "holey").unwrap();
        let found = content(&image, &part.content);
        let written: Vec<u8> = holey.chunks(1024).step_by(2).flatten().copied().collect();
        assert!(found == holey || found == written, "{kind}: {} bytes", found.len());
    }
}
