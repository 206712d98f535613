//! Reads the parity that was fetched.

use std::ops::Range;

use super::Payload;
use crate::parity::{self, PARITY_BYTES};
use crate::pieces::OpenRun;
use crate::shelf::Shelf;

/// So much is read at a time: syndromes of neighbours stand side by side, and asking for those of each chunk takes
/// longer than correcting it.
const AHEAD_BYTES: u64 = 2 << 10;

/// The syndromes of a payload's chunks, as far as they were fetched.
pub(super) struct Syndromes<'b> {
    payload: &'b Payload<'b>,
    number: usize,
    fetched: &'b dyn Shelf,
    /// What was read last of each level.
    windows: [Window; parity::LEVELS.len()],
}

#[derive(Default)]
struct Window {
    /// Where it stands in the chunk file.
    range: Range<u64>,
    bytes: Vec<u8>,
}

impl<'b> Syndromes<'b> {
    /// Reads those of a payload, which is `number` on the shelf.
    pub(super) fn new(payload: &'b Payload<'b>, number: usize, fetched: &'b dyn Shelf) -> Self {
        Self { payload, number, fetched, windows: Default::default() }
    }

    /// Reads the syndromes of a piece up to so many levels; answers how many bytes. What cannot be read, or came wrong,
    /// corrects nothing.
    pub(super) fn read(
        &mut self,
        open: &OpenRun,
        piece: u32,
        levels: usize,
        bytes: &mut [u8; PARITY_BYTES],
    ) -> usize {
        let chunk = open.first_chunk + (piece - open.first);
        let mut at = 0;
        for (level, window) in self.windows.iter_mut().enumerate().take(levels) {
            let range = self.payload.index.parity_of(open.page as usize, chunk, level);
            let Some(read) = window.get(range, self.number, self.fetched) else { break };
            bytes[at..at + read.len()].copy_from_slice(read);
            at += read.len();
        }
        at
    }
}

impl Window {
    fn get(&mut self, range: Range<u64>, number: usize, fetched: &dyn Shelf) -> Option<&[u8]> {
        if range.start < self.range.start || self.range.end < range.end {
            // What stands behind may not be there: then these are read alone.
            let ahead = [range.start + AHEAD_BYTES, range.end].map(|end| range.start..end);
            self.range = 0..0;
            self.range = ahead.into_iter().find(|ahead| {
                self.bytes.resize((ahead.end - ahead.start) as usize, 0);
                fetched.read(number, ahead.start, &mut self.bytes).is_ok()
            })?;
        }
        let at = (range.start - self.range.start) as usize;
        self.bytes.get(at..at + (range.end - range.start) as usize)
    }
}
