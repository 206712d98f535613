//! The flattened target: what is packed stands here unpacked.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use crate::layout::{Node, Root};
use crate::structure::{Extent, ReadAt};

/// A packed content of such a length takes long to pack, and is short enough to be collected and packed
/// while others are made, in bytes.
const LONG_BYTES: Range<u64> = 1 << 20..16 << 20;

/// So many plain bytes stand together at least between packed ones: each time a copy's address is a far one.
const PART_BYTES: u64 = 8 << 20;

/// A run of flattened bytes, and where the diff can read them.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) place: RunPlace,
    pub(super) len: u64,
    /// The file that starts here or goes on; `None` for metadata of a container.
    pub(super) path: Option<String>,
}

impl Run {
    /// The first `len` bytes, and what comes after them.
    fn split_at(self, len: u64) -> (Self, Self) {
        let place = match self.place {
            RunPlace::Target { target, offset } => RunPlace::Target { target, offset: offset + len },
            RunPlace::Spool(offset) => RunPlace::Spool(offset + len),
        };
        let rest = Self { place, len: self.len - len, path: self.path.clone() };
        (Self { len, ..self }, rest)
    }
}

/// Where a run's bytes can be read.
#[derive(Debug, Clone, Copy)]
pub(super) enum RunPlace {
    /// In a target, at this offset.
    Target { target: u32, offset: u64 },
    /// In the spool of unpacked bytes, at this offset.
    Spool(u64),
}

/// A root that was taken apart: what the layout says of it, and its flattened bytes.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) root: Root,
    pub(super) runs: Vec<Run>,
    /// Corrections of packed contents by the flattened offset at which they start, in order.
    pub(super) corrections: Vec<(u64, Vec<u8>)>,
}

impl Built {
    /// Plain bytes in one place, cut where files end and anywhere between them, for free blocks can be half of
    /// an image; anything else as it is.
    fn in_parts(self) -> Vec<Self> {
        let (Node::Plain(_), [extent]) = (&self.root.node, self.root.extents.as_slice()) else {
            return vec![self];
        };
        let (target, mut at) = (self.root.target, extent.offset);
        let mut parts: Vec<Self> = Vec::new();
        let mut runs = VecDeque::from(self.runs);
        while !runs.is_empty() {
            let mut part = Vec::new();
            let mut len = 0;
            while len < PART_BYTES
                && let Some(mut run) = runs.pop_front()
            {
                let space = PART_BYTES - len;
                if run.path.is_none() && run.len > space {
                    let (first, rest) = run.split_at(space);
                    runs.push_front(rest);
                    run = first;
                }
                len += run.len;
                part.push(run);
            }
            let root = Root {
                target,
                extents: vec![Extent { offset: at, len }],
                copies: Vec::new(),
                node: Node::Plain(len),
            };
            parts.push(Self { root, runs: part, corrections: Vec::new() });
            at += len;
        }
        parts
    }

    /// Whether it holds one file only.
    fn is_single(&self) -> bool {
        self.runs.windows(2).all(|pair| pair[0].path == pair[1].path)
    }
}

/// Puts what is written as it comes between what has to be packed: devices pack while their disks write. Both
/// stay in their order.
fn mixed(built: Vec<Built>) -> Vec<Built> {
    let is_plain = |built: &Built| matches!(built.root.node, Node::Plain(_));
    let (plain, packed): (Vec<Built>, Vec<Built>) = built.into_iter().partition(is_plain);
    let len =
        |built: &[Built]| built.iter().map(|built| u128::from(built.root.node.flat_len())).sum::<u128>();
    let plain: Vec<Built> = plain.into_iter().flat_map(Built::in_parts).collect();
    let (plain_len, packed_len) = (len(&plain), len(&packed));
    let mut mixed = Vec::with_capacity(plain.len() + packed.len());
    let (mut plain_done, mut packed_done) = (0, 0);
    let mut packed = packed.into_iter();
    for part in plain {
        while packed_done * plain_len <= plain_done * packed_len
            && let Some(next) = packed.next()
        {
            packed_done += u128::from(next.root.node.flat_len());
            mixed.push(next);
        }
        plain_done += u128::from(part.root.node.flat_len());
        mixed.push(part);
    }
    mixed.extend(packed);
    mixed
}

/// A file of the new side, or a stretch of metadata, in flattened bytes.
#[derive(Debug, Clone)]
pub(super) struct FlatPart {
    pub(super) path: Option<String>,
    pub(super) extent: Extent,
}

/// All flattened bytes, readable at any offset.
pub(super) struct Flat<'a> {
    targets: &'a [&'a dyn ReadAt],
    spool: &'a dyn ReadAt,
    runs: Vec<Run>,
    starts: Vec<u64>,
    len: u64,
    /// Pieces that can be read again, in order: each as soon as it is packed, and not before.
    pieces: Vec<Extent>,
    /// What nothing can be copied from, in order.
    unreadable: Vec<Extent>,
    /// The single files that take long to pack end here.
    pub(super) fronts_end: u64,
    /// The layout, in flattened order.
    pub(super) roots: Vec<Root>,
    /// Corrections by flattened offset.
    pub(super) corrections: Vec<(u64, Vec<u8>)>,
}

