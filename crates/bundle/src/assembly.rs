//! Puts payloads together on a device.

mod chunks;
mod copy;
mod correct;
mod find;
mod in_place;
mod left;
mod pages;
mod repeats;
mod rounds;
mod syndromes;
mod take;
mod tell;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;

use fluvial_delta::apply::Target;
use fluvial_delta::predict::Shared;
use fluvial_delta::scratch::ScratchStore;
use fluvial_delta::structure::{Extent, ReadAt};

use crate::cutting::Cutting;
use crate::hash::HashKind;
use crate::have::Have;
use crate::index::Index;
use crate::notes::Notes;
use crate::pieces::{IN_PLACE, NOWHERE, OpenRun, Piece};
use crate::scatter::Scatter;
use crate::spool::Spool;

pub use copy::{Copies, Early, LostRun};

/// A payload and where it goes.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    /// What it is made of.
    pub index: &'a Index,
    /// As long as the payload.
    pub target: &'a dyn Target,
}

/// Bytes of a payload's chunk file that are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// Which payload, as they were given.
    pub payload: usize,
    /// Where they stand in its chunk file.
    pub offset: u64,
    /// How many.
    pub len: u64,
    /// What came before was wrong: they have to be fetched even if they are there.
    pub again: bool,
}

/// Where the bytes of payloads came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bytes that stood in their place already.
    pub in_place_bytes: u64,
    /// Bytes that the old files hold as they are, and zeros.
    pub found_bytes: u64,
    /// Bytes of programs that were made from old ones by telling their references.
    pub predicted_bytes: u64,
    /// Bytes that were fetched, unpacked.
    pub fetched_bytes: u64,
    /// Runs that came out wrong and were fetched as a whole.
    pub repaired_runs: u64,
}

struct Payload<'a> {
    index: &'a Index,
    order: Arc<Scatter<&'a dyn Target>>,
    /// Where the old space holds each run that is there; `IN_PLACE` where only the target does, else
    /// [`NOWHERE`].
    run_places: Vec<u64>,
    /// Whether the target holds each run: `copy::ABSENT`, or how it came.
    there: Arc<[AtomicU8]>,
    programs: Vec<Extent>,
    /// The runs that stand behind the payload's end.
    behind: [Range<usize>; 2],
}

/// Payloads in the making. In this order: [`Assembly::find_in_place`], if the targets may hold something;
/// [`Assembly::leave`], if something is not needed; [`Assembly::find_runs`]; then, where little is missing, until
/// [`Assembly::pages`] wants no more, its bytes are fetched, [`Assembly::open_pages`], [`Assembly::find_chunks`], and, until
/// [`Assembly::next_round`] wants no more, its bytes are fetched, [`Assembly::take`]; at last
/// [`Assembly::copy_repeats`]. Where much is missing, the
/// payload is taken as a whole instead ([`crate::Whole`]). Each payload's SHA-256 is then left to be checked.
///
/// In place of [`Assembly::find_runs`] whoever has, or makes, an index of the old streams calls
/// [`Assembly::note_indexed`], and has [`Assembly::copies`] made while the rest is fetched; what came to nothing is
/// told to [`Assembly::lose`], and then everything behind begins anew.
///
/// Everything is checked before it is used: bytes that were found by the digests made of these very bytes, what
/// was fetched by its digest before it is unpacked and by its chunk's check behind, what was told by that check,
/// and every run that has such bytes by its own digest, read back ([`Assembly::compared_as_a_whole`] leaves that out).
///
/// Memory: 9 bytes for each run and 8 for each file of the payloads; 50 for each chunk that no old run holds, of
/// 128 MiB of a payload at a time; 150 for each piece of the program at hand that the old space has the like
/// of; and 27 MiB.
pub struct Assembly<'a> {
    payloads: Vec<Payload<'a>>,
    /// How all payloads are cut, and the old streams.
    cutting: Cutting,
    /// The hash of all payloads.
    hash: HashKind,
    old: Arc<Have<'a>>,
    old_programs: Vec<Extent>,
    /// Which old streams have runs only that are wanted as they are.
    unchanged_streams: Vec<bool>,
    /// Chunks of the old streams, as far as they were noted.
    notes: Notes,
    open_runs: Vec<OpenRun>,
    pieces: Vec<Piece>,
    /// Payloads, and pages of them, in the order in which they are handled.
    page_order: Vec<(usize, Range<usize>)>,
    /// Which of these the next window begins with, and how many pages of it were handled.
    next_page: (usize, usize),
    /// Pages of the window at hand: payload and page.
    window: Vec<(usize, usize)>,
    round: usize,
    /// Programs of the window, by payload and place, of which hardly anything is known; sorted.
    strange_programs: Vec<(u32, u64)>,
    /// The programs of the window that were told, and what is kept of them.
    told: tell::ToldPrograms,
    spool: Spool<'a>,
    /// What programs have taught that holds for others.
    shared: Shared,
    /// Missing runs that are like others: which, and which are to be made of them.
    repeats: Vec<((u32, u32), (u32, u32))>,
    /// Whether the caller sees if a run is wrong.
    is_compared_as_a_whole: bool,
    tally: Tally,
}

