//! What stands packed in an image: kernels, initial RAM disks, compressed files.

use std::io::{self, Read, Write};

use fluvial_codec::{Budget, Effort, Format, Prover};
use fluvial_delta::space::Range;
use fluvial_delta::structure::{Block, Content, Dissector as _, Extent, Files, Gathered, ReadAt};

use crate::extents::files_of;
use crate::{Anatomist, image_files};

/// Shorter files stay packed: what is told of each costs more than it saves.
const FILE_BYTES_MIN: u64 = 32 << 10;
/// Longer files stay packed, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// Files of more packed streams stay packed: they are archives, or file systems.
const BLOCKS_MAX: usize = 64;
/// Files whose ends are fetched ahead: reading one after another takes as long as the medium takes to answer each time.
const FILES_AHEAD: usize = 32;
/// Bytes that are copied at a time.
const STEP_BYTES: usize = 256 << 10;

/// A file of an image that holds packed streams.
#[derive(Debug, Clone)]
pub struct PackedFile {
    /// Where it stands in the image, in order.
    pub extents: Vec<Extent>,
    /// What it is made of, as places in the file, in order.
    parts: Vec<FilePart>,
}

/// A part of a packed file.
#[derive(Debug, Clone)]
enum FilePart {
    /// A packed stream.
    Packed(Block),
    /// A file of an archive that stands before it as it is: an initial RAM disk has modules there that are packed
    /// already, and that the file system has, too.
    Plain(Extent),
}

impl FilePart {
    fn extent(&self) -> Extent {
        match self {
            Self::Packed(block) => block.extent,
            Self::Plain(extent) => *extent,
        }
    }
}

/// What a file was unpacked to: its streams one behind the other, what stands between them as it is.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// Its length in bytes.
    pub len: u64,
    /// What stands in it, as places in all contents, in order.
    pub parts: Vec<ContentPart>,
}

/// A part of what a file was unpacked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentPart {
    /// Where it stands in all contents.
    pub extent: Extent,
    /// Whether it was packed, and may be an archive. If not, it is a file.
    pub was_packed: bool,
}

/// The files of an image, as [`image_files`], and those of a file system that hold packed streams, by
/// their first extents. Only a look is taken: whether they unpack is for [`PackedFile::unpack`] to find out.
///
/// Memory: as [`image_files`].
pub fn all_and_packed_files(image: &dyn ReadAt) -> (Files, Vec<PackedFile>) {
    let Some(structure) = Anatomist.dissect(image, "") else { return (Files::new(), Vec::new()) };
    let files = files_of(image, &structure);
    let plain = structure.parts.into_iter().filter(|part| part.holes.is_empty());
    let mut candidates: Vec<Vec<Extent>> = plain
        .filter_map(|part| match part.content {
            Content::Plain(extents) if may_be_packed(&extents) => Some(extents),
            _ => None,
        })
        .collect();
    candidates.sort_unstable_by_key(|extents| extents[0].offset);
    let mut packed = Vec::new();
    for file in candidates.iter().take(FILES_AHEAD) {
        prefetch_ends(image, file);
    }
    for index in 0..candidates.len() {
        if let Some(file) = candidates.get(index + FILES_AHEAD) {
            prefetch_ends(image, file);
        }
        packed.extend(PackedFile::open(image, std::mem::take(&mut candidates[index])));
    }
    (files, packed)
}

/// Has fetched what most formats are recognised by.
fn prefetch_ends(image: &dyn ReadAt, file: &[Extent]) {
    let file = Gathered::new(image, file);
    file.prefetch(0, 1);
    file.prefetch(file.len() - 1, 1);
}

/// Whether a file is as long as those that are unpacked.
fn may_be_packed(extents: &[Extent]) -> bool {
    let len = extents.iter().map(|extent| extent.len).fold(0, u64::saturating_add);
    (FILE_BYTES_MIN..=FILE_BYTES_MAX).contains(&len)
}

