//! Where the lazy parsers look for matches.

use super::chains::Chains;
use super::rows::Rows;
use super::trees::Trees;
use crate::reparse::history::View;

/// What a search found: the length of the match (below 4: nothing) and its distance.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// Bytes that are the same.
    pub length: u32,
    /// How far back; 0 for nothing.
    pub distance: u32,
}

/// A match finder.
#[derive(Debug)]
pub enum Finder {
    /// Rows of recent positions.
    Rows(Rows),
    /// Chains of positions of the same hash.
    Chains(Chains),
    /// Binary trees of positions of the same hash.
    Trees(Trees),
}

impl Finder {
    /// Positions at a block's end that are not searched.
    pub fn tail(&self) -> u32 {
        match self {
            // 8 to read, 8 of the cache of hashes.
            Self::Rows(_) => 16,
            Self::Chains(_) | Self::Trees(_) => 8,
        }
    }

    /// Begins a frame or a job.
    pub fn restart(&mut self, view: View<'_>, prefix: u32, start: u32) {
        match self {
            Self::Rows(rows) => rows.restart(view, prefix, start),
            Self::Chains(chains) => chains.restart(view, prefix, start),
            Self::Trees(trees) => trees.restart(view, prefix, start),
        }
    }

    /// Begins a block at `start`, nothing before `low` being of use any more.
    pub fn begin(&mut self, low: u32, start: u32) {
        if let Self::Trees(trees) = self {
            trees.set_low(low);
        }
        let next = match self {
            Self::Rows(rows) => &mut rows.next,
            Self::Chains(chains) => &mut chains.next,
            Self::Trees(trees) => &mut trees.next,
        };
        *next = (*next).max(low);
        // After a very long match only its last positions are entered.
        if start > *next + 384 {
            *next = start - 192.min(start - *next - 384);
        }
    }

    /// The longest match of what stands at `at`, nothing before `low`, not beyond `end`. With
    /// `skipping` positions before `at` are not entered.
    pub fn find(&mut self, view: View<'_>, at: u32, low: u32, end: u32, skipping: bool) -> Found {
        match self {
            Self::Rows(rows) => rows.find(view, at, low, end, skipping),
            Self::Chains(chains) => chains.find(view, at, low, end, skipping),
            Self::Trees(trees) => trees.find(view, at, low, end),
        }
    }
}
