//! Patches: header, map, frames, and all of it applied to a small source.
//!
//! Input: one byte says what follows.
//! - 0: a patch as it is; most of them fail a checksum.
//! - 1: the body of a header, which gets its prefix.
//! - 2: a patch in parts, which get their checksums: count of targets and their sizes; the map (string,
//!   unpacked); the frame to begin at; count of frames, for each its flattened length and its bytes
//!   (string). Numbers and strings as in docs/format.md.
//! - 3: how the sources of an image are made, which are then made of an archive's files.

use std::sync::Arc;

use fluvial_delta::apply::{ApplyError, ApplyObserver, Checkpoint, Patch, Target};
use fluvial_delta::header::{FORMAT_VERSION, FrameInfo, Header, MAGIC, SourceCheck, SourceInfo, StreamInfo};
use fluvial_delta::map::PatchMap;
use fluvial_delta::stream::{Effort, read_stream, write_stream};
use fluvial_delta::structure::ReadAt;
use fluvial_delta::wire::{WireError, WireReader, WireWriter};
use fluvial_image::oci::{GroupRecipe, Grouper, LayerTar, Slice, tree};
use sha2::{Digest as _, Sha256};

use crate::medium::{SmallScratch, TARGET_BYTES_MAX, target};

/// What every patch in parts is applied to: an archive of programs and packed streams, made by
/// seeds.sh.
pub const OLD: &[u8] = include_bytes!("../seeds/old.tar");
const TARGETS_MAX: u64 = 3;
const FRAMES_MAX: u64 = 8;
/// More flattened bytes than any input makes sensible use of.
const MADE_BYTES_MAX: u64 = 4 << 20;
const STRING_BYTES_MAX: usize = 1 << 20;
/// The streams of a frame.
const FRAME_STREAMS: usize = 9;

/// A patch is applied or refused.
///
/// # Panics
/// Where that does not hold.
pub fn run(bytes: &[u8]) {
    let Some((&kind, rest)) = bytes.split_first() else { return };
    match (kind, kind % 3) {
        (3, _) => group(rest),
        (_, 0) => apply_whole(rest, 0),
        (_, 1) => read_header(rest),
        _ => {
            if let Ok((patch, from)) = assemble(rest) {
                apply_whole(&patch, from);
            }
        }
    }
}

fn read_header(body: &[u8]) {
    let mut patch = MAGIC.to_vec();
    patch.push(FORMAT_VERSION);
    patch.extend_from_slice(&(body.len() as u32).to_le_bytes());
    patch.extend_from_slice(&Sha256::digest(body));
    patch.extend_from_slice(body);
    if let Ok((header, end)) = Header::read(&patch) {
        assert_eq!(end, patch.len() as u64);
        let (again, _) = Header::read(&header.to_bytes()).expect("a header that was written is read");
        assert_eq!(again, header);
    }
    apply_whole(&patch, 0);
}

fn group(bytes: &[u8]) {
    let Ok(recipe) = GroupRecipe::parse(bytes) else { return };
    assert_eq!(GroupRecipe::parse(&recipe.to_bytes()).expect("a recipe that was written is read"), recipe);
    let layer = LayerTar { diff_id: [0; 32], tar: Slice::whole(Arc::new(OLD.to_vec())) };
    let files = tree(&[layer]).expect("the archive is a layer");
    let mut grouper = Grouper::new(recipe);
    let mut groups: Vec<_> = files.into_iter().filter_map(|entry| grouper.push(entry)).collect();
    groups.extend(grouper.finish());
    for group in groups {
        let mut whole = vec![0; group.len() as usize];
        group.read_at(0, &mut whole).expect("a group is read");
        for (_, extent) in group.files() {
            assert!(extent.end() <= group.len());
        }
    }
}