impl<'a> Flat<'a> {
    /// Puts the roots in order: what can be read again once it is written stands before what cannot, so
    /// that the latter may copy from it. Single files that take long to pack stand at the very front, as they
    /// share little with others.
    pub(super) fn new(mut built: Vec<Built>, targets: &'a [&'a dyn ReadAt], spool: &'a dyn ReadAt) -> Self {
        let is_readable = |built: &Built| match &built.root.node {
            Node::Plain(_) => true,
            Node::Packed(packed) => packed.is_readable(),
        };
        let class = |built: &Built| match is_readable(built) {
            false if built.is_single() && LONG_BYTES.contains(&built.root.node.flat_len()) => 0,
            true => 1,
            false => 2,
        };
        built.sort_by_key(class);
        let last = built.split_off(built.partition_point(|built| class(built) < 2));
        built = mixed(built);
        let fronts = built.iter().rposition(|built| class(built) == 0).map_or(0, |index| index + 1);
        built.extend(last);
        let mut flat = Self {
            targets,
            spool,
            runs: Vec::new(),
            starts: Vec::new(),
            len: 0,
            pieces: Vec::new(),
            unreadable: Vec::new(),
            fronts_end: 0,
            roots: Vec::new(),
            corrections: Vec::new(),
        };
        for (index, built) in built.into_iter().enumerate() {
            let readable = is_readable(&built);
            let start = flat.len;
            if let Node::Packed(packed) = &built.root.node
                && readable
            {
                let mut offset = flat.len;
                for piece in &packed.pieces {
                    flat.pieces.push(Extent { offset, len: piece.plain_len });
                    offset += piece.plain_len;
                }
            }
            for (at, bytes) in built.corrections {
                flat.corrections.push((flat.len + at, bytes));
            }
            for run in built.runs {
                flat.starts.push(flat.len);
                flat.len += run.len;
                flat.runs.push(run);
            }
            if !readable {
                flat.unreadable.push(Extent { offset: start, len: flat.len - start });
            }
            if index < fronts {
                flat.fronts_end = flat.len;
            }
            flat.roots.push(built.root);
        }
        flat
    }

    /// Where the piece starts that holds a byte. Nothing from there on is written while it is made.
    pub(super) fn piece_start(&self, offset: u64) -> Option<u64> {
        let index = self.pieces.partition_point(|piece| piece.end() <= offset);
        self.pieces.get(index).map(|piece| piece.offset).filter(|&start| start <= offset)
    }

    /// While the byte at `offset` is made, all readable bytes before this offset can be copied from.
    pub(super) fn settled_end(&self, offset: u64) -> u64 {
        self.piece_start(offset).unwrap_or(offset)
    }

    /// The readable bytes around the one at `offset`; `None` if that cannot be read.
    pub(super) fn readable_around(&self, offset: u64) -> Option<Range<u64>> {
        let index = self.unreadable.partition_point(|unreadable| unreadable.end() <= offset);
        let start = index.checked_sub(1).map_or(0, |before| self.unreadable[before].end());
        let end = self.unreadable.get(index).map_or(self.len, |after| after.offset);
        (offset < end).then_some(start..end)
    }

    /// The files and the stretches between them, in flattened order.
    pub(super) fn parts(&self) -> Vec<FlatPart> {
        let mut parts: Vec<FlatPart> = Vec::new();
        for (run, &offset) in self.runs.iter().zip(&self.starts) {
            match parts.last_mut() {
                Some(last) if last.path == run.path && last.extent.end() == offset => {
                    last.extent.len += run.len;
                }
                _ => parts.push(FlatPart { path: run.path.clone(), extent: Extent { offset, len: run.len } }),
            }
        }
        parts
    }
}

impl ReadAt for Flat<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, mut offset: u64, mut buf: &mut [u8]) -> io::Result<()> {
        while !buf.is_empty() {
            let index = self.starts.partition_point(|&start| start <= offset);
            let index = index.checked_sub(1).ok_or(io::ErrorKind::UnexpectedEof)?;
            let run = &self.runs[index];
            let inner = offset - self.starts[index];
            let len = run.len.saturating_sub(inner).min(buf.len() as u64) as usize;
            if len == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (now, later) = buf.split_at_mut(len);
            match run.place {
                RunPlace::Target { target, offset } => {
                    self.targets[target as usize].read_at(offset + inner, now)?;
                }
                RunPlace::Spool(offset) => self.spool.read_at(offset + inner, now)?,
            }
            buf = later;
            offset += len as u64;
        }
        Ok(())
    }
}
