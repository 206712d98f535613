use fluvial_delta::structure::{Content, Dissector as _, Extent};
use fluvial_image::Anatomist;

use crate::proof::dissect;
use crate::tools::{feed, have};

/// A disk of 64 MiB, partitioned by `sfdisk`.
fn disk(script: &str, args: &[&str]) -> Vec<u8> {
    let scratch = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(scratch.path().join("disk")).unwrap();
    file.set_len(64 << 20).unwrap();
    feed(
        scratch.path(),
        "sfdisk",
        &[&["-q", "--no-reread", "--no-tell-kernel"], args, &["disk"]].concat(),
        script.as_bytes(),
    );
    std::fs::read(scratch.path().join("disk")).unwrap()
}

fn partitions(image: &[u8], kind: &str) -> Vec<(String, u64, u64)> {
    let extent = |content: &Content| match content {
        Content::Plain(extents) => extents[0],
        Content::Blocks(_) => Extent { offset: 0, len: 0 },
    };
    let parts = dissect(image, kind).parts.into_iter();
    parts
        .map(|part| (part.path, extent(&part.content).offset >> 10, extent(&part.content).len >> 10))
        .collect()
}

#[test]
fn partitions_of_a_gpt() {
    if !have("sfdisk") {
        return;
    }
    let image = disk("label: gpt\nstart=1MiB, size=4MiB, type=U\nstart=8MiB, size=16MiB\nsize=8MiB\n", &[]);
    let expected = [
        ("<partition 1>".into(), 1024, 4096),
        ("<partition 2>".into(), 8192, 16_384),
        ("<partition 3>".into(), 24_576, 8192),
    ];
    assert_eq!(partitions(&image, "gpt"), expected);
}

#[test]
fn primary_and_logical_partitions_of_an_mbr() {
    if !have("sfdisk") {
        return;
    }
    let script = "label: dos\nstart=1MiB, size=4MiB, type=c, bootable\nstart=8MiB, size=32MiB, type=5\n\
                  start=41MiB, size=2MiB\nstart=9MiB, size=3MiB, type=83\n";
    let image = disk(script, &[]);
    let names: Vec<_> = partitions(&image, "mbr").into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["<partition 1>", "<partition 5>", "<partition 3>"]);
    assert_eq!(partitions(&image, "mbr")[1], ("<partition 5>".into(), 9216, 3072));
}

#[test]
fn a_boot_sector_alone_is_no_disk() {
    let mut sector = crate::tree::noise(5, 1 << 20);
    sector[510..512].copy_from_slice(&[0x55, 0xaa]);
    assert_eq!(Anatomist.dissect(&sector, ""), None);
}
