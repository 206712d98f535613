//! Compressed files: from their index to the blocks they are packed into.

use fluvial_codec::Format;
use fluvial_delta::structure::{Block, Extent};

use super::clusters::{Cluster, Form, Head, HeadKind, Index};
use super::inode::{Inode, Layout};
use super::{Image, stored};
use crate::catalogue::{Full, PIECES_MAX};
use crate::field::{u8_at, u16_at};

/// Long packs in the compact index.
const ADVICE_LONG_PACKS: u16 = 0x01;
/// Extents of the first, and of the second algorithm may have more than one block.
const ADVICE_BIG: [u16; 2] = [0x02, 0x04];
/// The last extent stands behind the index.
const ADVICE_INLINE: u16 = 0x08;
/// Stored extents stand rotated, so that bytes keep their place in a block.
const ADVICE_INTERLACED: u16 = 0x10;
/// The last extent stands in the packed inode.
const ADVICE_FRAGMENT: u16 = 0x20;
/// The whole file stands in the packed inode.
const WHOLE_FRAGMENT: u8 = 0x80;
/// Logical clusters of a file that is described at most.
const CLUSTERS_MAX: u64 = 1 << 28;
/// Bytes of padding looked at in one go.
const PADDING_STEP_BYTES: u64 = 64;

/// The blocks of a compressed file, in order. `None` where it cannot be told where they are, or
/// how to unpack them.
pub(super) fn blocks(image: &mut Image<'_>, inode: &Inode) -> Result<Option<Vec<Block>>, Full> {
    let Some(map) = Map::read(image, inode) else { return Ok(None) };
    image.charge_index(map.index.len())?;
    let mut blocks = Vec::new();
    let mut open: Option<Open> = None;
    let mut tail_offset = 0;
    for number in 0..map.index.count {
        let Some((cluster, behind)) = map.index.get(&mut image.pages, number) else { return Ok(None) };
        tail_offset = behind;
        match cluster {
            Cluster::Head(head) => {
                let start = (number << map.index.cluster_log) + u64::from(head.offset);
                // A head past the end only closes the extent before it.
                if start >= inode.len {
                    continue;
                }
                if blocks.len() >= PIECES_MAX {
                    return Err(Full);
                }
                if let Some(open) = open.replace(Open { head, start, number, packed_blocks: None }) {
                    let place = map.place(image, &open);
                    if map.pack(image, &open, start, place, &mut blocks).is_none() {
                        return Ok(None);
                    }
                }
            }
            Cluster::Rest { packed_blocks } => {
                if let Some(open) = open.as_mut().filter(|open| open.number + 1 == number) {
                    open.packed_blocks = packed_blocks;
                }
            }
        }
    }
    let Some(open) = open else { return Ok(None) };
    let place = match map.tail {
        Tail::Usual => map.place(image, &open),
        Tail::Inline(len) => Extent { offset: tail_offset, len },
        Tail::Fragment => return Ok(Some(blocks)),
    };
    Ok(map.pack(image, &open, inode.len, place, &mut blocks).map(|()| blocks))
}

/// An extent whose end is not known yet.
struct Open {
    head: Head,
    /// Where in the file it starts.
    start: u64,
    /// The logical cluster in which it starts.
    number: u64,
    packed_blocks: Option<u32>,
}

/// Where the last extent of a file is.
#[derive(Clone, Copy)]
enum Tail {
    /// Where its head says.
    Usual,
    /// Behind the index, that many bytes.
    Inline(u64),
    /// In the packed inode.
    Fragment,
}

/// The header before a file's index.
struct Map {
    index: Index,
    advice: u16,
    /// Of heads of the first and of the second kind.
    formats: [Option<Format>; 2],
    tail: Tail,
}

