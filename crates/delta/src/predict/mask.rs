//! Programs with zeros or marks in place of their references: what stays the same when code and data only
//! move.

#[cfg(test)]
mod tests;

use std::io;

use crate::structure::{Extent, ReadAt};

use super::elf::Image;
use super::marks;
use super::names::Names;
use super::scan::{self, Run};

/// Bytes of a program that are looked at in one go; steps begin at multiples of it.
pub const MASK_STEP_BYTES: usize = 64 << 10;

/// Reads a program with zeros in place of what [`super::Predictor`] would re-aim, or with marks that do not
/// change with a move where there would be little but zeros (`marks.rs`).
///
/// Two builds of a program are alike in this form wherever only addresses have changed, so it tells which
/// old code a piece of new code was. What counts as a reference is a guess that may differ where pieces
/// stand differently: whoever compares such forms has to prove what he makes of them.
///
/// Memory: about 4 MiB at most, for headers, places of tables, and hashes of names.
pub struct Masker<'a> {
    file: &'a dyn ReadAt,
    image: Image,
    names: Names,
    /// Where an instruction starts, as the last step has found it.
    sweep: u64,
    bytes: Vec<u8>,
}

impl<'a> Masker<'a> {
    /// Reads the headers of a program. `None` where `file` is none that is understood, or cannot be read.
    pub fn open(file: &'a dyn ReadAt) -> Option<Self> {
        let image = Image::read(file, Extent { offset: 0, len: file.len() })?;
        Some(Self { file, image, names: Names::default(), sweep: 0, bytes: Vec::new() })
    }

    /// Masks the references in the bytes of the file at `offset`, which is a multiple of
    /// [`MASK_STEP_BYTES`]. Steps are best taken in order.
    ///
    /// # Errors
    /// Whatever the medium reports: a few bytes before `offset` are read again, and tables of
    /// symbols where they are first needed.
    pub fn mask(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        let mut fields = Vec::new();
        let mut at = offset;
        while at < end {
            let region = self.image.region(at, self.file.len());
            self.image.find_tables(self.file, Extent { offset: 0, len: self.file.len() }, &region);
            self.names.find(self.file, &self.image, &region)?;
            let step_end = (at / MASK_STEP_BYTES as u64 + 1) * MASK_STEP_BYTES as u64;
            let stop = region.offset.saturating_add(region.len).min(end).min(step_end);
            if stop <= at {
                break;
            }
            let before = (at - region.offset).min(scan::look_back_bytes(region.content)) as usize;
            // What stands before is read again: in `bytes` it is masked already.
            self.bytes.resize(before + (stop - at) as usize, 0);
            self.file.read_at(at - before as u64, &mut self.bytes[..before])?;
            let here = (at - offset) as usize..(stop - offset) as usize;
            self.bytes[before..].copy_from_slice(&bytes[here.clone()]);
            let run = Run { image: &self.image, region, offset: at, bytes: &self.bytes, before };
            fields.clear();
            scan::references(&run, &mut self.sweep, &mut fields);
            marks::put(&run, &self.names, &fields, &mut bytes[here]);
            at = stop;
        }
        Ok(())
    }
}
