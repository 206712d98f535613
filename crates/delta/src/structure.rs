//! What stands inside a byte stream, as far as a diff cares.
//!
//! Whoever knows a container format (tar, ext4, squashfs, ...) describes a stream as a list of
//! named [`Part`]s. The diff uses them to pair old files with new ones, to start chunks where
//! contents start, and to open what is packed. A wrong description costs bytes, never correctness:
//! every target is proven against its hash.

mod files;

use std::io;

use fluvial_codec::Format;

pub use files::Files;

/// Bytes that can be read at any offset: a file, a block device, a buffer, a part of one.
pub trait ReadAt: Send + Sync {
    /// Length in bytes. It does not change while the stream is in use.
    fn len(&self) -> u64;

    /// Whether there is nothing to read.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buf` with the bytes at `offset`.
    ///
    /// # Errors
    /// Whatever the medium reports; [`io::ErrorKind::UnexpectedEof`] when the range passes the end.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;

    /// Tells that these bytes will soon be read, so that a medium which takes its time can begin: does not wait, and
    /// does nothing where that is of no use. What passes the end is passed over.
    fn prefetch(&self, _offset: u64, _len: u64) {}
}

impl ReadAt for [u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let range = usize::try_from(offset).ok().and_then(|from| Some(from..from.checked_add(buf.len())?));
        let bytes = range.and_then(|range| self.get(range)).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(bytes);
        Ok(())
    }
}

impl ReadAt for &[u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        ReadAt::read_at(*self, offset, buf)
    }
}

impl ReadAt for Vec<u8> {
    fn len(&self) -> u64 {
        self.as_slice().len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        ReadAt::read_at(self.as_slice(), offset, buf)
    }
}

/// A contiguous run of bytes of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Extent {
    /// Where it starts, in bytes from the start of the stream.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
}

impl Extent {
    /// Where holes are said to stand: far behind the end of any stream.
    const HOLE_OFFSET: u64 = 1 << 63;

    /// So many zeros that stand nowhere: a file in several extents has them in between.
    #[must_use]
    pub fn hole(len: u64) -> Self {
        Self { offset: Self::HOLE_OFFSET, len }
    }

    /// Whether the bytes are zeros that stand nowhere.
    #[must_use]
    pub fn is_hole(self) -> bool {
        self.offset == Self::HOLE_OFFSET
    }

    /// The same bytes in a stream that stands at `start` of another one.
    #[must_use]
    pub fn moved_by(self, start: u64) -> Self {
        if self.is_hole() { self } else { Self { offset: start + self.offset, ..self } }
    }

    /// The first offset behind the extent.
    pub fn end(self) -> u64 {
        self.offset + self.len
    }
}

/// Extents of a stream, read as one stream. Holes are zeros.
pub struct Gathered<'a> {
    stream: &'a dyn ReadAt,
    extents: &'a [Extent],
    len: u64,
}

impl<'a> Gathered<'a> {
    /// Reads these extents of `stream` one after another.
    pub fn new(stream: &'a dyn ReadAt, extents: &'a [Extent]) -> Self {
        let len = extents.iter().map(|extent| extent.len).fold(0, u64::saturating_add);
        Self { stream, extents, len }
    }
}

impl ReadAt for Gathered<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, mut offset: u64, mut buf: &mut [u8]) -> io::Result<()> {
        for extent in self.extents {
            if buf.is_empty() {
                break;
            }
            if offset >= extent.len {
                offset -= extent.len;
                continue;
            }
            let len = (extent.len - offset).min(buf.len() as u64) as usize;
            let (now, later) = buf.split_at_mut(len);
            if extent.is_hole() {
                now.fill(0);
            } else {
                self.stream.read_at(extent.offset + offset, now)?;
            }
            buf = later;
            offset = 0;
        }
        if buf.is_empty() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn prefetch(&self, mut offset: u64, mut len: u64) {
        for extent in self.extents {
            let here = extent.len.saturating_sub(offset).min(len);
            if here > 0 && !extent.is_hole() {
                self.stream.prefetch(extent.offset + offset, here);
            }
            offset = offset.saturating_sub(extent.len);
            len -= here;
            if len == 0 {
                break;
            }
        }
    }
}

/// A run of packed bytes that unpacks on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// The packed bytes, in the stream.
    pub extent: Extent,
    /// What it unpacks to, in bytes, where the container tells.
    pub plain_len: Option<u64>,
    /// How it is packed; [`Format::Stored`] where the container kept it as it is.
    pub format: Format,
}