/// Gives the parts of a patch their checksums; answers it, and the frame to begin at.
fn assemble(bytes: &[u8]) -> Result<(Vec<u8>, usize), WireError> {
    let mut reader = WireReader::new(bytes);
    let mut targets = Vec::new();
    for _ in 0..reader.limited("targets", TARGETS_MAX)? {
        let size = reader.number()?;
        targets.push(StreamInfo { name: "new".into(), size, sha256: [0; 32] });
    }
    let map = reader.string("the map", STRING_BYTES_MAX)?;
    let from = reader.limited("the first frame", FRAMES_MAX)? as usize;
    let mut frames = Vec::new();
    let mut frame_bytes = Vec::new();
    for _ in 0..reader.limited("frames", FRAMES_MAX)? {
        let flat_len = reader.number()?;
        let bytes = reader.string("a frame", STRING_BYTES_MAX)?;
        let sha256 = Sha256::digest(bytes).into();
        frames.push(FrameInfo { packed_len: bytes.len() as u32, flat_len, sha256 });
        frame_bytes.extend_from_slice(bytes);
    }
    let mut packed_map = WireWriter::default();
    write_stream(map, Effort::Zstd(1), &mut packed_map);
    let check = SourceCheck::Whole { sha256: Sha256::digest(OLD).into(), large: None };
    let source = SourceInfo { name: "old".into(), size: OLD.len() as u64, check };
    let header = Header {
        context: Vec::new(),
        sources: vec![source],
        sources_blake3: None,
        targets,
        apply_memory_bytes: 64 << 20,
        scratch_bytes: 8 << 20,
        map_packed_len: packed_map.bytes.len() as u32,
        map_len: map.len() as u32,
        map_sha256: Sha256::digest(&packed_map.bytes).into(),
        frames,
    };
    Ok(([header.to_bytes(), packed_map.bytes, frame_bytes].concat(), from))
}

/// Stops what makes bytes without end.
struct Limit(u64);

impl ApplyObserver for Limit {
    fn made(&mut self, bytes: u64) -> bool {
        self.0 = self.0.saturating_sub(bytes);
        self.0 > 0
    }
}

fn apply_whole(bytes: &[u8], from: usize) {
    let Ok(patch) = Patch::open(&bytes) else { return };
    let sizes: Vec<u64> = patch.header.targets.iter().map(|target| target.size).collect();
    let source_len = patch.header.sources.iter().map(|source| source.size).fold(0, u64::saturating_add);
    let again = PatchMap::from_bytes(&patch.map.to_bytes(), source_len, &sizes);
    assert_eq!(again.expect("a map that was written is read"), patch.map);
    // Whoever hands in a target has the room for it.
    if sizes.iter().any(|&size| size > TARGET_BYTES_MAX) || patch.header.sources.len() > 4 {
        return;
    }
    let targets: Vec<_> = sizes.into_iter().map(target).collect();
    let target_refs: Vec<&dyn Target> = targets.iter().map(|target| target as &dyn Target).collect();
    let sources: Vec<&dyn ReadAt> = patch.header.sources.iter().map(|_| &OLD as &dyn ReadAt).collect();
    let checkpoint = Checkpoint { frame: from };
    let result = patch.apply(&sources, &target_refs, &SmallScratch, checkpoint, &mut Limit(MADE_BYTES_MAX));
    assert!(!matches!(result, Err(ApplyError::WriteTarget(_))), "bytes are written outside of a target");
}

/// Takes a real patch apart, as input for this target: maps and the streams of frames are unpacked.
///
/// # Panics
/// If it is no whole patch.
#[must_use]
pub fn disassemble(bytes: &[u8]) -> Vec<u8> {
    let patch = Patch::open(&bytes).expect("a patch");
    let mut writer = WireWriter::default();
    writer.raw(&[2]);
    writer.number(patch.header.targets.len() as u64);
    patch.header.targets.iter().for_each(|target| writer.number(target.size));
    writer.string(&patch.map.to_bytes());
    writer.number(0);
    writer.number(patch.header.frames.len() as u64);
    for (index, frame) in patch.header.frames.iter().enumerate() {
        writer.number(frame.flat_len);
        writer.string(&unpacked_frame(&patch.frame(index).expect("a whole patch")));
    }
    writer.bytes
}

fn unpacked_frame(bytes: &[u8]) -> Vec<u8> {
    let mut reader = WireReader::new(bytes);
    let mut writer = WireWriter::default();
    writer.number(reader.number().expect("the number of covers"));
    for _ in 0..FRAME_STREAMS {
        let stream = read_stream(&mut reader).expect("a stream");
        let plain = stream.read_all(STRING_BYTES_MAX).expect("a stream is unpacked");
        writer.raw(&[0]);
        writer.number(plain.len() as u64);
        writer.string(&plain);
    }
    writer.bytes
}
