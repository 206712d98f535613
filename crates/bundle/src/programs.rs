//! Code that only moved: the device makes it from what it has.
//!
//! A chunk of a program whose masked form is known differs from the old one in its references only. Where
//! most code went is known from the chunks that are the same, so most references can be told. The digest of
//! the chunk proves it. What stays unproved is fetched, a part of it first: what is fetched teaches where
//! more code and data went.

use std::io;

use fluvial_delta::apply::Target;
use fluvial_delta::predict::{Cover, HEAD_BYTES, PredictError, Predictor};
use fluvial_delta::structure::{Extent, ReadAt};

use crate::cut::digests;
use crate::hash::HashKind;

/// A piece of a new program that the old space has the like of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) cover: Cover,
    /// The piece that is not proved yet; `None` for what stands in the payload already.
    pub(crate) open: Option<(usize, u32)>,
}

/// Puts `next` behind `list`, or makes the last one longer.
pub(crate) fn push(list: &mut Vec<Known>, next: Known) {
    if let Some(last) = list.last_mut()
        && last.open.is_none()
        && next.open.is_none()
        && last.cover.new + last.cover.len == next.cover.new
        && last.cover.old + last.cover.len == next.cover.old
    {
        last.cover.len += next.cover.len;
    } else {
        list.push(next);
    }
}

/// Why a program could not be looked at.
pub(crate) enum Failed {
    /// The old space, or the covers: nothing is told, everything will be fetched.
    Unpredictable,
    ReadTarget(io::Error),
    Write(io::Error),
}

impl From<PredictError> for Failed {
    fn from(_: PredictError) -> Self {
        Self::Unpredictable
    }
}

/// Makes the open pieces of a program and writes those that are proved; answers which ones.
///
/// `program` is where it stands in `order`; its first [`HEAD_BYTES`] bytes are there. `old_programs` are where
/// programs stand in `old`.
pub(crate) fn resolve(
    hash: HashKind,
    known: &[Known],
    program: Extent,
    order: &dyn Target,
    old: &dyn ReadAt,
    old_programs: &[Extent],
) -> Result<Vec<usize>, Failed> {
    let covers: Vec<Cover> = known.iter().map(|one| one.cover).collect();
    let whole = [Extent { offset: 0, len: program.len }];
    let mut predictor = Predictor::new(covers, old, old_programs, &whole)?;
    let mut bytes = Vec::new();
    let mut at = 0;
    while at < HEAD_BYTES.min(program.len) {
        let len = predictor.literal_step_len(at, HEAD_BYTES.min(program.len) - at);
        bytes.resize(len as usize, 0);
        order.read_at(program.offset + at, &mut bytes).map_err(Failed::ReadTarget)?;
        predictor.literal(at, &bytes);
        at += len;
    }
    // What is there teaches first, wherever it stands.
    for (index, one) in known.iter().enumerate().filter(|(_, one)| one.open.is_none()) {
        let mut done = 0;
        loop {
            let len = predictor.step_len(index, done);
            if len == 0 {
                break;
            }
            bytes.resize(len as usize, 0);
            order.read_at(program.offset + one.cover.new + done, &mut bytes).map_err(Failed::ReadTarget)?;
            predictor.encode(index, done, &mut bytes)?;
            done += len;
        }
    }
    let mut proved = Vec::new();
    for (index, one) in known.iter().enumerate() {
        let Some((piece, check)) = one.open else { continue };
        bytes.clear();
        loop {
            let done = bytes.len();
            let len = predictor.step_len(index, done as u64) as usize;
            if len == 0 {
                break;
            }
            bytes.resize(done + len, 0);
            predictor.decode(index, done as u64, &mut bytes[done..])?;
        }
        if digests(hash, &bytes).1 == check {
            order.write_at(program.offset + one.cover.new, &bytes).map_err(Failed::Write)?;
            proved.push(piece);
        }
    }
    Ok(proved)
}
