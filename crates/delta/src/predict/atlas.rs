//! Where the old bytes went: covers, sorted by their old side and without overlaps.

use std::collections::BinaryHeap;

use super::Cover;

/// A run of old bytes and the place in the new file that it moved to.
#[derive(Debug, Clone, Copy)]
struct Piece {
    old: u64,
    new: u64,
    len: u64,
}

/// Maps old offsets to new ones. Takes 24 bytes per piece; there are at most two per cover.
#[derive(Debug)]
pub(super) struct Atlas {
    pieces: Vec<Piece>,
    /// For every block of old bytes, how many pieces start before it: where a search begins.
    blocks: Vec<u32>,
    /// Bytes of a block, as a shift.
    shift: u32,
}

/// Blocks; four bytes each.
const BLOCKS_MAX: u64 = 1 << 16;

/// Where an old offset is found in the new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A cover holds it.
    Covered(u64),
    /// No cover holds it; the nearest one would put it here.
    Near(u64),
}

impl Atlas {
    /// Where covers overlap on the old side, the longest one wins, then the first.
    pub fn new(covers: &[Cover]) -> Self {
        let mut by_old: Vec<u32> = (0..covers.len() as u32).collect();
        by_old.sort_unstable_by_key(|&index| (covers[index as usize].old, index));
        let mut pieces: Vec<Piece> = Vec::new();
        // Covers that reach past `at`, the longest on top.
        let mut open: BinaryHeap<(u64, std::cmp::Reverse<u32>)> = BinaryHeap::new();
        let mut waiting = by_old.iter().copied().peekable();
        let mut at = 0_u64;
        loop {
            while let Some(&(_, std::cmp::Reverse(index))) = open.peek() {
                if covers[index as usize].old_end() > at {
                    break;
                }
                open.pop();
            }
            let next_start = waiting.peek().map(|&index| covers[index as usize].old);
            let Some(&(_, std::cmp::Reverse(top))) = open.peek() else {
                let Some(start) = next_start else { break };
                at = start;
                open_covers(covers, &mut waiting, &mut open, at);
                continue;
            };
            let cover = covers[top as usize];
            let end = next_start.map_or(cover.old_end(), |start| start.min(cover.old_end()));
            if end > at {
                push(&mut pieces, Piece { old: at, new: cover.new + (at - cover.old), len: end - at });
            }
            at = end;
            open_covers(covers, &mut waiting, &mut open, at);
        }
        pieces.shrink_to_fit();
        let end = pieces.last().map_or(0, |last| last.old + last.len);
        let mut shift = 6;
        while end >> shift >= BLOCKS_MAX {
            shift += 1;
        }
        let mut blocks = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            let block = (piece.old >> shift) as usize;
            if blocks.len() <= block {
                blocks.resize(block + 1, index as u32);
            }
        }
        Self { pieces, blocks, shift }
    }

    /// Where the byte at `old` went, as far as covers tell. `None` without any cover.
    pub fn place(&self, old: u64) -> Option<Place> {
        let block = usize::try_from(old >> self.shift).unwrap_or(usize::MAX);
        let count = self.pieces.len();
        let known = |block: usize| self.blocks.get(block).map_or(count, |&index| index as usize);
        let (from, to) = (known(block), known(block.saturating_add(1)));
        let behind = from + self.pieces[from..to].partition_point(|piece| piece.old <= old);
        let before = behind.checked_sub(1).map(|index| self.pieces[index]);
        if let Some(piece) = before
            && old - piece.old < piece.len
        {
            return Some(Place::Covered(piece.new + (old - piece.old)));
        }
        let after = self.pieces.get(behind);
        let near = match (before, after) {
            (Some(before), Some(after)) if old - (before.old + before.len) < after.old - old => before,
            (_, Some(after)) => *after,
            (Some(before), None) => before,
            (None, None) => return None,
        };
        Some(Place::Near(near.new.wrapping_add(old.wrapping_sub(near.old))))
    }
}

fn open_covers(
    covers: &[Cover],
    waiting: &mut std::iter::Peekable<impl Iterator<Item = u32>>,
    open: &mut BinaryHeap<(u64, std::cmp::Reverse<u32>)>,
    at: u64,
) {
    while let Some(index) = waiting.next_if(|&index| covers[index as usize].old <= at) {
        open.push((covers[index as usize].len, std::cmp::Reverse(index)));
    }
}

/// Appends a piece, or lengthens the last one where it goes on.
fn push(pieces: &mut Vec<Piece>, piece: Piece) {
    if let Some(last) = pieces.last_mut()
        && last.old + last.len == piece.old
        && last.new + last.len == piece.new
    {
        last.len += piece.len;
        return;
    }
    pieces.push(piece);
}
