//! What was fetched is unpacked and checked.

use fluvial_delta::apply::Target as _;
use fluvial_delta::structure::ReadAt as _;

use super::pages::read_page;
use super::{Assembly, Payload};
use crate::cut::digests;
use crate::error::AssembleError;
use crate::index::{PageInfo, RunDigest, RunInfo};
use crate::pack::Unpacker;
use crate::pieces::{NOWHERE, OpenRun, Piece, State};
use crate::shelf::Shelf;

/// Times that what is fetched of a run may come wrong.
const FAILURES_MAX: u8 = 2;

impl Assembly<'_> {
    /// Takes what was fetched: unpacks all chunks before which nothing is missing any more.
    ///
    /// # Errors
    /// [`AssembleError`]; [`AssembleError::Content`] where what was fetched is wrong again.
    pub fn take(&mut self, fetched: &dyn Shelf, progress: &dyn Fn(u64) -> bool) -> Result<(), AssembleError> {
        let mut unpacker = Unpacker::new().map_err(AssembleError::Unpacker)?;
        let mut page = OpenPage::default();
        for open in &mut self.open_runs {
            let pieces = &mut self.pieces[open.pieces()];
            if !pieces.iter().any(|piece| piece.state == State::Asked) {
                continue;
            }
            let payload = &self.payloads[open.payload as usize];
            let row = page.row(payload, open, fetched)?;
            let taken = take_run(payload, open, pieces, row, &mut unpacker, fetched)?;
            self.tally.fetched_bytes += taken;
            if !progress(taken) {
                return Err(AssembleError::Cancelled);
            }
        }
        Ok(())
    }
}

/// The row of the page at hand: open runs stand in order.
#[derive(Default)]
struct OpenPage {
    payload_and_page: Option<(usize, usize)>,
    row: Vec<RunDigest>,
}

impl OpenPage {
    /// The digests of the run's packed chunks.
    fn row(
        &mut self,
        payload: &Payload<'_>,
        open: &OpenRun,
        fetched: &dyn Shelf,
    ) -> Result<&[RunDigest], AssembleError> {
        let (number, page) = (open.payload as usize, open.page as usize);
        if self.payload_and_page != Some((number, page)) {
            self.row = read_row(payload, number, page, fetched)?;
            self.payload_and_page = Some((number, page));
        }
        let first = (open.first_chunk - payload.index.pages[page].first_chunk) as usize;
        Ok(self.row.get(first..first + open.count as usize).unwrap_or_default())
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

/// Unpacks what was fetched of a run, up to the first chunk that is missing; answers how many bytes.
fn take_run(
    payload: &Payload<'_>,
    open: &mut OpenRun,
    pieces: &mut [Piece],
    row: &[RunDigest],
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
        run.resize(from + piece.len as usize, 0);
        let (prefix, out) = run.split_at_mut(from);
        match piece.state {
            State::Missing => break,
            State::Done => {
                payload.order.read_at(info.offset + from as u64, out).map_err(AssembleError::ReadTarget)?;
            }
            State::Asked => {
                packed.resize(piece.packed_len as usize, 0);
                fetched.read(open.payload as usize, packed_at, &mut packed).map_err(AssembleError::Shelf)?;
                let hash = payload.index.hash;
                let is_right = row.get(index) == Some(&RunDigest::of(hash, &packed))
                    && unpacker.unpack(&packed, prefix, out)
                    && if open.count == 1 {
                        RunDigest::of(hash, out) == info.digest
                    } else {
                        digests(hash, out).1 == piece.check
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

/// Notes that what was fetched of a run is wrong.
pub(super) fn fail(open: &mut OpenRun, info: &RunInfo) -> Result<(), AssembleError> {
    open.failures += 1;
    if open.failures < FAILURES_MAX {
        return Ok(());
    }
    let (offset, len) = (info.packed_offset, u64::from(info.packed_len));
    Err(AssembleError::Content { payload: open.payload as usize, offset, len })
}
