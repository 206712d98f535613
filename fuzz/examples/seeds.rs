//! Makes the seeds that no tool writes: parts of patches, recipes, covers of programs, pairs.
//! Run after seeds/make.sh.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fluvial_bundle::{
    BundleHeader, Component, Cutting, HashKind, Manifest, PartInfo, PartKind, Payload, PayloadInfo,
    RunDigest, Sketch, Unpacked, WholeOptions, WriteOptions, write_whole,
};
use fluvial_codec::{Budget, Effort, Format, Prover};
use fluvial_delta::diff::{DiffOptions, Named, Preset, Unobserved, diff};
use fluvial_delta::header::WHOLE_SOURCES_MAX;
use fluvial_delta::scratch::MemoryScratch;
use fluvial_delta::structure::{Extent, Files};
use fluvial_delta::wire::WireWriter;
use fluvial_fuzz::bundle::disassemble as disassemble_index;
use fluvial_fuzz::patch::{OLD, disassemble};
use fluvial_image::Anatomist;
use fluvial_image::oci::{GroupRecipe, LayerTar, Slice, tree};
use fluvial_swu::description::{Compression, Variable};
use fluvial_swu::package::{
    Choice, Downgrade, FileSpec, Hardware, ImageDigest, PackageSpec, Partition, Place, write as write_package,
};
use fluvial_swu::rsync::{Magic, Signature, SignatureOptions, write_delta};
use fluvial_swu::sign::UnixSeconds;
use sha2::{Digest as _, Sha256};

fn main() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let new = fs::read(folder.join("seeds/new.tar")).expect("seeds/make.sh was run");
    let corpus = folder.join("corpus");
    patches(&corpus.join("patch"), &new);
    artifacts(&corpus.join("artifacts"), &folder.join("../crates/artifacts/tests/seeds"));
    recipes(&corpus);
    programs(&corpus.join("predict"), &new);
    pairs(&corpus.join("diff_apply"), &new);
    bundles(&corpus.join("bundle"), &new);
    librsync(&corpus, &new);
    packages(&corpus);
}

fn make(old: &[u8], new: &[u8], preset: Preset) -> Vec<u8> {
    let mut patch = Vec::new();
    let old = [Named::new("old", &old)];
    let new = [Named::new("new", &new)];
    let options = DiffOptions { preset, ..DiffOptions::default() };
    diff(&old, &new, &Anatomist, &MemoryScratch, &options, &Unobserved, &mut patch).expect("a patch is made");
    patch
}

/// Documents as the store writes them, and versions.
fn artifacts(folder: &Path, documents: &Path) {
    for (kind, name) in [(0, "build-info-1.json"), (1, "delta-info-1.json")] {
        let document = fs::read(documents.join(name)).expect("a committed file");
        write(folder, name, &[&[kind], &document[..]].concat());
    }
    let versions = ["1.9.0 1.10.0", "1.0.0-rc1 1.0.0", "v1.2-14-g0123456 1.2+git9", "1.0~beta2 1.0beta10"];
    for (index, pair) in versions.iter().enumerate() {
        write(folder, &format!("versions-{index}"), &[&[2], pair.as_bytes()].concat());
    }
}

fn patches(folder: &Path, new: &[u8]) {
    let part = &OLD[2048..7000];
    for (name, new) in [("tar", new), ("same", OLD), ("part", part), ("empty", &[])] {
        let patch = make(OLD, new, Preset::Default);
        write(folder, &format!("whole-{name}"), &[&[0], &patch[..]].concat());
        write(folder, &format!("header-{name}"), &[&[1], &patch[45..]].concat());
        write(folder, &format!("parts-{name}"), &disassemble(&patch));
    }
    let layer = LayerTar { diff_id: [0; 32], tar: Slice::whole(Arc::new(OLD.to_vec())) };
    let files = tree(std::slice::from_ref(&layer)).expect("the archive is a layer");
    let recipe = GroupRecipe::of(&[layer], &files).expect("it has no sparse files");
    write(folder, "groups", &[&[3], &recipe.to_bytes()[..]].concat());
    let many = from_many(new);
    write(folder, "whole-many", &[&[0], &many[..]].concat());
    write(folder, "header-many", &[&[1], &many[45..]].concat());
}

/// A patch from so many sources that they are told together.
fn from_many(new: &[u8]) -> Vec<u8> {
    let count = 2 * WHOLE_SOURCES_MAX;
    let files: Vec<(String, &[u8])> = new
        .chunks(new.len().div_ceil(count))
        .enumerate()
        .map(|(index, bytes)| (format!("usr/lib/{index}"), bytes))
        .collect();
    let old: Vec<Named<'_>> = files.iter().map(|(name, bytes)| Named::new(name, bytes)).collect();
    let new = [Named::new("new", &new)];
    let mut patch = Vec::new();
    let options = DiffOptions::default();
    diff(&old, &new, &Anatomist, &MemoryScratch, &options, &Unobserved, &mut patch).expect("a patch is made");
    patch
}

