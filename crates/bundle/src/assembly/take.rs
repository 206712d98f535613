//! What was fetched is unpacked and checked.

use fluvial_delta::apply::Target as _;
use fluvial_delta::structure::ReadAt as _;

use super::pages::read_page;
use super::tell::each_in_order;
use super::{Assembly, Payload};
use crate::cut::digests;
use crate::error::AssembleError;
use crate::index::{PageInfo, RunDigest, RunInfo};
use crate::pack::Unpacker;
use crate::pieces::{NOWHERE, OpenRun, Piece, State};
use crate::shelf::Shelf;

/// Times that what is fetched of a run may come wrong.
const FAILURES_MAX: u8 = 2;

/// Pages of which what was fetched is unpacked before anybody hears of it.
const PAGES_AT_A_TIME: usize = 16;

/// What became of a run.
struct Taken {
    /// Which of the open runs it is.
    open: usize,
    /// The pieces before this one have come, if they were asked for; of none more can be said.
    end: usize,
    bytes: u64,
    is_right: bool,
}

impl Assembly<'_> {
    /// Takes what was fetched: unpacks all chunks before which nothing is missing any more.
    ///
    /// # Errors
    /// [`AssembleError`]; [`AssembleError::Content`] where what was fetched is wrong again.
    pub fn take(&mut self, fetched: &dyn Shelf, progress: &dyn Fn(u64) -> bool) -> Result<(), AssembleError> {
        let is_asked =
            |open: &OpenRun| self.pieces[open.pieces()].iter().any(|piece| piece.state == State::Asked);
        let asked: Vec<usize> =
            (0..self.open_runs.len()).filter(|&open| is_asked(&self.open_runs[open])).collect();
        // What a page tells of its chunks is read once.
        let page = |open: usize| (self.open_runs[open].payload, self.open_runs[open].page);
        let pages: Vec<&[usize]> = asked.chunk_by(|&one, &next| page(one) == page(next)).collect();
        for pages in pages.chunks(PAGES_AT_A_TIME) {
            let taken = each_in_order(pages, |runs| self.take_page(runs, fetched))?;
            for taken in taken.into_iter().flatten() {
                self.note_taken(&taken)?;
                self.tally.fetched_bytes += taken.bytes;
                if !progress(taken.bytes) {
                    return Err(AssembleError::Cancelled);
                }
            }
        }
        Ok(())
    }

    /// Unpacks what was fetched of runs of one page.
    fn take_page(&self, runs: &[usize], fetched: &dyn Shelf) -> Result<Vec<Taken>, AssembleError> {
        let Some(first) = runs.first().map(|&open| self.open_runs[open]) else { return Ok(Vec::new()) };
        let mut unpacker = Unpacker::new().map_err(AssembleError::Unpacker)?;
        let payload = &self.payloads[first.payload as usize];
        let row = read_row(payload, first.payload as usize, first.page as usize, fetched)?;
        let first_chunk = payload.index.pages[first.page as usize].first_chunk;
        let take = |&run: &usize| {
            let open = &self.open_runs[run];
            let chunk = (open.first_chunk - first_chunk) as usize;
            let row = row.get(chunk..chunk + open.count as usize).unwrap_or_default();
            let taken = take_run(payload, open, &self.pieces[open.pieces()], row, &mut unpacker, fetched)?;
            Ok(Taken { open: run, ..taken })
        };
        runs.iter().map(take).collect()
    }

    fn note_taken(&mut self, taken: &Taken) -> Result<(), AssembleError> {
        let open = &mut self.open_runs[taken.open];
        let pieces = &mut self.pieces[open.pieces()];
        if !taken.is_right {
            // Perhaps what stands before is wrong: the run is fetched as a whole.
            let info = self.payloads[open.payload as usize].index.runs[open.run as usize];
            for piece in pieces {
                (piece.state, piece.place) = (State::Missing, NOWHERE);
            }
            return fail(open, &info);
        }
        for piece in pieces[..taken.end].iter_mut().filter(|piece| piece.state == State::Asked) {
            piece.state = State::Done;
        }
        Ok(())
    }
}

/// Reads the digests of the packed chunks that a page lists; both were fetched.
fn read_row(
    payload: &Payload<'_>,
    number: usize,
    page: usize,
    fetched: &dyn Shelf,
) -> Result<Vec<RunDigest>, AssembleError> {
    let listed = read_page(payload, number, page, fetched)?;
    let place = payload.index.row_of(page);
    let mut bytes = vec![0; (place.end - place.start) as usize];
    fetched.read(number, place.start, &mut bytes).map_err(AssembleError::Shelf)?;
    if PageInfo::digest_of(payload.index.hash, &bytes) != listed.row_digest {
        return Err(AssembleError::PageDigest { payload: number, page });
    }
    let (digests, _) = bytes.as_chunks();
    Ok(digests.iter().map(|digest| RunDigest(*digest)).collect())
}

/// Unpacks what was fetched of a run, up to the first chunk that is missing.
fn take_run(
    payload: &Payload<'_>,
    open: &OpenRun,
    pieces: &[Piece],
    row: &[RunDigest],
    unpacker: &mut Unpacker,
    fetched: &dyn Shelf,
) -> Result<Taken, AssembleError> {
    let info = payload.index.runs[open.run as usize];
    let mut run = Vec::with_capacity(info.len as usize);
    let mut packed = Vec::new();
    let mut packed_at = info.packed_offset;
    let mut taken = Taken { open: 0, end: pieces.len(), bytes: 0, is_right: true };
    for (index, piece) in pieces.iter().enumerate() {
        let from = run.len();
        run.resize(from + piece.len as usize, 0);
        let (prefix, out) = run.split_at_mut(from);
        match piece.state {
            State::Missing => {
                taken.end = index;
                break;
            }
            State::Done => {
                payload.order.read_at(info.offset + from as u64, out).map_err(AssembleError::ReadTarget)?;
            }
            State::Asked => {
                packed.resize(piece.packed_len as usize, 0);
                fetched.read(open.payload as usize, packed_at, &mut packed).map_err(AssembleError::Shelf)?;
                let hash = payload.index.hash;
                taken.is_right = row.get(index) == Some(&RunDigest::of(hash, &packed))
                    && unpacker.unpack(&packed, prefix, out)
                    && if open.count == 1 {
                        RunDigest::of(hash, out) == info.digest
                    } else {
                        digests(hash, out).1 == piece.check
                    };
                if !taken.is_right {
                    break;
                }
                payload.order.write_at(info.offset + from as u64, out).map_err(AssembleError::Write)?;
                taken.bytes += out.len() as u64;
            }
        }
        packed_at += u64::from(piece.packed_len);
    }
    Ok(taken)
}

/// Notes that what was fetched of a run is wrong.
pub(super) fn fail(open: &mut OpenRun, info: &RunInfo) -> Result<(), AssembleError> {
    open.failures += 1;
    if open.failures < FAILURES_MAX {
        return Ok(());
    }
    let (offset, len) = (info.packed_offset, u64::from(info.packed_len));
    Err(AssembleError::Content { payload: open.payload as usize, offset, len })
}
