//! Collects the parts of a stream, within limits, and puts them in order.

use std::collections::HashSet;

use fluvial_codec::Format;
use fluvial_delta::structure::{Block, Content, Extent, Member, Part, Structure};

/// Parts of one stream at most: four times the files of a full desktop system.
pub(crate) const PARTS_MAX: usize = 1 << 21;
/// Extents and blocks of all parts together at most: 16 GiB in blocks of 4 KiB.
pub(crate) const PIECES_MAX: usize = 1 << 22;
/// Bytes of all paths together at most.
pub(crate) const PATHS_BYTES_MAX: usize = 128 << 20;
/// Bytes of one path at most, as in Linux (`PATH_MAX`).
pub(crate) const PATH_BYTES_MAX: usize = 4096;

/// The catalogue is full: the stream is described no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// The parts found so far.
#[derive(Debug)]
pub(crate) struct Catalogue {
    parts: Vec<Part>,
    pieces: usize,
    path_bytes: usize,
    stream_len: u64,
}

impl Catalogue {
    /// An empty catalogue of a stream of `stream_len` bytes.
    pub(crate) fn new(stream_len: u64) -> Self {
        Self { parts: Vec::new(), pieces: 0, path_bytes: 0, stream_len }
    }

    /// Adds a part whose bytes stand as they are. Adjacent extents are joined; what lies outside
    /// the stream is left out, and a part without bytes is no part.
    pub(crate) fn plain(
        &mut self,
        path: String,
        extents: impl IntoIterator<Item = Extent>,
    ) -> Result<(), Full> {
        let mut joined: Vec<Extent> = Vec::with_capacity(1);
        for extent in extents {
            if !self.holds(extent) {
                continue;
            }
            match joined.last_mut() {
                Some(last) if last.end() == extent.offset => last.len += extent.len,
                _ => {
                    self.count_piece(joined.len())?;
                    joined.push(extent);
                }
            }
        }
        let pieces = joined.len();
        self.add(path, Content::Plain(joined), pieces)
    }

    /// Adds a part that stands as it is but for its holes, which are offsets in the file.
    pub(crate) fn sparse(
        &mut self,
        path: String,
        extents: Vec<Extent>,
        holes: Vec<Extent>,
    ) -> Result<(), Full> {
        let count = self.parts.len();
        self.plain(path, extents)?;
        if let Some(part) = self.parts.get_mut(count) {
            self.pieces += holes.len();
            part.holes = holes;
        }
        Ok(())
    }

    /// Adds a part that is the concatenation of unpacked blocks. Where none of them is packed, the
    /// part is plain.
    pub(crate) fn blocks(
        &mut self,
        path: String,
        blocks: impl IntoIterator<Item = Block>,
    ) -> Result<(), Full> {
        let mut kept: Vec<Block> = Vec::new();
        for block in blocks {
            if self.holds(block.extent) {
                self.count_piece(kept.len())?;
                kept.push(block);
            }
        }
        if kept.iter().all(|block| block.format == Format::Stored) {
            return self.plain(path, kept.into_iter().map(|block| block.extent));
        }
        let pieces = kept.len();
        self.add(path, Content::Blocks(kept), pieces)
    }

    /// Adds a packed block that holds several files. What overlaps an earlier member, or passes the
    /// block's end, is left out.
    pub(crate) fn shared_block(
        &mut self,
        path: String,
        block: Block,
        mut members: Vec<Member>,
    ) -> Result<(), Full> {
        if !self.holds(block.extent) {
            return Ok(());
        }
        members.sort_by_key(|member| member.extent);
        let mut end = 0;
        members.retain(|member| {
            let fits = member.extent.len > 0
                && member.extent.offset >= end
                && block.plain_len.is_none_or(|len| member.extent.end() <= len);
            if fits {
                end = member.extent.end();
            }
            fits
        });
        self.count_piece(0)?;
        let path_bytes = members.iter().map(|member| member.path.len()).sum::<usize>();
        if self.path_bytes + path_bytes > PATHS_BYTES_MAX {
            return Err(Full);
        }
        self.path_bytes += path_bytes;
        self.add(path, Content::Blocks(vec![block]), 1)?;
        if let Some(part) = self.parts.last_mut() {
            part.members = members;
        }
        Ok(())
    }

    /// Adds one run of bytes as it is.
    pub(crate) fn run(&mut self, path: String, offset: u64, len: u64) -> Result<(), Full> {
        self.plain(path, [Extent { offset, len }])
    }

    /// Orders the parts by their first byte. Where extents overlap, only the first stays: the file
    /// added earlier among equal ones, else the one that starts earlier. `None` if nothing is left.
    pub(crate) fn finish(self, kind: &'static str) -> Option<Structure> {
        let mut parts = self.parts;
        let overlapping = overlapping(&parts);
        if !overlapping.is_empty() {
            for (index, part) in parts.iter_mut().enumerate() {
                let mut piece = 0;
                let mut keep = || {
                    piece += 1;
                    !overlapping.contains(&(index as u32, piece - 1))
                };
                let pieces = match &mut part.content {
                    Content::Plain(extents) => {
                        let before = extents.len();
                        extents.retain(|_| keep());
                        before - extents.len()
                    }
                    Content::Blocks(blocks) => {
                        blocks.retain(|_| keep());
                        0
                    }
                };
                // Where something is missing, nobody knows where the holes were.
                if pieces > 0 {
                    part.holes.clear();
                }
            }
            parts.retain(|part| first_offset(part).is_some());
        }
        parts.sort_by_key(first_offset);
        (!parts.is_empty()).then_some(Structure { kind, parts })
    }

