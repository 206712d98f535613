//! The old side: the address space with everything packed opened, and the files in it by address.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};

use fluvial_codec::{DECODE_HEAD_BYTES, DecodeError, Format};

use super::unchanged::Unchanged;
use super::{DiffError, Named, programs};
use crate::limits::{BLOCK_PACKED_BYTES_MAX, BLOCK_PLAIN_BYTES_MAX, NESTING_MAX};
use crate::map::SourceBlock;
use crate::space::{Range, Space};
use crate::structure::{Block, Content, Dissector, Extent, Gathered, ReadAt};

/// A file of the old side, by address.
#[derive(Debug, Clone)]
pub(super) struct OldPart {
    pub(super) path: String,
    pub(super) extents: Vec<Extent>,
}

/// The fingerprint of packed bytes: BLAKE3, cut to 128 bits.
pub(super) type Fingerprint = [u8; 16];

pub(super) fn fingerprint(bytes: &[u8]) -> Fingerprint {
    let mut print = [0; 16];
    print.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
    print
}

/// What was found on the old side.
#[derive(Debug, Default)]
pub(super) struct OldFiles {
    pub(super) parts: Vec<OldPart>,
    /// Packed blocks that stand somewhere in the space as they are.
    pub(super) packed: HashSet<Fingerprint>,
    /// Addresses whose bytes have other addresses too, by which they are better known.
    pub(super) shadowed: Vec<Extent>,
}

impl OldFiles {
    /// Files that stand in one run of addresses.
    pub(super) fn in_one_run(&self) -> Vec<Extent> {
        let run = |part: &OldPart| if let [extent] = part.extents[..] { Some(extent) } else { None };
        self.parts.iter().filter_map(run).collect()
    }
}

