//! Whether a description is true: well formed, and each part's bytes are the file's.

use std::io::Read as _;

use fluvial_codec::Format;
use fluvial_delta::structure::{Content, Dissector as _, Extent, Structure};
use fluvial_image::Anatomist;

use crate::tree::Tree;

/// Takes an image apart; it must be of the given kind.
pub fn dissect(image: &[u8], kind: &str) -> Structure {
    let structure =
        Anatomist.dissect(&image.to_vec(), "").unwrap_or_else(|| panic!("{kind}: not recognised"));
    assert_eq!(structure.kind, kind);
    check_form(&structure, image.len() as u64);
    structure
}

/// Parts in order, none empty, nothing outside the stream, nothing twice.
pub fn check_form(structure: &Structure, stream_len: u64) {
    assert!(!structure.parts.is_empty());
    let mut all = Vec::new();
    let mut last_first = 0;
    for part in &structure.parts {
        let extents = extents(&part.content);
        assert!(!extents.is_empty(), "{}: no bytes", part.path);
        assert!(extents[0].offset >= last_first, "{}: out of order", part.path);
        last_first = extents[0].offset;
        all.extend(extents);
    }
    all.sort();
    let mut end = 0;
    for extent in all {
        assert!(extent.len > 0 && extent.offset >= end, "overlap at {}", extent.offset);
        end = extent.offset.checked_add(extent.len).unwrap();
    }
    assert!(end <= stream_len);
}

pub fn extents(content: &Content) -> Vec<Extent> {
    match content {
        Content::Plain(extents) => extents.clone(),
        Content::Blocks(blocks) => blocks.iter().map(|block| block.extent).collect(),
    }
}

/// The bytes of a part. Every stated length must be true.
pub fn content(image: &[u8], content: &Content) -> Vec<u8> {
    let bytes = |extent: &Extent| &image[extent.offset as usize..extent.end() as usize];
    let mut whole = Vec::new();
    match content {
        Content::Plain(extents) => extents.iter().for_each(|extent| whole.extend_from_slice(bytes(extent))),
        Content::Blocks(blocks) => {
            for block in blocks {
                let plain = unpack(block.format, bytes(&block.extent), block.plain_len);
                if let Some(len) = block.plain_len {
                    assert_eq!(plain.len() as u64, len, "{block:?}");
                }
                whole.extend_from_slice(&plain);
            }
        }
    }
    whole
}

/// Decodes with libraries that have nothing to do with the code under test. The packed bytes must
/// be used up.
fn unpack(format: Format, packed: &[u8], plain_len: Option<u64>) -> Vec<u8> {
    let mut plain = Vec::new();
    match format {
        Format::Stored => plain.extend_from_slice(packed),
        Format::Gzip => drop(flate2::read::MultiGzDecoder::new(packed).read_to_end(&mut plain).unwrap()),
        Format::Zlib => {
            let mut decoder = flate2::read::ZlibDecoder::new(packed);
            decoder.read_to_end(&mut plain).unwrap();
            assert_eq!(decoder.total_in(), packed.len() as u64);
        }
        Format::Deflate => {
            let mut decoder = flate2::read::DeflateDecoder::new(packed);
            decoder.read_to_end(&mut plain).unwrap();
            assert_eq!(decoder.total_in(), packed.len() as u64);
        }
        Format::Zstd => plain = zstd::decode_all(packed).unwrap(),
        Format::Xz => drop(liblzma::read::XzDecoder::new(packed).read_to_end(&mut plain).unwrap()),
        Format::Lz4Block => {
            plain = lz4_flex::block::decompress(packed, plain_len.unwrap_or(1 << 20) as usize).unwrap();
        }
        // Its checksums are looked at in a test of their own.
        format if format.is_table() => plain = packed.to_vec(),
        other => panic!("no decoder for {other:?}"),
    }
    plain
}

/// Every file of the tree is a part with the same bytes; no part but `<...>` is anything else.
/// Holes and pages of zeros may be missing. `twins`: one name per set of hard links is enough.
pub fn matches_tree(image: &[u8], structure: &Structure, tree: &Tree) {
    let mut seen = std::collections::BTreeSet::new();
    for part in &structure.parts {
        if part.path.starts_with('<') {
            content(image, &part.content);
            continue;
        }
        let expected = tree.files.get(&part.path).unwrap_or_else(|| panic!("no such file: {}", part.path));
        let found = content(image, &part.content);
        assert!(
            found == *expected || without_zeros(&found) == without_zeros(expected),
            "{}: {} bytes differ from the {} expected",
            part.path,
            found.len(),
            expected.len()
        );
        seen.extend(tree.twins[&part.path].iter().cloned());
    }
    let missing: Vec<_> = tree
        .files
        .iter()
        .filter(|(path, bytes)| !seen.contains(*path) && bytes.iter().any(|byte| *byte != 0))
        .map(|(path, _)| path)
        .collect();
    assert!(missing.is_empty(), "missing: {missing:?}");
}

fn without_zeros(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|byte| *byte != 0).collect()
}
