//! Which file the bytes of a content belong to.

use crate::diff::flat::{Run, RunPlace};
use crate::structure::{Content, Extent, Part};

/// Where plain parts stand, in order.
pub(super) fn named_extents(parts: &[Part]) -> Vec<(Extent, &str)> {
    let mut names: Vec<(Extent, &str)> = parts
        .iter()
        .flat_map(|part| {
            let extents: Vec<Extent> = match &part.content {
                Content::Plain(extents) => extents.clone(),
                Content::Blocks(blocks) => blocks.iter().map(|block| block.extent).collect(),
            };
            extents.into_iter().map(|extent| (extent, part.path.as_str()))
        })
        .filter(|(extent, _)| extent.len > 0)
        .collect();
    names.sort_by_key(|(extent, _)| extent.offset);
    names
}

/// Cuts `extent` at the names in it and appends the runs. With `prefix`, names are below that path
/// and the rest belongs to it.
pub(super) fn cut_at_names(
    extent: Extent,
    names: &[(Extent, &str)],
    prefix: Option<&str>,
    place: impl Fn(u64) -> RunPlace,
    runs: &mut Vec<Run>,
) {
    let mut at = extent.offset;
    let mut push = |from: u64, to: u64, name: Option<&str>| {
        if from < to {
            let path = match (prefix, name) {
                (Some(prefix), Some(name)) => Some(format!("{prefix}//{name}")),
                (prefix, name) => name.or(prefix).map(str::to_owned),
            };
            runs.push(Run { place: place(from), len: to - from, path });
        }
    };
    let first = names.partition_point(|(named, _)| named.end() <= extent.offset);
    for (named, name) in &names[first..] {
        if named.offset >= extent.end() {
            break;
        }
        let from = named.offset.max(at);
        let to = named.end().min(extent.end());
        push(at, from, None);
        push(from, to, Some(name));
        at = at.max(to);
    }
    push(at, extent.end(), None);
}
