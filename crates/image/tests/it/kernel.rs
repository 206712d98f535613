use fluvial_codec::Format;
use fluvial_delta::structure::{Content, Dissector as _};
use fluvial_image::Anatomist;

use crate::proof::dissect;
use crate::tools::{feed, have};
use crate::tree::text;

/// A setup header as `Documentation/arch/x86/boot.rst` lays it out, and a payload.
fn bz_image(payload: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 4 * 512];
    image[0x1f1] = 3;
    image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&0x020f_u16.to_le_bytes());
    image[0x248..0x24c].copy_from_slice(&700_u32.to_le_bytes());
    image[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    image.resize(4 * 512 + 700, 0x90);
    image.extend_from_slice(payload);
    image.resize(image.len() + 5000, 0x90);
    image
}

fn zboot(payload: &[u8], stated_len: usize) -> Vec<u8> {
    let mut image = b"MZ\0\0zimg".to_vec();
    image.extend_from_slice(&4096_u32.to_le_bytes());
    image.extend_from_slice(&(stated_len as u32).to_le_bytes());
    image.resize(4096, 0);
    image.extend_from_slice(payload);
    image.resize(image.len() + 5000, 0x90);
    image
}

#[test]
fn the_payload_stands_without_the_size_behind_it() {
    let plain = text(200_000);
    let packers: [(&str, &[&str], Format); 5] = [
        ("gzip", &["-c9n"], Format::Gzip),
        ("xz", &["-c", "--check=crc32"], Format::Xz),
        ("zstd", &["-c", "-19"], Format::Zstd),
        ("lz4", &["-c", "-l", "-9"], Format::Lz4Legacy),
        ("lzma", &["-c", "-9"], Format::Lzma),
    ];
    for (program, args, format) in packers {
        if !have(program) {
            continue;
        }
        let packed = feed(std::path::Path::new("/"), program, args, plain.as_bytes());
        let mut payload = packed.clone();
        if format != Format::Gzip {
            payload.extend_from_slice(&(plain.len() as u32).to_le_bytes());
        }
        for (image, kind) in [(bz_image(&payload), "bzImage"), (zboot(&payload, packed.len()), "zboot")] {
            let structure = dissect(&image, kind);
            assert_eq!(structure.parts.len(), 1);
            let Content::Blocks(blocks) = &structure.parts[0].content else { panic!("not packed") };
            let [block] = blocks[..] else { panic!("{} blocks", blocks.len()) };
            assert_eq!((block.format, block.plain_len), (format, Some(200_000)), "{kind}");
            let extent = block.extent.offset as usize..block.extent.end() as usize;
            assert!(image[extent] == packed, "{kind} {program}");
        }
    }
}

#[test]
fn a_kernel_without_a_known_payload_is_none() {
    let mut payload = vec![0x55; 5000];
    assert_eq!(Anatomist.dissect(&bz_image(&payload), ""), None);
    payload[..3].copy_from_slice(b"BZh");
    assert_eq!(Anatomist.dissect(&bz_image(&payload), ""), None);
    let mut short = bz_image(&payload);
    short.truncate(0x24e);
    assert_eq!(Anatomist.dissect(&short, ""), None);
}
