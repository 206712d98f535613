//! Puts payloads together on a device.

use fluvial_delta::apply::Target;
use fluvial_delta::predict::{Cover, HEAD_BYTES};
use fluvial_delta::structure::{Extent, ReadAt};

use crate::cut::{Chunk, cut, digests};
use crate::error::AssembleError;
use crate::have::Have;
use crate::index::{Index, PAGE_RUNS, PageInfo, RunDigest, RunInfo};
use crate::pack::Unpacker;
use crate::page::{self, Listed};
use crate::pieces::{NOWHERE, OpenRun, Piece, State, places};
use crate::programs::{self, Failed, Known};
use crate::scatter::Scatter;
use crate::shelf::Shelf;

/// Of so many runs of programs one is fetched in each round, so that the others need not be: what is fetched
/// tells where code and data went. In the first round what cannot be told is fetched, in the last one all.
const ROUND_STRIDES: [usize; 4] = [usize::MAX, 16, 4, 1];
/// Times that what is fetched of a run may come wrong.
const FAILURES_MAX: u8 = 2;

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
    /// Bytes that the old files hold as they are.
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
    order: Scatter<&'a dyn Target>,
    /// Where the old space holds each run that is there, else [`NOWHERE`].
    run_places: Vec<u64>,
    programs: Vec<Extent>,
}

/// Payloads in the making. In this order: [`Assembly::find_runs`]; the bytes of [`Assembly::pages`] are
/// fetched, [`Assembly::open_pages`]; [`Assembly::find_chunks`]; then, until [`Assembly::next_round`] wants no
/// more, its bytes are fetched, [`Assembly::take`]. Each payload's SHA-256 is then left to be checked.
///
/// Everything is checked before it is used: bytes that were found by the digests made of these very bytes, what
/// was told or fetched by its chunk's check, and every run that has such bytes by its own digest, read back.
///
/// Memory: 8 bytes for each run and each file of the payloads, 32 for each of their chunks that no old run
/// holds, 150 for each piece of the program at hand that the old space has the like of, and 14 MiB.
pub struct Assembly<'a> {
    payloads: Vec<Payload<'a>>,
    old: Have<'a>,
    old_programs: Vec<Extent>,
    open_runs: Vec<OpenRun>,
    pieces: Vec<Piece>,
    round: usize,
    tally: Tally,
}

impl<'a> Assembly<'a> {
    /// Begins to make `parts` from `old` streams: files, and what stands between files of old payloads.
    pub fn new(parts: &[Part<'a>], old: Vec<&'a dyn ReadAt>) -> Self {
        let payload = |part: &Part<'a>| {
            let streams = part.index.streams();
            let is_program = |(stream, &is_program): (&Extent, &bool)| is_program.then_some(*stream);
            Payload {
                index: part.index,
                order: Scatter::new(part.target, part.index.order()),
                run_places: vec![NOWHERE; part.index.runs.len()],
                programs: streams[1..].iter().zip(&part.index.programs).filter_map(is_program).collect(),
            }
        };
        Self {
            payloads: parts.iter().map(payload).collect(),
            old: Have::new(old),
            old_programs: Vec::new(),
            open_runs: Vec::new(),
            pieces: Vec::new(),
            round: 0,
            tally: Tally::default(),
        }
    }

    /// How many bytes [`Assembly::find_runs`] reads, and [`Assembly::find_chunks`].
    pub fn old_bytes(&self) -> u64 {
        self.old.len()
    }

