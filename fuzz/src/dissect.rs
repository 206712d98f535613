//! Every container reader, through the door that a diff uses.
//!
//! Input: an image. Where the first byte is at least 0xf0, the rest is one, and gets the mark of a
//! format at its place, so that damaged marks do not keep the fuzzer from the reader behind.

use fluvial_delta::structure::{Content, Dissector as _, Extent, Structure};
use fluvial_image::Anatomist;

/// Where the marks stand: cpio, squashfs, ext4, EROFS, ar, x86 kernel, PE, tar, boot sector, GPT, zip.
const MARKS: [&[(usize, &[u8])]; 10] = [
    &[(0, b"070701")],
    &[(0, b"hsqs"), (28, &[4, 0, 0, 0])],
    &[(1080, &[0x53, 0xef])],
    &[(1024, &[0xe2, 0xe1, 0xf5, 0xe0])],
    &[(0, b"!<arch>\n")],
    &[(0x1fe, &[0x55, 0xaa]), (0x202, b"HdrS")],
    &[(0, b"MZ"), (4, b"zimg")],
    &[(257, b"ustar\x0000")],
    &[(0, &[0xeb, 0x3c, 0x90]), (11, &[0, 2]), (510, &[0x55, 0xaa])],
    &[(510, &[0x55, 0xaa]), (512, b"EFI PART")],
];

/// What comes out is well formed.
///
/// # Panics
/// Where that does not hold.
pub fn run(bytes: &[u8]) {
    let mut image = bytes.to_vec();
    if let Some((&choice @ 0xf0.., rest)) = bytes.split_first() {
        image = rest.to_vec();
        for (at, mark) in MARKS[usize::from(choice) % MARKS.len()] {
            if let Some(place) = image.get_mut(*at..at + mark.len()) {
                place.copy_from_slice(mark);
            }
        }
    }
    if bytes.first().is_some_and(|&choice| choice >= 0xf0) {
        repair_tar(&mut image);
    }
    if let Some(structure) = Anatomist.dissect(&image, "") {
        check_form(&structure, image.len() as u64);
    }
}

/// Makes the sums of all tar headers right (POSIX.1-2001, pax, "ustar Interchange Format").
fn repair_tar(image: &mut [u8]) {
    for header in image.chunks_exact_mut(512).filter(|header| &header[257..262] == b"ustar") {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

/// Parts in order, none empty, nothing outside the stream, nothing twice.
fn check_form(structure: &Structure, stream_len: u64) {
    assert!(!structure.parts.is_empty());
    let mut all = Vec::new();
    let mut last_first = 0;
    for part in &structure.parts {
        let extents: Vec<Extent> = match &part.content {
            Content::Plain(extents) => extents.clone(),
            Content::Blocks(blocks) => blocks.iter().map(|block| block.extent).collect(),
        };
        let first = extents.first().unwrap_or_else(|| panic!("{}: no bytes", part.path));
        assert!(first.offset >= last_first, "{}: out of order", part.path);
        last_first = first.offset;
        all.extend(extents);
    }
    all.sort();
    let mut end = 0;
    for extent in all {
        assert!(extent.len > 0 && extent.offset >= end, "overlap at {}", extent.offset);
        end = extent.offset.checked_add(extent.len).expect("it ends in the stream");
    }
    assert!(end <= stream_len);
}
