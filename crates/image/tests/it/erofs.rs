use fluvial_codec::Format;
use fluvial_delta::structure::{Content, Structure};

use crate::proof::{content, dissect, matches_tree};
use crate::tools::{have, run};
use crate::tree::Tree;

/// `None` where the installed `mkfs.erofs` does not know one of the options.
fn image(tree: &Tree, args: &[&str]) -> Option<Vec<u8>> {
    let help = std::process::Command::new("mkfs.erofs").arg("--help").output().unwrap();
    let help = [help.stdout, help.stderr].concat();
    let help = String::from_utf8_lossy(&help);
    for arg in args {
        let compressor = arg.strip_prefix("-z").map(|rest| rest.split([',', ':']).next().unwrap_or(rest));
        if compressor.is_some_and(|name| !help.contains(name)) {
            eprintln!("skipped: this mkfs.erofs has no {arg}");
            return None;
        }
    }
    let _ = std::fs::remove_file(tree.scratch.path().join("image"));
    run(tree.scratch.path(), "mkfs.erofs", &[&["-x-1", "-T0"], args, &["image", "root"]].concat());
    Some(std::fs::read(tree.scratch.path().join("image")).unwrap())
}

fn packed_blocks(structure: &Structure, format: Format) -> usize {
    let blocks = structure.parts.iter().filter_map(|part| match &part.content {
        Content::Blocks(blocks) => Some(blocks),
        Content::Plain(_) => None,
    });
    blocks.flatten().filter(|block| block.format == format).count()
}

#[test]
fn every_layout_gives_the_files_back() {
    if !have("mkfs.erofs") {
        return;
    }
    let tree = Tree::new();
    let layouts: [(&[&str], Format); 12] = [
        (&[], Format::Stored),
        (&["-Enoinline_data"], Format::Stored),
        (&["-Eforce-inode-extended"], Format::Stored),
        (&["-zlz4"], Format::Lz4Block),
        (&["-zlz4hc,12"], Format::Lz4Block),
        (&["-zlz4hc", "-C65536"], Format::Lz4Block),
        (&["-zlz4hc", "-Eforce-inode-extended", "-C16384"], Format::Lz4Block),
        (&["-zlz4hc", "-Eztailpacking"], Format::Lz4Block),
        (&["-zzstd,level=15"], Format::Zstd),
        (&["-zzstd", "-C131072"], Format::Zstd),
        (&["-zzstd", "-C65536", "-Eztailpacking"], Format::Zstd),
        (&["-zdeflate,9", "-C65536"], Format::Deflate),
    ];
    for (args, format) in layouts {
        let Some(image) = image(&tree, args) else { continue };
        let structure = dissect(&image, "erofs");
        matches_tree(&image, &structure, &tree);
        assert!(format == Format::Stored || packed_blocks(&structure, format) > 20, "{args:?}");
    }
}

/// The image's incompatible features: some versions of `mkfs.erofs` pass over options unknown to
/// them.
fn has_features(image: &[u8], mask: u32, wanted: u32) -> bool {
    let features = u32::from_le_bytes(image[1024 + 80..1024 + 84].try_into().unwrap());
    if features & mask != wanted {
        eprintln!("skipped: this mkfs.erofs made another image");
    }
    features & mask == wanted
}

/// Every piece of a part is a piece of the file, and for files of whose bytes none are shared, all
/// of it is there.
fn matches_tree_in_pieces(image: &[u8], structure: &Structure, tree: &Tree) {
    for part in &structure.parts {
        let pieces: Vec<_> = match &part.content {
            // Extents on both sides of a hole may have been joined.
            Content::Plain(_) => content(image, &part.content).chunks(4096).map(<[u8]>::to_vec).collect(),
            Content::Blocks(blocks) => {
                blocks.iter().map(|block| content(image, &Content::Blocks(vec![*block]))).collect()
            }
        };
        let Some(file) = tree.files.get(&part.path) else {
            assert_eq!(part.path, "<packed inode>");
            continue;
        };
        let mut at = 0;
        for piece in pieces {
            let mut windows = file[at..].windows(piece.len());
            let found = windows.position(|window| window[0] == piece[0] && window == piece);
            let found = found.unwrap_or_else(|| panic!("{}: {} bytes not in it", part.path, piece.len()));
            at += found + piece.len();
        }
    }
    let noise = structure.parts.iter().find(|part| part.path == "usr/share/noise").unwrap();
    let found = content(image, &noise.content);
    assert!(found.len() > 400_000 && tree.files["usr/share/noise"].starts_with(&found));
}

#[test]
fn chunks_shared_by_files_count_once() {
    if !have("mkfs.erofs") {
        return;
    }
    let tree = Tree::new();
    let layouts: [&[&str]; 3] =
        [&["--chunksize=4096"], &["--chunksize=65536"], &["--chunksize=16384", "-Eforce-chunk-indexes"]];
    for args in layouts {
        let image = image(&tree, args).unwrap();
        matches_tree_in_pieces(&image, &dissect(&image, "erofs"), &tree);
    }
}

#[test]
fn what_cannot_be_unpacked_is_left_out() {
    if !have("mkfs.erofs") {
        return;
    }
    let tree = Tree::new();
    for (args, mask) in [(&["-zlzma"][..], 0), (&["-zlz4hc", "-Elegacy-compress"], 1)] {
        let Some(image) = image(&tree, args).filter(|image| has_features(image, mask, 0)) else { continue };
        let structure = dissect(&image, "erofs");
        let part = |path: &str| structure.parts.iter().find(|part| part.path == path);
        assert!(part("usr/share/prose").is_none(), "{args:?}");
        // Files too small or too random to compress are there as they are.
        assert!(content(&image, &part("one").unwrap().content) == tree.files["one"]);
    }
}

#[test]
fn tails_in_the_packed_inode_leave_the_rest() {
    if !have("mkfs.erofs") {
        return;
    }
    let tree = Tree::new();
    let layouts: [&[&str]; 4] = [
        &["-zlz4hc", "-Efragments"],
        &["-zzstd", "-C65536", "-Efragments,dedupe"],
        &["-zlz4hc", "-C16384", "-Eall-fragments"],
        &["-zdeflate", "-Efragments,ztailpacking"],
    ];
    for args in layouts {
        let Some(image) = image(&tree, args).filter(|image| has_features(image, 0x20, 0x20)) else {
            continue;
        };
        let structure = dissect(&image, "erofs");
        assert!(structure.parts.iter().any(|part| part.path == "<packed inode>"), "{args:?}");
        if args[2..].contains(&"-Eall-fragments") {
            assert_eq!(structure.parts.len(), 1);
            continue;
        }
        assert!(structure.parts.iter().any(|part| part.path == "usr/share/prose"), "{args:?}");
        matches_tree_in_pieces(&image, &structure, &tree);
    }
}
