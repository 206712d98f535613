//! Which old content is searched for which new bytes.
//!
//! Old files that stand unchanged in the new side are not searched again. What is left is put into
//! groups of like files, by path without digits, because versions stand in names.

use std::collections::BTreeMap;

use super::flat::FlatPart;
use super::old::OldPart;
use crate::frame::Cover;
use crate::header::WHOLE_SOURCES_MAX;
use crate::space::Space;
use crate::structure::{Extent, ReadAt as _};
use fluvial_codec::Format;

/// A file up to this length, in bytes, is searched whole once a part of it is gone or changed.
const WHOLE_BYTES_MAX: u64 = 64 << 20;
/// How far around changed bytes of a larger file old bytes are searched.
const MARGIN_BYTES: u64 = 64 << 10;
/// The same for bytes of no file.
const METADATA_MARGIN_BYTES: u64 = 4 << 10;

/// New bytes that no exact match covers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gap {
    pub(super) extent: Extent,
    /// The address at which the match before the gap would go on.
    pub(super) left: Option<u64>,
    /// The address at which the match after the gap begins.
    pub(super) right: Option<u64>,
}

/// Old content and the gaps that are searched in it.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Sorted, not overlapping.
    pub(super) old: Vec<Extent>,
    pub(super) gaps: Vec<Gap>,
}

/// Puts gaps and old content into groups of at most about `group_bytes` of old content.
pub(super) fn groups(
    space: &Space<'_>,
    old_parts: &[OldPart],
    new_parts: &[FlatPart],
    covers: &[Cover],
    flat_len: u64,
    group_bytes: u64,
) -> Vec<Group> {
    let mut items: BTreeMap<String, Group> = BTreeMap::new();
    let old_len = space.len();
    // Where the sources are files alone, nothing of them is like what stands between files in a target: headers of
    // a tar. Covers of a few bytes of something else would cost more than such bytes pack to.
    let unnamed = unnamed(space, old_parts);
    let are_files = space.sources_count() > WHOLE_SOURCES_MAX && unnamed.is_empty();
    let found =
        gaps(new_parts, covers, flat_len).into_iter().filter(|(path, _)| !are_files || path.is_some());
    for (path, gap) in found {
        let group = items.entry(key(path)).or_default();
        let reach = gap.extent.len + 64;
        let old_address = |address: Option<u64>| address.filter(|&address| address <= old_len);
        if let Some(left) = old_address(gap.left) {
            group.old.push(Extent { offset: left, len: reach.min(old_len - left) });
        }
        if let Some(right) = old_address(gap.right) {
            let offset = right.saturating_sub(reach);
            group.old.push(Extent { offset, len: (right - offset + 64).min(old_len - offset) });
        }
        group.gaps.push(gap);
    }
    let used = used(covers, old_len);
    let wanted: Vec<String> = new_parts_with_gaps(&items);
    for part in old_parts {
        let free: Vec<Extent> = part.extents.iter().flat_map(|&extent| subtract(extent, &used)).collect();
        let len: u64 = part.extents.iter().map(|extent| extent.len).sum();
        let key = key(Some(&part.path));
        if len <= WHOLE_BYTES_MAX {
            if !free.is_empty() || wanted.binary_search(&key).is_ok() {
                items.entry(key).or_default().old.extend(&part.extents);
            }
        } else {
            let group = items.entry(key).or_default();
            for extent in free {
                let within = part.extents.iter().find(|whole| whole.end() >= extent.end()).copied();
                group.old.push(widen(extent, MARGIN_BYTES, within.unwrap_or(extent)));
            }
        }
    }
    let metadata = items.entry(String::new()).or_default();
    for extent in unnamed {
        for free in subtract(extent, &used) {
            metadata.old.push(widen(free, METADATA_MARGIN_BYTES, extent));
        }
    }
    join_small(items, group_bytes)
}

fn new_parts_with_gaps(items: &BTreeMap<String, Group>) -> Vec<String> {
    items.keys().cloned().collect()
}

