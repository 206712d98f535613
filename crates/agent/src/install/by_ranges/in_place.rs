//! What the slot that is written holds already.

use fluvial_bundle::Assembly;
use fluvial_console::{Fault, open};

use crate::install::{Job, Work};
use crate::slot_index::{self, Scheme};

/// Runs that are looked at where nothing is known of a slot.
const SAMPLE_RUNS: usize = 64;

/// Looks what is in place. An index that is kept of a slot that was whole is believed, if it `may` be: whoever
/// reads the result back sees whether it was right. A slot in which an installation was cut is read; so is one
/// of which nothing is known, if a sample of it is in place. Answers whether an index was believed.
pub fn find(
    work: &Work<'_>,
    job: &Job<'_>,
    scheme: Scheme,
    assembly: &mut Assembly<'_>,
    may_believe: bool,
) -> Result<bool, Fault> {
    let advance = |bytes| work.progress.advance(bytes);
    let is_cut = job.before.as_ref().is_some_and(|before| !before.is_whole);
    if may_believe && !is_cut {
        if let Some(before) = &job.before
            && let Ok(slot) = open(work.device.path(job.target))
        {
            let path = slot_index::path_of(work.device.folder.path(), &job.target.name, scheme);
            if let Some(index) = slot_index::load(&path, &slot.shortened(before.size_bytes), scheme)? {
                return Ok(assembly.note_in_place(&index)?);
            }
        }
        if !assembly.is_some_in_place(SAMPLE_RUNS)? {
            return Ok(false);
        }
    }
    work.progress.phase("looking", assembly.target_bytes());
    assembly.find_in_place(&advance)?;
    Ok(false)
}
