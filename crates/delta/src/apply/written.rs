//! All that a cover may copy from: the old space, and behind it the flattened bytes made so far.

use std::io;

use fluvial_codec::Format;

use super::Target;
use super::pipeline::Progress;
use crate::layout::Node;
use crate::map::PatchMap;
use crate::space::{BlockCache, Space};
use crate::structure::{Extent, Gathered, ReadAt};

/// Bytes of unpacked blocks of the targets that are kept.
pub(super) const CACHE_BYTES: usize = 1 << 20;

/// The old space and the written targets under one address.
pub(super) struct Written<'a> {
    space: &'a Space<'a>,
    targets: &'a [&'a dyn Target],
    segments: Vec<Segment<'a>>,
    cache: BlockCache,
    progress: &'a Progress,
    /// Flattened bytes that are made and handed on to be written.
    pub(super) made: u64,
}

/// What the list of bytes that can be read again takes for each root and each piece at most, in bytes.
pub(super) const SEGMENT_MEMORY_BYTES: u64 = size_of::<Segment<'_>>() as u64;

/// A run of flattened bytes that can be read again.
struct Segment<'a> {
    flat: u64,
    len: u64,
    target: u32,
    place: Place<'a>,
}

enum Place<'a> {
    /// They stand in the target as they are.
    Plain(&'a [Extent]),
    /// They are one packed block, `packed` of the bytes that stand in these extents.
    Block { extents: &'a [Extent], packed: Extent, format: Format },
}

impl<'a> Written<'a> {
    pub(super) fn new(
        space: &'a Space<'a>,
        map: &'a PatchMap,
        targets: &'a [&'a dyn Target],
        progress: &'a Progress,
    ) -> Self {
        let mut segments = Vec::new();
        let mut flat = 0;
        for root in &map.roots {
            let target = root.target;
            match (&root.node, root.extents.as_slice()) {
                (Node::Plain(len), extents) => {
                    segments.push(Segment { flat, len: *len, target, place: Place::Plain(extents) });
                }
                (Node::Packed(packed), extents) if packed.is_readable() => {
                    let mut at = (flat, 0);
                    for piece in &packed.pieces {
                        let packed = Extent { offset: at.1, len: piece.packed_len };
                        let format = map.packings[piece.recipe as usize].format;
                        let place = Place::Block { extents, packed, format };
                        segments.push(Segment { flat: at.0, len: piece.plain_len, target, place });
                        at = (at.0 + piece.plain_len, packed.end());
                    }
                }
                (Node::Packed(_), _) => {}
            }
            flat += root.node.flat_len();
        }
        segments.shrink_to_fit();
        Self { space, targets, segments, cache: BlockCache::new(CACHE_BYTES), progress, made: 0 }
    }

    fn read_flat(&self, flat: u64, buf: &mut [u8]) -> io::Result<usize> {
        let index = self.segments.partition_point(|segment| segment.flat <= flat);
        let missing =
            || io::Error::new(io::ErrorKind::NotFound, "these bytes of the target cannot be read back");
        let index = index.checked_sub(1).ok_or_else(missing)?;
        let segment = &self.segments[index];
        let offset = flat - segment.flat;
        let len = segment.len.saturating_sub(offset).min(buf.len() as u64) as usize;
        if len == 0 {
            return Err(missing());
        }
        let buf = &mut buf[..len];
        let target = self.targets[segment.target as usize];
        match &segment.place {
            Place::Plain(extents) => {
                self.progress.wait_for(flat + len as u64)?;
                Gathered::new(target, extents).read_at(offset, buf)?;
            }
            Place::Block { extents, packed, format } => {
                let end = segment.flat + segment.len;
                if end > self.made {
                    let reason = "these bytes stand in a block that is not packed yet";
                    return Err(io::Error::new(io::ErrorKind::WouldBlock, reason));
                }
                self.progress.wait_for(end)?;
                let plain = self.cache.get(index, || {
                    let mut bytes = vec![0; packed.len as usize];
                    Gathered::new(target, extents).read_at(packed.offset, &mut bytes)?;
                    let mut plain = Vec::new();
                    format
                        .decode_block(&bytes, segment.len as usize, &mut plain)
                        .map_err(io::Error::other)?;
                    Ok(plain)
                })?;
                let bytes = plain.get(offset as usize..offset as usize + len).ok_or_else(missing)?;
                buf.copy_from_slice(bytes);
            }
        }
        Ok(len)
    }
}

impl ReadAt for Written<'_> {
    fn len(&self) -> u64 {
        self.space.len() + self.made
    }

    fn read_at(&self, address: u64, mut buf: &mut [u8]) -> io::Result<()> {
        let old_len = self.space.len();
        if address < old_len {
            return self.space.read_at(address, buf);
        }
        let mut flat = address - old_len;
        if flat.checked_add(buf.len() as u64).is_none_or(|end| end > self.made) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "these bytes are not made yet"));
        }
        while !buf.is_empty() {
            let len = self.read_flat(flat, buf)?;
            flat += len as u64;
            buf = &mut buf[len..];
        }
        Ok(())
    }
}

/// What is handed on, and behind it bytes that are made but not handed on yet.
pub(super) struct Recent<'a> {
    written: &'a Written<'a>,
    bytes: &'a [u8],
}

impl<'a> Recent<'a> {
    /// `bytes` follow the last of [`Written::made`].
    pub(super) fn new(written: &'a Written<'a>, bytes: &'a [u8]) -> Self {
        Self { written, bytes }
    }
}

impl ReadAt for Recent<'_> {
    fn len(&self) -> u64 {
        self.written.len() + self.bytes.len() as u64
    }

    fn read_at(&self, address: u64, buf: &mut [u8]) -> io::Result<()> {
        let written = self.written.len().saturating_sub(address).min(buf.len() as u64) as usize;
        let (early, late) = buf.split_at_mut(written);
        if !early.is_empty() {
            self.written.read_at(address, early)?;
        }
        let Some(offset) = (address + written as u64).checked_sub(self.written.len()) else { return Ok(()) };
        let late_bytes = self.bytes.get(offset as usize..).and_then(|bytes| bytes.get(..late.len()));
        late.copy_from_slice(late_bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}
