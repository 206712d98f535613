//! Indexes and chunk files of published payloads.
//!
//! Input: one byte says what follows.
//! - 0: an index as it is.
//! - 1: the body of an index and a chunk file (strings), whose pages are given the right digests: the payload
//!   is put together from a small archive and the chunks.
//! - 2: a page, and the lengths of its runs (`fluvial_bundle::probe_page`).
//! - 3: the header of a bundle.
//! - 4: a manifest.
//! - 5: a sketch.
//! - 6: a table of frames and the frames (strings), which are unpacked whatever their digests are.

use std::io;

use fluvial_bundle::{
    AssembleError, Assembly, BundleHeader, FrameReader, Index, IndexError, Manifest, Part, Restorer, Shelf,
    Sketch, Whole,
};
use fluvial_delta::structure::{Extent, ReadAt as _};
use fluvial_delta::wire::{WireReader, WireWriter};

use crate::medium::{TARGET_BYTES_MAX, target};
use crate::patch::OLD;

const INDEX_BYTES_MAX: usize = 1 << 20;
/// How an index begins, with its version.
const PREFIX: &[u8] = b"FLUVIALi\x07";
/// Where the frame of an index begins.
const FRAME_START: usize = PREFIX.len() + 4;
/// How a Zstandard frame begins that is one segment and tells its length in four bytes (RFC 8878, 3.1.1).
const FRAME: [u8; 5] = [0x28, 0xb5, 0x2f, 0xfd, 0xa0];
/// Bytes of one of its blocks at most.
const BLOCK_BYTES_MAX: usize = 128 << 10;
/// Frames that are unpacked: each of them may be a bomb, which takes its time.
const FRAMES_MAX: usize = 2;
/// Rounds that a fetch takes at most: those of programs, and two repairs of each run.
const ROUNDS_MAX: usize = 64;

/// A payload is put together or refused.
///
/// # Panics
/// Where that does not hold.
pub fn run(bytes: &[u8]) {
    let Some((&kind, rest)) = bytes.split_first() else { return };
    match kind % 7 {
        0 => drop(read_index(rest)),
        1 => {
            let mut reader = WireReader::new(rest);
            let Ok(body) = reader.string("an index", INDEX_BYTES_MAX) else { return };
            let Ok(chunks) = reader.string("a chunk file", INDEX_BYTES_MAX) else { return };
            if let Some(mut index) = read_index(&with_prefix(body)) {
                index.seal_pages(chunks);
                put_together(&index, chunks);
            }
        }
        2 => fluvial_bundle::probe_page(rest),
        3 => read_header(rest),
        4 => read_manifest(rest),
        5 => read_sketch(rest),
        _ => unpack_whole(rest),
    }
}

fn read_index(bytes: &[u8]) -> Option<Index> {
    let index = Index::read(bytes).ok()?;
    let sum: u64 = index.runs.iter().map(|run| u64::from(run.len)).sum();
    let (holes, stored): (Vec<Extent>, Vec<Extent>) = index.order().partition(|extent| extent.is_hole());
    let len_of = |extents: &[Extent]| extents.iter().map(|extent| extent.len).sum::<u64>();
    let cut = index.cut_len() - index.unpacked.packed_bytes();
    assert_eq!(len_of(&stored), cut, "the order of cutting is what is cut, and holes");
    assert_eq!(sum, cut + len_of(&holes), "runs fill the payload, what is unpacked behind it, and holes");
    assert!(len_of(&holes) <= cut, "there are no more holes than bytes");
    let again = Index::read(&index.to_bytes().expect("an index that was read is written"));
    assert_eq!(again.as_ref().ok(), Some(&index), "what was written is read again");
    Some(index)
}

fn read_header(bytes: &[u8]) {
    let Ok(header) = BundleHeader::read(bytes) else { return };
    let len = BundleHeader::len_of(bytes).expect("a header that was read has a length");
    assert!(header.parts.iter().all(|part| part.range.start >= len as u64), "parts stand behind the header");
    let again = header.to_bytes().expect("a header that was read is written");
    assert_eq!(BundleHeader::read(&again).ok().as_ref(), Some(&header), "what was written is read again");
}

fn read_manifest(bytes: &[u8]) {
    let Ok(manifest) = Manifest::read(bytes) else { return };
    let again = manifest.to_bytes().expect("a manifest that was read is written");
    assert_eq!(Manifest::read(&again).ok().as_ref(), Some(&manifest), "what was written is read again");
}

