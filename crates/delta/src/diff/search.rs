//! Fills the gaps between exact matches with approximate ones, group by group.

use rayon::prelude::*;

use super::approximate::{Aligned, Finder, Taste, cover_gap};
use super::candidates::{Gap, Group};
use super::flat::Flat;
use super::seeds::SeedTable;
use super::suffix::SuffixArray;
use super::{DiffError, Preset};
use crate::frame::Cover;
use crate::space::Space;
use crate::structure::{Extent, ReadAt};

/// Approximate covers for all gaps; in no particular order.
pub(super) fn fill(
    space: &Space<'_>,
    flat: &Flat<'_>,
    groups: &[Group],
    preset: Preset,
    progress: &(dyn Fn(u64) -> bool + Sync),
) -> Result<Vec<Cover>, DiffError> {
    let covers: Vec<Vec<Cover>> = match groups {
        // The gaps of the only group share its suffix array.
        [group] => {
            let text = Text::new(space, group, preset)?;
            group.gaps.par_iter().map(|gap| fill_gap(&text, flat, gap, progress)).collect::<Result<_, _>>()?
        }
        // One group a thread: each takes memory for its own suffix array.
        groups => groups
            .par_iter()
            .with_max_len(1)
            .map(|group| {
                let text = Text::new(space, group, preset)?;
                let mut covers = Vec::new();
                for gap in &group.gaps {
                    covers.extend(fill_gap(&text, flat, gap, progress)?);
                }
                Ok(covers)
            })
            .collect::<Result<_, DiffError>>()?,
    };
    Ok(covers.into_iter().flatten().collect())
}

/// The old content of a group, in one piece.
struct Text<'a> {
    finder: Box<dyn Finder>,
    taste: Taste,
    extents: &'a [Extent],
    /// Where each extent starts in the text.
    starts: Vec<usize>,
}

impl<'a> Text<'a> {
    fn new(space: &Space<'_>, group: &'a Group, preset: Preset) -> Result<Self, DiffError> {
        let len: u64 = group.old.iter().map(|extent| extent.len).sum();
        let mut bytes = vec![0; len as usize];
        let mut starts = Vec::with_capacity(group.old.len());
        let mut at = 0;
        for extent in &group.old {
            starts.push(at);
            let end = at + extent.len as usize;
            space.read_at(extent.offset, &mut bytes[at..end]).map_err(DiffError::ReadOld)?;
            at = end;
        }
        let (finder, taste): (Box<dyn Finder>, _) = match preset {
            Preset::Fast => (Box::new(SeedTable::new(bytes)), Taste::HASTY),
            Preset::Default | Preset::Max => {
                let taste = if preset == Preset::Max { Taste::THOROUGH } else { Taste::USUAL };
                (Box::new(SuffixArray::new(bytes).ok_or(DiffError::Memory)?), taste)
            }
        };
        Ok(Self { finder, taste, extents: &group.old, starts })
    }

    /// The text position of an address, when it is in the text or just behind an extent.
    fn position(&self, address: u64) -> Option<usize> {
        let index = self.extents.partition_point(|extent| extent.offset <= address).checked_sub(1)?;
        let extent = self.extents[index];
        (address <= extent.end()).then(|| self.starts[index] + (address - extent.offset) as usize)
    }

    /// Appends a match as covers: one for each extent that it runs through.
    fn push(&self, gap: &Gap, aligned: Aligned, covers: &mut Vec<Cover>) {
        let (mut position, mut flat, mut left) =
            (aligned.text, gap.extent.offset + aligned.gap as u64, aligned.len);
        while left > 0 {
            let index = self.starts.partition_point(|&start| start <= position) - 1;
            let extent = self.extents[index];
            let offset = (position - self.starts[index]) as u64;
            let len = (left as u64).min(extent.len - offset);
            covers.push(Cover { flat, address: extent.offset + offset, len });
            position += len as usize;
            flat += len;
            left -= len as usize;
        }
    }
}

fn fill_gap(
    text: &Text<'_>,
    flat: &Flat<'_>,
    gap: &Gap,
    progress: &(dyn Fn(u64) -> bool + Sync),
) -> Result<Vec<Cover>, DiffError> {
    let mut bytes = vec![0; gap.extent.len as usize];
    flat.read_at(gap.extent.offset, &mut bytes).map_err(DiffError::ReadNew)?;
    let position = |address: Option<u64>| address.and_then(|address| text.position(address));
    let mut aligned = Vec::new();
    cover_gap(&*text.finder, &bytes, position(gap.left), position(gap.right), text.taste, &mut aligned);
    let mut covers = Vec::new();
    for aligned in aligned {
        text.push(gap, aligned, &mut covers);
    }
    if progress(gap.extent.len) { Ok(covers) } else { Err(DiffError::Cancelled) }
}