/// Packages for `SWUpdate`, and their descriptions.
fn packages(corpus: &Path) {
    let (content, other) = (&OLD[..100], &OLD[100..300]);
    let image = |bytes: &[u8]| ImageDigest::of(&bytes).expect("memory is read");
    let partition = |name: &str, base: Option<ImageDigest>| Partition {
        name: name.into(),
        file: FileSpec {
            name: format!("{name}.packed"),
            content: &content,
            compression: Some(Compression::Zstd),
        },
        target: image(other),
        base,
    };
    let place = |base: Option<&str>| Place { target: "/dev/b \"1\"".into(), base: base.map(Into::into) };
    let choice = |mode: Option<&str>, place: Place| Choice {
        set_and_mode: mode.map(|mode| ("stable".into(), mode.into())),
        places: vec![place],
        bootenv: vec![Variable { name: "slot".into(), value: "b".into() }],
    };
    let spec = |partition, choices, downgrade| PackageSpec {
        version: "1.2-rc.1".into(),
        name: "demo".into(),
        text: "for \\people".into(),
        hardware: Hardware { board: Some("board".into()), revisions: vec!["1".into(), "2".into()] },
        partitions: vec![partition],
        choices,
        downgrade,
    };
    let refused = Downgrade::Refused { versions_file: "/etc/sw-versions".into(), component: "demo".into() };
    let delta = partition("root", Some(image(content)));
    let choices = ["copy1", "copy2"].map(|mode| choice(Some(mode), place(Some("/dev/a"))));
    for (name, spec) in [
        ("full", spec(partition("root", None), vec![choice(None, place(None))], refused)),
        ("delta", spec(delta, choices.into(), Downgrade::Allowed)),
    ] {
        let mut package = vec![0];
        let described = write_package(&spec, None, UnixSeconds(0), &mut package).expect("a package is made");
        write(&corpus.join("swu"), name, &package);
        let text = described.to_text().expect("it is written");
        write(&corpus.join("sw_description"), name, text.as_bytes());
    }
    let text = b"# all of the format\n// that is read\nsoftware : { version = \"1\" /* x */ \"\\x41\\n\\q\", number = -0x;\n";
    write(&corpus.join("sw_description"), "damaged", text);
    let text = b"# all of the format\n// that is read\nsoftware : { version = \"1\" /* x */ \"\\x41\\q\", numbers = [ 0x1F, 2L, -3 ];
        f = 1.5e3; empty = ( ); yes = TRUE; images: ( { filename = \"a\"; compressed = true; properties = { p = \"1\" } } );
        files = ( { filename = \"b\"; path = \"/b\" } ); scripts = ( { filename = \"c\" }, { type = \"readback\" } );
        uboot = ( { name = \"x\" } ); board = { set = { mode = { hardware-compatibility = [ \"#RE:^1\" ]; } } } }";
    write(&corpus.join("sw_description"), "all", text);
}

/// Published payloads: the new archive, a part of the old one, programs.
fn bundles(folder: &Path, new: &[u8]) {
    let seed = |folder: &Path, name: &str, payload: Payload<'_>, cutting: Cutting| {
        let unpack = |frame: &[u8]| zstd::decode_all(frame).expect("a frame of Zstandard");
        let mut chunks = Vec::new();
        let options = WriteOptions { level: 3, cutting, hash: HashKind::default() };
        let index = fluvial_bundle::write(payload, options, &mut chunks, &|_| true).expect("it is published");
        write(folder, &format!("sketch-{name}"), &[&[5], &Sketch::of(&index).to_bytes()[..]].concat());
        let whole_options =
            WholeOptions { frame_bytes: 256 << 10, ..WholeOptions::new(3, HashKind::default()) };
        let mut frames = Vec::new();
        let whole = write_whole(
            payload.bytes,
            &payload.files.stored().collect::<Vec<_>>(),
            whole_options,
            &mut frames,
            &|_| true,
        );
        let mut writer = WireWriter::default();
        writer.string(&whole.expect("it is packed").to_bytes().expect("it is written"));
        writer.string(&frames);
        write(folder, &format!("whole-{name}"), &[&[6], &writer.bytes[..]].concat());
        let index = index.to_bytes().expect("it is written");
        write(folder, &format!("index-{name}"), &[&[0], &index[..]].concat());
        write(folder, &format!("payload-{name}"), &disassemble_index(&index, &chunks, unpack));
    };
    for (name, bytes, file) in [
        ("tar", new, 512..new.len() as u64 / 2),
        ("same", OLD, 512..OLD.len() as u64),
        ("part", &OLD[2048..7000], 0..100),
        ("one", &OLD[..300], 10..20),
        ("empty", &[], 0..0),
    ] {
        let file = Extent { offset: file.start, len: file.end - file.start };
        let files: Files = Some(file).filter(|file| file.len > 0).into_iter().collect();
        let payload = Payload {
            name,
            sha256: Sha256::digest(bytes).into(),
            bytes: &bytes,
            files: &files,
            unpacked: None,
        };
        seed(folder, name, payload, Cutting::Files);
    }
    for name in ["casync-4", "fixed-1", "fixed-16"] {
        let payload = Payload {
            name,
            sha256: Sha256::digest(new).into(),
            bytes: &new,
            files: &Files::new(),
            unpacked: None,
        };
        seed(folder, name, payload, name.parse().expect("a chunker"));
    }
    // One file stands in pieces and has holes, another one in between.
    let mut files = Files::new();
    let (first, second) = (Extent { offset: 1024, len: 3000 }, Extent { offset: 512, len: 512 });
    files.push([first, Extent::hole(700), second, Extent::hole(20), Extent { offset: 9000, len: 1000 }]);
    files.push([Extent { offset: 5000, len: 4000 }]);
    let payload = Payload {
        name: "scattered",
        sha256: Sha256::digest(new).into(),
        bytes: &new,
        files: &files,
        unpacked: None,
    };
    seed(folder, "scattered", payload, Cutting::Files);
    // A part of it is packed: what it unpacks to is the rest.
    let len = new.len() as u64 / 4;
    let unpacked = Unpacked {
        files: vec![vec![Extent { offset: 2 * len, len: 700 }, Extent { offset: len, len: 300 }]],
        digests: vec![RunDigest([7; 12])],
        lens: vec![len],
        packing: b"a patch that nobody applies".to_vec(),
    };
    let files = [Extent { offset: 3 * len + 1000, len: 2000 }].into_iter().collect();
    let payload =
        Payload { name: "packed", sha256: [4; 32], bytes: &new, files: &files, unpacked: Some(&unpacked) };
    seed(folder, "packed", payload, Cutting::Files);
    // Two runs: three chunks and one.
    let mut page = vec![2, 2, 60, 30, 5, 5, 48, 3, 1, 10, 20, 30, 10, 10, 10];
    page.extend_from_slice(&[7; 3 * 8 + 16]);
    write(folder, "page", &page);
    let part = |size_bytes| PartInfo { size_bytes, sha256: [2; 32] };
    let (sketch, whole) = (Some(part(9)), Some(part(11)));
    let payload =
        PayloadInfo { size_bytes: 4096, sha256: [1; 32], blake3: [3; 32], index: part(7), sketch, whole };
    let mut manifest = Manifest::new("demo".into(), "1.2".into(), 3);
    manifest.components.push(Component::Slot { name: "system".into(), payload });
    let manifest = manifest.to_bytes().expect("it is written");
    let mut header = BundleHeader::new(manifest.clone());
    header.metadata.push(("root.json".into(), b"{}".to_vec()));
    header.full_name = "demo.fluvial".into();
    header.push(0, PartKind::Index, 7);
    header.push(0, PartKind::Patch, 70);
    let header = header.to_bytes().expect("it is written");
    write(folder, "header", &[&[3], &header[..]].concat());
    write(folder, "manifest", &[&[4], &manifest[..]].concat());
}

/// From each stream of `prove`: its recipe, corrections and content.
fn recipes(corpus: &Path) {
    let budget = Budget { memory_bytes: 64 << 20, plain_bytes_max: 1 << 17, effort: Effort::Max };
    for code in 0..10 {
        let format = Format::from_code(code).expect("a format");
        let packed = fs::read(corpus.join(format!("prove/format-{code}"))).expect("seeds/make.sh was run");
        let Ok(unpacked) = Prover::new(budget).unpack(format, &packed[1..]) else {
            println!("{format}: no recipe");
            continue;
        };
        let recipe = unpacked.recipe.to_bytes();
        let corrections = unpacked.corrections;
        let mut seed = vec![recipe.len() as u8];
        seed.extend_from_slice(&(corrections.len() as u16).to_le_bytes());
        seed.extend_from_slice(&[&recipe[..], &corrections, &unpacked.plain].concat());
        write(&corpus.join("recipe"), &format!("format-{code}"), &seed);
        println!("{format}: {}", unpacked.recipe);
    }
}

/// The programs of both archives, covered in runs of odd lengths.
fn programs(folder: &Path, new: &[u8]) {
    for name in ["./program", "./module.ko"] {
        let (old, new) = (member(OLD, name), member(new, name));
        for (label, shift) in [("near", 0), ("far", 64)] {
            let mut covers = Vec::new();
            let (mut at, mut len) = (0, 500);
            while at + shift < old.len() && covers.len() < 5 * 40 {
                covers.extend_from_slice(&[(at % 7) as u8]);
                covers.extend_from_slice(&((at + if at > 0 { shift } else { 0 }) as u16).to_le_bytes());
                covers.extend_from_slice(&(len as u16).to_le_bytes());
                at += len;
                len = 100 + (len * 31 + 17) % 900;
            }
            let mut seed = vec![(covers.len() / 5) as u8];
            seed.extend_from_slice(&covers);
            seed.extend_from_slice(&(new.len() as u16).to_le_bytes());
            seed.extend_from_slice(&(old.len() as u16).to_le_bytes());
            seed.extend_from_slice(&[old, new].concat());
            write(folder, &format!("{}-{label}", name[2..].replace('.', "-")), &seed);
        }
    }
}

/// A file of a tar: short names only.
fn member<'a>(tar: &'a [u8], name: &str) -> &'a [u8] {
    let mut at = 0;
    loop {
        let header = &tar[at..at + 512];
        let octal = std::str::from_utf8(&header[124..135]).expect("a tar header");
        let len = usize::from_str_radix(octal, 8).expect("a tar header");
        if header.starts_with(name.as_bytes()) && header[name.len()] == 0 {
            return &tar[at + 512..at + 512 + len];
        }
        at += 512 + len.next_multiple_of(512);
    }
}

fn pairs(folder: &Path, new: &[u8]) {
    for (name, choice, old, new) in [
        ("program", 1, member(OLD, "./program"), member(new, "./program")),
        ("module", 1, member(OLD, "./module.ko"), member(new, "./module.ko")),
        ("gzip", 1, member(OLD, "./numbers.gz"), member(new, "./numbers.gz")),
        ("zstd", 2, member(OLD, "./numbers.zst"), member(new, "./numbers.zst")),
        ("xz", 1, member(OLD, "./numbers.xz"), member(new, "./numbers.xz")),
        ("lz4", 0, member(OLD, "./numbers.lz4"), member(new, "./numbers.lz4")),
        ("edits", 5, &OLD[..6000], &[0, 2, 5, 0, 3, 1, 2, 3, 0, 8, 200, 0, 0][..]),
    ] {
        let mut seed = vec![choice];
        seed.extend_from_slice(&(old.len() as u16).to_le_bytes());
        seed.extend_from_slice(&[old, new].concat());
        write(folder, name, &seed);
    }
}

/// Signatures and deltas of librsync, of every magic.
fn librsync(corpus: &Path, new: &[u8]) {
    let (old, new) = (&OLD[..OLD.len().min(6_000)], &new[..new.len().min(6_000)]);
    let counted = |bytes: &[u8]| (bytes.len() as u16).to_le_bytes();
    for (place, magic) in Magic::ALL.into_iter().enumerate() {
        for (block_len, strong_len) in [(64, 8), (700, magic.strong_len_max())] {
            let name = format!("{:x}-{block_len}", magic.code());
            let options = SignatureOptions { magic, block_len, strong_len };
            let signature = Signature::make(&OLD, options, &|_| true).expect("it is signed");
            let mut written = Vec::new();
            signature.write(&mut written).expect("memory takes it");
            let target = &new[..1_500];
            let seed = [&counted(target)[..], target, &written].concat();
            write(&corpus.join("rdiff_signature"), &name, &seed);

            let mut delta = Vec::new();
            write_delta(&signature, None, &new, &mut delta, &|_| true).expect("a delta is made");
            let seed = [&counted(new)[..], &[0, 2], &delta[4..]].concat();
            write(&corpus.join("rdiff_delta"), &name, &seed);

            for (how, name, rest) in [
                (place, "sums", new),
                (place | 0b0100, "base", new),
                (place | 0b1100, "edits", &[0, 2, 5, 0, 3, 1, 2, 3, 0, 8, 200, 0, 0][..]),
            ] {
                let [low, high] = (block_len as u16 - 1).to_le_bytes();
                let seed = [&[how as u8, low, high], &counted(old)[..], old, rest].concat();
                write(&corpus.join("rdiff_pair"), &format!("{name}-{:x}-{block_len}", magic.code()), &seed);
            }
        }
    }
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    fs::create_dir_all(folder).expect("a folder");
    fs::write(folder.join(name), bytes).expect("a seed is written");
}
