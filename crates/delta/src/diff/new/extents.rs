//! Runs of a target's bytes that belong together.

use crate::diff::DiffError;
use crate::structure::{Extent, ReadAt};

/// The bytes of these extents, one after another.
pub(super) fn read_extents(stream: &dyn ReadAt, extents: &[Extent]) -> Result<Vec<u8>, DiffError> {
    let len: u64 = extents.iter().map(|extent| extent.len).sum();
    let mut bytes = vec![0; len as usize];
    let mut at = 0;
    for extent in extents {
        let end = at + extent.len as usize;
        if !extent.is_hole() {
            stream.read_at(extent.offset, &mut bytes[at..end]).map_err(DiffError::ReadNew)?;
        }
        at = end;
    }
    Ok(bytes)
}

/// The extents that a range of a content takes.
pub(super) fn slice(extents: &[Extent], range: Extent) -> Vec<Extent> {
    let mut start = 0;
    let mut sliced = Vec::new();
    for extent in extents {
        let from = range.offset.max(start);
        let to = range.end().min(start + extent.len);
        if from < to {
            sliced.push(Extent { offset: extent.offset + from - start, len: to - from });
        }
        start += extent.len;
    }
    join(sliced)
}

/// Extents that follow one another as one.
pub(super) fn join(extents: Vec<Extent>) -> Vec<Extent> {
    let mut joined: Vec<Extent> = Vec::new();
    for extent in extents {
        match joined.last_mut() {
            Some(last) if last.end() == extent.offset => last.len += extent.len,
            _ => joined.push(extent),
        }
    }
    joined
}
