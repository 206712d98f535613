//! What is fetched when.

use fluvial_delta::predict::HEAD_BYTES;
use fluvial_delta::structure::ReadAt as _;

use super::take::fail;
use super::{Assembly, Want};
use crate::error::AssembleError;
use crate::index::RunDigest;
use crate::pieces::{NOWHERE, State, places};

/// Of so many runs of programs one is fetched in each round, so that the others need not be: what is fetched
/// tells where code and data went. In the first round what cannot be told is fetched, in the last one all.
const ROUND_STRIDES: [usize; 4] = [usize::MAX, 16, 4, 1];

impl Assembly<'_> {
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
            if RunDigest::of(self.hash, &bytes) != info.digest {
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