impl Map {
    /// Reads the header. `None` for a file that stands in the packed inode as a whole.
    fn read(image: &mut Image<'_>, inode: &Inode) -> Option<Self> {
        let offset = inode.end_offset.checked_next_multiple_of(8)?;
        let header: [u8; 8] = image.pages.array(offset)?;
        let advice = u16_at(&header, 4)?;
        let algorithms = u8_at(&header, 6)?;
        let sizes = u8_at(&header, 7)?;
        if sizes & WHOLE_FRAGMENT != 0 {
            return None;
        }
        let cluster_log = u32::from(image.superblock.block_log) + u32::from(sizes & 7);
        let count = inode.len.div_ceil(1 << cluster_log);
        let (form, start) = if inode.layout == Layout::FullIndex {
            // Eight reserved bytes stand before a full index.
            (Form::Full, offset.checked_add(16)?)
        } else {
            let long = advice & ADVICE_LONG_PACKS != 0;
            let fits = cluster_log <= if long { 12 } else { 14 };
            fits.then_some(())?;
            (Form::Compact { long }, offset.checked_add(8)?)
        };
        let tail = if advice & ADVICE_INLINE != 0 {
            Tail::Inline(u64::from(u16_at(&header, 2)?))
        } else if advice & ADVICE_FRAGMENT != 0 {
            Tail::Fragment
        } else {
            Tail::Usual
        };
        let big = advice & ADVICE_BIG[0] != 0;
        let format = |algorithm| match algorithm {
            // Without padding nothing says how long a packed LZ4 block is.
            0 if image.superblock.zero_padding => Some(Format::Lz4Block),
            2 => Some(Format::Deflate),
            3 => Some(Format::Zstd),
            _ => None,
        };
        (count <= CLUSTERS_MAX).then_some(Self {
            index: Index { start, count, cluster_log, big, form },
            advice,
            formats: [format(algorithms & 15), format(algorithms >> 4)],
            tail,
        })
    }

    /// Where an extent is packed, padding included.
    fn place(&self, image: &Image<'_>, open: &Open) -> Extent {
        let superblock = image.superblock;
        let big = match open.head.kind {
            HeadKind::First => self.advice & ADVICE_BIG[0] != 0,
            HeadKind::Plain | HeadKind::Second => self.advice & ADVICE_BIG[1] != 0,
        };
        let len = match open.packed_blocks {
            Some(blocks) if big => u64::from(blocks) << superblock.block_log,
            _ if big => 1 << self.index.cluster_log,
            _ => superblock.block_bytes(),
        };
        Extent { offset: superblock.block_offset(open.head.block), len }
    }

    /// Adds the blocks of an extent that reaches up to `end` in the file. `None` where they cannot
    /// be unpacked or make no sense.
    fn pack(
        &self,
        image: &mut Image<'_>,
        open: &Open,
        end: u64,
        place: Extent,
        blocks: &mut Vec<Block>,
    ) -> Option<()> {
        let plain_len = end.checked_sub(open.start).filter(|len| *len > 0)?;
        if open.head.partial {
            // Whoever owns the whole extent lists it.
            return Some(());
        }
        let format = match open.head.kind {
            HeadKind::Plain => {
                self.plain(image, open, plain_len, place, blocks);
                return (plain_len <= place.len).then_some(());
            }
            HeadKind::First => self.formats[0]?,
            HeadKind::Second => self.formats[1]?,
        };
        let extent = image.without_padding(place)?;
        blocks.push(Block { extent, plain_len: Some(plain_len), format });
        Some(())
    }

    /// Adds an extent that is not packed.
    fn plain(&self, image: &Image<'_>, open: &Open, len: u64, place: Extent, blocks: &mut Vec<Block>) {
        let block_bytes = image.superblock.block_bytes();
        if self.advice & ADVICE_INTERLACED == 0 {
            blocks.push(stored(place.offset, len));
            return;
        }
        // The bytes up to the next block border stand at the place they have in their block of the
        // file, the ones behind that border at the front.
        let skip = open.start % block_bytes;
        let right = len.min(block_bytes - skip);
        blocks.push(stored(place.offset + skip, right));
        blocks.push(stored(place.offset, len - right));
    }
}

impl Image<'_> {
    /// The packed bytes: no packed block starts with a zero, so the zeros before it are padding.
    /// There are less of them than a block has.
    fn without_padding(&mut self, place: Extent) -> Option<Extent> {
        let limit = place.len.min(self.superblock.block_bytes());
        let mut buffer = [0; PADDING_STEP_BYTES as usize];
        let mut padding = 0;
        while padding < limit {
            let step = (limit - padding).min(PADDING_STEP_BYTES);
            let bytes = buffer.get_mut(..step as usize)?;
            self.stream.read_at(place.offset.checked_add(padding)?, bytes).ok()?;
            if let Some(zeros) = bytes.iter().position(|byte| *byte != 0) {
                padding += zeros as u64;
                return Some(Extent { offset: place.offset + padding, len: place.len - padding });
            }
            padding += step;
            // In a sound image the padding of all clusters together is shorter than the image.
            self.padding_bytes_left = self.padding_bytes_left.checked_sub(step)?;
        }
        None
    }
}
