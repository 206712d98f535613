//! A slot that holds the image already: the same release is installed again, or a run was cut at its very end.

use fluvial_console::{Fault, Kind, open};
use fluvial_delta::apply::{ApplyError, check_target};
use fluvial_delta::header::StreamInfo;
use fluvial_delta::structure::ReadAt as _;

use super::{Job, Made, Route, Work};
use crate::state::SlotContent;

/// Looks whether the slot is what it should be. Only slots are read into which the image was written before.
pub fn find(work: &Work<'_>, job: &Job<'_>) -> Result<Option<Made>, Fault> {
    let is_begun = |before: &SlotContent| before.sha256 == hex::encode(job.payload.sha256);
    if !job.before.as_ref().is_some_and(is_begun) {
        return Ok(None);
    }
    let len = job.payload.size_bytes;
    let path = work.device.path(job.target);
    let Ok(slot) = open(path).map(|slot| slot.shortened(len)) else { return Ok(None) };
    if slot.len() != len {
        return Ok(None);
    }
    // A run that was killed may not have waited for the disk. Then it is read from there.
    slot.file().sync_all().map_err(|error| Fault::writing(path, error))?;
    slot.release(0, len);
    work.progress.phase("comparing", len);
    let info = StreamInfo { name: job.role.into(), size: len, sha256: job.payload.sha256 };
    match check_target(&slot, &info, &mut |bytes| work.progress.advance(bytes)) {
        Ok(()) => Ok(Some(described(work, job))),
        Err(ApplyError::Cancelled) => {
            Err(Fault::new(Kind::Cancelled, "cancelled").hint("nothing was changed"))
        }
        // It is made anew, whatever is wrong with it.
        Err(_) => Ok(None),
    }
}

fn described(work: &Work<'_>, job: &Job<'_>) -> Made {
    Made {
        role: job.role.into(),
        slot: job.target.name.clone(),
        route: Route::None,
        reasons: vec!["everything is there".into()],
        from: work.bundle.name.clone(),
        fetched_bytes: 0,
        size_bytes: job.payload.size_bytes,
        in_place_bytes: job.payload.size_bytes,
        memory_bytes: None,
    }
}