    /// Where the bytes came from so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Looks for whole runs in the old streams, and puts them in place. Old streams that cannot be read are
    /// passed over. `progress` hears how many more bytes were read, and cancels by answering `false`.
    ///
    /// # Errors
    /// [`AssembleError::Write`], [`AssembleError::Cancelled`].
    pub fn find_runs(&mut self, progress: &dyn Fn(u64) -> bool) -> Result<(), AssembleError> {
        let mut wanted: Vec<(RunDigest, u32, u32)> = Vec::new();
        for (number, payload) in self.payloads.iter().enumerate() {
            let entry = |(index, run): (usize, &RunInfo)| (run.digest, number as u32, index as u32);
            wanted.extend(payload.index.runs.iter().enumerate().map(entry));
        }
        wanted.sort_unstable();
        for (stream, extent) in self.old.streams() {
            let mut is_program = false;
            let (payloads, tally) = (&mut self.payloads, &mut self.tally);
            let result = cut(stream, false, AssembleError::ReadOld, &mut |run, bytes| {
                is_program = run.is_program;
                let from = wanted.partition_point(|one| one.0 < run.digest);
                for &(_, payload, index) in wanted[from..].iter().take_while(|one| one.0 == run.digest) {
                    let payload = &mut payloads[payload as usize];
                    let info = payload.index.runs[index as usize];
                    let place = &mut payload.run_places[index as usize];
                    if *place != NOWHERE || info.len as usize != bytes.len() {
                        continue;
                    }
                    payload.order.write_at(info.offset, bytes).map_err(AssembleError::Write)?;
                    *place = extent.offset + run.offset;
                    tally.found_bytes += bytes.len() as u64;
                }
                if progress(bytes.len() as u64) { Ok(()) } else { Err(AssembleError::Cancelled) }
            });
            pass_over_unreadable(result)?;
            if is_program {
                self.old_programs.push(extent);
            }
        }
        Ok(())
    }

    /// The pages of the indexes that list runs which were not found.
    pub fn pages(&self) -> Vec<Want> {
        let mut wants = Vec::new();
        for (number, payload) in self.payloads.iter().enumerate() {
            for (page, _) in payload.missing_pages() {
                let offset = payload.index.pages_offset() + page.offset;
                wants.push(Want { payload: number, offset, len: u64::from(page.len), again: false });
            }
        }
        wants
    }

    /// Reads the pages.
    ///
    /// # Errors
    /// [`AssembleError::Shelf`], [`AssembleError::PageDigest`], [`AssembleError::Page`].
    pub fn open_pages(&mut self, fetched: &dyn Shelf) -> Result<(), AssembleError> {
        for (number, payload) in self.payloads.iter().enumerate() {
            let index = payload.index;
            // Runs of one chunk are in no page.
            for run in (0..index.runs.len()).filter(|&run| !index.runs[run].is_listed) {
                if payload.run_places[run] == NOWHERE {
                    let info = index.runs[run];
                    let chunk = Chunk { len: info.len as u16, key: 0, check: 0 };
                    let listed = Listed { chunk, packed_len: info.packed_len as u16 };
                    open_run(&mut self.open_runs, &mut self.pieces, payload, (number, run), &[listed]);
                }
            }
            for (page_number, (page, runs)) in payload.missing_pages().enumerate() {
                let mut bytes = vec![0; page.len as usize];
                let offset = index.pages_offset() + page.offset;
                fetched.read(number, offset, &mut bytes).map_err(AssembleError::Shelf)?;
                if PageInfo::digest_of(&bytes) != page.digest {
                    return Err(AssembleError::PageDigest { payload: number, page: page_number });
                }
                let infos: Vec<RunInfo> = runs.iter().map(|&run| index.runs[run]).collect();
                let lists = page::read(&bytes, &infos).map_err(|source| AssembleError::Page {
                    payload: number,
                    page: page_number,
                    source,
                })?;
                for (&run, list) in runs.iter().zip(&lists) {
                    if payload.run_places[run] == NOWHERE {
                        open_run(&mut self.open_runs, &mut self.pieces, payload, (number, run), list);
                    }
                }
            }
        }
        self.open_runs.sort_unstable_by_key(|open| (open.payload, open.run));
        Ok(())
    }

