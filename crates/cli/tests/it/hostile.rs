//! Patches that were made to harm: every checksum is right, what they ask for is not. Each is refused
//! with an error of its kind and a hint, in bounded memory, and leaves nothing behind.

use std::process::Command;

use fluvial_codec::{Format, Recipe};
use fluvial_delta::header::{FrameInfo, Header, PREFIX_BYTES, SourceCheck, SourceInfo, StreamInfo};
use fluvial_delta::layout::{Node, Packed, Piece, Root};
use fluvial_delta::map::{Packing, PatchMap, SourceBlock};
use fluvial_delta::stream::{Effort, write_stream};
use fluvial_delta::structure::Extent;
use fluvial_delta::wire::WireWriter;
use sha2::{Digest as _, Sha256};

use crate::support::{Workplace, noise, text};

/// The most address space that a refusal may take, in bytes: that of the program itself and of its
/// threads' stacks, and some more.
const ADDRESS_SPACE_BYTES_MAX: u64 = 512 << 20;

/// A patch in the making. As it is, it copies the first `NEW_BYTES` of OLD.
struct Forger {
    header: Header,
    map: PatchMap,
    /// The only frame.
    frame: Vec<u8>,
}

const OLD_BYTES: usize = 100_000;
const NEW_BYTES: u64 = 50_000;

impl Forger {
    fn new(old: &[u8]) -> Self {
        let check = SourceCheck::Whole { sha256: Sha256::digest(old).into(), large: None };
        let new = &old[..NEW_BYTES as usize];
        let header = Header {
            context: Vec::new(),
            sources: vec![SourceInfo { name: "old".into(), size: old.len() as u64, check }],
            sources_blake3: None,
            targets: vec![StreamInfo {
                name: "new".into(),
                size: NEW_BYTES,
                sha256: Sha256::digest(new).into(),
            }],
            apply_memory_bytes: 32 << 20,
            scratch_bytes: 0,
            map_packed_len: 0,
            map_len: 0,
            map_sha256: [0; 32],
            frames: vec![FrameInfo { packed_len: 0, flat_len: NEW_BYTES, sha256: [0; 32] }],
        };
        let root = Root {
            target: 0,
            extents: vec![Extent { offset: 0, len: NEW_BYTES }],
            copies: Vec::new(),
            node: Node::Plain(NEW_BYTES),
        };
        let map = PatchMap { roots: vec![root], ..PatchMap::default() };
        Self { header, map, frame: frame(NEW_BYTES, 0) }
    }

    /// One block more in the old space, and a target that is copied from it.
    fn with_block(mut self, format: Format, packed: Extent, plain_len: u64) -> Self {
        self.map.blocks.push(SourceBlock { packed, plain_len, format, often: false });
        self.frame = frame(NEW_BYTES, self.header.sources[0].size);
        self
    }

    /// The patch, with all its checksums.
    fn bytes(mut self) -> Vec<u8> {
        let map = self.map.to_bytes();
        let mut packed_map = WireWriter::default();
        write_stream(&map, Effort::Zstd(3), &mut packed_map);
        self.header.map_len = map.len() as u32;
        self.header.map_packed_len = packed_map.bytes.len() as u32;
        self.header.map_sha256 = Sha256::digest(&packed_map.bytes).into();
        if let Some(frame) = self.header.frames.first_mut() {
            frame.packed_len = self.frame.len() as u32;
            frame.sha256 = Sha256::digest(&self.frame).into();
        }
        [self.header.to_bytes(), packed_map.bytes, self.frame].concat()
    }
}

/// What a frame consists of, behind the count of its covers.
const FRAME_STREAMS: usize = 9;

/// A frame of one cover of `len` bytes at an old address; see docs/format.md.
fn frame(len: u64, address: u64) -> Vec<u8> {
    let number = |value: u64| {
        let mut writer = WireWriter::default();
        writer.number(value);
        writer.bytes
    };
    // Twice the zigzag of a distance forward.
    let numbers = [number(0), number(len), number(4 * address)];
    let mut writer = WireWriter::default();
    writer.number(1);
    for index in 0..FRAME_STREAMS {
        write_stream(numbers.get(index).map_or(&[], Vec::as_slice), Effort::Zstd(3), &mut writer);
    }
    writer.bytes
}

/// A workplace with OLD, and a patch by `forge`.
fn workplace(old: &[u8], forge: impl FnOnce(&mut Forger)) -> Workplace {
    let work = Workplace::new();
    work.write("old", old);
    let mut forger = Forger::new(old);
    forge(&mut forger);
    work.write("patch", &forger.bytes());
    work
}

