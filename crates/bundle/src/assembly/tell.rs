//! What programs lack is made of what is known of them.

use fluvial_delta::predict::{Cover, HEAD_BYTES};
use fluvial_delta::structure::Extent;

use super::{Assembly, Payload};
use crate::error::AssembleError;
use crate::pieces::{IN_PLACE, NOWHERE, OpenRun, Piece, State, places};
use crate::programs::{self, Failed, Known};

impl Assembly<'_> {
    /// Makes what programs lack from what is known of them by now.
    pub(super) fn tell_programs(&mut self) -> Result<(), AssembleError> {
        let mut next = 0;
        for (number, payload) in self.payloads.iter().enumerate() {
            for &program in &payload.programs {
                let Some(known) =
                    known_of(payload, number, program, &self.open_runs, &mut next, &self.pieces)
                else {
                    continue;
                };
                match programs::resolve(
                    self.hash,
                    &known,
                    program,
                    &*payload.order,
                    &*self.old,
                    &self.old_programs,
                ) {
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
            // Zeros, what only the target holds, and what another window does.
            if payload.run_places[run] >= IN_PLACE {
                continue;
            }
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
