//! Files that both sides have, the same under the same name.

use std::collections::HashMap;

use rayon::prelude::*;

use super::{DiffError, Hashed, Named, exact};
use crate::header::StreamInfo;
use crate::structure::{Content, Dissector, Extent, Gathered, ReadAt, Structure};

/// What is known to be the same on both sides.
#[derive(Debug, Default)]
pub(super) struct Unchanged {
    /// Paths of streams, or of parts of the only stream; and whether they stand in one run on both sides.
    paths: HashMap<String, bool>,
}

impl Unchanged {
    /// Compares files of the same name: streams by their hashes, or what stands in the only stream of
    /// each side byte by byte.
    pub(super) fn find(
        old: &[Named<'_>],
        new: &[Named<'_>],
        sources: &[Hashed],
        targets: &[StreamInfo],
        dissector: &dyn Dissector,
    ) -> Result<Self, DiffError> {
        let paths = if let ([old], [new]) = (old, new) {
            same_parts(old, new, dissector)?
        } else {
            let hashes: HashMap<&str, &Hashed> =
                sources.iter().map(|info| (info.name.as_str(), info)).collect();
            let is_same =
                |new: &&StreamInfo| hashes.get(new.name.as_str()).is_some_and(|old| old.sha256 == new.sha256);
            targets.iter().filter(is_same).map(|info| (info.name.clone(), true)).collect()
        };
        Ok(Self { paths })
    }

    /// Whether a file is known to be the same on both sides.
    pub(super) fn contains(&self, path: &str) -> bool {
        self.paths.contains_key(path)
    }

    /// Whether a file is known to be the same, and its bytes to stand in order on both sides. Where it is
    /// scattered, an image may hold them in another order than the file.
    pub(super) fn stands_the_same(&self, path: &str) -> bool {
        self.paths.get(path) == Some(&true)
    }
}

/// A dissector that does not look into files that are the same on both sides.
pub(super) struct InHaste<'a> {
    pub(super) dissector: &'a dyn Dissector,
    pub(super) unchanged: &'a Unchanged,
}

impl Dissector for InHaste<'_> {
    fn dissect(&self, stream: &dyn ReadAt, path: &str) -> Option<Structure> {
        if self.unchanged.contains(path) { None } else { self.dissector.dissect(stream, path) }
    }
}

/// Paths of the parts that stand as they are in both streams, and are the same.
fn same_parts(
    old: &Named<'_>,
    new: &Named<'_>,
    dissector: &dyn Dissector,
) -> Result<HashMap<String, bool>, DiffError> {
    let dissect = |named: &Named<'_>| dissector.dissect(named.bytes, named.name);
    let (Some(old_structure), Some(new_structure)) = rayon::join(|| dissect(old), || dissect(new)) else {
        return Ok(HashMap::new());
    };
    let (old_parts, new_parts) = (plain_parts(&old_structure), plain_parts(&new_structure));
    let pairs: Vec<(&str, &[Extent], &[Extent])> =
        new_parts.iter().filter_map(|(&path, &new)| Some((path, (*old_parts.get(path)?)?, new?))).collect();
    let same: Result<Vec<Option<(String, bool)>>, DiffError> = pairs
        .par_iter()
        .map_init(exact::buffers, |buffers, &(path, old_extents, new_extents)| {
            let old = Gathered::new(old.bytes, old_extents);
            let new = Gathered::new(new.bytes, new_extents);
            let whole = Extent { offset: 0, len: new.len() };
            let same = old.len() == new.len() && exact::is_same(&old, 0, &new, whole, buffers)?;
            let in_one_run = old_extents.len() == 1 && new_extents.len() == 1;
            Ok(same.then(|| (path.to_owned(), in_one_run)))
        })
        .collect();
    Ok(same?.into_iter().flatten().collect())
}

/// Extents of parts by path; `None` where it is packed, or where several have the same path.
fn plain_parts(structure: &Structure) -> HashMap<&str, Option<&[Extent]>> {
    let mut parts = HashMap::with_capacity(structure.parts.len());
    for part in &structure.parts {
        let extents = match &part.content {
            Content::Plain(extents) => Some(extents.as_slice()),
            Content::Blocks(_) => None,
        };
        parts.entry(part.path.as_str()).and_modify(|known| *known = None).or_insert(extents);
    }
    parts
}