/// Items in the order of their keys, joined up to a size.
fn join_small(items: BTreeMap<String, Group>, group_bytes: u64) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut held = u64::MAX;
    for (_, mut item) in items {
        item.old = union(item.old);
        let len: u64 = item.old.iter().map(|extent| extent.len).sum();
        match groups.last_mut() {
            Some(last) if held.saturating_add(len) <= group_bytes => {
                last.old.extend(item.old);
                last.gaps.extend(item.gaps);
                held += len;
            }
            _ => {
                groups.push(item);
                held = len;
            }
        }
    }
    groups.retain(|group| !group.gaps.is_empty());
    for group in &mut groups {
        group.old = union(std::mem::take(&mut group.old));
    }
    groups
}

/// A path without what differs from version to version.
fn key(path: Option<&str>) -> String {
    let path = path.unwrap_or("");
    path.chars().filter(|char| !char.is_ascii_digit()).collect()
}

/// Flattened bytes that no cover takes, cut where files start and end.
fn gaps<'a>(parts: &'a [FlatPart], covers: &[Cover], flat_len: u64) -> Vec<(Option<&'a str>, Gap)> {
    let mut gaps = Vec::new();
    let mut part_index = 0;
    let mut at = 0;
    let mut left = None;
    let end = Cover { flat: flat_len, address: 0, len: 0 };
    for (index, cover) in covers.iter().chain([&end]).enumerate() {
        let mut from = at;
        while from < cover.flat {
            while parts[part_index].extent.end() <= from {
                part_index += 1;
            }
            let part = &parts[part_index];
            let to = part.extent.end().min(cover.flat);
            gaps.push((
                part.path.as_deref(),
                Gap {
                    extent: Extent { offset: from, len: to - from },
                    left: left.filter(|_| from == at),
                    right: (to == cover.flat && index < covers.len()).then_some(cover.address),
                },
            ));
            from = to;
        }
        at = cover.flat_end();
        left = Some(cover.address + cover.len);
    }
    gaps
}

/// Old addresses that exact matches use.
fn used(covers: &[Cover], old_len: u64) -> Vec<Extent> {
    union(
        covers
            .iter()
            .filter(|cover| cover.address < old_len)
            .map(|cover| Extent { offset: cover.address, len: cover.len })
            .collect(),
    )
}

/// Old addresses of the sources that belong to no file and to no packed block.
fn unnamed(space: &Space<'_>, parts: &[OldPart]) -> Vec<Extent> {
    let sources = Extent { offset: 0, len: space.sources_len() };
    let named = parts.iter().flat_map(|part| part.extents.iter().copied());
    let packed =
        space.blocks().iter().filter(|block| block.format != Format::Stored).map(|block| block.packed);
    subtract(sources, &union(named.chain(packed).collect()))
}

fn widen(extent: Extent, margin: u64, within: Extent) -> Extent {
    let from = extent.offset.saturating_sub(margin).max(within.offset);
    let to = (extent.end() + margin).min(within.end());
    Extent { offset: from, len: to - from }
}

/// The same bytes, sorted and without overlaps.
pub(super) fn union(mut extents: Vec<Extent>) -> Vec<Extent> {
    extents.sort_unstable();
    let mut union: Vec<Extent> = Vec::with_capacity(extents.len());
    for extent in extents {
        match union.last_mut() {
            Some(last) if extent.offset <= last.end() => {
                last.len = last.len.max(extent.end() - last.offset);
            }
            _ if extent.len > 0 => union.push(extent),
            _ => {}
        }
    }
    union
}

/// Whether an extent stands in one of those in `wholes`, which are sorted and do not overlap.
pub(super) fn is_inside(extent: Extent, wholes: &[Extent]) -> bool {
    let index = wholes.partition_point(|whole| whole.end() < extent.end());
    wholes.get(index).is_some_and(|whole| whole.offset <= extent.offset)
}

/// What is left of an extent without those in `taken`, which are sorted and do not overlap.
fn subtract(extent: Extent, taken: &[Extent]) -> Vec<Extent> {
    let mut left = Vec::new();
    let mut at = extent.offset;
    let first = taken.partition_point(|taken| taken.end() <= extent.offset);
    for taken in &taken[first..] {
        if taken.offset >= extent.end() {
            break;
        }
        if taken.offset > at {
            left.push(Extent { offset: at, len: taken.offset - at });
        }
        at = taken.end();
    }
    if at < extent.end() {
        left.push(Extent { offset: at, len: extent.end() - at });
    }
    left
}
