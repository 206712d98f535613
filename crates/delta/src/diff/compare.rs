//! The search: what of the new content is copied from where.

use super::encode::Piece;
use super::flat::{Flat, FlatPart};
use super::old::OldFiles;
use super::programs::ProgramFinder;
use super::unchanged::Unchanged;
use super::{DiffError, DiffObserver, GROUP_BYTES, Phase, Preset, SEED_GROUP_BYTES};
use super::{candidates, exact, refine, search};
use crate::frame::Cover;
use crate::space::Space;
use crate::structure::{Extent, ReadAt as _};

/// Both sides, taken apart.
pub(super) struct Comparison<'a> {
    pub(super) space: &'a Space<'a>,
    pub(super) flat: &'a Flat<'a>,
    pub(super) old_files: &'a OldFiles,
    pub(super) parts: &'a [FlatPart],
    pub(super) unchanged: &'a Unchanged,
    pub(super) preset: Preset,
    pub(super) observer: &'a dyn DiffObserver,
}

impl Comparison<'_> {
    /// What is copied, in flattened order, and what prediction leaves of the programs in it.
    pub(super) fn pieces(&self) -> Result<(Vec<Piece>, Vec<refine::Left>), DiffError> {
        let Self { space, flat, old_files, parts, preset, observer, .. } = *self;
        let exact = self.exact_covers()?;
        let group_bytes = if preset == Preset::Fast { SEED_GROUP_BYTES } else { GROUP_BYTES };
        let groups = candidates::groups(space, &old_files.parts, parts, &exact, flat.len(), group_bytes);
        let gap_bytes = groups.iter().flat_map(|group| &group.gaps).map(|gap| gap.extent.len).sum();
        observer.begin(Phase::Search, gap_bytes);
        let approximate = search::fill(space, flat, &groups, preset, &|bytes| observer.advance(bytes))?;
        drop(groups);

        observer.begin(Phase::Encode, flat.len());
        let mut pieces: Vec<Piece> = exact.into_iter().map(|cover| Piece { cover, exact: true }).collect();
        pieces.extend(approximate.into_iter().map(|cover| Piece { cover, exact: false }));
        pieces.sort_unstable_by_key(|piece| piece.cover.flat);
        let finder = ProgramFinder::new(space, flat, &old_files.in_one_run(), preset);
        refine::refine(space, flat, parts, &finder, pieces, preset)
    }

    /// Content that stands in the old space byte for byte.
    fn exact_covers(&self) -> Result<Vec<Cover>, DiffError> {
        let Self { space, flat, old_files, parts, unchanged, preset, observer } = *self;
        observer.begin(Phase::Match, flat.len());
        let blocks = (0..space.blocks().len()).map(|index| space.block_extent(index));
        let old_extents = old_files.parts.iter().flat_map(|part| part.extents.iter().copied());
        let shadowed_extents = old_files.shadowed.iter().copied();
        let mut old_cuts = exact::cuts(space.len(), old_extents.chain(blocks).chain(shadowed_extents));
        let shadowed = candidates::union(old_files.shadowed.clone());
        old_cuts.retain(|cut| !candidates::is_inside(*cut, &shadowed));
        let mut new_cuts = exact::cuts(flat.len(), parts.iter().map(|part| part.extent));
        let known = exact::same_files(space, flat, &old_files.parts, parts, unchanged)?;
        let known_in = |from: fn(&Cover) -> u64| {
            let extents = known.iter().map(|cover| Extent { offset: from(cover), len: cover.len });
            candidates::union(extents.collect())
        };
        let known_new = known_in(|cover| cover.flat);
        new_cuts.retain(|cut| !candidates::is_inside(*cut, &known_new));
        if preset == Preset::Fast {
            // What stays where it is seldom is elsewhere too.
            let known_old = known_in(|cover| cover.address);
            old_cuts.retain(|cut| !candidates::is_inside(*cut, &known_old));
        }
        let (old_chunks, new_chunks) =
            rayon::join(|| exact::chunks_of(space, &old_cuts), || exact::chunks_of(flat, &new_cuts));
        let old_chunks = old_chunks.map_err(DiffError::ReadOld)?;
        let new_chunks = new_chunks.map_err(DiffError::ReadNew)?;
        exact::find(space, flat, &known, &old_chunks, &new_chunks, &|bytes| observer.advance(bytes))
    }
}