    /// Looks for single chunks in the old streams, as [`Assembly::find_runs`] for runs.
    ///
    /// # Errors
    /// As [`Assembly::find_runs`].
    pub fn find_chunks(&mut self, progress: &dyn Fn(u64) -> bool) -> Result<(), AssembleError> {
        // Key, run and piece: which piece of which run, where each stands.
        let mut wanted: Vec<(u32, u32, u32)> = Vec::new();
        for (number, open) in self.open_runs.iter().enumerate().filter(|(_, open)| open.count > 1) {
            wanted.extend(open.pieces().map(|piece| (self.pieces[piece].key, number as u32, piece as u32)));
        }
        if wanted.is_empty() {
            return Ok(());
        }
        wanted.sort_unstable();
        for (stream, extent) in self.old.streams() {
            let (payloads, open_runs) = (&self.payloads, &self.open_runs);
            let (pieces, tally) = (&mut self.pieces, &mut self.tally);
            let result = cut(stream, true, AssembleError::ReadOld, &mut |run, bytes| {
                let mut at = 0;
                for chunk in &run.chunks {
                    let here = &bytes[at..at + usize::from(chunk.len)];
                    let place = extent.offset + run.offset + at as u64;
                    at += here.len();
                    let from = wanted.partition_point(|one| one.0 < chunk.key);
                    for &(_, open, index) in wanted[from..].iter().take_while(|one| one.0 == chunk.key) {
                        let open = open_runs[open as usize];
                        let before = (index > open.first).then(|| pieces[index as usize - 1]);
                        let piece = &mut pieces[index as usize];
                        if piece.len != chunk.len {
                            continue;
                        }
                        let continues = before
                            .is_some_and(|one| one.place.checked_add(u64::from(one.len)) == Some(place));
                        if open.is_program && run.is_program && (piece.place == NOWHERE || continues) {
                            piece.place = place;
                        }
                        if piece.check == chunk.check && piece.state != State::Done {
                            piece.state = State::Done;
                            tally.found_bytes += here.len() as u64;
                            let payload = &payloads[open.payload as usize];
                            let info = &payload.index.runs[open.run as usize];
                            let inside: u64 = pieces[open.first as usize..index as usize]
                                .iter()
                                .map(|one| u64::from(one.len))
                                .sum();
                            let written = payload.order.write_at(info.offset + inside, here);
                            written.map_err(AssembleError::Write)?;
                        }
                    }
                }
                if progress(bytes.len() as u64) { Ok(()) } else { Err(AssembleError::Cancelled) }
            });
            pass_over_unreadable(result)?;
        }
        Ok(())
    }

    /// Tells what can be told, and says what has to be fetched now, in order; nothing once every run is there
    /// and right.
    ///
    /// # Errors
    /// [`AssembleError`].
    pub fn next_round(&mut self, progress: &dyn Fn(u64) -> bool) -> Result<Vec<Want>, AssembleError> {
        while let Some(&stride) = ROUND_STRIDES.get(self.round) {
            if self.round > 0 {
                self.tell_programs()?;
            }
            self.round += 1;
            if !progress(0) {
                return Err(AssembleError::Cancelled);
            }
            let wants = self.wants(stride);
            if !wants.is_empty() {
                return Ok(wants);
            }
        }
        self.check_runs(progress)?;
        Ok(self.wants(1))
    }

    /// Takes what was fetched: unpacks all chunks before which nothing is missing any more.
    ///
    /// # Errors
    /// [`AssembleError`]; [`AssembleError::Content`] where what was fetched is wrong again.
    pub fn take(&mut self, fetched: &dyn Shelf, progress: &dyn Fn(u64) -> bool) -> Result<(), AssembleError> {
        let mut unpacker = Unpacker::new().map_err(AssembleError::Unpacker)?;
        for open in &mut self.open_runs {
            let pieces = &mut self.pieces[open.pieces()];
            if !pieces.iter().any(|piece| piece.state == State::Asked) {
                continue;
            }
            let payload = &self.payloads[open.payload as usize];
            let taken = take_run(payload, open, pieces, &mut unpacker, fetched)?;
            self.tally.fetched_bytes += taken;
            if !progress(taken) {
                return Err(AssembleError::Cancelled);
            }
        }
        Ok(())
    }

    /// What is missing of one in `stride` runs of programs and of all others, and what cannot be told.
    fn wants(&mut self, stride: usize) -> Vec<Want> {
        let mut wants: Vec<Want> = Vec::new();
        for (number, open) in self.open_runs.iter().enumerate() {
            let payload = &self.payloads[open.payload as usize];
            let info = payload.index.runs[open.run as usize];
            let is_chosen = !open.is_program || number % stride == 0 && stride != usize::MAX;
            let program = payload.program_of(info.offset);
            let is_head = |at: u64| program.is_none_or(|program| at - program.offset < HEAD_BYTES);
            let mut asked = Vec::new();
            for (index, (at, packed_at, piece)) in places(&info, &self.pieces[open.pieces()]).enumerate() {
                if piece.state == State::Missing && (is_chosen || piece.place == NOWHERE || is_head(at)) {
                    asked.push(open.first as usize + index);
                    let len = u64::from(piece.packed_len);
                    let again = open.failures > 0;
                    match wants.last_mut() {
                        Some(last)
                            if last.payload == open.payload as usize
                                && last.offset + last.len == packed_at
                                && last.again == again =>
                        {
                            last.len += len;
                        }
                        _ => {
                            wants.push(Want {
                                payload: open.payload as usize,
                                offset: packed_at,
                                len,
                                again,
                            });
                        }
                    }
                }
            }
            for index in asked {
                self.pieces[index].state = State::Asked;
            }
        }
        wants
    }