/// Where the content of a part stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// As it is, in these extents, in this order. Holes are left out.
    Plain(Vec<Extent>),
    /// The concatenation of what these blocks unpack to.
    Blocks(Vec<Block>),
}

/// A file, or another part worth a name, inside a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Path inside the container without a leading slash, lossy UTF-8. `<...>` where it is no file.
    pub path: String,
    /// Its bytes.
    pub content: Content,
    /// Where the file has zeros that stand nowhere in the stream: offsets in the file, in order, without
    /// overlaps. Only of a plain content.
    pub holes: Vec<Extent>,
    /// What it holds, where it is packed and holds bytes of several files: in the order in which they
    /// stand, without overlaps.
    pub members: Vec<Member>,
}

impl Part {
    /// The extents of a plain content with its holes in their places.
    #[must_use]
    pub fn with_holes(&self, extents: &[Extent]) -> Vec<Extent> {
        let mut filled = Vec::with_capacity(extents.len() + 2 * self.holes.len());
        let mut holes = self.holes.iter().peekable();
        let mut at = 0;
        for &extent in extents {
            let mut rest = extent;
            while let Some(hole) = holes.next_if(|hole| hole.offset < at + rest.len || hole.offset == at) {
                let before = hole.offset.saturating_sub(at).min(rest.len);
                if before > 0 {
                    filled.push(Extent { offset: rest.offset, len: before });
                }
                filled.push(Extent::hole(hole.len));
                rest = Extent { offset: rest.offset + before, len: rest.len - before };
                at += before + hole.len;
            }
            if rest.len > 0 {
                filled.push(rest);
            }
            at += rest.len;
        }
        filled
    }
}

/// A file inside of a packed part: a squashfs puts short files, and the ends of longer ones, together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its path, as of a part. Where a part of the same structure has that path, this is where the
    /// part's content goes on, and ends.
    pub path: String,
    /// Where it stands in the content of the part that it is a member of.
    pub extent: Extent,
}

/// A stream, taken apart. Bytes that no part names are metadata of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structure {
    /// The container's kind, in the words of its makers: `tar`, `ext4`, `squashfs`, ...
    pub kind: &'static str,
    /// Its parts, in the order in which they stand in the stream. Extents of two parts never overlap.
    pub parts: Vec<Part>,
}

impl Structure {
    /// Whether nothing in it can hold packed bytes: all parts stand as they are, and none of them
    /// was looked into.
    pub fn is_plain(&self) -> bool {
        self.kind != "initrd" && self.parts.iter().all(|part| matches!(part.content, Content::Plain(_)))
    }
}

/// Knows container formats.
pub trait Dissector: Send + Sync {
    /// Takes a stream apart, or answers `None` where it knows no such container.
    ///
    /// `path` is the stream's name as far as known: a hint, never a proof.
    fn dissect(&self, stream: &dyn ReadAt, path: &str) -> Option<Structure>;
}

/// Knows no format: all streams are bytes.
#[derive(Debug, Default, Clone, Copy)]
pub struct Opaque;

impl Dissector for Opaque {
    fn dissect(&self, _: &dyn ReadAt, _: &str) -> Option<Structure> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_stand_where_the_file_has_them() {
        let extent = |offset, len| Extent { offset, len };
        let content = Content::Plain(vec![extent(100, 10), extent(50, 5)]);
        let mut part = Part { path: "file".into(), content, holes: Vec::new(), members: Vec::new() };
        let stored = [extent(100, 10), extent(50, 5)];
        assert_eq!(part.with_holes(&stored), stored);
        // Inside an extent, between two of them, and one behind the end, which no byte follows.
        part.holes = vec![extent(4, 3), extent(13, 2), extent(20, 9)];
        let filled = [extent(100, 4), Extent::hole(3), extent(104, 6), Extent::hole(2), extent(50, 5)];
        assert_eq!(part.with_holes(&stored), filled);
        let bytes: Vec<u8> = (0..200).collect();
        let mut whole = vec![1; 20];
        Gathered::new(&bytes, &filled).read_at(0, &mut whole).unwrap();
        assert_eq!(whole[2..8], [102, 103, 0, 0, 0, 104]);
        assert_eq!(whole[12..], [109, 0, 0, 50, 51, 52, 53, 54][..]);
    }
}
