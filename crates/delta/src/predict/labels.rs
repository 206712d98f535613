//! For the encoder: forms of programs in which alike code is alike, so that a matcher sees it.

use crate::structure::Extent;

use super::elf::Image;
use super::field::Field;
use super::votes::{Trust, context};
use super::{Pair, PredictError, Predictor, scan};

impl Predictor<'_> {
    /// A copy of an old program in which references are absolute and aim at where their targets are
    /// in the new program, as far as this predictor knows by now.
    ///
    /// For the encoder: covers found by comparing it with [`labels`] of the new program, after a first
    /// encoding with other covers, are those that prediction leaves the least of.
    ///
    /// Takes the old program's length in memory, twice for a moment.
    ///
    /// # Errors
    /// [`PredictError::OutOfOrder`] where there are no such files, [`PredictError::Read`].
    pub fn labels(&mut self, old_index: usize, new_index: usize) -> Result<Vec<u8>, PredictError> {
        let old_file = *self
            .old_files
            .get(old_index)
            .ok_or(PredictError::OutOfOrder { what: "old file", index: old_index })?;
        let new_file = self
            .new_files
            .get(new_index)
            .ok_or(PredictError::OutOfOrder { what: "new file", index: new_index })?
            .extent;
        let mut bytes = vec![0; usize::try_from(old_file.len).unwrap_or(0)];
        self.old.read_at(old_file.offset, &mut bytes).map_err(|source| PredictError::Read {
            offset: old_file.offset,
            len: old_file.len,
            source,
        })?;
        self.image(old_index);
        let pair = Pair { old_index, old_file, new_index, new_file, cover: usize::MAX };
        // A table that was paired line by line with one that has a line more teaches wrong targets, so
        // covers are believed first.
        let aim = |field: &Field| {
            let (_, votes) = self.votes(field, pair);
            votes.choose(Trust::COVERS_FIRST).map_or(field.target, |(target, _)| target)
        };
        Ok(rewritten(&bytes, aim).unwrap_or(bytes))
    }
}

/// A copy of a new program in which references are absolute: what a matcher should compare with
/// [`Predictor::labels`] of the old one.
pub fn labels(file: &[u8]) -> Vec<u8> {
    rewritten(file, |field| field.target).unwrap_or_else(|| file.to_vec())
}

/// Writes `aim(reference)` over every reference of a program.
fn rewritten(file: &[u8], aim: impl Fn(&Field) -> u64) -> Option<Vec<u8>> {
    let mut bytes = file.to_vec();
    let image = Image::read(&bytes, Extent { offset: 0, len: file.len() as u64 })?;
    let mut fields = Vec::new();
    for region in &image.regions {
        let from = region.offset as usize;
        let Some(section) = file.get(from..from + region.len as usize) else { continue };
        let run =
            scan::Run { image: &image, region: *region, offset: region.offset, bytes: section, before: 0 };
        fields.clear();
        scan::references(&run, &mut 0, &mut fields);
        for field in &mut fields {
            field.context = context(region, field.form);
            let at = from + field.at as usize;
            if let Some(bytes) = bytes.get_mut(at..at + field.form.width()) {
                field.form.write(bytes, 0, 0, aim(field));
            }
        }
    }
    Some(bytes)
}