/// Opens all sources, which are the streams of `space`.
///
/// # Errors
/// [`DiffError::ReadOld`].
pub(super) fn explore_all(
    space: &mut Space<'_>,
    sources: &[Named<'_>],
    dissector: &dyn Dissector,
    unchanged: &Unchanged,
    memory_bytes_max: u64,
) -> Result<OldFiles, DiffError> {
    let mut files = OldFiles::default();
    let mut start = 0;
    for source in sources {
        let whole = Extent { offset: start, len: source.bytes.len() };
        let mut explore = |extent, path, is_file| {
            explore(space, extent, (path, is_file), dissector, unchanged, memory_bytes_max, &mut files)
        };
        if source.files.is_empty() {
            explore(whole, source.name, sources.len() > 1)?;
        }
        for file in source.files {
            explore(inside(whole, file.extent), &file.path, true)?;
        }
        start = whole.end();
    }
    Ok(files)
}

/// Opens a source: blocks go to `space`, files to `files`. What takes more than `memory_bytes_max` to
/// unpack stays packed. One of several sources is a file by itself, and known as it is too: what holds all
/// of OLD is known by what is in it.
fn explore(
    space: &mut Space<'_>,
    stream: Extent,
    (path, is_file): (&str, bool),
    dissector: &dyn Dissector,
    unchanged: &Unchanged,
    memory_bytes_max: u64,
    files: &mut OldFiles,
) -> Result<(), DiffError> {
    let mut work = vec![(stream, path.to_owned(), 0)];
    while let Some((stream, path, depth)) = work.pop() {
        let structure = dissector.dissect(&Gathered::new(&*space, &[stream]), &path);
        if depth == 0 && (is_file || structure.is_none()) {
            files.parts.push(OldPart { path: path.clone(), extents: vec![stream] });
        }
        let Some(structure) = structure else { continue };
        // Parts by path whose content goes on in what another part holds, and where.
        let mut open: HashMap<&str, Vec<Extent>> = HashMap::new();
        let mut contents = Vec::with_capacity(structure.parts.len());
        for part in &structure.parts {
            let extents: Vec<Extent> = match &part.content {
                Content::Plain(extents) => {
                    let extents: Vec<Extent> = extents.iter().map(|&extent| inside(stream, extent)).collect();
                    // A program's references count its holes.
                    if !unchanged.contains(&part.path) && programs::has_fillable_holes(space, part, &extents)
                    {
                        part.with_holes(&extents)
                    } else {
                        extents
                    }
                }
                Content::Blocks(blocks) => {
                    push_blocks(space, stream, blocks, memory_bytes_max, files)?.into_iter().collect()
                }
            };
            if part.members.is_empty() {
                open.insert(&part.path, extents.clone());
            }
            contents.push(extents);
        }
        let below =
            |name: &str| if depth == 0 && !is_file { name.to_owned() } else { format!("{path}//{name}") };
        let mut found: Vec<(String, Vec<Extent>)> = Vec::new();
        for (part, extents) in structure.parts.iter().zip(&contents) {
            let [content] = extents[..] else { continue };
            for member in &part.members {
                let extent = inside(content, member.extent);
                match open.get_mut(member.path.as_str()) {
                    Some(extents) => extents.push(extent),
                    None => found.push((below(&member.path), vec![extent])),
                }
            }
        }
        for (part, extents) in structure.parts.iter().zip(contents) {
            if part.members.is_empty() {
                let extents = open.remove(part.path.as_str()).unwrap_or(extents);
                found.push((below(&part.path), extents));
            }
        }
        for (path, extents) in found {
            let content = gather(space, &extents, files);
            if let Some(content) = content
                && depth < NESTING_MAX
                && content.len > 0
            {
                work.push((content, path.clone(), depth + 1));
            }
            files.parts.push(OldPart { path, extents: content.into_iter().collect() });
        }
    }
    Ok(())
}

fn inside(stream: Extent, extent: Extent) -> Extent {
    Extent { offset: stream.offset + extent.offset, len: extent.len }
}

/// One run of addresses for a content in several extents.
fn gather(space: &mut Space<'_>, extents: &[Extent], files: &mut OldFiles) -> Option<Extent> {
    match extents {
        [] => None,
        [one] => Some(*one),
        many => {
            // Aliases cost a few bytes each in the patch, and only where they are used.
            files.shadowed.extend(many.iter().filter(|extent| !extent.is_hole()));
            let len = many.iter().map(|extent| extent.len).sum();
            let starts: Vec<u64> = many
                .iter()
                .map(|&packed| {
                    let (plain_len, format) = (packed.len, Format::Stored);
                    let alias = SourceBlock { packed, plain_len, format, often: false };
                    space.push(if packed.is_hole() { SourceBlock::hole(plain_len) } else { alias })
                })
                .collect();
            Some(Extent { offset: starts[0], len })
        }
    }
}

/// Appends what the blocks unpack to; `None` where one of them cannot be unpacked.
fn push_blocks(
    space: &mut Space<'_>,
    stream: Extent,
    blocks: &[Block],
    memory_bytes_max: u64,
    files: &mut OldFiles,
) -> Result<Option<Extent>, DiffError> {
    let mut ready = Vec::with_capacity(blocks.len());
    let mut packed = Vec::new();
    for block in blocks {
        let extent = inside(stream, block.extent);
        if block.format != Format::Stored && extent.len <= super::PACKED_BYTES_MAX {
            packed.resize(extent.len as usize, 0);
            space.read_at(extent.offset, &mut packed).map_err(DiffError::ReadOld)?;
            files.packed.insert(fingerprint(&packed));
        }
        let Some(plain_len) = plain_len(space, extent, block, memory_bytes_max) else { return Ok(None) };
        ready.push(SourceBlock { packed: extent, plain_len, format: block.format, often: false });
    }
    let len = ready.iter().map(|block| block.plain_len).sum();
    let starts: Vec<u64> = ready.into_iter().map(|block| space.push(block)).collect();
    Ok(starts.first().map(|&offset| Extent { offset, len }))
}

/// What unpacking a block takes, in bytes, beside its content.
///
/// # Errors
/// Those of reading `stream`.
pub(super) fn decode_memory_bytes(stream: &dyn ReadAt, packed: Extent, format: Format) -> io::Result<u64> {
    let mut head = [0; DECODE_HEAD_BYTES];
    let head = &mut head[..packed.len.min(DECODE_HEAD_BYTES as u64) as usize];
    stream.read_at(packed.offset, head)?;
    Ok(format.decode_memory_bytes(head))
}

/// The length of a block's content; `None` where it cannot be unpacked in so many bytes of memory.
fn plain_len(space: &Space<'_>, extent: Extent, block: &Block, memory_bytes_max: u64) -> Option<u64> {
    if block.format == Format::Stored {
        return Some(extent.len);
    }
    let memory_bytes = decode_memory_bytes(space, extent, block.format).ok()?;
    if memory_bytes > memory_bytes_max {
        return None;
    }
    if extent.len <= BLOCK_PACKED_BYTES_MAX && block.plain_len.is_none_or(|len| len <= BLOCK_PLAIN_BYTES_MAX)
    {
        // As applying unpacks it: libzstd reads some damaged frames in pieces that it refuses in one go.
        let mut packed = vec![0; extent.len as usize];
        space.read_at(extent.offset, &mut packed).ok()?;
        let mut plain = Vec::new();
        let limit = block.plain_len.unwrap_or(BLOCK_PLAIN_BYTES_MAX);
        match block.format.decode_block(&packed, limit as usize, &mut plain) {
            Ok(()) => {
                let len = plain.len() as u64;
                return block.plain_len.is_none_or(|told| told == len).then_some(len);
            }
            Err(DecodeError::TooLong { .. }) if block.plain_len.is_none() => {}
            Err(_) => return None,
        }
    }
    // The first member tells what all of them may take.
    let reader = block.format.reader_within(Box::new(Range::new(space, extent)), memory_bytes).ok()?;
    let mut reader = reader.take(super::PLAIN_BYTES_MAX + 1);
    let len = io::copy(&mut reader, &mut io::sink()).ok()?;
    (len <= super::PLAIN_BYTES_MAX).then_some(len)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::scratch::MemoryScratch;

    /// Gives few bytes a call.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = out.len().min(1 + self.0.len() % 7);
            self.0.read(&mut out[..count])
        }
    }

    #[test]
    fn what_cannot_be_unpacked_in_one_go_stays_packed() {
        // A damaged frame that a fuzzer made.
        let hex = "28b52ffd210000000000050000000000fd000000000005000000000002000bffffffff02200000ffffff30c4\
                   9302214c1806";
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let packed: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        let mut plain = Vec::new();
        Format::Zstd.reader(Box::new(Slow(&packed))).unwrap().read_to_end(&mut plain).unwrap();

        let sources: [&dyn ReadAt; 1] = [&packed];
        let space = Space::new(&sources, &MemoryScratch);
        let extent = Extent { offset: 0, len: packed.len() as u64 };
        let block = Block { extent, plain_len: None, format: Format::Zstd };
        assert_eq!(plain_len(&space, extent, &block, 1 << 30), None);
    }
}