    fn holds(&self, extent: Extent) -> bool {
        extent.len > 0 && extent.offset.checked_add(extent.len).is_some_and(|end| end <= self.stream_len)
    }

    fn count_piece(&self, more: usize) -> Result<(), Full> {
        if self.pieces + more < PIECES_MAX { Ok(()) } else { Err(Full) }
    }

    fn add(&mut self, path: String, content: Content, pieces: usize) -> Result<(), Full> {
        if pieces == 0 {
            return Ok(());
        }
        if self.parts.len() >= PARTS_MAX || self.path_bytes + path.len() > PATHS_BYTES_MAX {
            return Err(Full);
        }
        self.pieces += pieces;
        self.path_bytes += path.len();
        self.parts.push(Part { path, content, holes: Vec::new(), members: Vec::new() });
        Ok(())
    }
}

/// Part and piece of every extent that overlaps one before it.
fn overlapping(parts: &[Part]) -> HashSet<(u32, u32)> {
    let mut pieces: Vec<(u64, u32, u32, u64)> = Vec::new();
    for (part_index, part) in parts.iter().enumerate() {
        let mut note = |index: usize, extent: Extent| {
            pieces.push((extent.offset, part_index as u32, index as u32, extent.end()));
        };
        match &part.content {
            Content::Plain(extents) => extents.iter().enumerate().for_each(|(i, extent)| note(i, *extent)),
            Content::Blocks(blocks) => blocks.iter().enumerate().for_each(|(i, block)| note(i, block.extent)),
        }
    }
    pieces.sort_unstable();
    let mut end_of_last = 0;
    let mut overlapping = HashSet::new();
    for (offset, part, piece, end) in pieces {
        if offset < end_of_last {
            overlapping.insert((part, piece));
        } else {
            end_of_last = end;
        }
    }
    overlapping
}

fn first_offset(part: &Part) -> Option<u64> {
    match &part.content {
        Content::Plain(extents) => extents.first().map(|extent| extent.offset),
        Content::Blocks(blocks) => blocks.first().map(|block| block.extent.offset),
    }
}

/// A path as parts carry it: no leading `/` or `./`, lossy UTF-8.
pub(crate) fn part_path(raw: &[u8]) -> String {
    let mut rest = raw;
    loop {
        rest = match rest {
            [b'/', tail @ ..] | [b'.', b'/', tail @ ..] => tail,
            _ => break,
        };
    }
    String::from_utf8_lossy(rest).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(offset: u64, len: u64) -> Extent {
        Extent { offset, len }
    }

    #[test]
    fn joins_adjacent_extents_and_drops_what_lies_outside() {
        let mut catalogue = Catalogue::new(100);
        let extents =
            [extent(10, 5), extent(15, 5), extent(30, 0), extent(90, 11), extent(u64::MAX, 2), extent(40, 1)];
        catalogue.plain("a".into(), extents).unwrap();
        let structure = catalogue.finish("test").unwrap();
        assert_eq!(structure.parts[0].content, Content::Plain(vec![extent(10, 10), extent(40, 1)]));
    }

    #[test]
    fn a_file_stored_twice_counts_once() {
        let mut catalogue = Catalogue::new(100);
        catalogue.plain("late".into(), [extent(50, 10)]).unwrap();
        catalogue.plain("first".into(), [extent(10, 10), extent(30, 5)]).unwrap();
        catalogue.plain("twin".into(), [extent(10, 10)]).unwrap();
        catalogue.plain("partly".into(), [extent(15, 10), extent(70, 1)]).unwrap();
        let paths: Vec<_> =
            catalogue.finish("test").unwrap().parts.into_iter().map(|part| part.path).collect();
        assert_eq!(paths, ["first", "late", "partly"]);
    }

    #[test]
    fn blocks_of_which_none_is_packed_are_plain() {
        let mut catalogue = Catalogue::new(100);
        let stored =
            |offset| Block { extent: extent(offset, 10), plain_len: Some(10), format: Format::Stored };
        catalogue.blocks("a".into(), [stored(0), stored(10)]).unwrap();
        assert_eq!(catalogue.finish("test").unwrap().parts[0].content, Content::Plain(vec![extent(0, 20)]));
    }

    #[test]
    fn paths_lose_their_root() {
        assert_eq!(part_path(b"./usr/bin/ls"), "usr/bin/ls");
        assert_eq!(part_path(b"/././etc/\xffx"), "etc/\u{fffd}x");
        assert_eq!(part_path(b"."), ".");
    }
}