/// Applies the patch with little memory. It must be refused, and leave nothing.
fn refused(work: &Workplace, kind: &str) -> String {
    let names = work.names();
    let mut command = Command::new("sh");
    let script =
        format!("ulimit -v {}; exec \"$0\" apply old patch -o result --json", ADDRESS_SPACE_BYTES_MAX >> 10);
    command.args(["-c", &script, env!("CARGO_BIN_EXE_fluvial")]).current_dir(work.path(""));
    let output = command.output().unwrap();
    let object: serde_json::Value =
        serde_json::from_slice(&output.stderr).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    assert_eq!(object["error"]["kind"], kind, "{object}");
    assert!(object["error"]["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{object}");
    assert_eq!(work.names(), names);
    object["error"]["messages"].to_string()
}

#[test]
fn the_forger_knows_the_format() {
    let old = noise(11, OLD_BYTES);
    let work = workplace(&old, |_| {});
    work.json(&["apply", "old", "patch", "-o", "result"]);
    assert!(work.read("result") == old[..NEW_BYTES as usize]);
}

/// A number of the header.
type Field = fn(&mut Header) -> &mut u64;

#[test]
fn a_header_that_claims_too_much_is_refused() {
    let old = noise(11, OLD_BYTES);
    let claims: [(&str, u64, Field); 8] = [
        ("damaged_patch", 1 << 60, |header| &mut header.targets[0].size),
        ("damaged_patch", u64::MAX, |header| &mut header.targets[0].size),
        ("damaged_patch", 1 << 60, |header| &mut header.sources[0].size),
        ("damaged_patch", 1 << 60, |header| &mut header.frames[0].flat_len),
        ("damaged_patch", 1 << 60, |header| &mut header.scratch_bytes),
        ("over_memory", 1 << 60, |header| &mut header.apply_memory_bytes),
        // Below the limits of the format, but more than there is.
        ("wrong_source", 1 << 43, |header| &mut header.sources[0].size),
        ("no_space", 1 << 43, |header| &mut header.scratch_bytes),
    ];
    for (kind, claim, field) in claims {
        refused(&workplace(&old, |forger| *field(&mut forger.header) = claim), kind);
    }
    // A target that no disk holds, with a layout to match.
    let work = workplace(&old, |forger| forger.header.targets[0].size = 1 << 43);
    refused(&work, "no_space");
}

#[test]
fn lengths_that_the_header_claims_are_checked_against_the_patch() {
    let old = noise(11, OLD_BYTES);
    let work = workplace(&old, |_| {});
    let patch = work.read("patch");
    // The length of the header's body stands behind magic and version.
    for claim in [u32::MAX, 1 << 30, (16 << 20) + 1, 16 << 20] {
        let mut longer = patch.clone();
        longer[9..13].copy_from_slice(&claim.to_le_bytes());
        work.write("patch", &longer);
        refused(&work, "damaged_patch");
    }
    // A count of 2^60 sources in a body that is too short for one.
    let mut body = WireWriter::default();
    body.number(1 << 60);
    let mut forged = patch[..PREFIX_BYTES].to_vec();
    forged[9..13].copy_from_slice(&(body.bytes.len() as u32).to_le_bytes());
    forged[13..].copy_from_slice(&Sha256::digest(&body.bytes));
    work.write("patch", &[forged, body.bytes].concat());
    refused(&work, "damaged_patch");
}

#[test]
fn a_cover_out_of_range_is_refused() {
    let old = noise(11, OLD_BYTES);
    let end = OLD_BYTES as u64;
    for address in [end - NEW_BYTES + 1, end - 1, end, end + 1, 1 << 40, 1 << 60] {
        let messages =
            refused(&workplace(&old, |forger| forger.frame = frame(NEW_BYTES, address)), "damaged_patch");
        assert!(messages.contains("stands outside of the sources"), "{messages}");
    }
    // Longer than the target.
    refused(&workplace(&old, |forger| forger.frame = frame(NEW_BYTES + 1, 0)), "damaged_patch");
}

#[test]
fn a_copy_stands_within_its_target() {
    let old = noise(1, NEW_BYTES as usize);
    let copied = |offset: u64| {
        workplace(&old, |forger| {
            let half = NEW_BYTES / 2;
            let root = &mut forger.map.roots[0];
            root.extents[0].len = half;
            root.copies = vec![vec![Extent { offset, len: half }]];
            root.node = Node::Plain(half);
            forger.header.frames[0].flat_len = half;
            forger.frame = frame(half, 0);
            forger.header.targets[0].sha256 = Sha256::digest([&old[..half as usize]; 2].concat()).into();
        })
    };
    let work = copied(NEW_BYTES / 2);
    work.json(&["apply", "old", "patch", "-o", "result"]);
    assert!(work.read("result") == [&old[..NEW_BYTES as usize / 2]; 2].concat());
    for offset in [NEW_BYTES / 2 + 1, NEW_BYTES, u64::MAX - NEW_BYTES] {
        let messages = refused(&copied(offset), "damaged_patch");
        assert!(messages.contains("a root passes the end of its target"), "{messages}");
    }
}

#[test]
fn a_hole_takes_zeros_alone() {
    let old = noise(11, OLD_BYTES);
    let len = NEW_BYTES / 4;
    let place = |offset| Extent { offset, len };
    let forged = |extents: &[Extent]| {
        workplace(&old, |forger| {
            let rest = 2 * NEW_BYTES / 4;
            let node = Node::Plain(NEW_BYTES - rest);
            let behind = Root {
                target: 0,
                extents: vec![Extent { offset: rest, len: NEW_BYTES - rest }],
                copies: Vec::new(),
                node,
            };
            let made = extents.iter().map(|extent| extent.len).sum();
            let sparse =
                Root { target: 0, extents: extents.to_vec(), copies: Vec::new(), node: Node::Plain(made) };
            forger.map.roots = vec![sparse, behind];
            forger.header.frames[0].flat_len = made + NEW_BYTES - rest;
            forger.frame = frame(made + NEW_BYTES - rest, 0);
        })
    };
    let messages = refused(&forged(&[place(0), Extent::hole(len), place(len)]), "damaged_patch");
    assert!(messages.contains("for a hole"), "{messages}");
    let messages = refused(&forged(&[Extent::hole(len), place(0), place(len)]), "damaged_patch");
    assert!(messages.contains("begins with a hole"), "{messages}");
}

/// Zeros, packed to almost nothing.
fn bomb(plain_len: usize) -> Vec<u8> {
    let mut writer = WireWriter::default();
    write_stream(&vec![0; plain_len], Effort::Zstd(19), &mut writer);
    let magic = writer.bytes.windows(4).position(|window| window == [0x28, 0xb5, 0x2f, 0xfd]);
    writer.bytes.split_off(magic.unwrap())
}

#[test]
fn a_bomb_in_the_source_takes_what_the_header_says() {
    let packed = bomb(256 << 20);
    assert!(packed.len() < 64 << 10);
    let old = [packed.clone(), noise(11, OLD_BYTES)].concat();
    let extent = Extent { offset: 0, len: packed.len() as u64 };
    let forged = |plain_len, scratch_bytes| {
        let work = Workplace::new();
        work.write("old", &old);
        let mut forger = Forger::new(&old).with_block(Format::Zstd, extent, plain_len);
        forger.header.scratch_bytes = scratch_bytes;
        work.write("patch", &forger.bytes());
        work
    };
    // Not declared.
    let messages = refused(&forged(256 << 20, 0), "damaged_patch");
    assert!(messages.contains("bytes of temporary storage, its header says 0"), "{messages}");
    // Declared, but no disk has it.
    refused(&forged(1 << 43, 1 << 43), "no_space");
    // It unpacks to more than the map says: to temporary storage, and in memory.
    let messages = refused(&forged(4 << 20, 4 << 20), "damaged_patch");
    assert!(messages.contains("unpacks to another length"), "{messages}");
    let messages = refused(&forged(NEW_BYTES, 0), "damaged_patch");
    assert!(messages.contains("holds more than 50000 bytes"), "{messages}");
}

#[test]
fn a_bomb_in_a_frame_stops_at_its_limits() {
    let old = noise(11, OLD_BYTES);
    let zeros = vec![0; 64 << 20];
    for index in 0..FRAME_STREAMS {
        let mut writer = WireWriter::default();
        writer.number(1);
        for at in 0..FRAME_STREAMS {
            write_stream(if at == index { &zeros } else { &[] }, Effort::Zstd(1), &mut writer);
        }
        refused(&workplace(&old, |forger| forger.frame = writer.bytes), "damaged_patch");
    }
}

/// Frames are decoded ahead of what is packed, but corrections must not pile up there.
/// Large enough to be packed by other threads: none of them may wait for one that has failed.
#[test]
fn a_content_that_packs_to_another_length_is_refused() {
    const CONTENTS: u64 = 200;
    const EACH_BYTES: u64 = 10_000;
    for wrong in [0, 1, CONTENTS / 2, CONTENTS - 1] {
        let old = noise(11, OLD_BYTES);
        let work = workplace(&old, |forger| {
            let recipe = Recipe::from_bytes(&[0]).unwrap();
            forger.map.packings.push(Packing { format: Format::Stored, recipe });
            forger.map.working_memory_bytes = 1 << 20;
            let content = |index: u64| {
                let packed_len = EACH_BYTES - u64::from(index == wrong);
                let piece = Piece { recipe: 0, plain_len: EACH_BYTES, packed_len, corrections_len: 0 };
                let packed = Packed { pieces: vec![piece], children: vec![Node::Plain(EACH_BYTES)] };
                let place = Extent { offset: index * EACH_BYTES, len: packed_len };
                Root { target: 0, extents: vec![place], copies: Vec::new(), node: Node::Packed(packed) }
            };
            forger.map.roots = (0..CONTENTS).map(content).collect();
            forger.header.targets[0].size = CONTENTS * EACH_BYTES;
            forger.header.frames[0].flat_len = CONTENTS * EACH_BYTES;
            let mut writer = WireWriter::default();
            writer.number(0);
            for stream in 0..FRAME_STREAMS {
                let len = if stream == 7 { CONTENTS * EACH_BYTES } else { 0 };
                write_stream(&vec![0; len as usize], Effort::Zstd(1), &mut writer);
            }
            forger.frame = writer.bytes;
        });
        let said = refused(&work, "damaged_patch");
        assert!(said.contains("9999 expected"), "{said}");
    }
}

#[test]
fn corrections_of_many_contents_are_not_held_at_a_time() {
    const CONTENTS: usize = 9000;
    const EACH_BYTES: usize = 60_000;
    const { assert!((CONTENTS * EACH_BYTES) as u64 > ADDRESS_SPACE_BYTES_MAX) };
    let old = noise(11, OLD_BYTES);
    let work = workplace(&old, |forger| {
        // Method 0: bytes as they are, which takes no corrections.
        let recipe = Recipe::from_bytes(&[0]).unwrap();
        forger.map.packings.push(Packing { format: Format::Stored, recipe });
        let content = |at: usize| {
            let corrections_len = EACH_BYTES as u32;
            let piece = Piece { recipe: 0, plain_len: 1, packed_len: 1, corrections_len };
            let packed = Packed { pieces: vec![piece], children: vec![Node::Plain(1)] };
            Root {
                target: 0,
                extents: vec![Extent { offset: at as u64, len: 1 }],
                copies: Vec::new(),
                node: Node::Packed(packed),
            }
        };
        forger.map.roots = (0..CONTENTS).map(content).collect();
        forger.header.targets[0].size = CONTENTS as u64;
        forger.header.frames[0].flat_len = CONTENTS as u64;
        let mut writer = WireWriter::default();
        writer.number(0);
        for stream in 0..FRAME_STREAMS {
            let len = match stream {
                7 => CONTENTS,
                8 => CONTENTS * EACH_BYTES,
                _ => 0,
            };
            write_stream(&vec![0; len], Effort::Zstd(1), &mut writer);
        }
        forger.frame = writer.bytes;
    });
    let messages = refused(&work, "damaged_patch");
    assert!(messages.contains("corrections"), "{messages}");
}

#[test]
fn blocks_nested_without_end_are_refused() {
    let old = noise(11, OLD_BYTES);
    let work = workplace(&old, |forger| {
        // Each is an alias of the one before.
        for index in 0..500_000 {
            let offset = if index == 0 { 0 } else { OLD_BYTES as u64 + (index - 1) * NEW_BYTES };
            let packed = Extent { offset, len: NEW_BYTES };
            forger.map.blocks.push(SourceBlock {
                packed,
                plain_len: NEW_BYTES,
                format: Format::Stored,
                often: false,
            });
        }
        forger.frame = frame(NEW_BYTES, OLD_BYTES as u64 + 499_999 * NEW_BYTES);
        forger.header.apply_memory_bytes = 60 << 20;
    });
    let messages = refused(&work, "damaged_patch");
    assert!(messages.contains("nested too deeply"), "{messages}");
}

#[test]
fn a_packer_that_was_not_declared_is_refused() {
    let old = noise(11, OLD_BYTES);
    // What diff makes of a file that is packed, with a header that keeps quiet about the memory.
    let work = Workplace::new();
    let plain = text(&old[..20_000]).into_bytes();
    work.write("plain", &plain);
    let packed = Command::new("gzip").args(["-9", "-n", "-c", "plain"]).current_dir(work.path("")).output();
    let Ok(packed) = packed else {
        println!("skipped: gzip is not installed");
        return;
    };
    work.write("new", &packed.stdout);
    std::fs::rename(work.path("plain"), work.path("old")).unwrap();
    work.json(&["diff", "old", "new", "-o", "patch", "--preset", "fast"]);
    let patch = work.read("patch");
    let (mut header, end) = Header::read(&patch).unwrap();
    header.apply_memory_bytes = 100_000;
    work.write("patch", &[header.to_bytes(), patch[end as usize..].to_vec()].concat());
    let messages = refused(&work, "damaged_patch");
    assert!(messages.contains("bytes of memory, its header says 100000"), "{messages}");
}
