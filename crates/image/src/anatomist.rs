//! The one door: tries every format that the crate knows.

use fluvial_delta::structure::{Dissector, ReadAt, Structure};

use crate::{ar, cpio, disk, erofs, ext4, fat, kernel, packed, squashfs, tar, zip};

/// Bytes at the start of a stream in which most formats show themselves.
pub(crate) const HEAD_BYTES: u64 = 4096;

/// Recognises containers by their content and takes them apart.
///
/// Memory: bounded by the limits of the catalogue and of each format's tables, about 1 GiB for
/// the worst input, and a few hundred bytes per file for a real one. I/O errors count as damage:
/// the description ends there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Anatomist;

impl Dissector for Anatomist {
    fn dissect(&self, stream: &dyn ReadAt, path: &str) -> Option<Structure> {
        // Nothing in such a table tells what it is.
        let name = path.rsplit("//").next().unwrap_or(path);
        if let Some(structure) = squashfs::table(stream, name) {
            return Some(structure);
        }
        let mut head = vec![0; stream.len().min(HEAD_BYTES) as usize];
        stream.read_at(0, &mut head).ok()?;
        let specimen = Specimen { stream, head: &head };
        READERS.iter().find_map(|read| read(specimen))
    }
}

/// A stream on the table.
#[derive(Clone, Copy)]
pub(crate) struct Specimen<'a> {
    /// All of it.
    pub stream: &'a dyn ReadAt,
    /// Its first bytes, [`HEAD_BYTES`] at most.
    pub head: &'a [u8],
}

/// Takes one format apart; `None` where the stream is something else, or too damaged.
type Reader = fn(Specimen<'_>) -> Option<Structure>;

/// All readers. Long marks at fixed places come first. A disk comes behind what else may start
/// with a boot sector, and a bare compressed stream, which only says how it is packed,
/// before the formats that are recognised by their end.
const READERS: &[Reader] = &[
    cpio::dissect,
    squashfs::dissect,
    ext4::dissect,
    erofs::dissect,
    ar::dissect,
    kernel::dissect,
    tar::dissect,
    fat::dissect,
    disk::dissect,
    packed::dissect,
    zip::dissect,
];