fn read_sketch(bytes: &[u8]) {
    let Ok(sketch) = Sketch::read(bytes) else { return };
    assert_eq!(
        Sketch::read(&sketch.to_bytes()).ok().as_ref(),
        Some(&sketch),
        "what was written is read again"
    );
    if let Some(missing) = sketch.missing([]) {
        assert!(
            missing.bytes_min <= missing.bytes && missing.bytes <= sketch.chunk_bytes,
            "no more than all"
        );
    }
}

fn unpack_whole(bytes: &[u8]) {
    let mut reader = WireReader::new(bytes);
    let Ok(table) = reader.string("a table", INDEX_BYTES_MAX) else { return };
    let Ok(frames) = reader.string("frames", INDEX_BYTES_MAX) else { return };
    let Ok(whole) = Whole::read(table) else { return };
    let again = Whole::read(&whole.to_bytes().expect("a table that was read is written"));
    assert_eq!(again.as_ref().ok(), Some(&whole), "what was written is read again");
    for frame in whole.frames.iter().take(FRAMES_MAX) {
        let (start, end) = (frame.packed.start as usize, frame.packed.end as usize);
        let (Some(packed), Ok(mut unpacked)) = (frames.get(start..end), FrameReader::new(&whole, frame))
        else {
            return;
        };
        let mut restorer = Restorer::new(&whole);
        let mut at = frame.content.start;
        let _ = unpacked.push(packed, &mut |offset, mut block| {
            assert_eq!(offset, at, "blocks come in order");
            at += block.len() as u64;
            assert!(at <= frame.content.end, "no more than was declared");
            restorer.restore(offset, &mut block);
            Ok::<(), IndexError>(())
        });
    }
}

/// The chunk file.
struct Chunks<'a>(&'a [u8]);

impl Shelf for Chunks<'_> {
    fn read(&self, _payload: usize, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, buf)
    }
}

fn put_together(index: &Index, chunks: &[u8]) {
    if index.cut_len() > TARGET_BYTES_MAX {
        return;
    }
    let made = target(index.cut_len());
    let mut assembly = Assembly::new(&[Part { index, target: &made }], vec![&OLD]);
    let shelf = Chunks(chunks);
    let mut go = || -> Result<(), AssembleError> {
        assembly.find_runs(&|_| true)?;
        let is_inside = |len: u64, offset: u64| len > 0 && offset + len <= index.chunk_file_len();
        loop {
            let pages = assembly.pages();
            if pages.is_empty() {
                return assembly.copy_repeats(&|_| true);
            }
            assert!(pages.iter().all(|want| is_inside(want.len, want.offset)), "a page stands in the file");
            assembly.open_pages(&shelf)?;
            assembly.find_chunks(&|_| true)?;
            for round in 0.. {
                assert!(round < ROUNDS_MAX, "it comes to an end");
                let wants = assembly.next_round(&shelf, &|_| true)?;
                if wants.is_empty() {
                    break;
                }
                assert!(
                    wants.iter().all(|want| is_inside(want.len, want.offset)),
                    "chunks stand in the file"
                );
                assembly.take(&shelf, &|_| true)?;
            }
        }
    };
    match go() {
        Ok(()) => {
            let tally = assembly.tally();
            let sum = tally.found_bytes + tally.predicted_bytes + tally.fetched_bytes;
            assert!(sum >= index.cut_len() - index.unpacked.packed_bytes(), "all of it came from somewhere");
        }
        Err(error) => assert!(!matches!(error, AssembleError::Write(_)), "bytes are written outside"),
    }
}

/// The prefix of an index, and its body in a frame that is not packed.
fn with_prefix(body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u32).to_le_bytes();
    let mut bytes = [PREFIX, &len, &FRAME, &len].concat();
    let mut blocks = body.chunks(BLOCK_BYTES_MAX).peekable();
    if blocks.peek().is_none() {
        bytes.extend_from_slice(&[1, 0, 0]);
    }
    while let Some(block) = blocks.next() {
        let header = (block.len() as u32) << 3 | u32::from(blocks.peek().is_none());
        bytes.extend_from_slice(&header.to_le_bytes()[..3]);
        bytes.extend_from_slice(block);
    }
    bytes
}

/// Takes a real index apart, as input for this target. `unpacked` is the body of its frame.
///
/// # Panics
/// If it is no index.
#[must_use]
pub fn disassemble(index: &[u8], chunks: &[u8], unpack: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    assert!(index.starts_with(PREFIX));
    let mut writer = WireWriter::default();
    writer.raw(&[1]);
    writer.string(&unpack(&index[FRAME_START..]));
    writer.string(chunks);
    writer.bytes
}