    /// Makes what programs lack from what is known of them by now.
    fn tell_programs(&mut self) -> Result<(), AssembleError> {
        let mut next = 0;
        for (number, payload) in self.payloads.iter().enumerate() {
            for &program in &payload.programs {
                let Some(known) =
                    known_of(payload, number, program, &self.open_runs, &mut next, &self.pieces)
                else {
                    continue;
                };
                match programs::resolve(&known, program, &payload.order, &self.old, &self.old_programs) {
                    Ok(proved) => {
                        for index in proved {
                            let piece = &mut self.pieces[index];
                            piece.state = State::Done;
                            self.tally.predicted_bytes += u64::from(piece.len);
                        }
                    }
                    Err(Failed::Unpredictable) => {}
                    Err(Failed::ReadTarget(source)) => return Err(AssembleError::ReadTarget(source)),
                    Err(Failed::Write(source)) => return Err(AssembleError::Write(source)),
                }
            }
        }
        Ok(())
    }

    /// Reads back every run that was put together, and gives up what came out wrong.
    fn check_runs(&mut self, progress: &dyn Fn(u64) -> bool) -> Result<(), AssembleError> {
        let mut bytes = Vec::new();
        for open in &mut self.open_runs {
            let payload = &self.payloads[open.payload as usize];
            let info = payload.index.runs[open.run as usize];
            // What has just come wrong is fetched again first.
            if self.pieces[open.pieces()].iter().any(|piece| piece.state != State::Done) {
                continue;
            }
            bytes.resize(info.len as usize, 0);
            payload.order.read_at(info.offset, &mut bytes).map_err(AssembleError::ReadTarget)?;
            if RunDigest::of(&bytes) != info.digest {
                fail(open, &info)?;
                self.tally.repaired_runs += 1;
                for piece in &mut self.pieces[open.pieces()] {
                    (piece.state, piece.place) = (State::Missing, NOWHERE);
                }
            }
            if !progress(0) {
                return Err(AssembleError::Cancelled);
            }
        }
        Ok(())
    }
}

impl Payload<'_> {
    /// Pages that list a run which is not there, each with all runs that it lists.
    fn missing_pages(&self) -> impl Iterator<Item = (PageInfo, Vec<usize>)> + '_ {
        let listed: Vec<usize> = self.index.listed().collect();
        let pages: Vec<_> = self
            .index
            .pages
            .iter()
            .zip(listed.chunks(PAGE_RUNS))
            .filter(|(_, runs)| runs.iter().any(|&run| self.run_places[run] == NOWHERE))
            .map(|(page, runs)| (*page, runs.to_vec()))
            .collect();
        pages.into_iter()
    }

    /// The program that holds a place of the order of cutting.
    fn program_of(&self, offset: u64) -> Option<Extent> {
        let behind = self.programs.partition_point(|program| program.offset <= offset);
        behind.checked_sub(1).map(|index| self.programs[index]).filter(|program| offset < program.end())
    }
}

fn open_run(
    open_runs: &mut Vec<OpenRun>,
    pieces: &mut Vec<Piece>,
    payload: &Payload<'_>,
    (number, run): (usize, usize),
    list: &[Listed],
) {
    open_runs.push(OpenRun {
        payload: number as u32,
        run: run as u32,
        first: pieces.len() as u32,
        count: list.len() as u32,
        failures: 0,
        is_program: payload.program_of(payload.index.runs[run].offset).is_some(),
    });
    pieces.extend(list.iter().map(Piece::new));
}

