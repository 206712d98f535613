//! What of the sources some of the targets are made of.

use std::collections::BTreeMap;

use super::{ApplyError, Patch};
use crate::frame::{Programs, covers_of};
use crate::predict::HEAD_BYTES;
use crate::structure::Extent;

impl Patch<'_> {
    /// Which bytes of the sources, one behind the other, are read to make the targets that are wanted, told by their
    /// numbers; in order, without overlaps, and perhaps some more. Whoever [applies](Patch::apply) it where the
    /// others [are made](super::Target::is_made) needs no others. Memory: that of one frame's covers, and 100 bytes
    /// for each run that is read.
    ///
    /// # Errors
    /// Where a frame is damaged, or cannot be read.
    pub fn source_reads(&self, is_wanted: impl Fn(usize) -> bool) -> Result<Vec<Extent>, ApplyError> {
        let source_len = self.header.sources.iter().map(|source| source.size).fold(0, u64::saturating_add);
        let blocks_len = self.map.blocks.iter().map(|block| block.plain_len).fold(0, u64::saturating_add);
        let mut reads = Reads { old_len: source_len.saturating_add(blocks_len), ..Reads::default() };
        let mut end = 0;
        for root in &self.map.roots {
            let start = end;
            end += root.node.flat_len();
            if is_wanted(root.target as usize) {
                reads.flat.add(start, end);
            }
        }
        // Whatever is read was made before.
        for (frame, info) in self.header.frames.iter().enumerate().rev() {
            let (_, start) = self.frame_starts[frame];
            if reads.flat.within(start, start + info.flat_len).is_empty() {
                continue;
            }
            let fault = |source| ApplyError::Frame { frame, source };
            let bytes = self.frame(frame)?;
            let (covers, programs) = covers_of(&bytes, start, info.flat_len, reads.old_len).map_err(fault)?;
            if let Some(programs) = programs {
                reads.predict(&programs, start, start + info.flat_len);
            }
            for cover in covers.iter().rev() {
                for (from, to) in reads.flat.within(cover.flat, cover.flat_end()) {
                    let address = cover.address + (from - cover.flat);
                    reads.add(address, address + (to - from));
                }
            }
        }
        let mut end = reads.old_len;
        for block in self.map.blocks.iter().rev() {
            let start = end.saturating_sub(block.plain_len);
            // They are unpacked ahead, whoever reads them.
            if block.is_spooled() || !reads.old.within(start, end).is_empty() {
                reads.old.add(block.packed.offset, block.packed.end());
            }
            end = start;
        }
        let extent = |(start, end): (u64, u64)| Extent { offset: start, len: end - start };
        Ok(reads.old.within(0, source_len).into_iter().map(extent).collect())
    }
}

/// What is read.
#[derive(Default)]
struct Reads {
    old_len: u64,
    old: Ranges,
    flat: Ranges,
}

impl Reads {
    fn add(&mut self, start: u64, end: u64) {
        match start.checked_sub(self.old_len) {
            Some(flat) => self.flat.add(flat, end - self.old_len),
            None => self.old.add(start, end),
        }
    }

    /// What is told in a frame of programs depends on all of them.
    fn predict(&mut self, programs: &Programs, start: u64, end: u64) {
        self.flat.add(start, end);
        if let Some(first) = programs.new_at(start) {
            self.flat.add(first.offset, start.min(first.offset.saturating_add(HEAD_BYTES)));
        }
        for program in &programs.old {
            self.old.add(program.offset, program.end());
        }
    }
}

/// Bytes of a space: starts and ends of runs that neither overlap nor touch.
#[derive(Default)]
struct Ranges {
    ends: BTreeMap<u64, u64>,
}

impl Ranges {
    fn add(&mut self, mut start: u64, mut end: u64) {
        if start >= end {
            return;
        }
        while let Some((&from, &to)) = self.ends.range(..=end).next_back().filter(|(_, to)| **to >= start) {
            self.ends.remove(&from);
            (start, end) = (start.min(from), end.max(to));
        }
        self.ends.insert(start, end);
    }

    /// Those between two places, cut to these.
    fn within(&self, start: u64, end: u64) -> Vec<(u64, u64)> {
        let before = self.ends.range(..start).next_back();
        let cut = |(from, to): (&u64, &u64)| (*from.max(&start), *to.min(&end));
        let all = before.into_iter().chain(self.ends.range(start..end.max(start)));
        all.map(cut).filter(|(from, to)| from < to).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_hold_what_was_added(
            added in proptest::collection::vec((0_u64..100, 0_u64..20), 0..30),
            (start, len) in (0_u64..100, 0_u64..50),
        ) {
            let mut ranges = Ranges::default();
            for (start, len) in &added {
                ranges.add(*start, start + len);
            }
            let has = |place: u64| added.iter().any(|(start, len)| (*start..start + len).contains(&place));
            let all: Vec<(u64, u64)> = ranges.ends.iter().map(|(start, end)| (*start, *end)).collect();
            prop_assert!(all.is_sorted_by(|one, next| one.1 < next.0));
            let found: Vec<u64> = ranges.within(start, start + len).iter().flat_map(|(from, to)| *from..*to).collect();
            prop_assert_eq!(found, (start..start + len).filter(|place| has(*place)).collect::<Vec<u64>>());
        }
    }
}