impl<'a> Assembly<'a> {
    /// Begins to make `parts`, which are cut in the same way and have the same hash, from `old` streams: files, and
    /// what stands between files of old payloads; where parts are cut to blocks, old payloads as they are.
    pub fn new(parts: &[Part<'a>], old: Vec<&'a dyn ReadAt>) -> Self {
        let payload = |part: &Part<'a>| {
            let (streams, order) = (part.index.streams(), Scatter::new(part.target, part.index.order()));
            let is_program = |(stream, &is_program): (&Extent, &bool)| is_program.then_some(*stream);
            Payload {
                index: part.index,
                behind: left::behind_runs(part.index, &order, streams[0].end()),
                order: Arc::new(order),
                run_places: vec![NOWHERE; part.index.runs.len()],
                there: part.index.runs.iter().map(|_| AtomicU8::new(copy::ABSENT)).collect(),
                programs: streams[1..].iter().zip(&part.index.programs).filter_map(is_program).collect(),
            }
        };
        let unchanged_streams = vec![false; old.len()];
        let payloads: Vec<Payload<'a>> = parts.iter().map(payload).collect();
        Self {
            page_order: pages::order(&payloads),
            payloads,
            cutting: parts.first().map_or(Cutting::default(), |part| part.index.cutting),
            hash: parts.first().map_or(HashKind::default(), |part| part.index.hash),
            old: Arc::new(Have::new(old)),
            old_programs: Vec::new(),
            unchanged_streams,
            notes: Notes::default(),
            open_runs: Vec::new(),
            pieces: Vec::new(),
            next_page: (0, 0),
            window: Vec::new(),
            round: 0,
            strange_programs: Vec::new(),
            told: tell::ToldPrograms::default(),
            spool: Spool::default(),
            shared: Shared::default(),
            repeats: Vec::new(),
            is_compared_as_a_whole: false,
            tally: Tally::default(),
        }
    }

    /// Keeps what was told of programs and is not right yet, and what they have taught, in temporary storage of 256
    /// MiB at most: so what parity corrects is not told again, nor is what is known learned again. Without storage, or
    /// where it fails, that takes more time, and the same is made.
    #[must_use]
    pub fn with_scratch(self, store: &'a dyn ScratchStore) -> Self {
        Self { spool: Spool::new(store), ..self }
    }

    /// Runs are not read back: the caller compares each payload as a whole, and makes it once more, without this, where
    /// it is not right. What was told is then known by the 32 bits of its chunks' checks: one in some ten thousand
    /// updates is made twice.
    #[must_use]
    pub fn compared_as_a_whole(self) -> Self {
        Self { is_compared_as_a_whole: true, ..self }
    }

    /// How many bytes [`Assembly::find_runs`] reads, and [`Assembly::find_chunks`].
    pub fn old_bytes(&self) -> u64 {
        self.old.len()
    }

    /// Where the bytes came from so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }
}

impl Payload<'_> {
    /// How many bytes of a program the old space holds in runs that are the same.
    fn placed_bytes(&self, program: Extent) -> u64 {
        let runs = &self.index.runs;
        let first = runs.partition_point(|run| run.offset < program.offset);
        let end = runs.partition_point(|run| run.offset < program.end());
        let is_placed = |run: &usize| self.run_places[*run] < IN_PLACE;
        (first..end).filter(is_placed).map(|run| u64::from(runs[run].len)).sum()
    }

    /// The program that holds a place of the order of cutting.
    fn program_of(&self, offset: u64) -> Option<Extent> {
        let behind = self.programs.partition_point(|program| program.offset <= offset);
        behind.checked_sub(1).map(|index| self.programs[index]).filter(|program| offset < program.end())
    }
}