/// What is known of a program; `None` where nothing is left to be told. `next` is the first open run that
/// does not stand before the program.
fn known_of(
    payload: &Payload<'_>,
    number: usize,
    program: Extent,
    open_runs: &[OpenRun],
    next: &mut usize,
    pieces: &[Piece],
) -> Option<Vec<Known>> {
    let runs = &payload.index.runs;
    let first = runs.partition_point(|run| run.offset < program.offset);
    let end = runs.partition_point(|run| run.offset < program.end());
    let key = |run: usize| (number as u32, run as u32);
    *next += open_runs[*next..].partition_point(|open| (open.payload, open.run) < key(first));
    let open_here = open_runs[*next..].partition_point(|open| (open.payload, open.run) < key(end));
    let open_here = &open_runs[*next..*next + open_here];
    let is_open = |piece: &Piece| piece.state == State::Missing && piece.place != NOWHERE;
    if !open_here.iter().any(|open| pieces[open.pieces()].iter().any(is_open)) {
        return None;
    }
    let mut known = Vec::new();
    let mut open_here = open_here.iter().peekable();
    for (run, info) in runs.iter().enumerate().take(end).skip(first) {
        let Some(open) = open_here.next_if(|open| open.run as usize == run) else {
            let cover = Cover {
                old: payload.run_places[run],
                new: info.offset - program.offset,
                len: u64::from(info.len),
            };
            programs::push(&mut known, Known { cover, open: None });
            continue;
        };
        for (index, (at, _, piece)) in places(info, &pieces[open.pieces()]).enumerate() {
            let open = (piece.state != State::Done).then_some((open.first as usize + index, piece.check));
            let new = at - program.offset;
            // Without its head nothing can be told of a program.
            if new < HEAD_BYTES && open.is_some() {
                return None;
            }
            if piece.place != NOWHERE && piece.state != State::Asked {
                let cover = Cover { old: piece.place, new, len: u64::from(piece.len) };
                programs::push(&mut known, Known { cover, open });
            }
        }
    }
    Some(known)
}

/// Unpacks what was fetched of a run, up to the first chunk that is missing; answers how many bytes.
fn take_run(
    payload: &Payload<'_>,
    open: &mut OpenRun,
    pieces: &mut [Piece],
    unpacker: &mut Unpacker,
    fetched: &dyn Shelf,
) -> Result<u64, AssembleError> {
    let info = payload.index.runs[open.run as usize];
    let mut run = Vec::with_capacity(info.len as usize);
    let mut packed = Vec::new();
    let (mut packed_at, mut taken) = (info.packed_offset, 0);
    for index in 0..pieces.len() {
        let piece = pieces[index];
        let from = run.len();
        run.resize(from + usize::from(piece.len), 0);
        let (prefix, out) = run.split_at_mut(from);
        match piece.state {
            State::Missing => break,
            State::Done => {
                payload.order.read_at(info.offset + from as u64, out).map_err(AssembleError::ReadTarget)?;
            }
            State::Asked => {
                packed.resize(usize::from(piece.packed_len), 0);
                fetched.read(open.payload as usize, packed_at, &mut packed).map_err(AssembleError::Shelf)?;
                let is_right = unpacker.unpack(&packed, prefix, out)
                    && if open.count == 1 {
                        RunDigest::of(out) == info.digest
                    } else {
                        digests(out).1 == piece.check
                    };
                if !is_right {
                    // Perhaps what stands before is wrong: the run is fetched as a whole.
                    fail(open, &info)?;
                    for piece in pieces.iter_mut() {
                        (piece.state, piece.place) = (State::Missing, NOWHERE);
                    }
                    break;
                }
                payload.order.write_at(info.offset + from as u64, out).map_err(AssembleError::Write)?;
                taken += out.len() as u64;
                pieces[index].state = State::Done;
            }
        }
        packed_at += u64::from(piece.packed_len);
    }
    Ok(taken)
}

fn fail(open: &mut OpenRun, info: &RunInfo) -> Result<(), AssembleError> {
    open.failures += 1;
    if open.failures < FAILURES_MAX {
        return Ok(());
    }
    let (offset, len) = (info.packed_offset, u64::from(info.packed_len));
    Err(AssembleError::Content { payload: open.payload as usize, offset, len })
}

/// What cannot be read is not there: it is fetched instead.
fn pass_over_unreadable(result: Result<(), AssembleError>) -> Result<(), AssembleError> {
    match result {
        Err(AssembleError::ReadOld(_)) => Ok(()),
        other => other,
    }
}
