//! Which files are programs, whose references are worth predicting.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::flat::{Flat, FlatPart};
use super::{DiffError, Preset};
use crate::frame::Cover;
use crate::predict::{self, MAGIC_BYTES};
use crate::space::Space;
use crate::structure::{Extent, Part, ReadAt};

/// Shorter files hold next to no references.
const PROGRAM_BYTES_MIN: u64 = 1 << 10;
const _: () = assert!(MAGIC_BYTES as u64 <= PROGRAM_BYTES_MIN);

/// Holes of a program are filled up to so many bytes: they have to be spooled.
const HOLES_BYTES_MAX: u64 = 16 << 20;

/// Whether a part is a program with holes that are worth filling, so that it stands in one piece as it
/// does in memory. `extents` are those of its content in `stream`.
pub(super) fn has_fillable_holes(stream: &dyn ReadAt, part: &Part, extents: &[Extent]) -> bool {
    let holes_len = part.holes.iter().map(|hole| hole.len).fold(0, u64::saturating_add);
    !part.holes.is_empty() && holes_len <= HOLES_BYTES_MAX && is_program_at(stream, part, extents)
}

/// Whether a part begins as a program does. `extents` are those of its content in `stream`.
pub(super) fn is_program_at(stream: &dyn ReadAt, part: &Part, extents: &[Extent]) -> bool {
    part.holes.first().is_none_or(|hole| hole.offset > 0)
        && extents.first().is_some_and(|first| {
            let mut head = [0; MAGIC_BYTES];
            let head = &mut head[..first.len.min(MAGIC_BYTES as u64) as usize];
            stream.read_at(first.offset, head).is_ok() && predict::is_program(head)
        })
}

/// Looks at the starts of files.
pub(super) struct ProgramFinder<'a> {
    space: &'a Space<'a>,
    flat: &'a Flat<'a>,
    /// Old files in one run of addresses each, by address.
    old_files: Vec<Extent>,
    /// What is known of them already.
    known: Mutex<Vec<Option<bool>>>,
    enabled: bool,
}

impl<'a> ProgramFinder<'a> {
    pub(super) fn new(
        space: &'a Space<'a>,
        flat: &'a Flat<'a>,
        old_files: &[Extent],
        preset: Preset,
    ) -> Self {
        let mut sorted = old_files.to_vec();
        sorted.retain(|extent| extent.len >= PROGRAM_BYTES_MIN);
        sorted.sort_unstable();
        // Where containers stand in containers, the innermost files count.
        let mut old_files: Vec<Extent> = Vec::with_capacity(sorted.len());
        for extent in sorted {
            while old_files.last().is_some_and(|last| last.end() > extent.offset) {
                old_files.pop();
            }
            old_files.push(extent);
        }
        let known = Mutex::new(vec![None; old_files.len()]);
        Self { space, flat, old_files, known, enabled: preset != Preset::Fast }
    }

    /// Whether a new file is a program.
    pub(super) fn is_program(&self, part: &FlatPart) -> Result<bool, DiffError> {
        if !self.enabled || part.path.is_none() || part.extent.len < PROGRAM_BYTES_MIN {
            return Ok(false);
        }
        let mut head = [0; MAGIC_BYTES];
        self.flat.read_at(part.extent.offset, &mut head).map_err(DiffError::ReadNew)?;
        Ok(predict::is_program(&head))
    }

    /// The old programs that the covers of new ones come from.
    pub(super) fn old_programs(&self, covers: &[Cover], new: &[Extent]) -> Vec<Extent> {
        let mut indices = Vec::new();
        for program in new {
            let first = covers.partition_point(|cover| cover.flat < program.offset);
            for cover in covers[first..].iter().take_while(|cover| cover.flat < program.end()) {
                indices.extend(self.old_at(cover.address));
            }
        }
        indices.sort_unstable();
        indices.dedup();
        indices
            .into_iter()
            .filter(|&index| self.is_old_program(index))
            .map(|index| self.old_files[index])
            .collect()
    }

    /// The old program that most bytes of these covers come from, if they are so many.
    pub(super) fn main_old_program(
        &self,
        covers: impl Iterator<Item = Cover>,
        len_min: u64,
    ) -> Option<Extent> {
        let mut lens: BTreeMap<usize, u64> = BTreeMap::new();
        for cover in covers {
            if let Some(index) = self.old_at(cover.address) {
                *lens.entry(index).or_default() += cover.len;
            }
        }
        let mut by_len: Vec<(u64, usize)> = lens.into_iter().map(|(index, len)| (len, index)).collect();
        by_len.sort_unstable_by(|a, b| b.cmp(a));
        by_len
            .into_iter()
            .find(|&(_, index)| self.is_old_program(index))
            .filter(|&(len, _)| len >= len_min)
            .map(|(_, index)| self.old_files[index])
    }

    fn old_at(&self, address: u64) -> Option<usize> {
        let index = self.old_files.partition_point(|extent| extent.offset <= address).checked_sub(1)?;
        (address < self.old_files[index].end()).then_some(index)
    }

    fn is_old_program(&self, index: usize) -> bool {
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *known[index].get_or_insert_with(|| {
            let mut head = [0; MAGIC_BYTES];
            // A file that cannot be read here is found out elsewhere; it is only not predicted.
            self.space.read_at(self.old_files[index].offset, &mut head).is_ok() && predict::is_program(&head)
        })
    }
}
