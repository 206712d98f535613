//! Files in chunks, as the Deltar of Rugix's benchmark does.

use std::collections::{HashMap, HashSet};

use fluvial_bundle::Chunker;
use fluvial_delta::structure::{Content, Dissector, Extent, Gathered};
use rayon::prelude::*;

use crate::cost::Cost;
use crate::error::{Side, SimulateError};
use crate::pack::xz_len;
use crate::stream::{Pair, Piece, Stream, cut, failed};

mod plan;

use plan::Plan;

/// What stands before each chunk in a group: its length.
const CHUNK_HEADER_BYTES: u64 = 4;

/// Each file of the new image in chunks of `chunker`, of which those are fetched that no file of the old image
/// has, counted as Rugix's simulator counts it (`rugix-bundler simulator deltar simulate`).
///
/// Chunks stand in groups, each packed with xz, that end when they are longer than `group_bytes`; a group with
/// a missing chunk is fetched whole, in a request of its own. The index tells paths, and for each chunk of
/// each file its digest and its place, packed with xz. Owners, modes, links and folders are not in what a
/// dissector tells and are not counted: some ten kilobytes, in this way's favour. Memory: 120 bytes for each
/// chunk, and the paths.
///
/// # Errors
/// [`SimulateError::NoFiles`] where an image has no files that stand in it as they are; where one cannot be
/// read, or the caller cancels.
pub fn by_files(
    pair: Pair<'_>,
    dissector: &dyn Dissector,
    chunker: Chunker,
    group_bytes: u64,
) -> Result<Cost, SimulateError> {
    let mut old = HashSet::new();
    for file in files(pair, dissector, Side::Old)? {
        old.extend(file.chunks(pair, chunker, Side::Old)?.into_iter().map(|chunk| chunk.digest));
    }
    let mut groups = Groups { limit_bytes: group_bytes, ..Groups::default() };
    let mut plan = Plan::default();
    for file in files(pair, dissector, Side::New)? {
        plan.file(&file.path);
        for chunk in file.chunks(pair, chunker, Side::New)? {
            let (group, number) = groups.add(&chunk, &file, old.contains(&chunk.digest));
            plan.chunk(&chunk.digest, group, number);
        }
    }
    let wanted: Vec<&Group> = groups.list.iter().filter(|group| group.is_wanted).collect();
    let lens = wanted.par_iter().map(|group| group.packed_len(pair)).collect::<Result<Vec<u64>, _>>()?;
    Ok(Cost {
        data_bytes: lens.iter().sum(),
        index_bytes: xz_len(plan.bytes())?,
        requests: 1 + lens.len() as u64,
    })
}

/// A file of an image.
struct File {
    path: String,
    /// Where its bytes stand, with its holes.
    extents: Vec<Extent>,
}

/// A chunk of a file.
struct Chunk {
    digest: [u8; 32],
    /// Where it stands in the file.
    extent: Extent,
}

impl File {
    fn chunks(&self, pair: Pair<'_>, chunker: Chunker, side: Side) -> Result<Vec<Chunk>, SimulateError> {
        let bytes = Gathered::new(pair.side(side), &self.extents);
        let pieces = cut(Stream::new(&bytes, pair.watch), chunker).map_err(|error| failed(side, error))?;
        let chunk = |piece: Piece| Chunk {
            digest: piece.digest,
            extent: Extent { offset: piece.offset, len: u64::from(piece.len) },
        };
        Ok(pieces.into_iter().map(chunk).collect())
    }

    /// Where a part of it stands in the image.
    fn part(&self, part: Extent) -> Vec<Extent> {
        let (mut at, mut found) = (0, Vec::new());
        for extent in &self.extents {
            let start = part.offset.max(at);
            let end = part.end().min(at + extent.len);
            if start < end {
                let len = end - start;
                found.push(if extent.is_hole() {
                    Extent::hole(len)
                } else {
                    Extent { offset: extent.offset + start - at, len }
                });
            }
            at += extent.len;
        }
        found
    }
}

/// The files of an image in the order of their paths, as a sorted archive has them.
fn files(pair: Pair<'_>, dissector: &dyn Dissector, side: Side) -> Result<Vec<File>, SimulateError> {
    let structure = dissector.dissect(pair.side(side), "").ok_or(SimulateError::NoFiles(side))?;
    let mut files = Vec::new();
    for part in structure.parts {
        // Parts in brackets are tables of the container.
        if part.path.starts_with('<') {
            continue;
        }
        let Content::Plain(extents) = &part.content else { return Err(SimulateError::NoFiles(side)) };
        let extents = part.with_holes(extents);
        files.push(File { path: part.path, extents });
    }
    if files.is_empty() {
        return Err(SimulateError::NoFiles(side));
    }
    files.sort_by(|a, b| a.path.split('/').cmp(b.path.split('/')));
    Ok(files)
}

/// Chunks that are packed together.
#[derive(Default)]
struct Group {
    /// Where their bytes stand in the new image.
    chunks: Vec<Vec<Extent>>,
    len: u64,
    is_wanted: bool,
}

impl Group {
    fn packed_len(&self, pair: Pair<'_>) -> Result<u64, SimulateError> {
        if !(pair.watch)(0) {
            return Err(SimulateError::Cancelled);
        }
        let mut bytes = Vec::with_capacity(self.len as usize);
        for extents in &self.chunks {
            let len: u64 = extents.iter().map(|extent| extent.len).sum();
            bytes.extend_from_slice(&(len as u32).to_be_bytes());
            for extent in extents {
                if extent.is_hole() {
                    bytes.resize(bytes.len() + extent.len as usize, 0);
                } else {
                    bytes.extend(pair.read(Side::New, extent.offset, extent.len as usize)?);
                }
            }
        }
        xz_len(&bytes)
    }
}

/// All chunks of the new image, each once.
#[derive(Default)]
struct Groups {
    /// A group that is longer is full.
    limit_bytes: u64,
    list: Vec<Group>,
    /// Group, and number in it, of each chunk.
    places: HashMap<[u8; 32], (u32, u16)>,
}

impl Groups {
    fn add(&mut self, chunk: &Chunk, file: &File, is_there: bool) -> (u32, u16) {
        if let Some(&place) = self.places.get(&chunk.digest) {
            return place;
        }
        let is_full = self.list.last().is_none_or(|group| group.len > self.limit_bytes);
        if is_full {
            self.list.push(Group::default());
        }
        let number = self.list.len() - 1;
        let group = &mut self.list[number];
        let place = (number as u32, group.chunks.len() as u16);
        group.chunks.push(file.part(chunk.extent));
        group.len += CHUNK_HEADER_BYTES + chunk.extent.len;
        group.is_wanted |= !is_there;
        self.places.insert(chunk.digest, place);
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_file_stands_where_its_extents_say() {
        let extent = |offset, len| Extent { offset, len };
        let file = File { path: "a".into(), extents: vec![extent(100, 10), Extent::hole(5), extent(50, 10)] };
        assert_eq!(file.part(extent(0, 25)), file.extents);
        assert_eq!(file.part(extent(8, 4)), [extent(108, 2), Extent::hole(2)]);
        assert_eq!(file.part(extent(12, 5)), [Extent::hole(3), extent(50, 2)]);
        assert_eq!(file.part(extent(25, 0)), []);
    }
}