impl PackedFile {
    /// Looks at the file of an image that stands in these extents.
    pub fn open(image: &dyn ReadAt, extents: Vec<Extent>) -> Option<Self> {
        let is_inside =
            |extent: &Extent| extent.offset.checked_add(extent.len).is_some_and(|end| end <= image.len());
        if !may_be_packed(&extents) || !extents.iter().all(is_inside) {
            return None;
        }
        let structure = Anatomist.dissect(&Gathered::new(image, &extents), "")?;
        let (mut parts, mut blocks) = (Vec::new(), 0);
        for part in structure.parts {
            match part.content {
                Content::Blocks(of_part) => {
                    for block in of_part.into_iter().filter(|block| block.format != Format::Stored) {
                        parts.push(FilePart::Packed(block));
                        blocks += 1;
                    }
                }
                Content::Plain(extents) => parts.extend(extents.into_iter().map(FilePart::Plain)),
            }
        }
        parts.sort_unstable_by_key(|part| part.extent().offset);
        (1..=BLOCKS_MAX).contains(&blocks).then_some(Self { extents, parts })
    }

    fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.parts.iter().filter_map(|part| match part {
            FilePart::Packed(block) => Some(block),
            FilePart::Plain(_) => None,
        })
    }

    /// Whether packing what it unpacks to gives it again, in at most so many bytes of memory. Takes as long as
    /// packing does, and holds all of it in memory.
    ///
    /// # Errors
    /// What reading the image reports.
    pub fn can_be_packed(&self, image: &dyn ReadAt, memory_bytes: u64) -> io::Result<bool> {
        let budget = Budget { memory_bytes, plain_bytes_max: FILE_BYTES_MAX, effort: Effort::Default };
        let file = Gathered::new(image, &self.extents);
        for block in self.blocks() {
            let mut packed = vec![0; block.extent.len as usize];
            file.read_at(block.extent.offset, &mut packed)?;
            let Ok(unpacked) = Prover::new(budget).unpack(block.format, &packed) else { return Ok(false) };
            // What stands behind the stream is nothing that is worth a word.
            if (unpacked.packed_len as u64) < block.extent.len / 2 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes what it holds to `out`, which has `start` bytes already: at most `bytes_max`.
    ///
    /// # Errors
    /// What reading, unpacking and writing report; [`io::ErrorKind::FileTooLarge`] above `bytes_max`.
    pub fn unpack(
        &self,
        image: &dyn ReadAt,
        start: u64,
        bytes_max: u64,
        out: &mut dyn Write,
    ) -> io::Result<Contents> {
        let file = Gathered::new(image, &self.extents);
        let mut contents = Contents::default();
        let mut at = 0;
        for part in &self.parts {
            let extent = part.extent();
            let before = Extent { offset: at, len: extent.offset.saturating_sub(at) };
            contents.len += copy(Range::new(&file, before), bytes_max - contents.len, out)?;
            at = extent.end();
            let bytes = Range::new(&file, extent);
            let (len, was_packed) = match part {
                FilePart::Packed(block) => {
                    (copy(block.format.reader(Box::new(bytes))?, bytes_max - contents.len, out)?, true)
                }
                FilePart::Plain(_) => (copy(bytes, bytes_max - contents.len, out)?, false),
            };
            let extent = Extent { offset: start + contents.len, len };
            contents.parts.push(ContentPart { extent, was_packed });
            contents.len += len;
        }
        let behind = Extent { offset: at, len: file.len().saturating_sub(at) };
        contents.len += copy(Range::new(&file, behind), bytes_max - contents.len, out)?;
        Ok(contents)
    }
}

/// Where files stand in what files were unpacked to: the files of archives, else what was a packed stream as a whole.
pub fn content_files(contents: &dyn ReadAt, parts: &[ContentPart]) -> Files {
    let mut files = Files::new();
    for ContentPart { extent, was_packed } in parts.iter().filter(|part| part.extent.len > 0) {
        let of_part = if *was_packed {
            image_files(&Gathered::new(contents, std::slice::from_ref(extent)))
        } else {
            Files::new()
        };
        if of_part.is_empty() {
            files.push([*extent]);
        }
        for file in of_part.iter() {
            files.push(file.iter().map(|one| one.moved_by(extent.offset)));
        }
    }
    files
}

/// Copies all that a reader gives, unless that is more than `bytes_max`.
fn copy(mut reader: impl Read, bytes_max: u64, out: &mut dyn Write) -> io::Result<u64> {
    let mut buf = vec![0; STEP_BYTES];
    let mut copied = 0;
    loop {
        let len = reader.read(&mut buf)?;
        if len == 0 {
            return Ok(copied);
        }
        copied += len as u64;
        if copied > bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        out.write_all(&buf[..len])?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(content: &[u8]) -> Vec<u8> {
        zstd::bulk::compress(content, 3).unwrap()
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    #[test]
    fn a_file_in_pieces_is_unpacked() {
        let content = noise(100_000);
        let file = packed(&content);
        let (first, second) = file.split_at(50_000);
        let image = [&[7; 1000], second, &[7; 24], first].concat();
        let extents = vec![
            Extent { offset: 1024 + second.len() as u64, len: first.len() as u64 },
            Extent { offset: 1000, len: second.len() as u64 },
        ];
        let file = PackedFile::open(&image, extents).unwrap();
        let mut out = vec![1; 10];
        let contents = file.unpack(&image, 10, 1 << 20, &mut out).unwrap();
        assert_eq!((contents.len, &out[10..]), (100_000, &content[..]));
        let extent = Extent { offset: 10, len: 100_000 };
        assert_eq!(contents.parts, [ContentPart { extent, was_packed: true }]);
        assert!(content_files(&out, &contents.parts).stored().eq([extent]));
        assert!(file.can_be_packed(&image, 64 << 20).unwrap());
        let cut = file.unpack(&image, 0, 99_999, &mut Vec::new()).unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::FileTooLarge);
    }

    /// A cpio archive of a file, in the format "newc".
    fn archive(content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, content) in [("file", content), ("TRAILER!!!", &[])] {
            let [mode, len, name_len] = [0o100_644, content.len(), name.len() + 1];
            let zero = 0;
            let fields = [1, mode, zero, zero, 1, zero, len, zero, zero, zero, zero, name_len, zero];
            bytes.extend_from_slice(b"070701");
            bytes.extend(fields.iter().flat_map(|field| format!("{field:08x}").into_bytes()));
            for part in [name.as_bytes(), &[0]] {
                bytes.extend_from_slice(part);
            }
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes.extend_from_slice(content);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn files_before_a_packed_archive_are_told_one_by_one() {
        // As modules stand in an initial RAM disk: packed once, and not once more.
        let module = packed(&noise(60_000));
        let (before, inside) = (archive(&module), archive(&noise(50_001)));
        let file = [&before[..], &packed(&inside)].concat();
        let whole = vec![Extent { offset: 0, len: file.len() as u64 }];
        let (mut out, start) = (vec![1; 10], 10);
        let contents = PackedFile::open(&file, whole).unwrap();
        let contents = contents.unpack(&file, start, 1 << 20, &mut out).unwrap();
        assert!(out[10..] == [before.clone(), inside].concat());
        assert_eq!(contents.len, out.len() as u64 - start);
        assert_eq!(contents.parts.iter().map(|part| part.was_packed).collect::<Vec<_>>(), [false, true]);
        let files = content_files(&out, &contents.parts);
        let content = |file: &[Extent]| out[file[0].offset as usize..][..file[0].len as usize].to_vec();
        let found: Vec<Vec<u8>> = files.iter().map(content).collect();
        assert!(found == [module, noise(50_001)]);
    }

    #[test]
    fn what_is_short_or_outside_or_not_packed_stays() {
        let image = noise(100_000);
        let whole = |len| vec![Extent { offset: 0, len }];
        assert!(PackedFile::open(&image, whole(100_000)).is_none());
        assert!(PackedFile::open(&image, whole(100_001)).is_none());
        let short = packed(&noise(1000));
        let extents = whole(short.len() as u64);
        assert!(PackedFile::open(&short, extents).is_none());
    }
}
